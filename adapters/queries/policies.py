"""Questions about policies: which set is in force, or was, and how it came to be so; from the log."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import asdict

from adapters.importers import tariffs
from adapters.importers.edits import ANSWERS, differences, differing, parameters_of
from adapters.queries.answers import (
    ClientPolicyLine,
    EvidenceLine,
    PoliciesAnswer,
    PolicyChange,
    PolicyLine,
    PolicySetLine,
    PolicySetsAnswer,
)
from adapters.queries.lines import plain
from adapters.queries.sources import Sources, rows_wanted
from domain.cycle import POLICY_STREAM, PoliciesAdopted
from domain.messages import Recorded
from domain.policies import FAMILIES, PER_CLIENT, Policies


def show_policies(sources: Sources, *, at: str = "") -> PoliciesAnswer:
    """The set of policies in force, now or then: answers, parameters, what differs for clients, the tariff."""
    point = sources.point(at)
    *_, (policies, line) = _sets(sources, point.position)
    tariff = policies.tariff
    return PoliciesAnswer(
        set=line,
        families=list(_families(policies)),
        clients=list(_clients(policies)),
        tariff=tariffs.table_of(tariff),
        price=tariff.price_at(point.at_ms),
        next_price_ms=tariff.next_change_ms(point.at_ms),
        position=point.position,
        at_ms=point.at_ms,
    )


def list_policy_sets(sources: Sources, *, limit: int = 100, offset: int = 0) -> PolicySetsAnswer:
    """All sets of policies that were in force, the newest first: since when, by whom, why, and what changed."""
    limit, position = rows_wanted(limit, offset, least=0), sources.log.position()
    lines = [line for _, line in _sets(sources, position)][::-1]
    return PolicySetsAnswer(rows=lines[offset : offset + limit], total=len(lines), position=position)


def _sets(sources: Sources, position: int) -> Iterator[tuple[Policies, PolicySetLine]]:
    """Every set up to a position, the one from the start first."""
    before = Policies()
    yield before, _start(before)
    for recorded in sources.log.stream(POLICY_STREAM):
        if recorded.position <= position and isinstance(recorded.event, PoliciesAdopted):
            yield recorded.event.policies, _adopted(recorded, recorded.event, before)
            before = recorded.event.policies


def _start(policies: Policies) -> PolicySetLine:
    return PolicySetLine(
        version=policies.version,
        since_ms=None,
        actor="",
        command_id="",
        position=0,
        why="",
        evidence=[],
        changes=[],
        policies=plain(policies),
    )


def _adopted(recorded: Recorded, event: PoliciesAdopted, before: Policies) -> PolicySetLine:
    return PolicySetLine(
        version=event.policies.version,
        since_ms=event.at_ms,
        actor=recorded.meta.actor,
        command_id=recorded.meta.command_id,
        position=recorded.position,
        why=event.why or recorded.meta.cause,
        evidence=[EvidenceLine(**asdict(each)) for each in event.evidence],
        changes=[PolicyChange(**each._asdict()) for each in differences(before, event.policies)],
        policies=plain(event.policies),
    )


def _families(policies: Policies) -> Iterator[PolicyLine]:
    for family in ANSWERS:
        yield _line(family, getattr(policies, family), policies.parameters.get(family, {}))
    for name in policies.filters:
        yield _line("filter", name, policies.parameters.get("filter", {}).get(name, {}))


def _clients(policies: Policies) -> Iterator[ClientPolicyLine]:
    for client_id, own in sorted(policies.clients.items()):
        for family in PER_CLIENT:
            name = getattr(own, family)
            if name is not None:
                line = _line(family, name, own.parameters.get(family, {}))
                yield ClientPolicyLine(client_id=client_id, **asdict(line))


def _line(family: str, name: str, given: dict[str, Any]) -> PolicyLine:
    kind = FAMILIES[family].get(name)
    usual = {} if kind is None else parameters_of(kind)
    return PolicyLine(family=family, name=name, parameters=usual | given, differing=differing(kind, given))
