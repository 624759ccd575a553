"""Commands as they are posted: decoded, checked in shape, and carried out. Rules are checked further in, by the domain.

What a program without a server carries out goes through here too, so that it is refused in the same words.
"""

import re
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from adapters.web.refusals import MAX_BODY_BYTES, BodyTooLarge
from application.app import COMMANDS, Application
from domain.errors import BadInput
from domain.messages import Command

if TYPE_CHECKING:
    AnyCommand: TypeAlias = Command
else:
    AnyCommand = reduce(or_, COMMANDS)

MAX_TIME_MS = 253_402_300_799_999
"""The last moment of the year 9999."""
MAX_NUMBER = 1 << 53
"""Beyond it programs that read JSON disagree about the last digits."""

_LARGE = re.compile(rb"\d{15}|\d[eE][+]?\d")
"""Only a body that has such digits needs a look at every number in it."""


class Posted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/commands`: commands that succeed or fail together."""

    commands: Annotated[tuple[AnyCommand, ...], msgspec.Meta(min_length=1)]
    actor: Annotated[str, msgspec.Meta(pattern=r"^user:[^\x00-\x1f\x7f]{1,120}$")]
    """Who wants this: `user:` and a name."""
    command_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:@+-]{0,120}$")] = ""
    """Sent again with the same id, it changes nothing and is answered the same."""


_decode = msgspec.json.Decoder(Posted).decode


def read_posted(body: bytes) -> Posted:
    """The commands in a body; BadInput names the place that is wrong."""
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(limit_mib=MAX_BODY_BYTES >> 20)
    try:
        posted = _decode(body)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `")
        place = place.rstrip("`") or "$"
        raise BadInput(problem=f"{problem} (at {place})", place=place) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadInput(problem=str(error), place="$") from None
    except RecursionError:
        raise BadInput(problem="its JSON is nested too deeply", place="$") from None
    if _LARGE.search(body):
        _check_numbers(posted.commands, "$.commands")
    return posted


def _check_numbers(value: Any, place: str) -> None:
    """Times lie between 1970 and 9999, and other numbers within what all programs can read."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _check_numbers(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, tuple | list):
        for at, item in enumerate(value):
            _check_numbers(item, f"{place}[{at}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_numbers(item, f"{place}.{key}")
    elif isinstance(value, int | float):
        low, high = (0, MAX_TIME_MS) if place.endswith("_ms") else (-MAX_NUMBER, MAX_NUMBER)
        if not low <= value <= high:
            raise BadInput(problem=f"{value:.6g} is out of range, which is {low} to {high} (at {place})", place=place)


class Replied(msgspec.Struct, frozen=True):
    """The answer to posted commands, once they are durable."""

    position: int
    """The log position after them: a question asked with `position` shows at least their effect."""
    events: int
    """How many events they caused; 0 means that everything was so already."""


def carry_out(app: Application, posted: Posted) -> Replied:
    """Carries posted commands out, all or none; a TaskSchedulerError says why not."""
    reply = app.handle_all(posted.commands, posted.actor, posted.command_id)
    return Replied(reply.position, reply.events)
