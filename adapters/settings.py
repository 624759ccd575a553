"""What a farm's operator decides once: `milepost.toml` in the data directory, and variables that come before it.

Every setting of a single value can be given as MILEPOST_ and its place, such as MILEPOST_NODE_COUNT for `node_count`
and MILEPOST_TIMING_LEASE_MS for `lease_ms` in `[timing]`. Unknown keys of the file are mistakes, not extensions.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeGuard, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import replace

from adapters.executors.machine import LocalNode, machine_nodes
from adapters.importers.figures import HourPrice, WakeSeconds, Watts, figure_attributes, figures_problem
from adapters.importers.tariffs import read_tariff
from adapters.plugins import load_plugins
from application.watchdog import Timing
from domain.errors import BadInput, PolicyInvalid
from domain.messages import SAFE_ID
from domain.policies import (
    ClientPolicies,
    Policies,
    builtin,  # noqa: F401 (importing them makes them known by name)
)
from domain.resources import Resources, named_amounts

FILE_NAME = "milepost.toml"
PREFIX = "MILEPOST_"
MAX_FILE_BYTES = 1 << 20

DEPTH, RESERVATIONS, MAX_RESERVATIONS = "depth", "reservations", 1_000_000
"""A whole number for backfill stands for this policy with so many reservations."""

S = TypeVar("S")
Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
_TIMING = Timing()
Millis = Annotated[int, msgspec.Meta(ge=1, le=7 * 86_400_000)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class NodeSettings(Section, frozen=True, kw_only=True):
    """What a node has; None means an equal part of what this machine has."""

    cores: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] | None = None
    memory_mib: Amount | None = None
    gpus: Amount | None = None
    storage_mib: Amount = 0
    network_mbps: Amount = 0
    named: dict[str, Amount] = {}
    """Licences, FPGAs and the like: how many of each the node has."""
    attributes: dict[str, tuple[str, ...]] = {}
    """Beside those found on this machine; the same name replaces."""
    watts_idle: Watts | None = None
    """What it draws while it is on and does nothing."""
    watts_peak: Watts | None = None
    """What it draws in full use."""
    wake_s: WakeSeconds | None = None
    """How long it takes from its power-up until it takes work; two minutes if nothing is said."""
    price_per_h: HourPrice | None = None
    """What it costs beside energy for each hour in which it is on, in the tariff's currency."""

    def node(self, share: LocalNode, node_id: str = "") -> LocalNode:
        """The node that has all this, and of what is not said here the given share of the machine."""
        capacity = Resources(
            millicores=share.capacity.millicores if self.cores is None else round(self.cores * 1000),
            memory_mib=share.capacity.memory_mib if self.memory_mib is None else self.memory_mib,
            gpus=share.capacity.gpus if self.gpus is None else self.gpus,
            storage_mib=self.storage_mib,
            network_mbps=self.network_mbps,
            named=named_amounts(self.named),
        )
        attributes = {**share.attributes, **figure_attributes(self), **self.attributes}
        return LocalNode(node_id or share.node_id, capacity, attributes)


class TimingSettings(Section, frozen=True, kw_only=True):
    """How patient the farm is with its nodes; see `application.watchdog.Timing`."""

    lease_ms: Millis = _TIMING.lease_ms
    margin_ms: Millis = _TIMING.margin_ms
    suspect_ms: Millis = _TIMING.suspect_ms
    respawn_ms: Annotated[int, msgspec.Meta(ge=-1, le=7 * 86_400_000)] = _TIMING.respawn_ms


class ClientPolicySettings(Section, frozen=True, kw_only=True):
    """What differs for the jobs of one client; see `domain.policies.ClientPolicies`."""

    priority: str | None = None
    estimate: str | None = None
    placement: str | None = None
    parameters: dict[str, dict[str, Any]] = {}


class PolicySettings(Section, frozen=True, kw_only=True):
    """Which rules plan the farm; None leaves what the farm follows already."""

    order: str | None = None
    priority: str | None = None
    estimate: str | None = None
    filters: tuple[str, ...] | None = None
    placement: str | None = None
    backfill: str | Annotated[int, msgspec.Meta(ge=1, le=MAX_RESERVATIONS)] | None = None
    """A name, or how many blocked jobs hold a reservation."""
    parameters: dict[str, dict[str, Any]] | None = None
    clients: dict[str, ClientPolicySettings] | None = None
    """What differs for some clients, by their ids."""
    energy: str | None = None
    sharing: str | None = None
    preemption: str | None = None
    tariff: dict[str, Any] | None = None
    """What energy costs, as in a tariff file; see `adapters.importers.tariffs`."""

    def over(self, policies: Policies) -> Policies:
        """These policies where they are given, the others as they are; PolicyInvalid if that cannot be.

        An answer that changes has no parameters but those given; so has one of which some are given.
        """
        asdict = msgspec.structs.asdict
        said = {name: value for name, value in asdict(self).items() if value is not None}
        if self.clients is not None:
            said["clients"] = {name: ClientPolicies(**asdict(own)) for name, own in self.clients.items()}
        if self.tariff is not None:
            said["tariff"] = read_tariff(self.tariff, "tariff.")
        parameters = self.parameters or {}
        if str(self.backfill).isdecimal():  # from a variable it comes as text
            said["backfill"] = DEPTH
            parameters = {**parameters, "backfill": {RESERVATIONS: int(str(self.backfill))}}
        changed = {"filter" if key == "filters" else key for key in said if said[key] != getattr(policies, key)}
        kept = {family: own for family, own in policies.parameters.items() if family not in changed}
        adopted = replace(policies, **said | {"parameters": kept | parameters})
        adopted.check()
        return adopted


