"""Two star clusters that meet and merge: a computation in three dependent stages, with checkpoints.

`relax` makes the clusters and lets them settle, `evolve` integrates them and saves its state as it goes, `analyse`
measures and draws the result. An `evolve` that was interrupted and resumed ends with the same bytes as one that was
not: forces are computed anew from the positions at every step, so a checkpoint holds all there is to know.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import signal
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

try:
    import numpy as np
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    from adapters.samples.contract import numpy_missing

    sys.exit(numpy_missing())

from numpy.typing import NDArray

from adapters.samples import contract
from adapters.samples.chart import star_chart
from adapters.samples.gravity import (
    SUBSTEPS,
    TIME_STEP,
    Bodies,
    advance,
    kinetic_energy,
    potential_energy,
    total_energy,
    two_clusters,
)
from adapters.samples.png import write_png

TRACK_EVERY = 2
"""Steps between two remembered positions, for the picture."""
PERCENTILES = (10, 25, 50, 75, 90)
_PICTURE_SIDE_PX = 640


class BadInput(Exception):
    """A file is missing, damaged or not what the stage reads; the message names it."""


class Run(NamedTuple):
    """A run after some steps: all that is needed to go on, and what the analysis reads."""

    start: str
    """SHA-256 of the bodies the run began with, so that no run goes on from another one's checkpoint."""
    step: int
    bodies: Bodies
    energies: NDArray[np.float64]
    """Total energy at the start and after each step, shape (step + 1,)."""
    track: NDArray[np.float32]
    """Positions seen from above at the start and every `TRACK_EVERY` steps, shape (k, 2, n)."""


def begin(bodies: Bodies) -> Run:
    """Return the run before its first step."""
    digest = hashlib.sha256(b"".join(array.tobytes() for array in bodies)).hexdigest()
    return Run(digest, 0, bodies, np.array([total_energy(bodies)]), _seen_from_above(bodies))


def advance_run(run: Run) -> Run:
    """Return the run one step later, its energy and every few steps its positions noted."""
    bodies, step = advance(run.bodies), run.step + 1
    energies = np.append(run.energies, total_energy(bodies))
    track = np.concatenate([run.track, _seen_from_above(bodies)]) if step % TRACK_EVERY == 0 else run.track
    return Run(run.start, step, bodies, energies, track)


def energy_drift(run: Run) -> float:
    """Return the largest departure of the total energy from its first value, as a share of it."""
    return float(np.abs(run.energies / run.energies[0] - 1.0).max())


def relax(bodies: int, seed: int, target: Path) -> int:
    """Write the starting point of a run."""
    contract.status(f"relaxing two clusters of together {bodies} bodies")
    start = begin(two_clusters(bodies, seed, lambda percent: contract.progress(min(99, percent))))
    _save(start, target)
    contract.progress(100)
    return 0


def evolve(source: Path, steps: int, checkpoint_every: int, target: Path) -> int:
    """Integrate to step `steps` and write the run; asked to leave (SIGTERM), save a checkpoint, return 143."""
    run = _start_or_resume(source, steps)
    folder = os.environ.get("MILEPOST_CHECKPOINT_DIR")
    with _asked_to_leave() as asked:
        while run.step < steps:
            run = advance_run(run)
            _report(run, steps)
            # Asked during the last step, writing the result is as quick as saving a checkpoint of it.
            leave = asked.leave and run.step < steps
            if folder and (leave or (run.step % checkpoint_every == 0 and run.step < steps)):
                _checkpoint(run, steps, Path(folder))
            if leave:
                contract.status(f"asked to leave, {'saved' if folder else 'nowhere to save'} at step {run.step}")
                return contract.EXIT_TERMINATED
        _save(run, target)
    contract.status(f"{steps} steps done, energy drift {energy_drift(run):.1e}")
    contract.progress(100)
    return 0


def analyse(source: Path, target: Path) -> int:
    """Write the measures of a run as JSON, and beside it a picture of the same name with the suffix .png."""
    run = _load(source)
    contract.status(f"measuring {run.bodies.family.size} bodies after {run.step} steps")
    contract.write_atomically(target, (json.dumps(measures(run), indent=2) + "\n").encode())
    contract.progress(50)
    picture = target.with_suffix(".png")
    write_png(picture, star_chart(run.track, run.bodies.family, _PICTURE_SIDE_PX))
    contract.status(f"measures are in {target}, the picture in {picture}")
    contract.progress(100)
    return 0


