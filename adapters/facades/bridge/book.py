"""Books: bookkeeping of a facade as facts, one stream for each thing, and read back from the log after a restart."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from adapters.facades.bridge.desk import Desk
from domain import observed
from domain.observed import Observe, Observed, external_stream

Values = dict[str, Any]
_ALL: Final = 10_000_000


class Book:
    """What one sort of thing looked like when it was last recorded; changes are laid down before every commit."""

    def __init__(self, desk: Desk, what: str, actor: str) -> None:
        self.desk, self.what, self.actor = desk, what, actor
        self._last: dict[str, Values] = {}
        self._touched: dict[str, Callable[[], Mapping[str, Any] | None]] = {}
        desk.collect_from(self._collect)

    def touch(self, name: str, read: Callable[[], Mapping[str, Any] | None]) -> None:
        """Something may have changed: its plain values are read before the next commit; None means it is gone."""
        self._touched[name] = read

    def note(self, name: str, values: Mapping[str, Any] | None, actor: str = "", why: str = "") -> None:
        """Lays down how something differs from the last time; nothing if it does not."""
        wish = self._difference(name, values, why)
        if wish is not None:
            self.desk.do(wish, actor or self.actor)

    def _difference(self, name: str, values: Mapping[str, Any] | None, why: str) -> Observe | None:
        before = self._last.get(name, {})
        after: Values = {} if values is None else dict(values)
        changes = {key: value for key, value in after.items() if key not in before or before[key] != value}
        forgotten = tuple([key for key in before if key not in after])
        if not changes and not forgotten:
            return None
        if after:
            self._last[name] = after
        else:
            del self._last[name]
        stream = external_stream(self.what, name)
        return Observe(stream_id=stream, what=self.what, changes=changes, forgotten=forgotten, why=why)

    def _collect(self) -> int:
        touched, self._touched = self._touched, {}
        for name, read in touched.items():
            self.note(name, read())
        return len(touched)

    @property
    def waiting(self) -> int:
        """How many things were touched since the last commit."""
        return len(self._touched)

    def load(self) -> dict[str, Values]:
        """Everything of this sort as the log has it, in the order in which it came to be."""
        if self.desk.is_new:
            return {}
        found = sorted(self._folded())
        self._last = {name: dict(values) for _, name, values in found}
        return {name: dict(values) for _, name, values in found}

    def _folded(self) -> Iterator[tuple[int, str, Values]]:
        log = self.desk.app.log
        prefix = external_stream(self.what, "")
        for stream in log.streams(prefix, _ALL):
            state: Observed | None = None
            born = 0
            for recorded in log.stream(stream):
                if state is None or not state.values:
                    born = recorded.position
                assert isinstance(recorded.event, observed.ObservedExternally)
                state = observed.evolve(state, recorded.event)
            if state is not None and state.values:
                yield born, stream.removeprefix(prefix), state.values
