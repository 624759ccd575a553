"""Which checkpoints of a job can go."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from common.core.enums import CheckpointType
from common.core.jobs import Checkpoint


def removable(
    known: Sequence[Checkpoint], bases: Mapping[str, str | None], limit: datetime, most: int, complete: bool
) -> list[Checkpoint]:
    """Those older than a limit and all but the newest `most`, oldest first.

    What a kept one builds on stays, and so does the newest from which a job that is not complete could go on.
    """
    kept = [each for each in known if each.timestamp >= limit]
    kept = kept[-most:] if most > 0 else []
    if not complete and not any(_restores(each) for each in kept):
        kept = [*[each for each in known if _restores(each)][-1:], *kept]
    needed = _with_bases((each.id for each in kept), bases)
    return [each for each in known if each.id not in needed]


def _restores(checkpoint: Checkpoint) -> bool:
    return checkpoint.is_restorable() and checkpoint.checkpoint_type is not CheckpointType.METADATA


def _with_bases(ids: Iterable[str], bases: Mapping[str, str | None]) -> set[str]:
    needed: set[str] = set()
    for each in ids:
        step: str | None = each
        while step is not None and step not in needed:
            needed.add(step)
            step = bases.get(step)
    return needed
