"""Signs of life of a supervisor, for its guard: lines through a pipe, and the judgement whether it hangs.

A supervisor that is frozen (SIGSTOP, a disk that does not answer) cannot give up its attempts when its lease ends; its
guard, which waits for nothing but time, does that for it. Each beat carries all that the judgement needs, so that it
does not matter how many are missing.
"""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from adapters.executors.lease import Lease
from adapters.executors.locks import is_held
from adapters.executors.wire import LineBuffer
from domain.messages import Value

HANGS_S = 1.0
"""A supervisor that beats more often than this looks after its lease itself."""
_READ_BYTES = 1 << 16


class Beat(Value, frozen=True):
    """What the supervisor knew of its lease when it last turned its loop."""

    at_s: float
    """On the machine's monotonic clock, as all times here."""
    lease_s: float | None
    """None until a server has greeted."""
    silent_since_s: float | None
    """Since when a living server has been silent; None while none was known to live."""
    server_lock: str


_encoder = msgspec.json.Encoder()
_beats = msgspec.json.Decoder(Beat)


class Pulse:
    """The supervisor's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def beat(self, lease: Lease, server_lock: Path, now_s: float) -> None:
        """Say that the loop turns; never waits."""
        beat = Beat(now_s, lease.lease_s, lease.silent_since_s, str(server_lock))
        # A guard that is frozen lets the pipe fill up, and one that was killed guards no more: neither ends anything.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, _encoder.encode(beat) + b"\n")


class Listening:
    """The guard's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._lines = LineBuffer()
        self._last_s: float | None = None
        self._lease = Lease(lambda: False)

    def hangs(self, now_s: float) -> bool:
        """Whether the supervisor has been silent, and its lease is over; to be asked again and again.

        Not in the moment in which something was heard: a guard that was frozen itself hears old beats first.
        """
        beats = self._heard()
        if beats:
            last = beats[-1]
            self._last_s = last.at_s
            self._lease = Lease(lambda: is_held(Path(last.server_lock)), last.lease_s, last.silent_since_s)
            return False
        return self._last_s is not None and now_s - self._last_s >= HANGS_S and self._lease.is_over(now_s)

    def _heard(self) -> list[Beat]:
        lines: list[bytes] = []
        with suppress(BlockingIOError):
            while piece := os.read(self._descriptor, _READ_BYTES):
                lines += self._lines.feed(piece)
        return [_beats.decode(line) for line in lines]
