"""What of one picture lies in another: a similarity transform that keypoints agree on, then the pixels' correlation.

Each pair of keypoints whose descriptors are alike proposes a whole transform (turn, size, shift, and whether mirrored):
the one that most pairs agree with is taken, and the reference is laid over the picture by it. Pixels decide: two cells
of one kind share keypoints by chance, and not their texture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.copies.keypoints import MIRRORED, Array, Keypoints

LEAST_ALIKE: Final = 0.8
"""Scalar product of two descriptors from which they may be of one place."""
LARGEST: Final = 4.0
"""A picture may show the reference up to so many times as large, or as small, in short sides."""
_FAR: Final = 0.05
"""In short sides of the picture: keypoints this far from where the transform puts them disagree with it."""
_TURN, _SIZE = np.radians(20), np.log(1.5)
"""How far turn and size of a pair of keypoints may differ from the transform's."""
LEAST_PAIRS: Final = 4
_MOST_PAIRS: Final = 80
"""The most alike of them: the work grows with the square."""
PIXELS: Final = 96
"""Short side of the pictures whose pixels are compared."""
_DETAIL: Final = 6.0
"""Pixels: only what is finer than this counts. Where the light lies and how large a cell is are alike in many."""
_AROUND: Final = 8.0
"""Pixels around one, as the deviation of a Gaussian, whose correlation is taken."""
_FLAT: Final = 0.002
"""Grey values, of 1: less detail than this is noise."""
COPIED: Final = 0.65
"""Correlation from which a part counts as copied (`python -m benchmarks.near_copies`)."""
LEAST_SHARE: Final = 0.2
"""A part smaller than this, of the picture, does not count: a few cells may be alike by chance."""


@dataclass(frozen=True)
class Overlap:
    """A part of a picture and where it lies in a reference."""

    pairs: int
    """Keypoints that agree on where it lies."""
    correlation: float
    """Of the detail of the pixels where both agree, in [-1, 1]."""
    share: float
    """The part of the picture where they agree, 0 to 1."""
    mirrored: bool

    @property
    def copied(self) -> bool:
        """Whether the part counts as copied."""
        return self.correlation >= COPIED and self.share >= LEAST_SHARE


def shared_part(
    keypoints: Keypoints, grey: Array, reference: Keypoints, load: Callable[[], Array | None]
) -> Overlap | None:
    """The part of a picture that lies in a reference, or may: see `Overlap.copied`. None: their keypoints do not agree.

    Args:
        grey: the picture, as `grey_picture(image, PIXELS)`.
        load: gives the reference likewise, where it is needed; None where it cannot be read.
    """
    found = best_transform(keypoints, reference)
    pixels = None if found is None else load()
    if found is None or pixels is None:
        return None
    matrix, pairs, mirrored = found
    correlation, share = laid_over(grey, pixels, matrix)
    return Overlap(pairs, correlation, share, mirrored)


def best_transform(picture: Keypoints, reference: Keypoints) -> tuple[Array, int, bool] | None:
    """The transform float32[2, 3] of the picture's places, in short sides, to the reference's, that most pairs of
    keypoints agree with, how many these are, and whether it is mirrored. None: not enough agree."""
    best: tuple[Array, int, bool] | None = None
    if not len(picture) or not len(reference):
        return None
    for mirrored in (False, True):
        own = picture.places.copy()
        descriptors = picture.descriptors
        if mirrored:  # as the keypoints of the picture with x changed to -x
            descriptors = descriptors[:, MIRRORED]
            own[:, 0], own[:, 3] = -own[:, 0], np.pi - own[:, 3]
        alike = descriptors @ reference.descriptors.T
        nearest, back = alike.argmax(axis=1), alike.argmax(axis=0)
        best_alike = alike.max(axis=1)
        at = np.flatnonzero((back[nearest] == np.arange(len(own))) & (best_alike >= LEAST_ALIKE))
        at = at[np.argsort(-best_alike[at], kind="stable")[:_MOST_PAIRS]]
        found = _agreed(own[at], reference.places[nearest[at]])
        if found is not None and (best is None or found[1] > best[1]):
            matrix = found[0]
            if mirrored:
                matrix[:, 0] *= -1
            best = (matrix, found[1], mirrored)
    return best


