"""Questions about deadlines: which jobs may be late, worked out from the farm, and how good such forecasts were."""

from collections import Counter
from contextlib import AbstractContextManager, nullcontext

from adapters.queries import past
from adapters.queries.answers import CalibrationAnswer, DeadlineLine, DeadlinesAnswer, DecileLine, ScoresAnswer
from adapters.queries.lines import reason_answers, shared
from adapters.queries.resolve import Kind, id_of
from adapters.queries.sources import Sources, rows_wanted
from domain.errors import PolicyInvalid
from domain.farm import Farm
from domain.forecasting.chances import CONFIDENCE
from domain.forecasting.lateness import Outlook, by_risk, ends_of
from domain.forecasting.promises import Word
from domain.forecasting.scene import Scene
from domain.job.values import Job
from domain.policies import Policies
from projections import forecasts
from projections.forecasts import DECILES, Calibration


def list_deadlines(
    sources: Sources, *, client: str = "", at: str = "", all: bool = False, limit: int = 200, offset: int = 0
) -> DeadlinesAnswer:
    """Live jobs that may miss their deadline or have (with `all` the others too), the most likely first."""
    limit = rows_wanted(limit, offset, least=0)
    client_id = id_of(sources, Kind.CLIENT, client).id if client else ""
    farm, scene, note = _scene(sources, at)
    jobs = {job_id: job for job_id, job in scene.wanted.items() if client_id in ("", job.spec.client_id)}
    ends = ends_of(scene)
    found = by_risk((ends[job_id] for job_id in jobs), scene.now_ms)
    counts = Counter(each.promise.word for each in found)
    chosen = [each for each in found if all or each.promise.word is not Word.AHEAD]
    with _standing_still(sources, farm, at) as still:
        rows = [_line(still, jobs[each.promise.job_id], each, scene.now_ms) for each in chosen[offset : offset + limit]]
    return DeadlinesAnswer(
        rows=rows,
        total=len(chosen),
        words={word: counts[word] for word in Word},
        note=note,
        position=scene.position,
        at_ms=scene.now_ms,
    )


def _scene(sources: Sources, at: str) -> tuple[Farm, Scene, str]:
    """The farm, what a walk needs of it, and what has to be said of that."""
    if at:
        point = sources.point(at)
        farm = past.farm_at(sources.log, point)
        return farm, *_scene_of(farm, point.at_ms)
    with sources.present() as farm:
        return farm, *_scene_of(farm, max(sources.clock.now_ms(), farm.now_ms))


def _scene_of(farm: Farm, now_ms: int) -> tuple[Scene, str]:
    try:
        return Scene(farm, farm.policies, now_ms), ""
    except PolicyInvalid as error:  # a policy of somebody's own that this process does not have
        return Scene(farm, Policies(), now_ms), f"forecast as if the usual policies were in force: {error}"


def _standing_still(sources: Sources, farm: Farm, at: str) -> AbstractContextManager[Farm]:
    """The farm once more, for what is said of the rows that are shown."""
    return sources.present() if sources.live and not at else nullcontext(farm)


def _line(farm: Farm, job: Job, outlook: Outlook, now_ms: int) -> DeadlineLine:
    reasons = reason_answers(past.blockers_of(farm, job, now_ms))
    spec, promise = job.spec, outlook.promise
    return shared(
        DeadlineLine,
        promise,
        name=spec.name,
        client_id=spec.client_id,
        workflow_id=spec.workflow_id,
        status=job.status,
        slack_ms=outlook.slack_ms,
        urgency=outlook.urgency,
        why=reasons[0].text if reasons else "",
        reasons=reasons,
    )


# -- scores ------------------------------------------------------------------------------------------------------


def show_scores(sources: Sources, *, client: str = "", at: str = "") -> ScoresAnswer:
    """How forecasts of ended jobs turned out: chances, expected ends and intervals against what happened."""
    client_id = id_of(sources, Kind.CLIENT, client).id if client else None
    upto = sources.point(at).position if at else None
    with sources.rows() as (connection, position):
        found = forecasts.calibration(connection, upto, client_id)
    return ScoresAnswer(
        confidence=CONFIDENCE,
        scored=found.scored,
        completed=found.completed,
        late=found.late,
        first=_calibration(found.first),
        last=_calibration(found.last),
        position=position if upto is None else upto,
    )


def _calibration(found: Calibration) -> CalibrationAnswer:
    width = 100 // DECILES
    deciles = [
        shared(DecileLine, each, from_percent=each.number * width, to_percent=(each.number + 1) * width)
        for each in found.deciles
    ]
    return shared(CalibrationAnswer, found, deciles=deciles)
