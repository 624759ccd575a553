"""What the sample animation shows: a chrome ball, six glossy ones that circle it in bounces, and a floating lamp."""

import math
from typing import NamedTuple, TypeAlias

Triple: TypeAlias = tuple[float, float, float]


class Sphere(NamedTuple):
    """A ball: lengths in scene units, colours linear in 0..1, `mirror` the share of light it reflects head-on."""

    centre: Triple
    radius: float
    colour: Triple
    mirror: float
    glow: float = 0.0


class Scene(NamedTuple):
    """Everything one frame is made of; the lamp is the glowing sphere, which lights the others."""

    spheres: tuple[Sphere, ...]
    lamp: Sphere
    sun: Triple
    """Unit vector towards the low sun."""
    eye: Triple
    target: Triple


_DANCERS: tuple[tuple[float, Triple, float], ...] = (
    (0.62, (0.80, 0.09, 0.10), 0.05),
    (0.44, (0.95, 0.60, 0.10), 0.04),
    (0.56, (0.06, 0.42, 0.46), 0.06),
    (0.38, (0.90, 0.88, 0.84), 0.03),
    (0.52, (0.13, 0.20, 0.72), 0.06),
    (0.42, (0.46, 0.10, 0.50), 0.05),
)
"""Radius, colour and mirror of the spheres that circle the chrome one."""


def scene_at(phase: float) -> Scene:
    """Return the scene at a phase of 0..1 of the loop; phase 1 is phase 0 again: the animation has no seam."""
    turn = 2 * math.pi * phase
    chrome = Sphere((0.0, 1.15, 0.0), 1.15, (0.90, 0.92, 0.95), 0.86)
    dancers = tuple(_dancer(index, phase) for index in range(len(_DANCERS)))
    lamp_at = (1.75 * math.cos(turn + 0.6), 2.35 + 0.35 * math.sin(2 * turn), 1.75 * math.sin(turn + 0.6))
    lamp = Sphere(lamp_at, 0.2, (1.0, 0.36, 0.06), 0.0, glow=2.0)
    sway = 0.22 * math.sin(turn)
    eye = (8.6 * math.sin(sway), 3.1, -8.6 * math.cos(sway))
    return Scene((chrome, *dancers), lamp, unit((-0.62, 0.48, -0.42)), eye, (0.0, 0.95, 0.0))


def _dancer(index: int, phase: float) -> Sphere:
    """One turn round the centre per loop, two or three bounces on the way."""
    radius, colour, mirror = _DANCERS[index]
    angle = 2 * math.pi * (phase + index / len(_DANCERS))
    distance = 2.45 + 0.35 * (index % 2)
    airborne = (phase * (2 + index % 2) + index * 0.37) % 1.0
    height = radius + (0.55 + 0.2 * (index % 3)) * 4 * airborne * (1 - airborne)
    return Sphere((distance * math.cos(angle), height, distance * math.sin(angle)), radius, colour, mirror)


def minus(a: Triple, b: Triple) -> Triple:
    """Return the way from b to a."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def cross(a: Triple, b: Triple) -> Triple:
    """Return a vector at right angles to both."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def unit(a: Triple) -> Triple:
    """Return the vector of length 1 in the same direction."""
    length = math.sqrt(a[0] ** 2 + a[1] ** 2 + a[2] ** 2)
    return a[0] / length, a[1] / length, a[2] / length
