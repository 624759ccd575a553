"""The desk of a facade: wishes are laid down here and committed together, at the latest when somebody could look.

An application that the caller handed in may be looked at by anybody at any time, so what is laid down is committed at
the end of every call. A private one can only be seen through its desk: it is made when first needed, and wishes wait
until somebody asks for it, or until there are many of them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from adapters.facades.bridge import times
from adapters.store.objects import ObjectLog
from application.app import Application, Request
from domain.errors import TaskSchedulerError
from domain.messages import Command, Meta

CALLER = "caller"
"""Who changed an object of theirs between two calls."""
MOST_WAITING = 512
"""So many wishes are committed without anybody asking, so that memory stays small."""
S = TypeVar("S")


class _Wish(NamedTuple):
    command: Command
    actor: str
    otherwise: tuple[Command, ...]


class Desk:
    """One application, and what is about to be asked of it."""

    def __init__(self, app: Application | None = None) -> None:
        self._app = app
        self.owned = app is None
        """Whether nobody else can see the application."""
        self.clock = times.ambient_clock() if app is None else app.clock
        self.ids = times.ambient_ids() if app is None else app.ids
        self.refusals: deque[TaskSchedulerError] = deque(maxlen=100)
        """The last wishes that a rule of the core did not allow."""
        self._waiting: list[_Wish] = []
        self._collectors: list[Callable[[], int]] = []
        self._shared: dict[Any, Any] = {}

    # -- time and names ------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC by the application's clock."""
        return self.clock.now_ms()

    def now(self) -> datetime:
        """The same as a naive local time."""
        return times.read(self.clock)

    def new_id(self, prefix: str) -> str:
        """A fresh id by the application's ids."""
        return self.ids.new(prefix)

    # -- what managers of one application share ------------------------------------------------------------------

    def shared(self, key: Any, make: Callable[[], S]) -> S:
        """One object for all managers of this application, made by whoever comes first."""
        if key not in self._shared:
            self._shared[key] = make()
        known: S = self._shared[key]
        return known

    # -- wishes --------------------------------------------------------------------------------------------------

    @property
    def app(self) -> Application:
        """The application with everything in it that was asked so far."""
        self.settle()
        return self._application()

    @property
    def present(self) -> Application:
        """The application as it was at the last commit, for questions that wishes still waiting do not change."""
        return self._application()

    def _application(self) -> Application:
        if self._app is None:
            self._app = Application(ObjectLog(), self.clock, self.ids)
        return self._app

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever recorded, so that nothing need be read back."""
        return self._app is None or not self._app.farm.position

    def do(self, command: Command, actor: str, otherwise: Sequence[Command] = ()) -> None:
        """Lays a wish down; what to record instead if a rule of the core does not allow it."""
        self._waiting.append(_Wish(command, actor, tuple(otherwise)))

    def collect_from(self, collector: Callable[[], int]) -> None:
        """Lets somebody lay down what changed, before every commit; it says how many things that were."""
        self._collectors.append(collector)

    def done(self, waiting: int = 0) -> None:
        """The end of a call that may have changed something; `waiting` things are not laid down yet."""
        if not self.owned or len(self._waiting) + waiting >= MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Commits what was laid down, in its order, in one transaction; wishes that are refused change nothing."""
        for collector in self._collectors:
            collector()
        if not self._waiting:
            return
        wishes, self._waiting = self._waiting, []
        try:
            instead = self._commit(wishes)
        except BaseException:
            self._waiting = wishes + self._waiting
            raise
        if instead:
            self._commit(instead)

    def _commit(self, wishes: Sequence[_Wish]) -> list[_Wish]:
        """Commits wishes; those to be said instead of refused ones."""
        metas: dict[str, Meta] = {}
        requests = []
        for command, actor, _ in wishes:
            meta = metas.get(actor)
            if meta is None:
                meta = metas[actor] = Meta(actor, self.ids.new("cmd"))
            requests.append(Request((command,), meta))
        instead: list[_Wish] = []
        for wish, outcome in zip(wishes, self._application().commit_all(requests), strict=True):
            if isinstance(outcome, TaskSchedulerError):
                self.refusals.append(outcome)
                instead += [_Wish(command, wish.actor, ()) for command in wish.otherwise]
        return instead


def desk_of(app: "Application | Desk | None") -> Desk:
    """The desk of an application, always the same one; a new private one for None."""
    if isinstance(app, Desk):
        return app
    if app is None:
        return Desk()
    desk: Desk = vars(app).setdefault("facade_desk", None) or Desk(app)
    vars(app)["facade_desk"] = desk
    return desk
