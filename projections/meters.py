"""Meters: levels that move in steps, and their exact integrals over time.

A meter has one row per minute in which it changed: the integral and the level at the start of the minute, and the steps
within it. The integral up to any millisecond follows from the last row that begins before it.
"""

from typing import Any, NamedTuple

import msgspec

MINUTE_MS = 60_000
_encode = msgspec.json.Encoder().encode
_decode_steps = msgspec.json.Decoder(list[int]).decode


class Sums(NamedTuple):
    """The three integrals of a meter."""

    millicore_ms: int = 0
    gpu_ms: int = 0
    count_ms: int = 0


NO_SUMS = Sums()


class Minute(msgspec.Struct, gc=False):
    """A row of `usage`: one meter in one minute in which it changed."""

    meter: int
    minute: int
    millicore_ms: int = 0
    gpu_ms: int = 0
    count_ms: int = 0
    millicores: int = 0
    gpus: int = 0
    count: int = 0
    steps: list[int] = []
    """Levels within the minute, four numbers each: offset in ms, then millicores, GPUs and count from there on."""
    is_stored: bool = False
    is_changed: bool = False

    @property
    def start_ms(self) -> int:
        """Where the minute begins."""
        return self.minute * MINUTE_MS

    def sums_at(self, at_ms: int) -> Sums:
        """The integrals up to a moment in this minute, or later if nothing changed in between."""
        millicore_ms, gpu_ms, count_ms = self.millicore_ms, self.gpu_ms, self.count_ms
        millicores, gpus, count = self.millicores, self.gpus, self.count
        offset, end = 0, at_ms - self.start_ms
        steps = iter(self.steps)
        for next_offset, next_millicores, next_gpus, next_count in zip(steps, steps, steps, steps, strict=True):
            if next_offset >= end:
                break
            span = next_offset - offset
            millicore_ms += millicores * span
            gpu_ms += gpus * span
            count_ms += count * span
            offset, millicores, gpus, count = next_offset, next_millicores, next_gpus, next_count
        span = end - offset
        return Sums(millicore_ms + millicores * span, gpu_ms + gpus * span, count_ms + count * span)

    def levels(self) -> tuple[int, int, int]:
        """The levels at its end."""
        if not self.steps:
            return self.millicores, self.gpus, self.count
        _, millicores, gpus, count = self.steps[-4:]
        return millicores, gpus, count

    def columns(self) -> tuple[object, ...]:
        """As the table has them. Core-milliseconds, because millicore-milliseconds can outgrow 64 bits."""
        sums = (*divmod(self.millicore_ms, 1000), self.gpu_ms, self.count_ms)
        levels = (self.millicores, self.gpus, self.count)
        return (self.meter, self.minute, *sums, *levels, _encode(self.steps).decode())

    @classmethod
    def stored(cls, row: Any) -> "Minute":
        """The row that the table has."""
        meter, minute, core_ms, rest, gpu_ms, count_ms, millicores, gpus, count, steps = row
        sums = (core_ms * 1000 + rest, gpu_ms, count_ms)
        return cls(meter, minute, *sums, millicores, gpus, count, _decode_steps(steps), is_stored=True)


class Meter:
    """A level that moves in steps, and its open minute."""

    __slots__ = ("_changed", "_count", "_end_ms", "_gpus", "_millicores", "_row", "_steps", "number")

    def __init__(self, number: int, changed: list[Minute]) -> None:
        self.number = number
        self._changed = changed
        self._millicores = self._gpus = self._count = 0
        self._end_ms = 0
        self._row = Minute(number, -1)
        self._steps = self._row.steps

    def open(self, row: Minute) -> None:
        """Goes on with a row."""
        self._row, self._steps = row, row.steps
        self._millicores, self._gpus, self._count = row.levels()
        self._end_ms = row.start_ms + MINUTE_MS

    def change(self, at_ms: int, millicores: int, gpus: int, count: int) -> None:
        """Moves the level. A moment before the last step counts as that step: time does not go back."""
        if at_ms >= self._end_ms:
            self._turn(at_ms)
        self._millicores += millicores
        self._gpus += gpus
        self._count += count
        steps = self._steps
        offset = at_ms - self._end_ms + MINUTE_MS
        if steps and steps[-4] >= offset:
            steps[-3:] = (self._millicores, self._gpus, self._count)
        else:
            steps += (max(0, offset), self._millicores, self._gpus, self._count)
        row = self._row
        if not row.is_changed:
            row.is_changed = True
            self._changed.append(row)

    def _turn(self, at_ms: int) -> None:
        """Opens the minute of a moment with what was summed up until it begins."""
        minute = at_ms // MINUTE_MS
        sums = self._row.sums_at(minute * MINUTE_MS)
        self.open(Minute(self.number, minute, *sums, self._millicores, self._gpus, self._count))
