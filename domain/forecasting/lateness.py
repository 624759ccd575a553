"""Will it be late: for every live job with a deadline when it ends, how likely it is late, and how urgent that is.

Where past runs tell how long everything takes, an end is a normal distribution (`runahead`), of which the stated
interval holds nine tenths and the chance of being late is what lies beyond the deadline. Where only walltimes are known
there is no distribution: the interval then goes from no time at all for these runs to all of their walltimes, and a
chance is stated only if it is the same for both.
"""

from collections.abc import Iterable
from typing import NamedTuple

from domain.farm import Farm
from domain.forecasting.chances import WIDTH, late
from domain.forecasting.promises import RANK, Basis, Promise, Word
from domain.forecasting.runahead import End, Walk
from domain.forecasting.scene import Scene
from domain.job.values import Job
from domain.messages import JobId
from domain.policies import Policies
from domain.policies.priority import DAY_MS, urgency

SAME = 0.01
"""Chances that differ by no more are one."""
RISKY = 0.25
"""From this chance of being late on a job is at risk."""
SURE = 0.95
"""From this chance on it counts as late."""
UNLIKELY = 0.05
"""Below this chance it is ahead."""
PRESUMED = {Word.LATE: 1.0, Word.AT_RISK: 0.5, Word.TIGHT: 0.15, Word.AHEAD: 0.0}
"""Where a job without a stated chance stands among the others."""


class Outlook(NamedTuple):
    """A forecast as people ask for it."""

    promise: Promise
    slack_ms: int | None
    """Deadline less expected end; None where nobody can say when it ends."""
    urgency: float
    """1 without slack, falling evenly to 0 with a day of it or more."""


def forecast_ends(farm: Farm, policies: Policies, now_ms: int) -> dict[JobId, Promise]:
    """The forecast of every live job with a deadline. The farm is only read; see `ends_of` for the cost."""
    return ends_of(Scene(farm, policies, now_ms))


def ends_of(scene: Scene) -> dict[JobId, Promise]:
    """The forecast of every job with a deadline in a scene.

    O(starts × lanes) for one walk, or two where past runs do not tell everything; bounded as `runahead` says.
    """
    if not scene.wanted:
        return {}
    most = Walk(scene).ends
    least = Walk(scene, shortest=True).ends if scene.guesses else most
    return {
        job_id: promise_of(job, scene.now_ms, *_widened(scene.width, least.get(job_id), most.get(job_id)))
        for job_id, job in scene.wanted.items()
    }


def _widened(width: float, least: End | None, most: End | None) -> tuple[End | None, End | None]:
    wide = None if most is None else End(most.mean_ms, most.deviation_ms * width)
    if most == least:
        return wide, wide
    return None if least is None else End(least.mean_ms, least.deviation_ms * width), wide


def promise_of(job: Job, now_ms: int, least: End | None, most: End | None) -> Promise:
    """The forecast of one job from its end with runs as short, and as long, as they can be; None for never."""
    assert job.deadline_ms is not None
    deadline_ms = job.deadline_ms
    chance = _chance(deadline_ms, now_ms, least, most)
    earliest_ms = None if least is None else max(now_ms, round(least.mean_ms - WIDTH * least.deviation_ms))
    expected_ms = None if most is None else max(now_ms, round(most.mean_ms))
    latest_ms = None if most is None else max(now_ms, round(most.mean_ms + WIDTH * most.deviation_ms))
    if earliest_ms is not None and expected_ms is not None:
        earliest_ms = min(earliest_ms, expected_ms)  # shorter runs can make a queue last longer (Graham 1969)
    return Promise(
        job_id=job.spec.job_id,
        deadline_ms=deadline_ms,
        word=word_of(deadline_ms, now_ms, chance, earliest_ms, expected_ms, latest_ms),
        basis=_basis(least, most),
        earliest_ms=earliest_ms,
        expected_ms=expected_ms,
        latest_ms=latest_ms,
        probability=chance,
    )


def _chance(deadline_ms: int, now_ms: int, least: End | None, most: End | None) -> float | None:
    """The chance of being late; None where it depends on what nobody knows."""
    if now_ms > deadline_ms:
        return 1.0
    if least is None:
        return None
    low = late(deadline_ms, *least)
    high = low if most == least else 1.0 if most is None else late(deadline_ms, *most)
    return round(high, 4) if abs(high - low) <= SAME else None


def _basis(least: End | None, most: End | None) -> Basis:
    if most is None or least is None:
        return Basis.INCOMPLETE
    if least == most:
        return Basis.HISTORY
    return Basis.MIXED if most.deviation_ms > 0 else Basis.REQUESTED


def word_of(
    deadline_ms: int,
    now_ms: int,
    chance: float | None,
    earliest_ms: int | None,
    expected_ms: int | None,
    latest_ms: int | None,
) -> Word:
    """How a job stands to its deadline: by the chance of being late, else by the interval."""
    if now_ms > deadline_ms:
        return Word.LATE
    if chance is not None:
        return next(word for least, word in _STEPS if chance >= least)
    if earliest_ms is not None and earliest_ms > deadline_ms:
        return Word.LATE
    if expected_ms is None or expected_ms > deadline_ms:
        return Word.AT_RISK
    return Word.TIGHT if latest_ms is None or latest_ms > deadline_ms else Word.AHEAD


_STEPS = ((SURE, Word.LATE), (RISKY, Word.AT_RISK), (UNLIKELY, Word.TIGHT), (0.0, Word.AHEAD))


# -- as a list ---------------------------------------------------------------------------------------------------


def outlook_of(promise: Promise, now_ms: int) -> Outlook:
    """A forecast with its slack and urgency; where nobody knows the end, what is left until the deadline counts."""
    deadline_ms, expected_ms = promise.deadline_ms, promise.expected_ms
    slack_ms = None if expected_ms is None else deadline_ms - expected_ms
    left_ms = deadline_ms - now_ms if slack_ms is None else slack_ms
    return Outlook(promise, slack_ms, round(urgency(left_ms, DAY_MS), 4))


def by_risk(promises: Iterable[Promise], now_ms: int) -> list[Outlook]:
    """The most likely to be late first, then the one with the least slack."""
    return sorted([outlook_of(promise, now_ms) for promise in promises], key=_risk)


def _risk(outlook: Outlook) -> tuple[float, float, JobId]:
    promise = outlook.promise
    chance = PRESUMED[promise.word] if promise.probability is None else promise.probability
    slack_ms = float("inf") if outlook.slack_ms is None else outlook.slack_ms
    return -chance, slack_ms, promise.job_id


def is_worse(word: Word, than: Word) -> bool:
    """Whether a word says more danger than another."""
    return RANK[word] > RANK[than]
