"""Questions about preemptions: who made way for whom, what it cost, what it spared."""

from adapters.queries import resolve
from adapters.queries.answers.preemptions import (
    AlternativeAnswer,
    ClaimedPlaceAnswer,
    PreemptionLine,
    PreemptionsAnswer,
    VictimAnswer,
)
from adapters.queries.lines import shared
from adapters.queries.sources import Sources, rows_wanted
from projections import preemptions
from projections.preemptions import PreemptionView
from projections.story.preemption import alternative_text


def list_preemptions(
    sources: Sources, *, job: str = "", since: str = "", until: str = "", limit: int = 100
) -> PreemptionsAnswer:
    """Preemptions, newest first, with what they cost and spared: all, or those in which a job had a part."""
    job_id = resolve.job_id_of(sources, job) if job else None
    since_ms = sources.time_ms(since) if since else None
    until_ms = sources.time_ms(until) if until else None
    with sources.rows() as (connection, position):
        views = preemptions.preemptions(
            connection, since_ms=since_ms, until_ms=until_ms, job_id=job_id, limit=rows_wanted(limit)
        )
    rows = [line_of(view) for view in views]
    return PreemptionsAnswer(
        rows=rows,
        victims=sum([len(row.victims) for row in rows]),
        lost_core_ms=sum([row.lost_core_ms for row in rows]),
        spared_core_ms=sum([row.spared_core_ms for row in rows]),
        unknown=sum([row.unknown for row in rows]),
        regret_core_ms=sum([row.regret_core_ms for row in rows]),
        position=position,
    )


def line_of(view: PreemptionView) -> PreemptionLine:
    """One preemption as a line of a list."""
    return shared(
        PreemptionLine,
        view,
        places=[shared(ClaimedPlaceAnswer, each) for each in view.places],
        victims=[shared(VictimAnswer, each) for each in view.victims],
        alternatives=[shared(AlternativeAnswer, each, text=alternative_text(each)) for each in view.alternatives],
    )
