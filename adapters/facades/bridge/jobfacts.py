"""What facades watch about a job, and what they tell about it once."""

from datetime import datetime
from typing import NamedTuple

from domain.resources import NOTHING, Resources

RUNNER = "external"
"""The runner of work that the caller runs."""


class JobFacts(NamedTuple):
    """What a facade watches about a job, in its caller's words."""

    name: str
    """The caller's id."""
    status: str
    priority: str
    progress: float = 0.0
    node: str | None = None
    deadline: datetime | None = None
    errors: int = 0


class JobPaper(NamedTuple):
    """What is told about a job once, when it is seen first."""

    title: str
    client: str
    kind: str = ""
    resources: Resources = NOTHING
    document: str = ""
    """The whole object as JSON."""
