"""Facts about deciding itself: cycles with the reasons they left behind, refusals, and the policies in force.

Cycle and refusal streams are one per day (UTC), so that no stream grows without end; each day's cycle stream opens with
a full keyframe of the reasons then in force.
"""

from domain.decisions import Blocked, Reserved
from domain.messages import Event, StreamId, Value
from domain.policies import Policies

DAY_MS = 86_400_000
POLICY_STREAM: StreamId = "policies"
NUMBERS_MS = 60_000
"""Numbers in reasons that moved are recorded at most this often; a new blocker at once."""


class CycleDecided(Event, frozen=True, kw_only=True, tag="cycle.decided"):
    """A scheduling cycle changed why something waits."""

    position: int
    """The log position that the plan was made for: the cycle's number."""
    blocked: tuple[Blocked, ...] = ()
    """Segments whose reasons are new or changed."""
    cleared: tuple[str, ...] = ()
    """Segments that no longer wait for anything recorded."""
    keyframe: bool = False
    """Whether `blocked` is complete, replacing all that was recorded before."""
    reserved: tuple[Reserved, ...] | None = None
    """The reservation of the first blocked job that holds one, empty when none does any more; None: as it was."""


class CommandRefused(Event, frozen=True, kw_only=True, tag="command.refused"):
    """A well-formed command that a rule did not allow; it changed nothing."""

    command: str
    """The command's tag."""
    entity_id: str
    code: str
    """The stable code of the error."""
    message: str
    repeated: int = 0
    """How many alike were not recorded since the last one, to keep a loop from filling the log."""


class Evidence(Value, frozen=True):
    """What one candidate came to when the last hours were run again under it."""

    candidate: str
    """Which order."""
    objective: str
    """What was measured, such as `bounded-slowdown`."""
    value: float
    """The measure, less being better."""
    jobs: int
    """Over how many jobs; the same ones for every candidate."""


class PoliciesAdopted(Event, frozen=True, kw_only=True, tag="policies.adopted"):
    """From now on cycles follow these policies."""

    policies: Policies
    evidence: tuple[Evidence, ...] = ()
    """Why, where it was a measurement: the adopted candidate first, then the others from the best to the worst."""
    why: str = ""
    """Why, in the words of who adopted them."""


def cycle_stream(now_ms: int) -> StreamId:
    """The stream of a day's cycles."""
    return f"cycle-{_day(now_ms)}"


def refusal_stream(now_ms: int) -> StreamId:
    """The stream of a day's refusals."""
    return f"refusal-{_day(now_ms)}"


def _day(now_ms: int) -> int:
    return now_ms // DAY_MS
