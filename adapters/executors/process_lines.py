"""The process contract: what the lines mean that an attempt writes to its standard output.

The `openjd_` lines are those of Open Job Description ("How Jobs Are Run", stdout messages): `openjd_progress: 0-100`,
`openjd_status: text`, `openjd_fail: text`. The `milepost_` lines carry a JSON object on one line and announce files:
`milepost_checkpoint: {"path": ..., "progress": 0-100}` and `milepost_partial: {"path": ..., "quality": 0-100}`.
Lines that set variables (`openjd_env`) concern sessions, not single commands, and pass unnoticed.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from domain.messages import Value

MAX_LINE_BYTES = 64 << 10
MAX_STATUS_CHARS = 1_000
MAX_MESSAGE_CHARS = 4_000
EXIT_TIMED_OUT = 124
"""How a runner says that a time limit of its own format was exceeded, as `timeout` of the GNU coreutils does."""

_KEYS = rb"openjd_progress|openjd_status|openjd_fail|milepost_checkpoint|milepost_partial"
_CANDIDATE = re.compile(rb"^(?:" + _KEYS + rb"):[^\n]*", re.MULTILINE)
_MESSAGE = re.compile(r"(\w+): (.+)")


class SaidProgress(Value, frozen=True):
    """How much of the work is done, in percent."""

    percent: int


class SaidStatus(Value, frozen=True):
    """What the attempt is doing."""

    text: str


class SaidFail(Value, frozen=True):
    """Why the attempt is about to fail."""

    text: str


class SaidCheckpoint(Value, frozen=True):
    """A file from which another attempt can go on."""

    path: str
    progress: float = 0


class SaidPartial(Value, frozen=True):
    """A result that can be looked at already."""

    path: str
    quality: float
    seconds: float = 0
    """How long it took to make."""


class Malformed(Value, frozen=True):
    """A line that begins like a message and is none."""

    problem: str


Said: TypeAlias = SaidProgress | SaidStatus | SaidFail | SaidCheckpoint | SaidPartial | Malformed

MAX_SECONDS = 1e9
_checkpoint = msgspec.json.Decoder(SaidCheckpoint)
_partial = msgspec.json.Decoder(SaidPartial)


class ContractLines:
    """Finds the contract's lines in an output stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._in_long_line = False

    def feed(self, piece: bytes) -> list[Said]:
        """What the lines that this piece completes say, in order."""
        head, newline, tail = piece.rpartition(b"\n")
        if not newline:
            self._keep(self._rest + piece)
            return []
        whole = self._rest + head
        if self._in_long_line:
            whole = whole.partition(b"\n")[2]
            self._in_long_line = False
        self._rest = b""
        self._keep(tail)
        return said_in(whole)

    def end(self) -> list[Said]:
        """What the last line says if the stream ended without a line end."""
        rest, self._rest = self._rest, b""
        return [] if self._in_long_line else said_in(rest)

    def _keep(self, rest: bytes) -> None:
        """Remember the beginning of a line, unless it is too long to be a message."""
        if self._in_long_line or len(rest) > MAX_LINE_BYTES:
            self._in_long_line, rest = True, b""
        self._rest = rest


def said_in(text: bytes) -> list[Said]:
    """What whole lines say; most programs say nothing, so the search is one pass without a copy."""
    if b"openjd_" not in text and b"milepost_" not in text:
        return []
    return [parse(line.decode("utf-8", "replace").rstrip("\r")) for line in _CANDIDATE.findall(text)]


def parse(line: str) -> Said:
    """What one line says that begins with a key of the contract and a colon."""
    match = _MESSAGE.fullmatch(line)
    if match is None:
        return Malformed("the key must be followed by a colon, one space and a value")
    key, value = match.groups()
    try:
        return _PARSERS[key](value)
    except (ValueError, msgspec.DecodeError) as error:
        return Malformed(str(error))


def _progress(value: str) -> SaidProgress:
    return SaidProgress(_percent(float(value)))


def _status(value: str) -> SaidStatus:
    return SaidStatus(value[:MAX_STATUS_CHARS])


def _fail(value: str) -> SaidFail:
    return SaidFail(value[:MAX_MESSAGE_CHARS])


def _checkpoint_line(value: str) -> SaidCheckpoint:
    said = _checkpoint.decode(value)
    return SaidCheckpoint(_path(said.path), _percent(said.progress))


def _partial_line(value: str) -> SaidPartial:
    said = _partial.decode(value)
    return SaidPartial(_path(said.path), _percent(said.quality), min(max(0.0, said.seconds), MAX_SECONDS))


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("the path is empty or not a path")
    return text


def _percent(number: float) -> int:
    if not 0 <= number <= 100:
        raise ValueError(f"{number} is not a percentage from 0 to 100")
    return int(number)


_PARSERS: dict[str, Callable[[str], Said]] = {
    "openjd_progress": _progress,
    "openjd_status": _status,
    "openjd_fail": _fail,
    "milepost_checkpoint": _checkpoint_line,
    "milepost_partial": _partial_line,
}
