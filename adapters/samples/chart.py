"""A picture of two merging star clusters: each body a bright point, the way it came a faint trail."""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from adapters.samples.png import Picture

Floats: TypeAlias = NDArray[np.float64]

_COLOURS = np.array([(1.0, 0.58, 0.22), (0.32, 0.62, 1.0)])
"""Linear RGB of the bodies of each cluster."""
_BACKGROUND = np.array((0.004, 0.006, 0.014))
_TRAIL_LIGHT = 0.04
_POINTS_PER_MOVE = 12
_SUBPIXELS = 2
_STAR_RADIUS_PX = 7
_STAR_WIDTH2_PX = 2.4
_SHOWN_PERCENTILE = 97
"""The picture reaches as far as this share of all positions; a few bodies flung out would leave it empty."""


def star_chart(track: NDArray[np.float32], family: NDArray[np.int8], side_px: int) -> Picture:
    """Draw positions seen from above: `track` has shape (moments, 2, bodies), the last moment is shown bright."""
    path = track.astype(np.float64)
    reach = 1.06 * float(np.percentile(np.abs(path), _SHOWN_PERCENTILE))
    fine = side_px * _SUBPIXELS
    trails = _trails((path / reach + 1.0) * (fine / 2), family, fine)
    light = trails.reshape(side_px, _SUBPIXELS, side_px, _SUBPIXELS, 3).mean(axis=(1, 3))
    light += _stars((path[-1] / reach + 1.0) * (side_px / 2), family, side_px) + _BACKGROUND
    shown = np.sqrt(1.0 - 1.0 / (1.0 + light) ** 2)
    # Pictures count rows from the top, the plane upwards.
    picture: Picture = (shown[::-1] * 255.0 + 0.5).astype(np.uint8)
    return picture


def _trails(path: Floats, family: NDArray[np.int8], side: int) -> Floats:
    """Sum up light along straight lines between the moments, the latest brightest."""
    light = np.zeros((side, side, 3))
    if len(path) < 2:
        return light
    share = np.arange(_POINTS_PER_MOVE)[:, None, None] / _POINTS_PER_MOVE
    for moment, (here, there) in enumerate(pairwise(path)):
        age = (moment + 1) / (len(path) - 1)
        _add(light, here + (there - here) * share, _COLOURS[family] * (_TRAIL_LIGHT * (0.15 + age**3)))
    return light


def _stars(place: Floats, family: NDArray[np.int8], side: int) -> Floats:
    """Draw each body as a round, soft spot placed to a fraction of a pixel."""
    light = np.zeros((side, side, 3))
    nearest = np.floor(place) + 0.5
    spot = np.arange(-_STAR_RADIUS_PX, _STAR_RADIUS_PX + 1)
    for across in spot:
        for along in spot:
            pixel = nearest + np.array([[across], [along]])
            distance2 = ((pixel - place) ** 2).sum(axis=0)
            glow = 1.4 * np.exp(-distance2 / _STAR_WIDTH2_PX) + 0.07 * np.exp(-distance2 / 14.0)
            _add(light, pixel[None], (0.75 * _COLOURS[family] + 0.25) * glow[:, None])
    return light


def _add(light: Floats, places: Floats, colours: Floats) -> None:
    """Add each body's colour at its places, shape (k, 2, bodies); places outside the picture are left out."""
    column, row = np.floor(places).astype(np.int64).transpose(1, 0, 2)
    inside = (column >= 0) & (column < light.shape[1]) & (row >= 0) & (row < light.shape[0])
    body = np.broadcast_to(np.arange(places.shape[2]), inside.shape)[inside]
    np.add.at(light, (row[inside], column[inside]), colours[body])
