"""`milepost serve` and `milepost run`: the farm in the foreground, and what becomes of it when a signal comes."""

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import click
from msgspec.structs import replace
from rich.text import Text

from adapters import settings
from adapters.api import HttpDoor, serve_http
from adapters.bootstrap import ACTOR, Ending, Server
from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.frame import Desk, verb
from adapters.cli.render import clock, console
from adapters.cli.text import plain
from adapters.executors.local import supervisor_pid
from adapters.power_hook import command_hook
from adapters.queries.overview import version
from adapters.store.sqlite import open_log
from application.commands import AdoptPolicies
from domain.job import events as e
from domain.messages import JobId, Recorded
from domain.node import NodeLost, NodeOnline
from projections.story import sentence
from projections.words import resources_text

LOOK_S = 0.05
TOLD = (e.JobCompleted, e.JobFailed, e.JobCancelled, e.TasksFailed, e.TasksLost, NodeLost, NodeOnline)
"""What `milepost run` tells about as it happens."""
ENDS: dict[type, str] = {e.JobCompleted: "completed", e.JobFailed: "failed", e.JobCancelled: "cancelled"}
WHAT_HAPPENS = {
    Ending.LEAVE: "what runs goes on, and the next `milepost serve` takes it over",
    Ending.DRAIN: "nothing more is started; waiting for what runs",
    Ending.TERMINATE: "what runs is ended and waits again",
}
nodes_option = click.option(
    "--nodes",
    type=v.whole(1, 10_000),
    metavar="N",
    help="Equal nodes of this machine, whatever the settings say.",
)


class ServedFarm(Server):
    """A server with its HTTP door, which stays open until the store is about to close."""

    door: HttpDoor | None = None

    def open_door(self, port: int) -> HttpDoor:
        """Lets other processes in."""
        self.door = serve_http(self, port=port)
        return self.door

    def close(self) -> None:
        """Shuts the door, then the rest."""
        if self.door is not None:
            self.door.stop()
            self.door = None
        super().close()


@verb(
    "serve",
    "milepost serve",
    "milepost serve --nodes 4 --port 0 --data ./farm",
    "milepost serve --drain         (a signal lets what runs come to its end)",
)
@nodes_option
@click.option("--port", type=v.whole(0, 65_535), metavar="N", help="Where to listen; 0 takes a free port.")
@click.option(
    "--leave", "ending", flag_value="leave", default="leave", help="When stopped: leave what runs. The default."
)
@click.option("--drain", "ending", flag_value="drain", help="When stopped: start nothing more, wait for what runs.")
@click.option("--terminate", "ending", flag_value="terminate", help="When stopped: end what runs; it waits again.")
def serve(desk: Desk, nodes: int | None, port: int | None, ending: str) -> int:
    """Run the server of the farm in the foreground, until SIGINT or SIGTERM.

    What then becomes of running attempts is said by --leave, --drain or --terminate. Nodes on which nothing runs are
    shut down. A second signal ends the server at once, and leaves nodes and attempts alone; a node on which nothing
    runs ends by itself when there has been no server for ten minutes.
    """
    chosen, farm = opened(desk, nodes)
    with Signals() as signals, working(farm, chosen.port if port is None else port) as door:
        desk.answer(_serving(farm, door, chosen), _greeting)
        signals.wait(farm)
        return _stop(desk, farm, Ending(ending))


@verb("run", "milepost run", "milepost run --nodes 2 --data ./farm && echo all done")
@nodes_option
def run(desk: Desk, nodes: int | None) -> int:
    """Work off what is queued, then leave: for a machine of your own, without a server that stays.

    Ends when nothing is left that can run; exit code 1 if a job failed or was cancelled meanwhile. While it lasts,
    other commands work as with a server. A signal ends what runs, which waits again.
    """
    _, farm = opened(desk, nodes)
    told = Telling(farm)
    with Signals() as signals, working(farm, port=0):
        if not _work_off(desk, farm, told, signals):
            _stop(desk, farm, Ending.TERMINATE)
            return exits.UNAVAILABLE if farm.loops.failed.is_set() else exits.INTERRUPTED
        left = farm.queries.get("/api/queue", limit=10_000, position=farm.app.farm.position)
        answer = told.summary(left["rows"])
        farm.stop(Ending.DRAIN)
    desk.answer(answer, _ran)
    return exits.FAILED if answer["failed"] or answer["cancelled"] else exits.OK


# -- opening and stopping ----------------------------------------------------------------------------------------


def opened(desk: Desk, nodes: int | None) -> tuple[settings.Settings, ServedFarm]:
    """The settings of the data directory and a farm made after them, not yet started."""
    chosen = settings.load(desk.data_dir, os.environ)
    if nodes is not None:
        chosen = replace(chosen, node_count=nodes)
    log = open_log(desk.data_dir)
    try:
        hook = command_hook(chosen.power_hook)
        farm = ServedFarm(desk.data_dir, log, chosen.nodes(), chosen.watchdog_timing(), hook)
        policies = chosen.policies.over(farm.app.farm.policies)
        if policies != farm.app.farm.policies:
            farm.app.handle(AdoptPolicies(policies=policies), ACTOR)
    except BaseException:
        log.close()
        raise
    return chosen, farm


