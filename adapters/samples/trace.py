"""Follow rays of light backwards through a scene: a Whitted ray tracer over NumPy arrays of rays.

Reflections by recursion after Whitted (1980); shadows and occlusion of spheres in the closed forms of Quilez, soft and
without noise. Only sums, products, quotients and square roots touch a pixel: a picture has the same bytes every time.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adapters.samples.png import Picture
from adapters.samples.scene import Scene, Sphere, Triple, cross, minus, unit

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
"""Rays and points are arrays of shape (3, n); scalars along them have shape (n,)."""

_BOUNCES = 3
_FAR = 1e9
_PLANE = -1
_EPSILON = 1e-4
_SUN_COLOUR = (1.3, 1.05, 0.95)
_LAMP_COLOUR = (1.0, 0.42, 0.10)
_LAMP_POWER = 5.5
_ZENITH = (0.012, 0.035, 0.12)
_HORIZON = (0.38, 0.135, 0.125)
_FROM_GROUND = (0.10, 0.07, 0.06)
_FROM_SKY = (0.10, 0.14, 0.26)
_DARK_TILE = (0.018, 0.024, 0.042)
_LIGHT_TILE = (0.34, 0.335, 0.34)


class Frame(NamedTuple):
    """What is asked for: the picture's size in pixels and the number of rays along each side of a pixel."""

    width: int
    height: int
    samples: int


def render(scene: Scene, frame: Frame, first_row: int, last_row: int) -> Picture:
    """Return the rows [first_row, last_row) of the picture, tone-mapped."""
    directions = _camera_rays(scene, frame, first_row, last_row)
    light = np.minimum(_trace(scene, _column(scene.eye), directions, _BOUNCES), 4.0)
    side = frame.samples
    pixels = light.reshape(3, last_row - first_row, side, frame.width, side).mean(axis=(2, 4))
    return np.ascontiguousarray(_to_display(pixels).transpose(1, 2, 0))


def _camera_rays(scene: Scene, frame: Frame, first_row: int, last_row: int) -> Floats:
    """Unit directions of all rays of the rows, ordered row, sub-row, column, sub-column; shape (3, n)."""
    forward = unit(minus(scene.target, scene.eye))
    right = unit(cross((0.0, 1.0, 0.0), forward))
    up = cross(forward, right)
    side = frame.samples
    # All offsets are measured in picture heights, so the view does not change with the number of pixels.
    x = ((np.arange(frame.width * side) + 0.5) / side - frame.width / 2) / frame.height
    y = (frame.height / 2 - (np.arange(first_row * side, last_row * side) + 0.5) / side) / frame.height
    across, along = np.meshgrid(x, y)
    rays = np.stack([1.62 * f + across * r + along * u for f, r, u in zip(forward, right, up, strict=True)])
    return _normalised(rays.reshape(3, -1))


def _trace(scene: Scene, origin: Floats, direction: Floats, bounces: int) -> Floats:
    """Return the light that arrives along each ray, shape (3, n)."""
    distance, nearest = _nearest(scene, origin, direction)
    light = _sky(scene, direction)
    hit = np.flatnonzero(distance < _FAR)
    ray, reach = direction[:, hit], distance[hit]
    start = origin if origin.shape[1] == 1 else origin[:, hit]
    surface = _shade(scene, start + ray * reach, ray, nearest[hit], bounces)
    # Distance dissolves the plane into the sky, so the horizon needs no edge.
    haze = reach * reach / (reach * reach + 900.0)
    light[:, hit] = surface + (light[:, hit] - surface) * haze
    return light + _halo(scene, origin, direction, distance)


def _nearest(scene: Scene, origin: Floats, direction: Floats) -> tuple[Floats, Indices]:
    """Return how far each ray runs and what it meets: a sphere by its index (the lamp last) or the plane."""
    with np.errstate(divide="ignore"):
        distance = -origin[1] / direction[1]
    distance = np.where((direction[1] < 0) & (distance > _EPSILON), distance, _FAR)
    nearest = np.full(direction.shape[1], _PLANE)
    for index, sphere in enumerate((*scene.spheres, scene.lamp)):
        along, inside = _passage(sphere, origin, direction)
        entry = along - np.sqrt(np.maximum(inside, 0.0))
        closer = (inside > 0) & (entry > _EPSILON) & (entry < distance)
        distance = np.where(closer, entry, distance)
        nearest[closer] = index
    return distance, nearest


