"""Why jobs of a render farm wait after a cycle, recorded as the core records it, so that it can be explained later."""

from application.app import Application, Request
from domain.cycle import CycleDecided, cycle_stream
from domain.decisions import Blocked
from domain.messages import Meta
from domain.planning.planner import plan


def record_reasons(app: Application, actor: str) -> None:
    """Records what keeps each part of the queue waiting, where that is news.

    The core's planner is asked what it would pass over on the farm as the cycle left it; what it would place is not
    looked at, because callers' schedulers place as they like.
    """
    with app.lock:
        farm = app.farm
        now_ms = max(app.clock.now_ms(), farm.now_ms)
        rows = {row.segment: row for row in plan(farm, farm.policies, now_ms).passed_over}
        keyframe = cycle_stream(now_ms) != farm.cycle_day
        known = {} if keyframe else farm.blocked
        changed = tuple(row for name, row in sorted(rows.items()) if not _same(known.get(name), row))
        cleared = tuple(sorted(name for name in known if name not in rows))
        if not changed and not cleared and not (keyframe and farm.blocked):
            return
        decided = CycleDecided(
            at_ms=now_ms, position=farm.position, blocked=changed, cleared=cleared, keyframe=keyframe
        )
        meta = Meta(actor, app.ids.new("cmd"), cycle=farm.position)
        app.commit_all([Request((), meta, facts=((cycle_stream(now_ms), decided),))])


def _same(known: Blocked | None, row: Blocked) -> bool:
    """Whether only numbers differ."""
    if known is None or len(known.reasons) != len(row.reasons):
        return False
    return all(old.same_blocker(new) for old, new in zip(known.reasons, row.reasons, strict=True))
