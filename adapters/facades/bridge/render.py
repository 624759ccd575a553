"""The log of a render farm: what its facade noted, in the words of the core, and read back after a restart.

Every note is recorded twice over: as far as the core has words for it as commands (a submission, a placement, an end),
so that its stories and explanations speak of it; and, field by field where something changed, as observed, because
callers keep states that the core knows no word for. The second is what a farm is read back from.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from itertools import groupby
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters.facades.bridge import names, times
from adapters.facades.bridge.book import Book
from adapters.facades.bridge.desk import Desk, desk_of
from adapters.facades.bridge.jobfacts import JobFacts, JobPaper
from adapters.facades.bridge.jobs import jobs_of
from adapters.facades.bridge.nodes import NodeFacts, nodes_of
from adapters.facades.bridge.render_jobs import Waits
from adapters.facades.bridge.render_reading import restore
from adapters.facades.bridge.render_reasons import record_reasons
from adapters.store.objects import ObjectLog
from application.app import Application
from application.ports import Clock
from domain.client import ChangeShares, RegisterClient, Shares
from domain.job.commands import ReportPartial
from domain.job.values import PlacementReason
from domain.messages import MAX_NAME_CHARS
from domain.node import DrainNode, UndrainNode
from domain.resources import Resources
from render_farm_manager.core.recording import (
    CAPABILITY_FIELDS,
    CLIENT_FIELDS,
    JOB_FIELDS,
    NODE_FIELDS,
    REMEMBERED,
    SCHEDULER,
    Note,
)

if TYPE_CHECKING:
    from render_farm_manager.core.manager import RenderFarmManager

MIB_PER_GB = 1024
FARM_FIELDS = ("energy_mode", "progressive_output_config", "performance_metrics", "resource_allocations")
KINDS = ("job", "node", "client", "farm", "memory")
"""What there is a stream for each of."""
SEAT = (("seat", 1),)
"""A node runs one job at a time."""
EARLIEST, LATEST = datetime(1970, 1, 2), datetime(9000, 1, 1)
"""Deadlines beyond these say no more than that."""
ORDER = "priority-deadline"
"""Higher priorities first, then nearer deadlines."""


class Room(NamedTuple):
    """What a node can take, and how efficient it is rated, 0 to 100."""

    capacity: Resources
    rating: float


class HeldClock:
    """A clock that stands at the moment of a note while that is recorded, and else is another clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at_ms: int | None = None

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return self._clock.now_ms() if self.at_ms is None else self.at_ms


