"""What all managers have: an application behind them, books for what they keep, and their state shared within one."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from adapters.facades.bridge.book import Book
from adapters.facades.bridge.desk import CALLER, Desk, desk_of
from adapters.facades.bridge.jobs import jobs_of
from adapters.facades.bridge.nodes import nodes_of
from application.app import Application
from common.core.base import Result
from common.core.exceptions import TaskSchedulerError
from common.seeing import job_facts, job_paper, node_facts, rest_of

S = TypeVar("S")


class Managed:
    """A manager over an application; None means a private one that is made when first needed."""

    _what = "manager"
    """Who acts, and under which word its books stand."""

    def __init__(self, app: "Application | Desk | None") -> None:
        self._desk = desk_of(app)
        self._jobs = jobs_of(self._desk)

    @property
    def app(self) -> Application:
        """The application, with everything in it that was done so far."""
        return self._desk.app

    def _book(self, what: str) -> Book:
        return self._desk.shared(("book", what), lambda: Book(self._desk, what, self._what))

    def _shared(self, make: Callable[[], S]) -> S:
        """The state that all managers of this kind on one application have in common."""
        return self._desk.shared(("state", self._what), make)

    # -- callers' objects ----------------------------------------------------------------------------------------

    def _see(self, job: Any, actor: str = CALLER, why: str = "") -> None:
        """Records what has become of a job since it was seen last."""
        self._jobs.see(job_facts(job), partial(job_paper, job), actor, why, partial(rest_of, job))

    def _see_all(self, jobs: list[Any], nodes: list[Any]) -> None:
        """Records what has become of these jobs and nodes."""
        known = nodes_of(self._desk)
        for node in nodes:
            known.see(node_facts(node))
        for job in jobs:
            self._see(job)


def failed(error: Exception) -> Result[Any]:
    """An error as a result, with the code of the core if it has one."""
    return coded(str(error), error.code) if isinstance(error, TaskSchedulerError) else Result.err(str(error))


def coded(text: str, code: str) -> Result[Any]:
    """An error text with the core's code for it."""
    return Result(success=False, error=text, code=code)  # type: ignore[call-arg]
