"""Every error as HTTP tells it and back again: one table of statuses, one JSON shape, the same classes at both ends."""

from collections.abc import Iterator
from typing import Any

import msgspec

from domain import errors
from domain.errors import TaskSchedulerError

MAX_BODY_BYTES = 16 << 20
"""The largest request."""
TOO_LARGE = 413


class Unauthorized(TaskSchedulerError):
    """this needs the server's token as `Authorization: Bearer …`; it stands in server.json in the data directory"""

    code = "http.unauthorized"


class HostRefused(TaskSchedulerError):
    """this server answers on this machine only, as 127.0.0.1 or localhost, not as {host!r}"""

    code = "http.host-refused"


class BodyTooLarge(errors.Invalid):
    """the request is larger than {limit_mib} MiB; submit in several parts"""

    code = "http.body-too-large"


class ServerGone(errors.StoreError):
    """the server at {url} does not answer ({problem}); is it still running?"""

    code = "server.gone"


class InternalError(TaskSchedulerError):
    """a mistake in Milepost itself ({problem}); the server's error output says more"""

    code = "internal"


STATUS: tuple[tuple[type[TaskSchedulerError], int], ...] = (
    (Unauthorized, 401),
    (HostRefused, 403),
    (BodyTooLarge, TOO_LARGE),
    (errors.NotFound, 404),
    (errors.Invalid, 400),
    (errors.NotAllowed, 409),
    (errors.Conflict, 409),
    (errors.StoreError, 503),
    (InternalError, 500),
)
"""The first class that fits decides: what the caller can do comes before what it is about."""


class Refusal(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    code: str
    message: str
    fields: dict[str, Any] = {}


def status_of(error: TaskSchedulerError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def refusal_of(error: TaskSchedulerError) -> Refusal:
    """An error as JSON can hold it."""
    return Refusal(error.code, error.message, {name: _plain(value) for name, value in error.fields.items()})


def error_of(refusal: Refusal) -> TaskSchedulerError:
    """The error that a refusal was made of, of the same class if its code is known here."""
    kind = _by_code().get(refusal.code)
    fields = {name: value for name, value in refusal.fields.items() if name.isidentifier() and name != "message"}
    if kind is not None:
        return kind(refusal.message, **fields)
    unknown = TaskSchedulerError(refusal.message, **fields)
    unknown.code = refusal.code  # type: ignore[misc]  # this one instance speaks for a class of another release
    return unknown


def _by_code() -> dict[str, type[TaskSchedulerError]]:
    """The class of each code: the first that has it, of which a facade's may be a child."""
    kinds: dict[str, type[TaskSchedulerError]] = {}
    for kind in _all_kinds(TaskSchedulerError):
        if "code" in kind.__dict__:
            kinds.setdefault(kind.code, kind)
    return kinds


def _all_kinds(kind: type[TaskSchedulerError]) -> Iterator[type[TaskSchedulerError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _all_kinds(child)


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value, enc_hook=str)
