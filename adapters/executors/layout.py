"""Where an executor's things lie in the data directory: one page that servers, supervisors and people agree on.

server.lock                 held by the server while it lives
nodes/<node>/               lock, socket, stopped, supervisor.log
nodes/<node>/live/<attempt> one empty file per attempt of that node that has not ended
attempts/<attempt>/         launch.json, start.json, output.log, reports.jsonl, end.json, work/
jobs/<job>/                 checkpoints/<task>/ (shared by all attempts of a task), output/
"""

from pathlib import Path

from domain.errors import BadInput
from domain.job.values import NodeSlots
from domain.messages import JobId, NodeId

MAX_NAME_BYTES = 240
"""Below the 255 of common file systems, so that a suffix fits."""


class Layout:
    """The paths below one data directory; ids that could lead out of it raise `BadInput`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.attempts = self.data_dir / "attempts"
        self.nodes = self.data_dir / "nodes"
        self.server_lock = self.data_dir / "server.lock"

    def create(self) -> None:
        """Make the folders that everything else is put into."""
        for folder in (self.attempts, self.nodes, self.data_dir / "jobs"):
            folder.mkdir(parents=True, exist_ok=True)

    def attempt(self, attempt_id: str) -> Path:
        """The folder of an attempt; it exists from the moment the attempt was claimed."""
        return self.attempts / safe_name(attempt_id)

    def known_nodes(self) -> list[NodeId]:
        """The nodes that ever had a supervisor here."""
        return sorted(entry.parent.name for entry in self.nodes.glob("[!.]*/lock"))

    def node(self, node_id: NodeId) -> "NodeFolder":
        """The folder of a node's supervisor."""
        return NodeFolder(self.nodes / safe_name(node_id))

    def checkpoints(self, job_id: JobId, task: int) -> Path:
        """Where all attempts of a task keep their checkpoints."""
        return self.data_dir / "jobs" / safe_name(job_id) / "checkpoints" / str(task)

    def output(self, job_id: JobId) -> Path:
        """Where results of a job go that names no directory."""
        return self.data_dir / "jobs" / safe_name(job_id) / "output"


class NodeFolder:
    """The files of one node's supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "lock"
        self.socket = folder / "socket"
        self.stopped = folder / "stopped"
        """Exists when the last supervisor ended in order."""
        self.log = folder / "supervisor.log"
        self.live = folder / "live"

    def create(self) -> None:
        """Make the folder; only its owner may enter, for whoever reaches the socket can run commands."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.live.mkdir(exist_ok=True)

    def live_attempts(self) -> list[str]:
        """Ids of the attempts that were claimed here and have no recorded end."""
        try:
            return sorted(entry.name for entry in self.live.iterdir() if not entry.name.startswith("."))
        except FileNotFoundError:
            return []


def safe_name(text: str) -> str:
    """The id itself, as the name of a file."""
    if not text or text.startswith(".") or "/" in text or "\0" in text or len(text.encode()) > MAX_NAME_BYTES:
        raise BadInput(problem=f"{text[:80]!r} cannot be the name of a folder")
    return text


def node_list(nodes: tuple[NodeSlots, ...]) -> str:
    """A gang's nodes as its processes read them: `node-1:4,node-2:2`, the host first."""
    return ",".join(f"{node_id}:{slots}" for node_id, slots in nodes)
