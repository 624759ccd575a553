"""An executor that does nothing but write down what it was asked to do, and says what a test tells it to say."""

from collections.abc import Sequence

from application.ports import AnyReport, Launch
from domain.messages import NodeId


class ScriptedExecutor:
    """Every call in order in `calls`; `reports` gives what was put into `says`, once."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        """(method, attempt id or node id); one entry for each launch of a `start`."""
        self.launches: dict[str, Launch] = {}
        """The last launch that each attempt was started with."""
        self.says: list[AnyReport] = []
        self.wakes = 0
        self.unfenced: set[NodeId] = set()
        """Nodes of which something cannot be killed."""

    def open(self) -> None:
        self.calls.append(("open", ""))

    def start(self, launches: Sequence[Launch]) -> None:
        for launch in launches:
            self.calls.append(("start", launch.attempt_id))
            self.launches[launch.attempt_id] = launch

    def terminate(self, launch: Launch, grace_ms: int) -> None:
        self.calls.append(("terminate", launch.attempt_id))

    def suspend(self, launch: Launch) -> None:
        self.calls.append(("suspend", launch.attempt_id))

    def resume(self, launch: Launch) -> None:
        self.calls.append(("resume", launch.attempt_id))

    def reports(self, timeout_s: float) -> list[AnyReport]:
        said, self.says = self.says, []
        return said

    def wake(self) -> None:
        self.wakes += 1

    def start_node(self, node_id: NodeId) -> None:
        self.calls.append(("start_node", node_id))

    def stop_node(self, node_id: NodeId) -> None:
        self.calls.append(("stop_node", node_id))

    def fence(self, node_id: NodeId) -> bool:
        return node_id not in self.unfenced

    def close(self) -> None:
        self.calls.append(("close", ""))

    def take_calls(self) -> list[tuple[str, str]]:
        """The calls since the last look."""
        calls, self.calls = self.calls, []
        return calls
