"""A task that counts: it keeps memory, saves its count when told to end, and goes on from a saved one.

`counting.py LOG TARGET [--deaf]`: appends `attempt pid count monotonic_ns` for each count until TARGET; deaf tasks do
not listen to SIGTERM.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

MEMORY_MIB = 32


def main() -> None:
    """Counts, a little slower than a hundred times a second."""
    log, target = Path(sys.argv[1]), int(sys.argv[2])
    kept = bytearray(os.urandom(1 << 20)) * MEMORY_MIB
    restored = os.environ.get("MILEPOST_RESTORE_FROM")
    count = int(Path(restored).read_text()) if restored else 0

    def save(number: int, frame: FrameType | None) -> None:
        file = Path(os.environ["MILEPOST_CHECKPOINT_DIR"]) / "count"
        file.write_text(str(count))
        sys.stdout.write(f"milepost_checkpoint: {json.dumps({'path': str(file), 'progress': 100 * count // target})}\n")
        sys.stdout.flush()
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if "--deaf" in sys.argv else save)
    while count < target:
        count += 1
        kept[count % len(kept)] ^= 1
        note(log, count)
        time.sleep(0.01)


def note(log: Path, count: int) -> None:
    """One O_APPEND write per line, so that lines of many processes never mix."""
    line = f"{os.environ['MILEPOST_ATTEMPT']} {os.getpid()} {count} {time.monotonic_ns()}\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


if __name__ == "__main__":
    main()
