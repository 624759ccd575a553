"""What a waiting job can look forward to: who is ahead of it, the room that is kept for it, and when it will start.

Who is ahead and when it starts is worked out from the farm as the log has it at that place, by the policies in force
then; the room that is kept was recorded by the cycle that keeps it.
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from adapters.queries.answers import OutlookAnswer
from adapters.queries.lines import reason_answer
from adapters.queries.past import Point, blockers_of, farm_at
from application.ports import Log
from domain import errors
from domain.decisions import Reason, ReasonCode, Reserved
from domain.farm import Farm
from domain.forecasting.forecast import Basis, StartForecast, forecast_start
from domain.messages import JobId
from projections.words import LIST_AT_MOST, duration_text, nodes_text, time_text


def outlook(log: Log, job_id: JobId, point: Point) -> OutlookAnswer | None:
    """What a job can look forward to at a place in the log; None if no task of it waits there.

    Reads the newest snapshot of the farm and what came after it, then costs what `forecast_start` does.
    """
    farm = farm_at(log, point)
    kept = _kept(farm, job_id)
    try:
        found = forecast_start(farm, farm.policies, point.at_ms, job_id)
    except errors.PolicyInvalid as error:  # a policy of somebody's own that this process does not have
        return _answer(StartForecast(job_id), kept, str(error))
    except errors.JobNotFound:
        return None
    if found is None:
        return None
    return _answer(_ruled(found, blockers_of(farm, farm.jobs[job_id], point.at_ms), point.at_ms), kept)


def _ruled(found: StartForecast, reasons: Iterable[Reason], at_ms: int) -> StartForecast:
    """The forecast under rules that it knows nothing of: later for a cheaper hour, unknown where one forbids it now."""
    if found.expected_ms is None:
        return found
    cheaper_ms = max([each.until_ms or 0 for each in reasons if each.code is ReasonCode.CHEAPER_LATER], default=0)
    if cheaper_ms > found.expected_ms:
        earliest_ms = max(found.earliest_ms or 0, cheaper_ms)
        latest_ms = None if found.latest_ms is None else max(found.latest_ms, cheaper_ms)
        return replace(found, earliest_ms=earliest_ms, expected_ms=cheaper_ms, latest_ms=latest_ms)
    if found.expected_ms <= at_ms and any(each.code in _FORBIDDING for each in reasons):
        return replace(found, earliest_ms=None, expected_ms=None, latest_ms=None)
    return found


_FORBIDDING = (
    ReasonCode.GUARANTEE,
    ReasonCode.BORROW_LIMIT,
    ReasonCode.PARTITION_LIMIT,
    ReasonCode.PARTITION_CLIENT,
    ReasonCode.POWER_CAP,
)
"""What rules said in the last cycle to a job for which there is room."""


def _kept(farm: Farm, job_id: JobId) -> Reserved | None:
    return next((each for each in farm.reserved if each.job_id == job_id), None)


def _answer(found: StartForecast, kept: Reserved | None, note: str = "") -> OutlookAnswer:
    return OutlookAnswer(
        expected_ms=found.expected_ms,
        earliest_ms=found.earliest_ms,
        latest_ms=found.latest_ms,
        basis=found.basis,
        unknown=None if found.unknown is None else reason_answer(found.unknown),
        ahead=found.ahead,
        ahead_total=found.ahead_total,
        kept_from_ms=None if kept is None else kept.start_ms,
        kept_nodes=() if kept is None else kept.nodes,
        note=note,
    )


# -- in words ----------------------------------------------------------------------------------------------------


def sentences(found: OutlookAnswer, at_ms: int) -> Iterator[str]:
    """The outlook for a person, one sentence a line."""
    if found.ahead_total:
        yield _ahead_text(found)
    if found.kept_from_ms is not None:
        yield f"Room is kept for it from {time_text(found.kept_from_ms)} on {nodes_text(found.kept_nodes)}."
    yield f"There is no forecast: {found.note}." if found.note else _start_text(found, at_ms)


def _ahead_text(found: OutlookAnswer) -> str:
    if found.ahead_total == 1:
        return f"{found.ahead[0]} is before it in the queue."
    more = found.ahead_total - LIST_AT_MOST
    named = ", ".join(found.ahead[:LIST_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    return f"{found.ahead_total} jobs are before it in the queue: {named}."


def _start_text(found: OutlookAnswer, at_ms: int) -> str:
    if found.unknown is not None:
        if found.earliest_ms is None:
            return "It cannot start before somebody changes that."
        return f"Once somebody has changed that, it starts {_from_text(found.earliest_ms, at_ms)}."
    if found.expected_ms is None:
        return f"Nobody can say when it will start{_BASIS[found.basis] if found.basis is Basis.INCOMPLETE else ''}."
    if found.expected_ms <= at_ms:
        return f"It is expected to start now{_interval_text(found, at_ms)}."
    expected = f"at {time_text(found.expected_ms)} (in {duration_text(found.expected_ms - at_ms)})"
    return f"It is expected to start {expected}{_interval_text(found, at_ms)}{_BASIS[found.basis]}."


def _interval_text(found: OutlookAnswer, at_ms: int) -> str:
    """From when and until when; nothing if both are the expected moment itself."""
    early = late = ""
    if found.earliest_ms is not None and found.earliest_ms != found.expected_ms:
        early = f", {_from_text(found.earliest_ms, at_ms)}"
    if found.latest_ms is None:
        late = ", nobody can say how late"
    elif found.latest_ms != found.expected_ms:
        late = f", at the latest at {time_text(found.latest_ms)}"
    elif early:
        late = ", at the latest then"
    return early + late


def _from_text(earliest_ms: int, at_ms: int) -> str:
    """What would end within a millisecond could end at any moment."""
    return "perhaps at any moment" if earliest_ms <= at_ms + 1 else f"not before {time_text(earliest_ms)}"


_BASIS = {
    Basis.HISTORY: ", as past runs predict",
    Basis.REQUESTED: ", if all runs as long as was requested",
    Basis.MIXED: ", as past runs predict, or as requested where there are none",
    Basis.INCOMPLETE: ": of some jobs nobody knows how long they run",
}
