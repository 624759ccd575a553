"""What a manager's calls did, noted at once and told to the core when somebody could look.

A note is the state of one object at one moment, a plain tuple. Nobody can look at the log of a private application but
through the manager's `app`, so notes wait until then, or until there are many; an application that was handed in is
told at the end of every call. Either way each fact is recorded with the time and in the order in which it happened.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from pydantic import BaseModel

from adapters.clock import SystemClock
from adapters.facades.bridge import times, wallclock
from render_farm_manager.core.models import (
    Client,
    NodeCapabilities,
    RenderClient,
    RenderJob,
    RenderNode,
)

if TYPE_CHECKING:
    from adapters.facades.bridge.render import RenderLog
    from application.app import Application
    from render_farm_manager.core.manager import RenderFarmManager

CALLER = "caller"
SCHEDULER = "scheduler"
MOST_NOTES = 10_000
"""From so many notes on each call tells twice as many of the oldest as it made, so that memory stays small and no call
has to tell everything."""
OUTSIDE = "changed by the caller between two calls"

JOB_FIELDS = (*(name for name in RenderJob.model_fields if name != "dependencies"), "dependencies")
NODE_FIELDS = ("id", "name", "status", "power_efficiency_rating", "current_job_id", "last_error", "uptime_hours")
CAPABILITY_FIELDS = (*(name for name in NodeCapabilities.model_fields if name != "specialized_for"), "specialized_for")
CLIENT_FIELDS = ("id", "name", "sla_tier", "guaranteed_resources", "max_resources")
REMEMBERED = {
    "promoted": ("scheduler", "_promoted"),
    "effective_priority": ("scheduler", "_effective_priorities"),
    "inherited": ("scheduler", "_noted"),
    "scheduled_outputs": ("progressive_renderer", "scheduled_outputs"),
    "generated_outputs": ("progressive_renderer", "generated_outputs"),
}
"""What parts of a farm remember of single jobs: in which attribute of which part."""
_job, _node, _capabilities = itemgetter(*JOB_FIELDS), itemgetter(*NODE_FIELDS), itemgetter(*CAPABILITY_FIELDS)
_client = attrgetter(*CLIENT_FIELDS)


class Note(NamedTuple):
    """One object as it was at one moment."""

    at_ms: int
    kind: str
    """job, node, client, farm, memory, or output."""
    name: str
    state: Any
    """None when it is gone."""
    actor: str = CALLER
    why: str = ""
    policy: str = ""
    """What placed a job."""


_new_note: Callable[[tuple[Any, ...]], Note] = partial(tuple.__new__, Note)
"""Without the Python function behind a NamedTuple's name: there is a note for every call."""


def job_state(job: RenderJob) -> tuple[Any, ...]:
    """All fields of a job, the dependencies last, as they are now."""
    try:
        state: tuple[Any, ...] = _job(job.__dict__)
    except (AttributeError, KeyError):  # an object of the caller that only looks like a job
        state = tuple([getattr(job, name, None) for name in JOB_FIELDS])
    return (*state[:-1], tuple(state[-1])) if state[-1] else state


def node_state(node: RenderNode) -> tuple[Any, ...]:
    """All fields of a node, its capabilities and its history last, as they are now."""
    try:
        own: tuple[Any, ...] = _node(node.__dict__)
        has: tuple[Any, ...] = _capabilities(node.capabilities.__dict__)
    except (AttributeError, KeyError):  # an object of the caller that only looks like a node
        own = tuple([getattr(node, name, None) for name in NODE_FIELDS])
        has = tuple([getattr(node.capabilities, name, None) for name in CAPABILITY_FIELDS])
    history = node.performance_history
    return (*own, (*has[:-1], tuple(has[-1] or ())), tuple(history.items()) if history else ())


def client_state(client: Client | RenderClient) -> tuple[Any, ...]:
    """All fields of a client, and which of the two models it is."""
    return (*_client(client), "render_client" if isinstance(client, RenderClient) else "client")


def _dump(model: Any) -> Any:
    """The fields of a model, or nothing for what is none."""
    return model.model_dump(warnings=False) if isinstance(model, BaseModel) else None


def farm_state(farm: "RenderFarmManager") -> tuple[Any, ...]:
    """What belongs to the farm as a whole: mode, configuration, figures, shares."""
    allocations: Any = farm.resource_allocations
    shares = allocations if isinstance(allocations, Mapping) else {}
    return (
        getattr(farm.energy_optimizer, "current_energy_mode", None),
        _dump(farm.progressive_output_config),
        _dump(farm.performance_metrics),
        {name: _dump(each) for name, each in shares.items()},
    )


def memories(farm: "RenderFarmManager") -> dict[str, list[Any]]:
    """What the parts of a farm remember of each job; parts of a caller's own may remember nothing."""
    found: dict[str, list[Any]] = {}
    for at, (part, attribute) in enumerate(REMEMBERED.values()):
        known = getattr(getattr(farm, part), attribute, None)
        for job_id, value in known.items() if isinstance(known, dict) else ():
            found.setdefault(job_id, [None] * len(REMEMBERED))[at] = _frozen(value)
    return found


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return tuple(value.items()) if isinstance(value, dict) else value


_STATES: dict[str, Callable[[Any], tuple[Any, ...]]] = {"job": job_state, "node": node_state, "client": client_state}


