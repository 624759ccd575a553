"""How much attention an entry of the audit deserves."""

from enum import StrEnum


class LogLevel(StrEnum):
    """The grades of an audit entry, from detail to alarm."""

    DEBUG = "debug"
    """A step of the machinery that nobody needs unless something is wrong."""
    INFO = "info"
    """The farm did what it was asked to do."""
    WARNING = "warning"
    """Somebody may want to look: a refusal, a retry, a node that takes no work."""
    ERROR = "error"
    """Work was lost or has failed for good."""
    CRITICAL = "critical"
    """Capacity or saved state was lost."""

    @property
    def rank(self) -> int:
        """0 for DEBUG up to 4 for CRITICAL; a higher rank deserves more attention."""
        return _RANK[self]


_RANK = {level: rank for rank, level in enumerate(LogLevel)}
