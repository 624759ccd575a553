"""The task of the crash test: appends a line when it starts and one when it ends, so that the proof is from outside."""

import os
import sys
import time
from pathlib import Path


def main() -> None:
    """`task.py LOG SECONDS`: one O_APPEND write per line, so that lines of many processes never mix."""
    log, seconds = Path(sys.argv[1]), float(sys.argv[2])
    note(log, "start")
    time.sleep(seconds)
    note(log, "end")


def note(log: Path, what: str) -> None:
    """Appends `what job task attempt monotonic_ns pid`."""
    env = os.environ
    words = (
        what,
        env["MILEPOST_JOB_ID"],
        env["MILEPOST_TASK"],
        env["MILEPOST_ATTEMPT"],
        time.monotonic_ns(),
        os.getpid(),
    )
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, (" ".join(str(word) for word in words) + "\n").encode())
    os.close(file)


if __name__ == "__main__":
    main()