def _agreed(some: Array, others: Array) -> tuple[Array, int] | None:
    """The transform of paired places float32[n, 4] that most pairs agree with, and how many."""
    turn = others[:, 3] - some[:, 3]
    size = np.log(others[:, 2] / some[:, 2])
    possible = np.flatnonzero(np.abs(size) <= np.log(LARGEST))
    if len(possible) < LEAST_PAIRS:
        return None
    z, w = (places[:, 0] + 1j * places[:, 1] for places in (some, others))
    factor = np.exp(size + 1j * turn)
    # Row: the pair that proposes; column: the pair that agrees or not.
    distance = np.abs(w[None] - (w[:, None] + factor[:, None] * (z[None] - z[:, None]))) / np.exp(size)[:, None]
    agree = (
        (distance <= _FAR)
        & (_apart(turn[None], turn[:, None]) <= _TURN)
        & (np.abs(size[None] - size[:, None]) <= _SIZE)
    )
    chosen = agree[possible[agree[possible].sum(axis=1).argmax()]]
    for _ in range(3):
        if _places(z[chosen]) < LEAST_PAIRS:
            return None
        # Least squares over the similarity transforms w = a z + b.
        centre, goal = z[chosen].mean(), w[chosen].mean()
        own = z[chosen] - centre
        a = np.vdot(own, w[chosen] - goal) / np.vdot(own, own).real
        b = goal - a * centre
        chosen = (np.abs(a * z + b - w) <= _FAR * np.abs(a)) & (_apart(turn, np.angle(a)) <= _TURN)
    count = _places(z[chosen])
    if count < LEAST_PAIRS or not 1 / LARGEST <= abs(a) <= LARGEST:
        return None
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], dtype=np.float32), count


def _apart(some: Array, others: Array) -> Array:
    """Absolute differences of angles."""
    difference = np.abs(some - others) % (2 * np.pi)
    return np.minimum(difference, 2 * np.pi - difference)


def _places(z: npt.NDArray[np.complexfloating]) -> int:
    """Different places among them: two directions of one keypoint are no two witnesses."""
    return len(np.unique(np.round(z * 100)))


def laid_over(picture: Array, reference: Array, matrix: Array) -> tuple[float, float]:
    """How much of a grey picture, float32[h, w], lies in a reference that a transform (`best_transform`) lays over it:
    the correlation of the detail where the two agree, and that part of the picture, 0 to 1.

    They agree around a pixel where their detail correlates with at least `COPIED` within some ten pixels of it: so a
    picture that was pasted beside another one is found, too.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    side, other = min(picture.shape), min(reference.shape)
    # From pixels (y, x) of the picture to those of the reference.
    linear = matrix[::-1, 1::-1].astype(np.float64) * (other / side)
    shift = matrix[::-1, 2] * other + linear @ [0.5, 0.5] - 0.5
    over: Array = affine_transform(reference, linear, shift, picture.shape, order=1, cval=np.nan)
    seen = np.isfinite(over)
    if seen.mean() < LEAST_SHARE:
        return 0.0, 0.0
    weight = np.maximum(gaussian_filter(seen.astype(np.float32), _DETAIL), 1e-3)

    def detail(grey: Array) -> Array:
        filled = np.where(seen, grey, np.float32(0))
        fine: Array = np.where(seen, filled - gaussian_filter(filled, _DETAIL) / weight, np.float32(0))
        return fine

    own, theirs = detail(picture), detail(over)
    both, first, second = own * theirs, own**2, theirs**2
    near, one, two = (gaussian_filter(product, _AROUND) for product in (both, first, second))
    agree = seen & (near >= COPIED * np.sqrt(one * two)) & (one > _FLAT**2)
    size = float(np.sqrt(first[agree].sum() * second[agree].sum()))
    return (float(both[agree].sum()) / size if size > 0 else 0.0), float(agree.mean())
