"""A task that says that it lives, again and again, until it is told that it has been enough: seen from outside."""

import os
import sys
import time
from pathlib import Path

EVERY_S = 0.02


def main() -> None:
    """`beating.py LOG`: appends `attempt monotonic_ns` every 20 ms until `LOG.enough` exists."""
    log = Path(sys.argv[1])
    enough = log.with_suffix(".enough")
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while not enough.exists():
        os.write(file, f"{os.environ['MILEPOST_ATTEMPT']} {time.monotonic_ns()}\n".encode())
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
