"""Slides composed of phantoms, of which it is known where something abnormal lies, and where nothing can be read.

Fields of one normal finding lie beside each other on glass, as on a smear: with empty ground between them, a region of
blood, one out of focus, one too thick, bubbles and a stroke of ink. One to five per cent of the fields that can be read
show the abnormal finding of the same site in the same stain.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.pyramid import write_pyramid
from generation import PROFILES, Phantom
from generation.phantom.background import BACKGROUNDS
from generation.phantom.canvas import DENSEST, FIELD_UM, Canvas
from generation.phantom.palette import STAINS
from generation.phantom.profiles import Profile

SITES = (
    ("cervix", "normal squamous cells", "high-grade squamous lesion", "Papanicolaou"),
    ("serous effusion", "reactive mesothelial cells", "adenocarcinoma", "May-Grünwald-Giemsa"),
    ("urine", "benign urothelial cells", "high-grade urothelial carcinoma", "Papanicolaou"),
    ("thyroid", "benign follicular nodule", "papillary thyroid carcinoma", "May-Grünwald-Giemsa"),
    ("breast", "fibroadenoma", "ductal carcinoma", "H&E"),
    ("lung", "bronchial cells and macrophages", "small cell carcinoma", "Papanicolaou"),
    ("lymph node", "reactive lymphoid hyperplasia", "metastatic adenocarcinoma", "May-Grünwald-Giemsa"),
)
"""Site, normal finding, abnormal finding and stain of the slides, in turn."""
MPP = 0.5
ABNORMAL_SHARE = (0.01, 0.05)
EDGE_UM = 6.0
"""Over this width a field fades at its edge into the next."""
NORMAL, ABNORMAL, EMPTY, BLOOD, BLURRED, THICK, BUBBLE, INK = range(8)
NAMES = ("normal", "abnormal", "empty", "blood only", "out of focus", "too thick", "bubble", "ink")
UNREADABLE = (BLURRED, THICK, BUBBLE, INK)


@dataclass(frozen=True)
class PhantomSlide:
    """A slide's pixels, uint8[side, side, 3], and what each of its fields is, uint8[n, n]; a field is 96 µm wide."""

    site: str
    pixels: NDArray[np.uint8]
    truth: NDArray[np.uint8]

    @property
    def field(self) -> int:
        """Pixels of a field."""
        return round(FIELD_UM / MPP)

    def write(self, folder: Path) -> Path:
        """As a pyramid that OpenSlide reads."""
        return write_pyramid(folder / "slide.tif", self.pixels, mpp=MPP)


def compose(
    seed: int, *, fields: int = 20, site: int | None = None, share: tuple[float, float] = ABNORMAL_SHARE
) -> PhantomSlide:
    """The slide of a seed, of `fields` × `fields` fields; the same seed gives the same slide.

    Args:
        share: between which shares of the fields that can be read are abnormal; two at least, unless it is 0 to 0.
    """
    rng = np.random.default_rng([17, seed])
    place, normal, abnormal, stain = SITES[seed % len(SITES) if site is None else site]
    truth = _plan(rng, fields, share)
    size = round(FIELD_UM / MPP)
    margin = round(EDGE_UM / MPP)
    side = fields * size
    density = np.zeros((side, side, 3), np.float32)
    window = _window(size, margin)
    numbers = iter(range(seed * 10_000_000, 2**62))
    profiles = {NORMAL: _profile(place, normal), ABNORMAL: _profile(place, abnormal)}
    for (row, column), kind in np.ndenumerate(truth):
        if kind in (EMPTY, BUBBLE, INK):
            continue
        if kind == BLOOD:
            canvas = Canvas(size, STAINS[stain], rng)
            BACKGROUNDS["blood"](canvas, 1.0)
        else:
            canvas = _phantom(profiles[ABNORMAL if kind == ABNORMAL else NORMAL], stain, numbers).stained(size)
        top, left = row * size, column * size
        density[top : top + size, left : left + size] += canvas.density * window
    _spoil(density, truth, size, rng, STAINS[stain].density("chromatin"))
    return PhantomSlide(place, _photograph(density, truth, size, rng, STAINS[stain].slide), truth)


def field_phantoms(site: int, *, abnormal: bool, count: int) -> list[Phantom]:
    """Single fields of a site's normal or abnormal finding, in its stain: none of any slide of a low seed."""
    place, normal, finding, stain = SITES[site]
    numbers = iter(range(10_000_000 * (site + 50) + 5_000_000 * abnormal, 2**62))
    profile = _profile(place, finding if abnormal else normal)
    return [_phantom(profile, stain, numbers) for _ in range(count)]


