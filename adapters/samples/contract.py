"""What a program says and does so that a farm can follow it: a line on stdout per fact, files that appear whole.

The lines starting with `openjd_` are those of Open Job Description ("How Jobs Are Run", stdout messages); the lines
starting with `milepost_` carry one JSON object and announce files. Every line is flushed at once: a farm reads them
while the program runs.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TERMINATED = 143
"""128 + SIGTERM: the program was asked to leave, and left after saving its work."""


def progress(percent: int) -> None:
    """Report how much of the attempt is done, 0 to 100."""
    _say("openjd_progress", str(percent))


def status(text: str) -> None:
    """Report in a few words what the attempt is doing now."""
    _say("openjd_status", text)


def fail(text: str) -> None:
    """Report why the attempt is about to fail; the caller then exits with a non-zero code."""
    _say("openjd_fail", text)


def partial(path: Path, quality: int, seconds: float = 0.0) -> None:
    """Announce a result that can be looked at already; `quality` is a percentage of the final one.

    `seconds` is how long it took to make, which is held against the overhead that the job allows.
    """
    _say("milepost_partial", json.dumps({"path": str(path), "quality": quality, "seconds": round(seconds, 3)}))


def partial_overhead() -> float:
    """How much of the run time may go into partial results, in percent; all of it where nobody said."""
    return float(os.environ.get("MILEPOST_PARTIAL_OVERHEAD", "100"))


def checkpoint(path: Path, percent: int) -> None:
    """Announce a saved state from which another attempt can go on, standing for `percent` of the work."""
    _say("milepost_checkpoint", json.dumps({"path": str(path), "progress": percent}))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file in one step, durably: a reader, or a crash, meets the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def whole_number(least: int) -> Callable[[str], int]:
    """Return a reader of command line values that accepts whole numbers from `least` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return read


def numpy_missing() -> int:
    """Say which extra brings NumPy and return the exit code of a program that cannot start without it."""
    message = "the samples need NumPy: pip install 'milepost[samples]'"
    fail(message)
    print(message, file=sys.stderr)
    return EXIT_USAGE


def _say(key: str, value: str) -> None:
    print(f"{key}: {value}", flush=True)
