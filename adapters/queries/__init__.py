"""Questions to the farm: what waits, what runs, what happened, and why; one table of routes for all doors.

The present comes from the read models and the live farm, the past from the log alone.
"""

from typing import Any

import msgspec

from adapters.queries.answers import Answer
from adapters.queries.routes import QUERIES, ROUTES, SLOW, Route, route_of
from adapters.queries.sources import Rows, Sources, Views

encode_answer = msgspec.json.Encoder().encode
"""The JSON of an answer, the same at every door."""


class Queries(Sources):
    """All questions about one data directory."""

    def ask(self, path: str, **parameters: Any) -> Answer:
        """The answer to `GET path?parameters`; a TaskSchedulerError says why there is none."""
        route, named = route_of(path)
        return route.ask(self, {**parameters, **named})

    def get(self, path: str, **parameters: Any) -> Any:
        """As `ask`, in builtins: exactly what a client reads from the JSON."""
        return msgspec.json.decode(encode_answer(self.ask(path, **parameters)))

    def close(self) -> None:
        """Lets those who wait return."""
        self.closing.set()


__all__ = ["QUERIES", "ROUTES", "SLOW", "Queries", "Route", "Rows", "Sources", "Views", "encode_answer", "route_of"]
