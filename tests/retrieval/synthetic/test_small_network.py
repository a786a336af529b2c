"""The small network: learns what is there to see, whatever the turn, and is the same again."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from generation.phantom import PROFILES, Phantom
from retrieval.encoder.thumbnails import Thumbnails
from retrieval.synthetic.small_network import SmallNetwork, train_network
from tests.few_steps import own_steps

SIDE = 48
KINDS = [PROFILES.index(next(p for p in PROFILES if p.site == site)) for site in ("cervix", "lymph node", "urine")]


def phantoms(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails of phantoms of three sites."""
    kinds = np.arange(count) % len(KINDS)
    images = [Phantom(PROFILES[KINDS[kind]], seed + i).render(64) for i, kind in enumerate(kinds)]
    return Thumbnails().encode_images(images), kinds


@pytest.fixture(scope="module")
def trained() -> SmallNetwork:
    vectors, classes = phantoms(60, 0)
    with own_steps():
        return train_network(vectors, classes * 2, np.arange(60), 6)


def test_a_thumbnail_is_the_middle_of_the_picture() -> None:
    image = PIL.Image.new("RGB", (3 * SIDE, SIDE), "red")
    image.paste((0, 0, 255), (SIDE, 0, 2 * SIDE, SIDE))
    (row,) = Thumbnails().encode_images([image])
    assert (row.reshape(SIDE, SIDE, 3)[:, 2:-2] == [0, 0, 1]).all()
    assert Thumbnails().encode_images([]).shape == (0, Thumbnails.dim)


@pytest.mark.slow
def test_it_separates_phantoms_of_sites_in_any_orientation(trained: SmallNetwork) -> None:
    vectors, classes = phantoms(45, 1000)
    made = trained.probabilities(vectors)
    assert made.shape == (45, 6)
    assert (made[:, [1, 3, 5]] == 0).all()
    assert made.sum(axis=1) == pytest.approx(1)
    assert (made.argmax(axis=1) == classes * 2).mean() > 0.7  # chance: 0.33
    turned = np.rot90(vectors.reshape(-1, SIDE, SIDE, 3), axes=(1, 2)).reshape(len(vectors), -1)
    assert (trained.probabilities(turned).argmax(axis=1) == classes * 2).mean() > 0.7  # chance: 0.33


def test_the_same_seed_gives_the_same_network_and_leaves_the_chance_of_others_alone() -> None:
    import torch

    vectors, classes = phantoms(12, 0)
    state = torch.random.get_rng_state()
    first, again, other = (train_network(vectors, classes, classes, 3, seed=seed, steps=2) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(first.probabilities(vectors), again.probabilities(vectors))
    assert not np.array_equal(first.probabilities(vectors), other.probabilities(vectors))
    with pytest.raises(ValueError, match="no images"):
        train_network(vectors[:0], classes[:0], classes[:0], 3)