def _passage(sphere: Sphere, origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Return how far along each ray passes the centre closest, and radius² minus its distance² from it there."""
    offset = _column(sphere.centre) - origin
    along = _dot(offset, direction)
    return along, sphere.radius**2 - (_dot(offset, offset) - along * along)


def _shade(scene: Scene, point: Floats, ray: Floats, nearest: Indices, bounces: int) -> Floats:
    """Return the light leaving each point against its ray: lit, shadowed, reflecting."""
    normal, colour, mirror, glow = _surface(scene, point, nearest)
    bounced = ray - normal * (2 * _dot(ray, normal))
    outside = point + normal * _EPSILON
    lit = _ambient(scene, outside, normal) + _sunlight(scene, outside, normal) + _lamplight(scene, outside, normal)
    light = colour * lit + _highlight(scene, outside, bounced, mirror) + colour * glow
    # Schlick's approximation: every surface turns into a mirror at grazing angles.
    grazing = np.clip(1.0 + _dot(ray, normal), 0.0, 1.0)
    fresnel = np.where(mirror > 0, mirror + (1.0 - mirror) * grazing**2 * grazing**2 * grazing, 0.0)
    shiny = np.flatnonzero(fresnel > 0.012)
    if bounces and shiny.size:
        seen = _trace(scene, outside[:, shiny], bounced[:, shiny], bounces - 1)
        tint = np.where(mirror[shiny] > 0.5, colour[:, shiny], 1.0)
        light[:, shiny] += (seen * tint - light[:, shiny]) * fresnel[shiny]
    return light


def _halo(scene: Scene, origin: Floats, direction: Floats, distance: Floats) -> Floats:
    """The air's glow round the lamp, brighter the closer the ray passes it, unless the ray ends before."""
    along, inside = _passage(scene.lamp, origin, direction)
    passed2 = np.maximum(scene.lamp.radius**2 - inside, 0.0)
    in_front = (along > 0) & (along < distance + scene.lamp.radius)
    return _column(_LAMP_COLOUR) * np.where(in_front, 0.035 / (0.06 + passed2), 0.0)


def _surface(scene: Scene, point: Floats, nearest: Indices) -> tuple[Floats, Floats, Floats, Floats]:
    """Return normal, colour, mirror and glow at each point."""
    balls = (*scene.spheres, scene.lamp)
    # The plane's row stands last, where its index -1 finds it.
    centre = np.array([ball.centre for ball in balls] + [(0.0, 0.0, 0.0)]).T
    radius = np.array([ball.radius for ball in balls] + [1.0])
    colour = np.array([ball.colour for ball in balls] + [(0.0, 0.0, 0.0)]).T
    mirror = np.array([ball.mirror for ball in balls] + [0.10])
    glow = np.array([ball.glow for ball in balls] + [0.0])
    ground = nearest == _PLANE
    normal = (point - centre[:, nearest]) / radius[nearest]
    normal[:, ground] = _column((0.0, 1.0, 0.0))
    albedo = colour[:, nearest]
    albedo[:, ground] = _checker(point[:, ground])
    return normal, albedo, mirror[nearest], glow[nearest]


def _checker(point: Floats) -> Floats:
    """Tiles of one unit; far away they fade to their mean, where a pixel would cover several."""
    odd = (np.floor(point[0]) + np.floor(point[2])) % 2
    far = (point[0] ** 2 + point[2] ** 2) / 600.0
    mix = 0.5 + (odd - 0.5) / (1.0 + far * far)
    return _mixed(_DARK_TILE, _LIGHT_TILE, mix)


def _ambient(scene: Scene, point: Floats, normal: Floats) -> Floats:
    """Light of the whole sky, less what the spheres near the point hide of it (Quilez)."""
    open_sky = np.ones(point.shape[1])
    for sphere in scene.spheres:
        offset = _column(sphere.centre) - point
        away2 = _dot(offset, offset)
        facing = np.maximum(_dot(offset, normal), 0.0) / np.sqrt(away2)
        open_sky *= 1.0 - np.minimum(facing * sphere.radius**2 / away2, 1.0)
    upward = 0.5 + 0.5 * normal[1]
    return _mixed(_FROM_GROUND, _FROM_SKY, upward) * open_sky


def _sunlight(scene: Scene, point: Floats, normal: Floats) -> Floats:
    sun = np.broadcast_to(_column(scene.sun), point.shape)
    facing = np.maximum(_dot(normal, sun), 0.0)
    return _column(_SUN_COLOUR) * facing * _unshadowed(scene, point, sun, np.full(point.shape[1], _FAR), 7.0)


def _lamplight(scene: Scene, point: Floats, normal: Floats) -> Floats:
    offset = _column(scene.lamp.centre) - point
    away2 = _dot(offset, offset)
    away = np.sqrt(away2)
    direction = offset / away
    facing = np.maximum(_dot(normal, direction), 0.0)
    strength = _LAMP_POWER * facing / (0.3 + away2)
    return _column(_LAMP_COLOUR) * strength * _unshadowed(scene, point, direction, away, 5.0)


def _unshadowed(scene: Scene, point: Floats, light: Floats, away: Floats, sharpness: float) -> Floats:
    """Return 0 in full shadow to 1 in full light; a shadow's edge widens with the way to its sphere (Quilez)."""
    clear = np.ones(point.shape[1])
    for sphere in scene.spheres:
        along, inside = _passage(sphere, point, light)
        margin = np.sqrt(np.maximum(sphere.radius**2 - inside, 0.0)) - sphere.radius
        entry = along - np.sqrt(np.maximum(inside, 0.0))
        in_the_way = (entry > 0) & (along < away)
        edge = np.clip(sharpness * margin / np.where(in_the_way, entry, 1.0), 0.0, 1.0)
        clear *= np.where(in_the_way, edge * edge * (3.0 - 2.0 * edge), 1.0)
    return clear


def _highlight(scene: Scene, point: Floats, bounced: Floats, mirror: Floats) -> Floats:
    """The sun's and the lamp's reflection on a glossy surface (Phong 1975, exponent 64)."""
    sun = np.broadcast_to(_column(scene.sun), point.shape)
    lamp = _normalised(_column(scene.lamp.centre) - point)
    glint = _power_64(_dot(bounced, sun)) * _unshadowed(scene, point, sun, np.full(point.shape[1], _FAR), 7.0)
    ember = _power_64(_dot(bounced, lamp))
    return (_column(_SUN_COLOUR) * glint + _column(_LAMP_COLOUR) * ember) * (0.8 * (mirror > 0))


def _sky(scene: Scene, direction: Floats) -> Floats:
    """Dusk: warm at the horizon, deep blue above, a glow round the sun."""
    height = np.maximum(direction[1], 0.0)
    low = 1.0 / (1.0 + 15.0 * height)
    sky = _mixed(_ZENITH, _HORIZON, low * low)
    toward = np.maximum(_dot(direction, np.broadcast_to(_column(scene.sun), direction.shape)), 0.0)
    glow: Floats = _column(_SUN_COLOUR) * (0.25 * toward**2 * toward**2 * toward**2 + 2.0 * _power_64(toward))
    return sky + glow


def _to_display(light: Floats) -> Picture:
    """Compress light of any strength to 0..255: Narkowicz' filmic curve, sRGB's gamma by square roots."""
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    root = np.sqrt(np.clip(curve, 0.0, 1.0))
    fourth = np.sqrt(root)
    encoded = 0.585122381 * root + 0.783140355 * fourth - 0.368262736 * np.sqrt(fourth)
    return (np.clip(encoded, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _power_64(base: Floats) -> Floats:
    power: Floats = np.maximum(base, 0.0)
    for _ in range(6):
        power = power * power
    return power


def _mixed(none: Triple, full: Triple, share: Floats) -> Floats:
    """Return the colour between two for each share of 0..1, shape (3, n)."""
    return _column(none) + (_column(full) - _column(none)) * share


def _dot(a: Floats, b: Floats) -> Floats:
    # Written out: a matrix product may add in another order on another machine.
    product: Floats = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


def _normalised(vectors: Floats) -> Floats:
    return vectors / np.sqrt(_dot(vectors, vectors))


def _column(triple: Triple) -> Floats:
    return np.array(triple)[:, None]