class Settings(Section, frozen=True, kw_only=True):
    """Everything that can be set."""

    node_count: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 1
    """How many equal nodes this machine is divided into: `node-1`, `node-2`, …"""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8722
    """Where `milepost serve` listens on 127.0.0.1; 0 takes any port that is free."""
    node: NodeSettings = NodeSettings()
    """What each of the equal nodes has."""
    named_nodes: dict[str, NodeSettings] = {}
    """Further nodes by name."""
    power_hook: str = ""
    """A command that is run as `COMMAND off NODE` and `COMMAND on NODE` when a node is powered down and up."""
    timing: TimingSettings = TimingSettings()
    policies: PolicySettings = PolicySettings()

    def nodes(self) -> tuple[LocalNode, ...]:
        """The nodes that this machine shall be, equal ones first."""
        equal = machine_nodes(self.node_count) if self.node_count else ()
        shares = {node_id: machine_nodes(1)[0] for node_id in self.named_nodes}
        return (
            *(self.node.node(share) for share in equal),
            *(self.named_nodes[node_id].node(share, node_id) for node_id, share in shares.items()),
        )

    def watchdog_timing(self) -> Timing:
        """The watchdog's patience."""
        return msgspec.convert(msgspec.to_builtins(self.timing), Timing)


def load(data_dir: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of a data directory; BadInput names the file or variable, the key, and what is wrong.

    Policies of plug-ins are known from then on.
    """
    load_plugins()
    path = data_dir / FILE_NAME
    merged = _read(path)
    for place, kind, name in _variables(Settings):
        if name in environ:
            _put(merged, place, _from_variable(name, environ[name], kind))
    settings = _convert(merged, str(path))
    _check(settings, str(path))
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise BadInput(f"{path}: larger than {MAX_FILE_BYTES} bytes, which no settings are")
        found = tomllib.loads(content.decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not TOML: {error}") from error
    _refuse_unknown(found, Settings, str(path), "")
    _convert(found, str(path))
    return found


def _refuse_unknown(found: Mapping[str, Any], kind: type[Section], path: str, place: str) -> None:
    hints = get_type_hints(kind)
    for key, value in found.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(hints)}"
            raise BadInput(f"{path}: there is no setting {place + key!r}; {hint}")
        for inner_kind, inner, inner_place in _sections(hints[key], value, place + key):
            _refuse_unknown(inner, inner_kind, path, f"{inner_place}.")


def _sections(hint: Any, value: Any, place: str) -> list[tuple[type[Section], dict[str, Any], str]]:
    """The tables that a key holds: one, or several by name."""
    if not isinstance(value, dict):
        return []
    if _is_section(hint):
        return [(hint, value, place)]
    named = next((each for each in (hint, *get_args(hint)) if get_origin(each) is dict), None)
    kind = None if named is None else get_args(named)[1]
    if not _is_section(kind):
        return []
    return [(kind, each, f"{place}.{name}") for name, each in value.items() if isinstance(each, dict)]


def _is_section(hint: Any) -> TypeGuard[type[Section]]:
    return isinstance(hint, type) and issubclass(hint, Section)


def _convert(merged: dict[str, Any], path: str) -> Settings:
    named = merged.get("named_nodes")
    if isinstance(named, dict):  # one by one: the library's place for a value of a mapping does not name its key
        for name, value in named.items():
            _converted(value, NodeSettings, path, f"named_nodes.{name}.")
    return _converted(merged, Settings, path, "")


def _converted(value: Any, kind: type[S], path: str, place: str) -> S:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at ")
        key = f"{place}{where.strip('`').removeprefix('$').removeprefix('.')}".rstrip(".")
        raise BadInput(f"{path}: {key or 'the whole file'}: {problem[:1].lower()}{problem[1:]}") from error


def _check(settings: Settings, path: str) -> None:
    if not settings.node_count and not settings.named_nodes:
        raise BadInput(f"{path}: node_count is 0 and there are no named_nodes, so there is no node at all")
    for node_id in settings.named_nodes:
        if SAFE_ID.fullmatch(node_id) is None:
            raise BadInput(f"{path}: named_nodes.{node_id}: an id is plain letters, digits, `_.@+-`")
        if re.fullmatch(r"node-\d+", node_id) and settings.node_count >= int(node_id[5:]) > 0:
            raise BadInput(f"{path}: named_nodes.{node_id}: one of the {settings.node_count} equal nodes has that name")
    timing = settings.timing
    if timing.suspect_ms > timing.lease_ms:
        raise BadInput(
            f"{path}: timing.suspect_ms ({timing.suspect_ms}) must not exceed timing.lease_ms ({timing.lease_ms})"
        )
    nodes = {"node": settings.node} | {f"named_nodes.{name}": node for name, node in settings.named_nodes.items()}
    for place, node in nodes.items():
        if figures_problem(node):
            raise BadInput(f"{path}: {place}: {figures_problem(node)}")
    try:
        settings.policies.over(Policies())
    except (BadInput, PolicyInvalid) as error:
        raise BadInput(f"{path}: policies: {error.fields.get('problem', error.message)}") from error


def _variables(kind: type[Section], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """(place, type, variable) of every setting that is a single value."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        here = (*place, name)
        if _is_section(hint):
            yield from _variables(hint, here)
        elif "dict[" not in str(hint) and "tuple[" not in str(hint):
            yield here, hint, PREFIX + "_".join(here).upper()


def _from_variable(name: str, text: str, kind: Any) -> Any:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"variable {name}: {error}") from error


