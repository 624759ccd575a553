"""Render one frame of a looping animation: glossy spheres and a floating lamp above a checker plane, at dusk.

The frame appears twice under the same name: first a quick coarse pass, announced as a partial result, then the full
picture. Every rendering of a frame gives the same bytes, so one rendered again elsewhere fits among the others.
"""

import argparse
import os
import sys
import time
from pathlib import Path

try:
    import numpy as np
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    from adapters.samples.contract import numpy_missing

    sys.exit(numpy_missing())

from adapters.samples import contract
from adapters.samples.png import Picture, write_png
from adapters.samples.scene import Scene, scene_at
from adapters.samples.trace import Frame, render

COARSE_STEP_PX = 4
"""The coarse pass traces one ray for each square of this many pixels a side."""
COARSE_QUALITY = 25
_BLOCK_RAYS = 20_000
"""Rays traced at once: enough to keep NumPy busy, few enough for the processor's cache."""
_LARGEST_SIDE_PX = 16384


def coarse(scene: Scene, width: int, height: int) -> Picture:
    """Return the whole picture from one ray per square of `COARSE_STEP_PX`, enlarged to its full size."""
    small = Frame(-(-width // COARSE_STEP_PX), -(-height // COARSE_STEP_PX), 1)
    picture = render(scene, small, 0, small.height)
    enlarged = picture.repeat(COARSE_STEP_PX, axis=0).repeat(COARSE_STEP_PX, axis=1)
    return enlarged[:height, :width]


def render_frame(scene: Scene, frame: Frame, path: Path) -> None:
    """Write the coarse picture and announce it if that costs little enough, then the full picture row by row."""
    if 100 / (COARSE_STEP_PX * frame.samples) ** 2 <= contract.partial_overhead():
        contract.status("coarse pass")
        began_s = time.monotonic()
        write_png(path, coarse(scene, frame.width, frame.height))
        contract.partial(path, COARSE_QUALITY, time.monotonic() - began_s)
    picture = np.empty((frame.height, frame.width, 3), np.uint8)
    block_rows = max(1, _BLOCK_RAYS // (frame.width * frame.samples**2))
    for first_row in range(0, frame.height, block_rows):
        last_row = min(first_row + block_rows, frame.height)
        contract.status(f"rows {first_row + 1} to {last_row} of {frame.height}")
        picture[first_row:last_row] = render(scene, frame, first_row, last_row)
        contract.progress(min(99, 5 + 95 * last_row // frame.height))
    write_png(path, picture)
    contract.progress(100)


def _size(text: str) -> tuple[int, int]:
    """Read `320x180`; sides from 1 to 16384 pixels."""
    sides = [int(side) for side in text.split("x") if side.isdecimal() and 1 <= int(side) <= _LARGEST_SIDE_PX]
    if text.count("x") != 1 or len(sides) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 320x180")
    return sides[0], sides[1]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m adapters.samples.render", description=__doc__.splitlines()[0])
    parser.add_argument("--frame", type=contract.whole_number(0), required=True, help="number of the frame")
    parser.add_argument("--frames", type=contract.whole_number(1), default=24, help="frames in one loop")
    parser.add_argument("--size", type=_size, default=(320, 180), metavar="WIDTHxHEIGHT")
    parser.add_argument("--samples", type=contract.whole_number(1), default=2, help="rays along each side of a pixel")
    parser.add_argument("--out", default="", help="folder; default $MILEPOST_OUTPUT_DIR, else the current one")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Render the frame the arguments name to OUT/frame_NNNN.png and return the exit code."""
    options = _arguments(argv)
    folder = Path(options.out or os.environ.get("MILEPOST_OUTPUT_DIR", "."))
    path = folder / f"frame_{options.frame:04d}.png"
    width, height = options.size
    try:
        render_frame(scene_at(options.frame / options.frames), Frame(width, height, options.samples), path)
    except OSError as error:
        contract.fail(f"cannot write {path}: {error.strerror}")
        return contract.EXIT_FAILED
    contract.status(f"frame {options.frame} is in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
