"""Star clusters under their own gravity: drawing them, letting them settle, moving them forward in time.

Plummer's model (1911), sampled after Aarseth, Hénon & Wielen (1974); leapfrog (kick, drift, kick) with softened
gravity. Units are N-body units (Heggie & Mathieu 1986): G and the total mass are 1, so lengths and times of one
cluster are near 1.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

SUBSTEPS = 96
"""Leapfrog steps in one step of a run, which thus is a sixteenth of a time unit."""
TIME_STEP = 1 / 1536
SOFTENING = 0.03
"""Length below which gravity stops growing, so that close passages need no shorter steps."""
RELAX_STEPS = 24
_SCALE_RADIUS = 0.6
_APART = (4.0, 1.6, 0.0)
_APPROACH = (-0.30, 0.12, 0.0)
"""Distance and relative velocity of the two clusters at the start: bound, and not head-on."""


class Bodies(NamedTuple):
    """Equal masses that add up to 1.

    `position` and `velocity` have shape (3, n), `family` (0 or 1, the cluster a body began in) shape (n,).
    """

    position: Floats
    velocity: Floats
    family: NDArray[np.int8]


class Gravity:
    """Softened gravity among `count` bodies, worked out in arrays made once.

    Fresh arrays of this size go back to the operating system after every use, which costs more than the arithmetic.
    """

    def __init__(self, count: int) -> None:
        self._offset = np.empty((3, count, count))
        self._distance2 = np.empty((count, count))
        self._pull = np.empty((count, count))

    def accelerations(self, position: Floats) -> Floats:
        """Return the pull of all bodies on each, shape (3, count); the same positions give the same bits."""
        offset, distance2, pull = self._offset, self._distance2, self._pull
        np.subtract(position[:, None, :], position[:, :, None], out=offset)
        distance2.fill(SOFTENING**2)
        for axis in offset:
            distance2 += np.multiply(axis, axis, out=pull)
        np.sqrt(distance2, out=pull)
        pull *= distance2
        pull *= position.shape[1]
        offset /= pull
        # Not a matrix product: its order of adding depends on the library and its threads.
        total: Floats = offset.sum(axis=2)
        return total


def advance(bodies: Bodies) -> Bodies:
    """Return the bodies one step, `SUBSTEPS` leapfrog steps, later."""
    position, velocity = bodies.position, bodies.velocity
    gravity = Gravity(bodies.family.size)
    pull = gravity.accelerations(position)
    for _ in range(SUBSTEPS):
        velocity = velocity + pull * (TIME_STEP / 2)
        position = position + velocity * TIME_STEP
        pull = gravity.accelerations(position)
        velocity = velocity + pull * (TIME_STEP / 2)
    return Bodies(position, velocity, bodies.family)


def kinetic_energy(bodies: Bodies) -> float:
    """Return the energy of motion, 0 or more."""
    return 0.5 * float(_squared(bodies.velocity).sum()) / bodies.family.size


def potential_energy(bodies: Bodies) -> float:
    """Return the energy of the softened gravity between all pairs, negative."""
    count = bodies.family.size
    distance2 = _squared(bodies.position[:, None, :] - bodies.position[:, :, None]) + SOFTENING**2
    # Every pair stands twice in the sum, and every body once with itself.
    return -0.5 * (float((1.0 / np.sqrt(distance2)).sum()) - count / SOFTENING) / count**2


def total_energy(bodies: Bodies) -> float:
    """Return what a good integration keeps."""
    return kinetic_energy(bodies) + potential_energy(bodies)


def two_clusters(count: int, seed: int, report: Callable[[int], None]) -> Bodies:
    """Return two relaxed clusters, together `count` bodies, on a bound orbit; `report` hears the percentage."""
    chance = np.random.default_rng(seed)
    first = _plummer(count - count // 2, 0, chance)
    second = _plummer(count // 2, 1, chance)
    for step in range(RELAX_STEPS):
        first, second = advance(_in_equilibrium(first)), advance(_in_equilibrium(second))
        report(100 * (step + 1) // RELAX_STEPS)
    return _meeting(_in_equilibrium(_centred(first)), _in_equilibrium(_centred(second)))


def _plummer(count: int, family: int, chance: np.random.Generator) -> Bodies:
    """Draw a cluster from Plummer's model by the mass inside each body's radius, without its outermost tenth."""
    radius = 1.0 / np.sqrt(chance.uniform(0.01, 0.9, count) ** (-2 / 3) - 1.0)
    speed = _speed_fractions(count, chance) * np.sqrt(2.0 / np.sqrt(1.0 + radius**2))
    position = _SCALE_RADIUS * radius * _directions(count, chance)
    return _centred(Bodies(position, speed * _directions(count, chance), np.full(count, family, np.int8)))


def _speed_fractions(count: int, chance: np.random.Generator) -> Floats:
    """Draw speeds as fractions of the escape speed: von Neumann's rejection for q² (1 - q²)^3.5 < 0.1."""
    accepted: Floats = np.empty(0)
    while accepted.size < count:
        q, height = chance.uniform(0.0, 1.0, count), chance.uniform(0.0, 0.1, count)
        accepted = np.append(accepted, q[height < q**2 * (1.0 - q**2) ** 3.5])
    return accepted[:count]


def _directions(count: int, chance: np.random.Generator) -> Floats:
    vectors = chance.standard_normal((3, count))
    return vectors / np.sqrt(_squared(vectors))


def _in_equilibrium(bodies: Bodies) -> Bodies:
    """Scale the speeds so that the cluster neither swells nor collapses (virial theorem, 2 T = -V)."""
    factor = np.sqrt(-0.5 * potential_energy(bodies) / kinetic_energy(bodies))
    return bodies._replace(velocity=bodies.velocity * factor)


def _meeting(first: Bodies, second: Bodies) -> Bodies:
    """Set both clusters on their orbit; each relaxed with the total mass, and has slower bodies with its part."""
    count = first.family.size + second.family.size
    places, motions = [], []
    for cluster, side in ((first, 0.5), (second, -0.5)):
        places.append(cluster.position + side * np.array(_APART)[:, None])
        slower = np.sqrt(cluster.family.size / count)
        motions.append(cluster.velocity * slower + side * np.array(_APPROACH)[:, None])
    families = np.concatenate([first.family, second.family])
    return _centred(Bodies(np.concatenate(places, axis=1), np.concatenate(motions, axis=1), families))


def _centred(bodies: Bodies) -> Bodies:
    """Put the centre of mass at rest in the origin."""
    position = bodies.position - bodies.position.mean(axis=1)[:, None]
    return Bodies(position, bodies.velocity - bodies.velocity.mean(axis=1)[:, None], bodies.family)


def _squared(vectors: Floats) -> Floats:
    total: Floats = vectors[0] * vectors[0] + vectors[1] * vectors[1] + vectors[2] * vectors[2]
    return total