def _profile(site: str, finding: str) -> Profile:
    return next(profile for profile in PROFILES if (profile.site, profile.finding) == (site, finding))


def _phantom(profile: Profile, stain: str, numbers: object) -> Phantom:
    while True:
        phantom = Phantom(profile, next(numbers))  # type: ignore[call-overload]
        if phantom.morphology.stain == stain:
            return phantom


def _plan(rng: np.random.Generator, fields: int, abnormal: tuple[float, float]) -> NDArray[np.uint8]:
    """What each field is. Ground and regions are blobs, as on glass; abnormal fields lie singly."""

    def blob(grain: float) -> NDArray[np.float64]:
        return gaussian_filter(rng.standard_normal((fields, fields)), grain, mode="wrap")

    truth = np.full((fields, fields), NORMAL, np.uint8)
    ground = blob(1.5)
    truth[ground < np.quantile(ground, 0.4)] = EMPTY
    for kind, share in ((BLOOD, 0.1), (BLURRED, 0.1), (THICK, 0.06)):
        region = np.where(truth == NORMAL, blob(1.5), -np.inf)
        truth[region >= np.sort(region, axis=None)[-round(share * fields**2)]] = kind
    readable = np.flatnonzero(truth == NORMAL)
    spoiled = rng.choice(readable, 4, replace=False)
    truth.flat[spoiled] = BUBBLE
    column = int(rng.integers(fields))
    truth[: fields // 3, column] = INK
    readable = np.flatnonzero(truth == NORMAL)
    fewest = 2 if abnormal[1] else 0
    truth.flat[rng.choice(readable, max(fewest, round(rng.uniform(*abnormal) * len(readable))), replace=False)] = (
        ABNORMAL
    )
    return truth


def _window(size: int, margin: int) -> NDArray[np.float32]:
    edge = np.clip((np.arange(size) + 0.5) / margin, 0, 1)
    edge = np.minimum(edge, edge[::-1])
    return (edge[:, None] * edge[None, :])[..., None].astype(np.float32)


def _spoil(
    density: NDArray[np.float32],
    truth: NDArray[np.uint8],
    size: int,
    rng: np.random.Generator,
    chromatin: NDArray[np.float32],
) -> None:
    """Thick places, bubbles and ink."""
    ys, xs = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    reach = np.hypot(xs, ys)
    for (row, column), kind in np.ndenumerate(truth):
        part = density[row * size : (row + 1) * size, column * size : (column + 1) * size]
        if kind == THICK:
            cover = gaussian_filter(rng.standard_normal((size, size)), 12).astype(np.float32)
            part += (1.1 + 0.25 * cover / cover.std())[..., None] * chromatin
        elif kind == BUBBLE:
            radius = rng.uniform(0.55, 0.8)
            part += (np.exp(-(((reach - radius) / 0.03) ** 2)) * 1.6)[..., None]
        elif kind == INK:
            stroke = np.clip((0.75 - np.abs(xs)) * 20, 0, 1)
            part += stroke[..., None] * np.asarray((1.9, 1.2, 0.25), np.float32)


def _photograph(
    density: NDArray[np.float32],
    truth: NDArray[np.uint8],
    size: int,
    rng: np.random.Generator,
    slide: tuple[int, int, int],
) -> NDArray[np.uint8]:
    """Light through the glass, a field out of focus where the plan says so, and a camera's noise."""
    density *= np.float32(rng.uniform(0.85, 1.15))
    light = np.asarray(slide, np.float32) / 255.0 * rng.normal(1.0, 0.015, 3).astype(np.float32)
    pixels = np.empty(density.shape, np.uint8)
    for row in range(len(truth)):
        band = slice(row * size, (row + 1) * size)
        clear = DENSEST * (1.0 - np.exp(-density[band] / DENSEST))
        clear = gaussian_filter(clear, (0.5, 0.5, 0))
        for column in np.flatnonzero(truth[row] == BLURRED):
            part = slice(column * size, (column + 1) * size)
            clear[:, part] = gaussian_filter(clear[:, part], (7.0, 7.0, 0))
        picture = light * np.exp(-clear) + rng.standard_normal(clear.shape).astype(np.float32) * 0.012
        pixels[band] = (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return pixels
