"""The question of usage: what was used between two moments, whose, where, and what it cost."""

from enum import StrEnum

from msgspec.structs import asdict

from adapters.queries.answers import UsageAnswer, UsageLine, UsedAnswer
from adapters.queries.lines import shared
from adapters.queries.resolve import Kind, id_of
from adapters.queries.sources import Sources
from projections import used
from projections.usage import stored_bill
from projections.used import Used, Which


class By(StrEnum):
    """What a row of the answer stands for."""

    CLIENT = "client"
    NODE = "node"
    DAY = "day"
    HOUR = "hour"


def show_usage(
    sources: Sources, *, since: str = "", until: str = "", client: str = "", node: str = "", by: By = By.CLIENT
) -> UsageAnswer:
    """Time, energy and money used between two moments, by client, node, day or hour: from the first event until now."""
    to_ms = sources.point(until).at_ms if until else sources.clock.now_ms()
    from_ms = sources.point(since).at_ms if since else min(sources.first_ms(to_ms), to_ms - 1)
    which = Which(
        id_of(sources, Kind.CLIENT, client).id if client else None,
        id_of(sources, Kind.NODE, node).id if node else None,
    )
    with sources.rows() as (connection, position):
        found = used.usage(connection, from_ms, to_ms, which)
        if by in (By.CLIENT, By.NODE):
            each = found.clients if by is By.CLIENT else found.nodes
            rows = [_line(name, from_ms, to_ms, own) for name, own in each.items()]
        else:
            parts = used.parts(connection, from_ms, to_ms, used.length_of(by), which)
            rows = [_line("", part.from_ms, part.to_ms, part.used) for part in parts]
        tariff = stored_bill(connection).at(to_ms - 1)
    return UsageAnswer(
        by=by,
        from_ms=from_ms,
        to_ms=to_ms,
        rows=rows,
        total=shared(UsedAnswer, found.total),
        currencies=found.currencies,
        utc_offset_min=tariff.utc_offset_min,
        position=position,
    )


def _line(name: str, from_ms: int, to_ms: int, own: Used) -> UsageLine:
    return UsageLine(name=name, from_ms=from_ms, to_ms=to_ms, **asdict(own))