class Recorder:
    """Notes what happens to the objects of one manager."""

    def __init__(self, app: "Application | None") -> None:
        self._given = app
        self._notes: list[Note] = []
        self._before = 0
        """How many notes there were at the end of the last call."""
        self._last: dict[str, dict[str, Any]] = {kind: {} for kind in ("job", "node", "client", "farm", "memory")}
        self._log: RenderLog | None = None
        self._clock = None if app is None or type(app.clock) is SystemClock else app.clock

    def open(self, farm: "RenderFarmManager") -> None:
        """Reads back what the application that was handed in knows of a render farm."""
        self._farm_of = ref(farm)
        if self._given is not None:
            self._told().restore(farm)
            for kind, known in (("job", farm.jobs), ("node", farm.nodes), ("client", farm.clients)):
                self._last[kind] = {name: _STATES[kind](each) for name, each in known.items()}
            self._last["farm"]["render"] = farm_state(farm)
            self._last["memory"] = dict(memories(farm))

    @property
    def _farm(self) -> "RenderFarmManager":
        """The manager, which owns this: held weakly, so that both go at once when nobody needs them."""
        farm = self._farm_of()
        assert farm is not None
        return farm

    # -- time ----------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time of the caller, by the clock of the application."""
        return wallclock.now() if self._clock is None else times.local(self._clock.now_ms())

    def _now_ms(self) -> int:
        return wallclock.now_ms() if self._clock is None else self._clock.now_ms()

    # -- what a call did -----------------------------------------------------------------------------------------

    def job(self, job: RenderJob, why: str = "", actor: str = CALLER, policy: str = "") -> None:
        """A job as a call left it."""
        self._note("job", job.id, job_state(job), actor, why, policy)

    def placed(self, job: RenderJob, policy: str) -> None:
        """A job that a cycle started."""
        self._note("job", job.id, job_state(job), SCHEDULER, "", policy)

    def node(self, node: RenderNode, why: str = "") -> None:
        """A node as a call left it."""
        self._note("node", node.id, node_state(node), CALLER, why)

    def client(self, client: Client | RenderClient, why: str = "") -> None:
        """A client as a call left it."""
        self._note("client", client.id, client_state(client), CALLER, why)

    def outputs(self, job_id: str, made: Any) -> None:
        """Unfinished pictures of a job that a cycle made: (quality, path) each."""
        self._notes.append(Note(self._now_ms(), "output", job_id, tuple(made), SCHEDULER))

    def gone(self, kind: str, name: str) -> None:
        """Something that the manager knows no longer."""
        self._last[kind].pop(name, None)
        self._notes.append(Note(self._now_ms(), kind, name, None))

    def farm(self, actor: str = CALLER) -> None:
        """What belongs to the farm as a whole, as a call left it."""
        self._note("farm", "render", farm_state(self._farm), actor, "")

    def _note(self, kind: str, name: str, state: Any, actor: str, why: str, policy: str = "") -> None:
        self._last[kind][name] = state
        self._notes.append(_new_note((self._now_ms(), kind, name, state, actor, why, policy)))

    # -- what the caller did ---------------------------------------------------------------------------------------

    def look_at(self, job: RenderJob | None = None, node: RenderNode | None = None) -> None:
        """Notes what the caller changed about the objects of a call before it."""
        if job is not None:
            state = job_state(job)
            if self._last["job"].get(job.id) != state:
                self._note("job", job.id, state, CALLER, OUTSIDE)
        if node is not None:
            state = node_state(node)
            if self._last["node"].get(node.id) != state:
                self._note("node", node.id, state, CALLER, OUTSIDE)

    def _look_at_farm(self) -> None:
        state = farm_state(self._farm)
        if self._last["farm"].get("render") != state:
            self._note("farm", "render", state, CALLER, "")

    def _look_at_memories(self, actor: str = CALLER) -> None:
        last, known = self._last["memory"], memories(self._farm)
        for name, state in known.items():
            if last.get(name) != state:
                self._note("memory", name, state, actor, "")
        if len(last) != len(known):
            for name in [name for name in last if name not in known]:
                self.gone("memory", name)

    def look(self, actor: str = CALLER, why: str = OUTSIDE) -> None:
        """Notes what is different about any object since it was noted last. O(objects)."""
        farm = self._farm
        for kind, known in (("client", farm.clients), ("node", farm.nodes), ("job", farm.jobs)):
            last, state_of = self._last[kind], _STATES[kind]
            for name, each in known.items():
                state = state_of(each)
                if last.get(name) != state:
                    self._note(kind, name, state, actor, why)
            if len(last) != len(known):
                for name in [name for name in last if name not in known]:
                    self.gone(kind, name)

    def cycle(self) -> None:
        """Notes what a cycle changed beyond its placements."""
        self.look(SCHEDULER, "")
        self._look_at_memories(SCHEDULER)
        self.farm(SCHEDULER)

    # -- telling -------------------------------------------------------------------------------------------------

    def done(self) -> None:
        """The end of a call."""
        if self._given is not None:
            self._look_at_farm()
            self._look_at_memories()
            self.tell()
            return
        fresh = len(self._notes) - self._before
        if len(self._notes) > MOST_NOTES:
            self.tell(2 * max(1, fresh))
        self._before = len(self._notes)

    def tell(self, most: int | None = None) -> None:
        """Records notes in the log, the oldest first: all, or so many."""
        notes = self._notes[:most]
        del self._notes[:most]
        if notes:
            self._told().record(notes)

    def _told(self) -> "RenderLog":
        if self._log is None:
            from adapters.facades.bridge.render import RenderLog  # noqa: PLC0415 (loads the core, at the first look)

            self._log = RenderLog(self._given)
        return self._log

    @property
    def app(self) -> "Application":
        """The application, told of everything."""
        self.look()
        self._look_at_farm()
        self._look_at_memories()
        self.tell()
        return self._told().app
