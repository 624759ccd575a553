"""The facts of nodes, clients and of deciding itself as sentences."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from domain import client as c
from domain import node as n
from domain.cycle import CommandRefused, CycleDecided, Evidence, PoliciesAdopted
from domain.decisions import Reserved
from domain.forecasting.promises import ForecastsMade, ForecastsScored, Word
from domain.messages import Event
from domain.observed import ObservedExternally
from domain.policies import Policies
from domain.undo import CommandUndone
from projections.words import because, duration_text, nodes_text, plural, resources_text, time_text


def _registered(event: n.NodeRegistered) -> str:
    return f"Node {event.node_id} was registered with {resources_text(event.capacity)}."


def _capabilities_changed(event: n.NodeCapabilitiesChanged) -> str:
    return f"Node {event.node_id} now has {resources_text(event.capacity)}."


def _online(event: n.NodeOnline) -> str:
    return f"Node {event.node_id} is online."


def _offline(event: n.NodeOffline) -> str:
    return f"Node {event.node_id} was shut down{because(event.why)}"


def _drained(event: n.NodeDrained) -> str:
    return f"Node {event.node_id} was drained and takes no new work{because(event.why)}"


def _undrained(event: n.NodeUndrained) -> str:
    return f"Node {event.node_id} is no longer drained{because(event.why)}"


def _maintenance_started(event: n.NodeMaintenanceStarted) -> str:
    return f"Maintenance of node {event.node_id} began{because(event.why)}"


def _maintenance_ended(event: n.NodeMaintenanceEnded) -> str:
    return f"Maintenance of node {event.node_id} ended."


def _suspected(event: n.NodeSuspected) -> str:
    return f"Node {event.node_id} is suspected: it has been silent for {duration_text(event.silent_ms)}."


def _recovered(event: n.NodeRecovered) -> str:
    return f"Node {event.node_id} is trusted again."


def _node_lost(event: n.NodeLost) -> str:
    return f"Node {event.node_id} was lost{because(event.why)}"


def _quarantined(event: n.NodeQuarantined) -> str:
    return f"Node {event.node_id} was quarantined{because(event.cause)}"


def _stopping(event: n.NodeStopping) -> str:
    return f"Node {event.node_id} was told to power down{because(event.why)}"


def _starting(event: n.NodeStarting) -> str:
    return f"Node {event.node_id} was told to power up{because(event.why)}"


def _retired(event: n.NodeRetired) -> str:
    return f"Node {event.node_id} left the farm for good."


def _client_registered(event: c.ClientRegistered) -> str:
    return f"Client {event.client_id} “{event.name}” was registered with {_shares(event.shares)}."


def _shares_changed(event: c.ClientSharesChanged) -> str:
    return f"Client {event.client_id} now has {_shares(event.shares)}{because(event.why)}"


def _shares(shares: c.Shares) -> str:
    tasks = "" if shares.max_tasks is None else f", at most {shares.max_tasks} tasks at once"
    share = f"{shares.guarantee_percent} % guaranteed, at most {shares.limit_percent} %"
    return f"{share} of the farm{tasks}, tier {shares.tier}{_terms(shares)}"


def _terms(shares: c.Shares) -> str:
    """What is unusual about how it borrows and lends."""
    borrows = "" if shares.borrow_percent == 100 else f", borrowing at most {shares.borrow_percent} %"
    return (borrows if shares.borrow else ", borrowing nothing") + ("" if shares.lend else ", lending nothing")


def _client_suspended(event: c.ClientSuspended) -> str:
    return f"Client {event.client_id} was suspended{because(event.why)}"


def _client_reinstated(event: c.ClientReinstated) -> str:
    return f"Client {event.client_id} is welcome again{because(event.why)}"


def _decided(event: CycleDecided) -> str:
    parts = []
    if event.blocked:
        jobs = plural(sum(blocked.jobs for blocked in event.blocked), "job")
        parts.append(f"why {jobs} in {plural(len(event.blocked), 'queue segment')} cannot start")
    if event.cleared:
        parts.append(f"that {plural(len(event.cleared), 'queue segment')} can go on")
    if event.reserved is not None:
        parts.append(_kept(event.reserved))
    said = " and ".join(parts) or "that nothing is blocked"
    whole = " (a complete record)" if event.keyframe else ""
    return f"The cycle at position {event.position} noted {said}{whole}."


def _kept(reserved: tuple[Reserved, ...]) -> str:
    if not reserved:
        return "that room is kept for nobody any more"
    head = reserved[0]
    return f"that room is kept for {head.job_id} from {time_text(head.start_ms)} on {nodes_text(head.nodes)}"


def _refused(event: CommandRefused) -> str:
    about = f" on {event.entity_id}" if event.entity_id else ""
    more = f" {event.repeated} more like it were not recorded." if event.repeated else ""
    return f"The command {event.command}{about} was refused: {event.message.rstrip('.')}.{more}"


def _undone(event: CommandUndone) -> str:
    changes = plural(event.changes, "change")
    return f"The command {event.command_id} of {event.actor} was undone: {changes}{because(event.why)}"


def _forecast(event: ForecastsMade) -> str:
    counts = Counter(row.word for row in event.rows)
    said = ", ".join([f"{counts[word]} {word}" for word in Word if counts[word]])
    return f"It was forecast when {plural(len(event.rows), 'job')} with a deadline will end: {said}."


def _scored(event: ForecastsScored) -> str:
    late = sum(row.late is True for row in event.rows)
    return f"The forecasts of {plural(len(event.rows), 'job')} were held against their ends: {late} late."


def _adopted(event: PoliciesAdopted) -> str:
    policies = event.policies
    others = [family for family in _UNUSUAL if getattr(policies, family) != getattr(_USUAL, family)]
    named = ", ".join(f"{family} {_named(policies, family)}" for family in ("order", "placement", "backfill", *others))
    return f"Policies version {policies.version} are in force: {named}{because(event.why)}{_evidence(event.evidence)}"


_USUAL = Policies()
_UNUSUAL = ("priority", "estimate", "energy", "sharing", "preemption")
"""Families that are told of only where they are not as on a new farm."""


def _named(policies: Policies, family: str) -> str:
    """The name of a policy, with the one parameter that says which of several it stands for."""
    name, parameters = getattr(policies, family), policies.parameters.get(family, {})
    telling = next((parameters[key] for key in ("current", "reservations") if parameters.get(key)), "")
    return f"{name} ({telling})" if telling else str(name)


def _evidence(measured: tuple[Evidence, ...]) -> str:
    if not measured:
        return ""
    best, *others = measured
    beaten = ", ".join(f"{each.candidate} {each.value:.4g}" for each in others[:3])
    more = f", {len(others) - 3} more" if len(others) > 3 else ""
    least = f"{best.candidate} had the least {best.objective}: {best.value:.4g}"
    return f" Over {plural(best.jobs, 'job')} run again {least} ({beaten}{more})."


def _observed(event: ObservedExternally) -> str:
    """Long values (whole documents) are not for sentences; their names are."""
    name = event.stream_id.removeprefix(f"external-{event.what}-")
    said = [_seen(key, value) for key, value in event.changes.items()] + [f"no {key}" for key in event.forgotten]
    more = f" and {len(said) - 6} more" if len(said) > 6 else ""
    told = ", ".join(said[:6]) or "nothing"
    return f"From outside, {event.what} {name} was seen with {told}{more}{because(event.why)}"


def _seen(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"{key} {text}" if len(text) <= 40 and text.isprintable() else key


SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    n.NodeRegistered: _registered,
    n.NodeCapabilitiesChanged: _capabilities_changed,
    n.NodeOnline: _online,
    n.NodeOffline: _offline,
    n.NodeDrained: _drained,
    n.NodeUndrained: _undrained,
    n.NodeMaintenanceStarted: _maintenance_started,
    n.NodeMaintenanceEnded: _maintenance_ended,
    n.NodeSuspected: _suspected,
    n.NodeRecovered: _recovered,
    n.NodeLost: _node_lost,
    n.NodeQuarantined: _quarantined,
    n.NodeStopping: _stopping,
    n.NodeStarting: _starting,
    n.NodeRetired: _retired,
    c.ClientRegistered: _client_registered,
    c.ClientSharesChanged: _shares_changed,
    c.ClientSuspended: _client_suspended,
    c.ClientReinstated: _client_reinstated,
    CycleDecided: _decided,
    CommandRefused: _refused,
    ForecastsMade: _forecast,
    ForecastsScored: _scored,
    CommandUndone: _undone,
    PoliciesAdopted: _adopted,
    ObservedExternally: _observed,
}