@contextmanager
def working(farm: ServedFarm, port: int) -> Iterator[HttpDoor]:
    """A farm that works and lets other processes in; whoever enters stops it. After an error it is let go as it is."""
    try:
        door = farm.open_door(port)  # before any node is started: the port may be taken
        farm.start()
        yield door
    except BaseException:
        farm.close()
        raise


def _stop(desk: Desk, farm: ServedFarm, ending: Ending) -> int:
    if farm.loops.failed.is_set():
        farm.close()
        return exits.UNAVAILABLE
    desk.note(f"stopping: {WHAT_HAPPENS[ending]}" if farm.live_attempts() else "stopping: nothing runs")
    staying = farm.staying() if ending is Ending.LEAVE else {}
    farm.stop(ending, lambda left: desk.note(f"  {left} still running") if left else None)
    for node_id, attempts in staying.items():
        pid = supervisor_pid(farm.data_dir, node_id)
        if pid is not None:
            running = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            desk.note(f"  {node_id} stays up with {running}; `kill {pid}` ends it and what runs there")
    desk.note("stopped")
    return exits.OK


class Signals:
    """SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process as a crash would.

    That is safe at any moment: the log is durable, nodes outlive the server, and the next one takes them over.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether a stop is wanted."""
        return self._asked.is_set()

    def pause(self) -> None:
        """Waits for a moment, or until a stop is wanted."""
        self._asked.wait(LOOK_S)

    def wait(self, farm: ServedFarm) -> None:
        """Returns when a stop is wanted, or a part of the server has failed."""
        while not self.asked and not farm.loops.failed.is_set():
            self.pause()

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            os.write(2, b"milepost: forced; nodes and attempts go on\n")
            os._exit(exits.INTERRUPTED)
        self._asked.set()


# -- serve -------------------------------------------------------------------------------------------------------


def _serving(farm: ServedFarm, door: HttpDoor, chosen: settings.Settings) -> dict[str, Any]:
    nodes = {node.node_id: resources_text(node.capacity) for node in chosen.nodes()}
    return {"url": door.url, "pid": os.getpid(), "data_dir": str(farm.data_dir), "nodes": nodes, "version": version()}


def _greeting(answer: dict[str, Any]) -> str:
    names = list(answer["nodes"])
    shown = ", ".join(f"{name} ({answer['nodes'][name]})" for name in names[:4])
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return "\n".join(
        [
            f"milepost {answer['version']} serves {answer['data_dir']} (pid {answer['pid']})",
            f"page   {answer['url']}/",
            f"nodes  {shown}{more}",
            "Ctrl-C stops it.",
        ]
    )


# -- run ---------------------------------------------------------------------------------------------------------


class Telling:
    """What happens while a farm works off its queue."""

    def __init__(self, farm: ServedFarm) -> None:
        self._news: queue.SimpleQueue[Recorded] = queue.SimpleQueue()
        self._ended: dict[JobId, str] = {}
        farm.app.listen(self._hear)

    def _hear(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            self._news.put(each)

    def tell(self, say: Callable[[str], None]) -> None:
        """Takes in what has happened since the last time, and says what matters."""
        while True:
            try:
                recorded = self._news.get_nowait()
            except queue.Empty:
                return
            event = recorded.event
            if isinstance(event, e.JobRetried):
                self._ended.pop(event.job_id, None)
            elif isinstance(event, e.JobCompleted | e.JobFailed | e.JobCancelled):
                self._ended[event.job_id] = ENDS[type(event)]
            if isinstance(event, TOLD):
                say(f"{clock(event.at_ms)[11:]}  {plain(sentence(recorded))}")

    def summary(self, left: list[dict[str, Any]]) -> dict[str, Any]:
        """How jobs ended, and which are left that cannot run."""
        outcomes: dict[str, Any] = {
            word: [job_id for job_id, ended in self._ended.items() if ended == word] for word in ENDS.values()
        }
        return outcomes | {"left": [{"job_id": row["job_id"], "name": row["name"], "why": row["why"]} for row in left]}


def _work_off(desk: Desk, farm: ServedFarm, told: Telling, signals: Signals) -> bool:
    """Works until nothing is left that can run; False if it was stopped before that."""
    screen = console(stderr=True)
    status = screen.status(Text("starting")) if screen.is_terminal and not desk.as_json else None

    def say(text: str) -> None:
        if status is None:
            desk.note(text)
        else:
            screen.print(Text(text))

    with status or nullcontext():
        while not signals.asked and not farm.loops.failed.is_set():
            told.tell(say)
            if farm.idle():
                told.tell(say)
                return True
            if status is not None:
                status.update(Text(_standing(farm)))
            signals.pause()
    return False


def _standing(farm: ServedFarm) -> str:
    with farm.app.lock:
        jobs = list(farm.app.farm.jobs.values())
        running = sum(len(job.live) for job in jobs)
        waiting = len([job for job in jobs if job.waiting or job.delayed])
    return f"{running} running, {waiting} jobs with tasks that wait"


def _ran(answer: dict[str, Any]) -> str:
    counts = ", ".join(f"{len(answer[word])} {word}" for word in ENDS.values() if answer[word]) or "nothing to do"
    lines = [f"done: {counts}"]
    if answer["left"]:
        lines.append(f"{len(answer['left'])} left that cannot run now:")
        lines += [f"  {row['job_id']}  {plain(row['name'])}: {plain(row['why'])}" for row in answer["left"][:10]]
    return "\n".join(lines)