def measures(run: Run) -> dict[str, Any]:
    """Return what an astronomer would ask first, in N-body units."""
    position, family = run.bodies.position, run.bodies.family
    radius = np.sqrt((position**2).sum(axis=0))
    centres = [position[:, family == cluster].mean(axis=1) for cluster in (0, 1)]
    return {
        "bodies": family.size,
        "steps": run.step,
        "time": run.step * SUBSTEPS * TIME_STEP,
        "energy_first": float(run.energies[0]),
        "energy_last": float(run.energies[-1]),
        "energy_drift": energy_drift(run),
        "virial_ratio": kinetic_energy(run.bodies) / -potential_energy(run.bodies),
        "radius_percentiles": {str(p): float(np.percentile(radius, p)) for p in PERCENTILES},
        "distance_between_clusters": float(np.sqrt(((centres[0] - centres[1]) ** 2).sum())),
    }


class _Asked:
    """Whether somebody has asked this process to leave."""

    leave = False


@contextlib.contextmanager
def _asked_to_leave() -> Iterator[_Asked]:
    """Turn SIGTERM into a note that the loop reads between two steps, where the state is whole."""
    asked = _Asked()

    def note(_signal: int, _frame: FrameType | None) -> None:
        asked.leave = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _start_or_resume(source: Path, steps: int) -> Run:
    """Return the run at its start, or where the checkpoint named by MILEPOST_RESTORE_FROM left it."""
    start = _load(source)
    restore_from = os.environ.get("MILEPOST_RESTORE_FROM")
    if not restore_from:
        return start
    run = _load(Path(restore_from))
    if run.start != start.start:
        raise BadInput(f"the checkpoint {restore_from} belongs to another run than {source}")
    if run.step > steps:
        raise BadInput(f"the checkpoint {restore_from} is at step {run.step}, beyond the {steps} asked for")
    contract.status(f"resumed from step {run.step} of {steps}")
    contract.progress(min(99, 100 * run.step // steps))
    return run


def _report(run: Run, steps: int) -> None:
    """Say the percentage when it changes; 100 is said once the result is written."""
    percent = 100 * run.step // steps
    if percent < 100 and percent > 100 * (run.step - 1) // steps:
        contract.progress(percent)


def _checkpoint(run: Run, steps: int, folder: Path) -> None:
    """Save the run under a name of its own: an announced checkpoint never changes."""
    path = folder / f"evolve-{run.step:06d}.npz"
    _save(run, path)
    contract.checkpoint(path, 100 * run.step // steps)
    contract.status(f"step {run.step} of {steps}, energy drift {energy_drift(run):.1e}")


def _save(run: Run, path: Path) -> None:
    content = io.BytesIO()
    np.savez(content, **run.bodies._asdict(), start=run.start, step=run.step, energies=run.energies, track=run.track)
    contract.write_atomically(path, content.getvalue())


def _load(path: Path) -> Run:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            bodies = Bodies(content["position"], content["velocity"], content["family"])
            return Run(str(content["start"]), int(content["step"]), bodies, content["energies"], content["track"])
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is damaged or not a file of this program") from error


def _seen_from_above(bodies: Bodies) -> NDArray[np.float32]:
    return bodies.position[:2].astype(np.float32)[None]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    number = contract.whole_number
    parser = argparse.ArgumentParser(prog="python -m adapters.samples.nbody", description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=("relax", "evolve", "analyse"), required=True)
    parser.add_argument("--bodies", type=number(4), default=200, help="in both clusters together (relax)")
    parser.add_argument("--seed", type=number(0), default=1, help="makes other clusters (relax)")
    parser.add_argument("--steps", type=number(1), default=400, help="sixteenths of a time unit (evolve)")
    parser.add_argument("--checkpoint-every", type=number(1), default=40, metavar="STEPS", help="(evolve)")
    parser.add_argument("--in", dest="source", type=Path, metavar="FILE", help="written by the stage before")
    parser.add_argument("--out", dest="target", type=Path, required=True, metavar="FILE", help=".npz or .json")
    options = parser.parse_args(argv)
    if options.stage != "relax" and options.source is None:
        parser.error(f"the stage {options.stage} needs --in")
    if options.stage == "analyse" and options.target.suffix == ".png":
        parser.error("--out names the measures; the picture stands beside them with the suffix .png")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run one stage; return 0, 1 for a file that cannot be read or written, 143 when asked to leave."""
    options = _arguments(argv)
    try:
        if options.stage == "relax":
            return relax(options.bodies, options.seed, options.target)
        if options.stage == "evolve":
            return evolve(options.source, options.steps, options.checkpoint_every, options.target)
        return analyse(options.source, options.target)
    except BadInput as error:
        contract.fail(str(error))
    except OSError as error:
        contract.fail(f"cannot write {error.filename or options.target}: {error.strerror}")
    return contract.EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