def _put(merged: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for name in place[:-1]:
        merged = merged.setdefault(name, {})
    merged[place[-1]] = value


EXAMPLE = """\
# Settings of a Milepost farm, all of them, each with its default. Take away a `#` to change one, then start the server
# again. An environment variable comes before this file: MILEPOST_NODE_COUNT, MILEPOST_TIMING_LEASE_MS and so on.

# How many equal nodes this machine is divided into: node-1, node-2, ...; 0 for none but the named ones below.
#node_count = 1

# Where `milepost serve` listens on 127.0.0.1; 0 takes any port that is free.
#port = 8722

# A command that switches the power of machines, run as COMMAND off NODE and COMMAND on NODE; none switches nothing.
#power_hook = ""

[node]
# What each of the equal nodes has. Cores, memory and GPUs that are left out are an equal part of this machine's.
#cores = 2.0
#memory_mib = 4096
#gpus = 0
#storage_mib = 0
#network_mbps = 0
# Licences, FPGAs and the like, by name: how many of each.
#named = { houdini = 1 }
# Attributes that jobs can ask for (`milepost submit --attr`), beside those found on this machine.
#attributes = { "render.engine" = ["cycles", "karma"] }
# Watts that it draws while it is on and does nothing, and in full use; left out, it counts as drawing nothing.
#watts_idle = 90
#watts_peak = 350
# Seconds from its power-up until it takes work.
#wake_s = 120
# What each hour in which it is on costs beside energy, in the tariff's currency.
#price_per_h = 0.0

# Further nodes, each by name, with the same keys; what is left out is what the whole machine has.
#[named_nodes.gpu-1]
#cores = 4.0
#gpus = 1

[timing]
# Milliseconds. How long a node may be silent before it stops its attempts,
#lease_ms = 10000
# what is added to that for messages under way,
#margin_ms = 2000
# how long it may be silent before nothing new is placed there,
#suspect_ms = 3000
# and how long a lost node stays down before it is started again; -1 for good.
#respawn_ms = 2000

[policies]
# Which rules plan the farm. Left out, the farm goes on with those that it follows already.
# In which order waiting jobs are looked at: priority, fifo, edf, multifactor, ...
#order = "priority"
# How urgent a job is by now: given (what a person said), ageing, ...
#priority = "given"
# How long a job will run: requested (its walltime), predicted.
#estimate = "requested"
# What must agree to a node, all of them.
#filters = []
# Which of the nodes that fit: best-fit, ...
#placement = "best-fit"
# What may start while a job before it waits: greedy (whatever fits), none, easy, conservative, or a whole number: how
# many blocked jobs hold a reservation.
#backfill = "greedy"
# Parameters of policies that have some, by family.
#parameters = { order = {} }
# What differs for some clients: their priority, estimate, placement and the parameters of these.
#clients = {}
# What is given up to save energy: performance, balanced, efficiency, night-savings.
#energy = "performance"
# What energy costs: price, currency, utc_offset, windows with from, until, price and days.
#tariff = { price = 0.0, currency = "", utc_offset = "+00:00", windows = [] }
# What a client's guarantee is worth: none, lending.
#sharing = "none"
# Who may be interrupted for whom: none, requeue, suspend, checkpoint.
#preemption = "none"
"""
"""What `milepost init` writes."""
