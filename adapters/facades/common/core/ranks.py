"""Priorities by rank: CRITICAL 4 > HIGH 3 > MEDIUM 2 > LOW 1 > any other word 0, for members of any priority enum."""

from enum import Enum
from typing import Any

from common.core.enums import JobStatus, Priority

RANKS = {"critical": 4, "high": 3, "medium": 2, "low": 1}
_WORDS = {rank: word for word, rank in RANKS.items()}
TERMINAL = ("completed", "failed", "cancelled")
_STATUSES = {status.value: status for status in JobStatus} | {
    "defined": JobStatus.PENDING,
    "scheduled": JobStatus.QUEUED,
}


def word_of(member: Any) -> str:
    """The text of an enum member, or a text itself, in lower case."""
    return str(member.value if isinstance(member, Enum) else member).lower()


def rank_of(priority: Any) -> int:
    """0 to 4; 0 for a word that is none of the four levels."""
    return RANKS.get(word_of(priority), 0)


def one_up(priority: Any) -> Any:
    """The next higher level in the same enum; the highest stays."""
    rank = rank_of(priority)
    return priority if rank >= 4 else _same_kind(priority, _WORDS[rank + 1])


def one_down(priority: Any) -> Any:
    """The next lower level in the same enum; LOW stays unless that enum has a BACKGROUND."""
    rank = rank_of(priority)
    if rank >= 2:
        return _same_kind(priority, _WORDS[rank - 1])
    known = getattr(type(priority), "BACKGROUND", None) if isinstance(priority, Enum) else None
    return priority if rank == 0 or known is None else known


def at_rank(priority: Any, rank: int) -> Any:
    """The level of a rank 1 to 4 in the enum of `priority`."""
    return _same_kind(priority, _WORDS[rank])


def _same_kind(priority: Any, word: str) -> Any:
    kind: type[Enum] = type(priority) if isinstance(priority, Enum) else Priority
    return kind(word)


def status_of(status: Any) -> JobStatus:
    """A status of any package in the words of this one; unknown words are PENDING."""
    return _STATUSES.get(word_of(status), JobStatus.PENDING)


_OTHER_WORDS = {JobStatus.PENDING: "defined", JobStatus.QUEUED: "scheduled"}


def write_status(job: Any, status: JobStatus) -> None:
    """Gives a job a status, as a member of the enum that its status has."""
    kind = type(getattr(job, "status", None))
    job.status = status
    if issubclass(kind, Enum) and kind is not JobStatus:
        words = {member.value: member for member in kind}
        job.status = words.get(status.value) or words.get(_OTHER_WORDS.get(status, "")) or status
