"""The real server, which kills itself with SIGKILL at a named point: as a power cut would, where it hurts most.

`MILEPOST_CRASH=point:n` dies at the n-th passage of a point. Nothing of the server is replaced; the points are
wrapped around its own functions.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from adapters import cli
from adapters.executors.local import LocalExecutor
from adapters.store.sqlite import SQLiteLogRecorder
from application.app import Application
from application.dispatcher import Dispatcher

POINTS: dict[str, tuple[type[Any], str, str]] = {
    "inside-commit": (SQLiteLogRecorder, "_insert_rows", "after"),
    "before-commit": (SQLiteLogRecorder, "append_rows", "before"),
    "after-commit": (SQLiteLogRecorder, "append_rows", "after"),
    "before-fold": (Application, "_fold", "before"),
    "append-to-launch": (LocalExecutor, "start", "before"),
    "after-launch": (LocalExecutor, "start", "after"),
    "exit-to-report": (Dispatcher, "_report", "before"),
    "after-report": (Dispatcher, "_report", "after"),
    "recovery-open": (LocalExecutor, "open", "after"),
    "recovery-resume": (Dispatcher, "resume", "after"),
}


def arm(point: str, passages: int) -> None:
    """Wraps the function of a point."""
    owner, name, when = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    left = [passages]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if when == "before" and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if when == "after" and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def main() -> None:
    """Runs `milepost ARGS` with the point armed."""
    crash = os.environ.get("MILEPOST_CRASH")
    if crash:
        point, _, passages = crash.partition(":")
        arm(point, int(passages))
    sys.exit(cli.main())


if __name__ == "__main__":
    main()