class RenderLog:
    """One farm's notes in the log of an application: a private one in memory, or one that was handed in."""

    def __init__(self, app: Application | None) -> None:
        self._held: HeldClock | None = None
        if app is None:
            self._held = HeldClock(times.ambient_clock())
            app = Application(ObjectLog(), self._held, times.ambient_ids())
        self.app = app
        self._desk: Desk = desk_of(app)
        self._desk.owned = self._held is not None
        self._jobs, self._nodes, self._waits = jobs_of(self._desk), nodes_of(self._desk), Waits(self._desk)
        self._books = {kind: Book(self._desk, f"render-{kind}", "caller") for kind in KINDS}
        self._running: dict[str, str] = {}
        """Where each running job runs, by the caller's ids."""
        self._rooms: dict[str, Room] = {}
        """What each node that is online has."""
        self._drained: set[str] = set()
        self._shares: dict[str, Shares] = {}

    # -- recording -----------------------------------------------------------------------------------------------

    def record(self, notes: Sequence[Note]) -> None:
        """Records notes in their order, those of one moment together."""
        if self._held is None:
            self._record(notes)
            return
        try:
            for at_ms, together in groupby(notes, key=lambda note: note.at_ms):
                self._held.at_ms = at_ms
                self._record(together)
        finally:
            self._held.at_ms = None

    def _record(self, notes: Iterable[Note]) -> None:
        tell = {
            "job": self._job,
            "node": self._node,
            "client": self._client,
            "output": self._output,
            "farm": self._farm,
            "memory": self._memory,
        }
        for note in notes:
            (self._gone if note.state is None else tell[note.kind])(note)
        self._desk.settle()

    def _write(self, note: Note, values: dict[str, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = _plain(values)
        self._books[note.kind].note(note.name, plain, note.actor, note.why)
        return plain

    def _gone(self, note: Note) -> None:
        self._books[note.kind].note(note.name, None, note.actor, note.why or "the farm knows it no longer")
        if note.kind == "node" and note.name not in self._drained:
            self._drain(note.name, "the farm knows it no longer", note.actor)

    def _job(self, note: Note) -> None:
        values = dict(zip(JOB_FIELDS, note.state, strict=True))
        self._write(note, values)
        facts = _facts(note.name, values)
        self._jobs.reason = self._reason(note.policy, values) if note.policy else None
        if facts.status == "running" and facts.node is not None:
            self._running[note.name] = facts.node
        else:
            self._running.pop(note.name, None)
        self._waits.about(note.name, facts.status, tuple(map(str, values["dependencies"] or ())))
        self._jobs.see(facts, lambda: _paper(values), note.actor, note.why)
        self._jobs.reason = None
        self._waits.seen(note.name, note.actor)

    def _reason(self, policy: str, values: dict[str, Any]) -> PlacementReason:
        """Why a cycle started a job where it did: which rule, how good the node is, and among how many."""
        need, occupied = _needs(values), set(self._running.values())
        able = [name for name, room in self._rooms.items() if name not in occupied and room.capacity.fits(need)]
        room = self._rooms.get(values["assigned_node_id"])
        score = 0.0 if room is None else min(1.0, max(0.0, room.rating / 100))
        return PlacementReason(policy=policy, order=ORDER, score=score, candidates=max(1, len(able)))

    def _node(self, note: Note) -> None:
        *fields, has, history = note.state
        values = dict(zip(NODE_FIELDS, fields, strict=True))
        capabilities = dict(zip(CAPABILITY_FIELDS, has, strict=True))
        self._write(note, {**values, "capabilities": capabilities, "performance_history": dict(history)})
        word, capacity = _word(values["status"]), _capacity(capabilities)
        if word == "online":
            self._rooms[note.name] = Room(capacity, _rating(values["power_efficiency_rating"]))
        else:
            self._rooms.pop(note.name, None)
        if word == "offline" and note.name in self._running.values():
            self._drain(note.name, "it was set offline while it runs a job", note.actor)
            return
        facts = NodeFacts(
            name=note.name,
            status=word,
            capacity=capacity,
            attributes=(("specialized_for", tuple(capabilities["specialized_for"])),),
            error=str(values["last_error"] or ""),
        )
        self._nodes.see(facts, note.actor)
        if note.name in self._drained:
            self._drained.discard(note.name)
            self._desk.do(UndrainNode(node_id=names.node_id(note.name)), note.actor)

    def _drain(self, name: str, why: str, actor: str) -> None:
        if self._nodes.last(name) is not None:
            self._drained.add(name)
            self._desk.do(DrainNode(node_id=names.node_id(name), why=why), actor)

    def _output(self, note: Note) -> None:
        """Unfinished pictures of the attempt that runs."""
        attempt, job_id = self._jobs.attempt_of(note.name), names.job_id(note.name)
        if attempt is None:
            return
        for quality, path in note.state:
            shown = ReportPartial(job_id=job_id, attempt=attempt, path=str(path), quality=int(quality))
            self._desk.do(shown, note.actor)

    def _memory(self, note: Note) -> None:
        """What the parts of the farm remember of a job."""
        self._write(note, dict(zip(REMEMBERED, note.state, strict=True)))

    def _farm(self, note: Note) -> None:
        """What belongs to the farm as a whole; the scheduler says so at the end of a cycle."""
        self._write(note, dict(zip(FARM_FIELDS, note.state, strict=True)))
        if note.actor == SCHEDULER:
            self._desk.settle()
            record_reasons(self.app, note.actor)

    def _client(self, note: Note) -> None:
        *fields, model = note.state
        values = dict(zip(CLIENT_FIELDS, fields, strict=True))
        self._write(note, {**values, "model": model})
        self._jobs.client_is_known(note.name)
        guarantee, limit = (max(0, min(100, int(values[name]))) for name in ("guaranteed_resources", "max_resources"))
        shares = Shares(min(guarantee, limit), limit, _word(values["sla_tier"]))
        known = self._shares.get(note.name)
        if known == shares:
            return
        self._shares[note.name] = shares
        client_id, less = names.client_id(note.name), Shares(0, limit, shares.tier)
        if known is not None or client_id in self.app.farm.clients:
            changed, unheeded = (ChangeShares(client_id=client_id, shares=each) for each in (shares, less))
            self._desk.do(changed, note.actor, (unheeded,))
        else:
            name = str(values["name"])[:MAX_NAME_CHARS]
            registered, bare = (RegisterClient(client_id=client_id, name=name, shares=each) for each in (shares, less))
            self._desk.do(registered, note.actor, (bare,))

    # -- reading back --------------------------------------------------------------------------------------------

    def restore(self, farm: "RenderFarmManager") -> None:
        """Fills a manager with what the log knows of its farm, and takes up where the log stands."""
        restore(farm, self._books)
        for name, job in farm.jobs.items():
            self._waits.know(name, _word(job.status), tuple(job.dependencies))
            if job.status == "running" and job.assigned_node_id is not None:
                self._running[name] = job.assigned_node_id
        known = self.app.farm.nodes
        self._drained = {name for name in farm.nodes if (node := known.get(names.node_id(name))) and node.draining}


def folded(app: Application) -> dict[str, dict[str, dict[str, Any]]]:
    """What the log of an application says of a render farm: fields by name, by kind and id; for comparisons."""
    books = {kind: Book(Desk(app), f"render-{kind}", "caller") for kind in KINDS}
    return {kind: book.load() for kind, book in books.items()}


def _facts(name: str, values: dict[str, Any]) -> JobFacts:
    """What is watched about a job; values that make no sense as such stand in its own stream only."""
    progress, node, errors, deadline = (
        values[key] for key in ("progress", "assigned_node_id", "error_count", "deadline")
    )
    return JobFacts(
        name=name,
        status=_word(values["status"]),
        priority=_word(values["priority"]),
        progress=progress if isinstance(progress, int | float) and isfinite(progress) else 0.0,
        node=None if node is None else str(node),
        deadline=min(max(deadline, EARLIEST), LATEST) if _is_local(deadline) else None,
        errors=errors if isinstance(errors, int) else 0,
    )


def _is_local(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None


def _needs(values: dict[str, Any]) -> Resources:
    return Resources(
        millicores=_amount(values["cpu_requirements"], 1000),
        memory_mib=_amount(values["memory_requirements_gb"], MIB_PER_GB),
        gpus=1 if values["requires_gpu"] else 0,
        named=SEAT,
    )


def _paper(values: dict[str, Any]) -> JobPaper:
    return JobPaper(
        title=str(values["name"]),
        client=str(values["client_id"]),
        kind=str(values["job_type"]),
        resources=_needs(values),
    )


def _capacity(capabilities: dict[str, Any]) -> Resources:
    return Resources(
        millicores=_amount(capabilities["cpu_cores"], 1000),
        memory_mib=_amount(capabilities["memory_gb"], MIB_PER_GB),
        gpus=_amount(capabilities["gpu_count"], 1) if capabilities["gpu_model"] else 0,
        storage_mib=_amount(capabilities["storage_gb"], MIB_PER_GB),
        named=SEAT,
    )


def _amount(value: Any, unit: int) -> int:
    return max(0, round(value * unit)) if isinstance(value, int | float) else 0


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _rating(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _word(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _plain(value: Any) -> Any:
    """A caller's value as JSON has it; what JSON has no word for as text."""
    if isinstance(value, dict):
        return {str(key): each if type(each) in _PLAIN else _plain(each) for key, each in value.items()}
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)
