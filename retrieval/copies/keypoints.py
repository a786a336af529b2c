"""Keypoints of a picture and their descriptors: SIFT (Lowe, Int J Comput Vis 60:91, 2004), vectorised over keypoints.

    grey picture, short side 192 ─► differences of Gaussians ─► extrema ─► orientation ─► 4 × 4 cells × 8 directions

A descriptor follows position, size and rotation of what it describes. That of the mirrored picture holds the same
numbers in another order (`MIRRORED`), so mirrored copies cost no second pass. Descriptors are rooted and normalised
(RootSIFT, Arandjelović and Zisserman, CVPR 2012), which makes their scalar product a better measure of likeness.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import PIL.Image

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]

SIDE: Final = 192
"""Pixels of the short side in which keypoints are looked for: finer detail survives neither JPEG nor a small copy."""
LONGEST: Final = 8
"""The long side at most, in short sides: a longer strip is squeezed."""
KEYPOINTS: Final = 160
"""Kept of a picture as large as a square: those that stand out most. A longer picture has more of them."""
CELLS: Final = 4
BINS: Final = 8
DIMENSIONS: Final = CELLS * CELLS * BINS
_LEVELS: Final = 3
_SIGMA: Final = 1.6
_OCTAVES: Final = 4
_SMALLEST: Final = 0.004
"""Least difference of Gaussians, of grey values from 0 to 1: below it lie noise and the traces of JPEG."""
_EDGE: Final = 10.0
"""Largest ratio of the two curvatures: an edge cannot be located along itself."""
_BORDER: Final = 4
_SECOND: Final = 0.8
"""A second direction this strong, of the strongest, makes a second keypoint."""
_DIRECTIONS: Final = 36

_order = np.arange(DIMENSIONS).reshape(CELLS, CELLS, BINS)
MIRRORED: Final[npt.NDArray[np.intp]] = _order[::-1, :, -np.arange(BINS) % BINS].ravel()
"""Where each number of the mirrored picture's descriptor stands: cells across the keypoint's direction change sides,
and directions their sense."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """n keypoints. Lengths are in short sides of the picture, y downwards, angles in radians."""

    places: Array
    """float32[n, 4]: x, y, size, angle."""
    descriptors: Array
    """float32[n, 128]: unit rows."""

    def __len__(self) -> int:
        return len(self.places)


def grey_picture(image: PIL.Image.Image, side: int = SIDE) -> Array:
    """The picture in grey, float32[h, w] from 0 to 1, its short side `side` pixels long."""
    import PIL.Image

    scale = side / min(image.size)
    width, height = (min(round(length * scale), LONGEST * side) for length in image.size)
    small = image.convert("L").resize((width, height), PIL.Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def keypoints(image: PIL.Image.Image) -> Keypoints:
    """The keypoints of a picture, strongest first; none of a blank one."""
    grey = grey_picture(image)
    found: list[tuple[Array, Array, Array]] = []
    level, step = _blurred(grey, (_SIGMA**2 - 0.5**2) ** 0.5), 1.0
    for _ in range(_OCTAVES):
        levels = _octave(level)
        at, strength = _extrema(levels)
        if len(at):
            places, descriptors, origin = _described(levels, at)
            # Pixel i of an octave is pixel i * step of the picture: every second pixel is taken, none is averaged.
            places[:, :2] = (places[:, :2] * step + 0.5) / SIDE
            places[:, 2] *= step / SIDE
            found.append((places, descriptors, strength[origin]))
        level, step = levels[_LEVELS][::2, ::2], step * 2
    if not found:
        return Keypoints(np.empty((0, 4), np.float32), np.empty((0, DIMENSIONS), np.float32))
    places, descriptors, strength = (np.concatenate(parts) for parts in zip(*found, strict=True))
    kept = round(KEYPOINTS * grey.size / SIDE**2)
    order = np.argsort(-strength, kind="stable")[:kept]
    return Keypoints(places[order], descriptors[order])


def _blurred(grey: Array, sigma: float) -> Array:
    from scipy.ndimage import gaussian_filter

    blurred: Array = gaussian_filter(grey, sigma, truncate=3.0, mode="nearest")
    return blurred


def _octave(first: Array) -> Array:
    """float32[levels + 3, h, w]: the picture blurred to 1.6 pixels, then by a factor of 2^(1/3) more each."""
    levels, factor = [first], 2 ** (1 / _LEVELS)
    for number in range(1, _LEVELS + 3):
        sigma = _SIGMA * factor ** (number - 1)
        levels.append(_blurred(levels[-1], sigma * (factor**2 - 1) ** 0.5))
    return np.stack(levels)


def _extrema(levels: Array) -> tuple[Array, Array]:
    """Extrema of the differences of levels: float32[n, 3] of level, y, x, refined within the pixel; and their
    strengths, float32[n]."""
    d = np.diff(levels, axis=0)
    inner = d[1:-1, _BORDER:-_BORDER, _BORDER:-_BORDER]
    high, low = inner > _SMALLEST, inner < -_SMALLEST
    height, width = d.shape[1:]
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):  # most places fail here already
        beside = d[1:-1, _BORDER + down : height - _BORDER + down, _BORDER + right : width - _BORDER + right]
        high &= inner >= beside
        low &= inner <= beside
    z, y, x = (axis + least for axis, least in zip(np.nonzero(high | low), (1, _BORDER, _BORDER), strict=True))
    around = np.stack([d[z + k, y + i, x + j] for k in (-1, 0, 1) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    extreme = (d[z, y, x] == around.max(axis=0)) | (d[z, y, x] == around.min(axis=0))
    z, y, x = z[extreme], y[extreme], x[extreme]
    centre = d[z, y, x]
    dy, dx = ((d[z, y + 1, x] - d[z, y - 1, x]) / 2, (d[z, y, x + 1] - d[z, y, x - 1]) / 2)
    dz = (d[z + 1, y, x] - d[z - 1, y, x]) / 2
    yy, xx = (d[z, y + 1, x] + d[z, y - 1, x] - 2 * centre, d[z, y, x + 1] + d[z, y, x - 1] - 2 * centre)
    zz = d[z + 1, y, x] + d[z - 1, y, x] - 2 * centre
    xy = (d[z, y + 1, x + 1] - d[z, y + 1, x - 1] - d[z, y - 1, x + 1] + d[z, y - 1, x - 1]) / 4
    kept = (xx + yy) ** 2 * _EDGE < (_EDGE + 1) ** 2 * (xx * yy - xy**2)

    def refined(at: npt.NDArray[np.intp], slope: Array, curve: Array) -> Array:
        shift: Array = np.clip(-slope / np.where(curve == 0, 1, curve), -0.5, 0.5)
        return at.astype(np.float32) + shift

    at = np.stack([refined(z, dz, zz), refined(y, dy, yy), refined(x, dx, xx)], axis=1)
    return at[kept].astype(np.float32), np.abs(centre[kept])


def _described(levels: Array, at: Array) -> tuple[Array, Array, npt.NDArray[np.intp]]:
    """Of extrema float32[n, 3]: places float32[m, 4] in pixels of the octave, descriptors float32[m, 128], and which
    extremum each is of, int[m]."""
    sigma = _SIGMA * 2 ** (at[:, 0] / _LEVELS)
    nearest = np.rint(at[:, 0]).astype(np.intp)
    gy, gx = (np.gradient(levels, axis=axis) for axis in (1, 2))
    across, along, weight = _directions_grid()
    x, y = (at[:, 2, None] + sigma[:, None] * across, at[:, 1, None] + sigma[:, None] * along)
    sx, sy = _sampled(gx, nearest, y, x), _sampled(gy, nearest, y, x)
    which = np.rint(np.arctan2(sy, sx) * (_DIRECTIONS / (2 * np.pi))).astype(np.intp) % _DIRECTIONS
    flat = (np.arange(len(at))[:, None] * _DIRECTIONS + which).ravel()
    weights = (np.hypot(sx, sy) * weight).ravel()
    counted = np.bincount(flat, weights, len(at) * _DIRECTIONS).astype(np.float32)
    histogram: Floats = counted.reshape(len(at), _DIRECTIONS)
    for _ in range(3):
        histogram = (np.roll(histogram, 1, 1) + histogram + np.roll(histogram, -1, 1)) / 3
    before, after = np.roll(histogram, 1, 1), np.roll(histogram, -1, 1)
    strong = histogram >= _SECOND * histogram.max(axis=1, keepdims=True)
    origin, peak = np.nonzero(strong & (histogram > before) & (histogram >= after))
    left, middle, right = before[origin, peak], histogram[origin, peak], after[origin, peak]
    angle = (peak + 0.5 * (left - right) / (left - 2 * middle + right)) * (2 * np.pi / _DIRECTIONS)

    # The same once more, now along and across that direction.
    sigma, nearest = sigma[origin], nearest[origin]
    u, v, share_of, cells = _descriptor_grid()
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x_of = at[origin, 2, None] + sigma[:, None] * (cosine * u - sine * v)
    y_of = at[origin, 1, None] + sigma[:, None] * (sine * u + cosine * v)
    sx, sy = _sampled(gx, nearest, y_of, x_of), _sampled(gy, nearest, y_of, x_of)
    direction = ((np.arctan2(sy, sx) - angle[:, None]) * (BINS / (2 * np.pi))) % BINS
    lower = np.floor(direction)
    share = direction - lower
    force = np.hypot(sx, sy) * share_of
    spread = np.zeros((*force.shape, BINS), dtype=np.float32)
    bottom = lower.astype(np.intp)[..., None] % BINS
    np.put_along_axis(spread, bottom, (force * (1 - share))[..., None].astype(np.float32), axis=2)
    np.put_along_axis(spread, (bottom + 1) % BINS, (force * share)[..., None].astype(np.float32), axis=2)
    descriptors = np.einsum("nsb,sc->ncb", spread, cells, optimize=True).reshape(len(origin), DIMENSIONS)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    descriptors = np.minimum(descriptors, 0.2)
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
    places = np.stack([at[origin, 2], at[origin, 1], sigma, angle], axis=1).astype(np.float32)
    return places, descriptors.astype(np.float32), origin


def _sampled(stack: Array, level: npt.NDArray[np.intp], y: Floats, x: Floats) -> Floats:
    """Values of float32[levels, h, w] at float[n, s] places of the level of each, bilinear; float32[n, s]."""
    _, height, width = stack.shape
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.intp), y.astype(np.intp)
    dx, dy = (x - left).astype(np.float32), (y - top).astype(np.float32)
    flat, at = stack.ravel(), (level[:, None] * height + top) * width + left
    upper = flat[at] * (1 - dx) + flat[at + 1] * dx
    lower = flat[at + width] * (1 - dx) + flat[at + width + 1] * dx
    return upper * (1 - dy) + lower * dy


@lru_cache
def _directions_grid() -> tuple[Array, Array, Array]:
    """Where the direction of a keypoint is measured, in its sigmas, and how much each place counts: float32[s] each."""
    axis = np.linspace(-4.5, 4.5, 13, dtype=np.float32)
    x, y = (plane.ravel() for plane in np.meshgrid(axis, axis))
    return x, y, np.exp(-(x**2 + y**2) / (2 * 1.5**2))


@lru_cache
def _descriptor_grid() -> tuple[Array, Array, Array, Array]:
    """Where a descriptor is measured, in sigmas along and across the keypoint's direction, the weight of each place,
    float32[s] each, and its shares in the 16 cells, float32[s, 16]."""
    samples, wide = 16, 3.0
    axis = ((np.arange(samples) + 0.5) / samples - 0.5) * (CELLS + 1) * wide
    u, v = (plane.ravel().astype(np.float32) for plane in np.meshgrid(axis, axis))
    centres = (np.arange(CELLS) - (CELLS - 1) / 2) * wide
    # First index of a cell: across (v), so that a mirror image reverses it.
    near = [np.maximum(0, 1 - np.abs(places[:, None] - centres) / wide) for places in (v, u)]
    cells = (near[0][:, :, None] * near[1][:, None, :]).reshape(-1, CELLS * CELLS)
    weight = np.exp(-(u**2 + v**2) / (2 * (CELLS / 2 * wide) ** 2))
    return u, v, weight, cells.astype(np.float32)
