"""The small network: learns what is there to see, whatever the turn, and is the same again."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from generation.phantom import PROFILES, Phantom
from retrieval.encoder.thumbnails import Thumbnails
from retrieval.synthetic import small_network
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


def test_the_network_is_the_one_that_is_described() -> None:
    """Four strided convolutions with group normalisation, 169,000 weights, mean pooling, a linear layer."""
    import torch

    network = small_network._network(7)
    assert round(sum(weights.numel() for weights in network.parameters()), -3) == 169_000
    widths = [16, 32, 64, 64]
    made, side = torch.zeros(2, 3, SIDE, SIDE), SIDE
    for width, block in zip(widths, range(0, 12, 3), strict=True):
        convolution, normalisation, _ = network[block : block + 3]
        assert (convolution.kernel_size, normalisation.num_groups) == ((5, 5), 8)
        made, side = network[block : block + 3](made), side // 2
        assert made.shape == (2, width, side, side)
    assert network(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, 7)


def test_thumbnails_are_pictures_of_minus_1_to_1() -> None:
    rows = np.random.default_rng(0).random((3, 3 * SIDE * SIDE), dtype=np.float32)
    pictures = small_network._pictures(rows).numpy()
    assert pictures.shape == (3, 3, SIDE, SIDE)
    for image, channel, row, column in ((0, 0, 0, 0), (1, 2, 3, 5), (2, 1, SIDE - 1, 0)):
        value = rows[image, (row * SIDE + column) * 3 + channel]
        assert pictures[image, channel, row, column] == pytest.approx(2 * value - 1, abs=1e-6)


def test_quarters_of_a_batch_are_turned_and_mirrored_and_each_image_is_recoloured() -> None:
    import torch

    pictures = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
    ways = set()
    for seed in range(6):
        made = small_network._varied(pictures, np.random.default_rng(seed)).numpy()
        rng = np.random.default_rng(seed)
        turns = [(int(rng.integers(4)), rng.random() < 0.5) for _ in range(4)]
        ways |= set(turns)
        gains = 1 + 0.15 * np.clip(rng.standard_normal((8, 4)), -2, 2)
        for number in range(8):
            turn, mirrored = turns[number // 2]
            shown = np.rot90(pictures[number].numpy(), turn, axes=(1, 2))
            shown = shown[:, :, ::-1] if mirrored else shown
            factors = (gains[number, :3] * gains[number, 3])[:, None, None]
            np.testing.assert_allclose(made[number], np.clip((shown + 1) * factors - 1, -1, 1), atol=1e-5)
    assert len(ways) == 8


def test_each_class_is_drawn_as_often_as_the_others_and_probabilities_come_in_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[np.ndarray] = []
    plain_pictures = small_network._pictures

    def noted(vectors: np.ndarray) -> object:
        drawn.append(vectors[:, 0])
        return plain_pictures(vectors)

    monkeypatch.setattr(small_network, "_pictures", noted)
    classes = np.array([0] * 18 + [4] * 2)
    vectors = np.zeros((20, 3 * SIDE * SIDE), dtype=np.float32)
    vectors[:, 0] = classes / 4
    network = train_network(vectors, classes, classes, 6, steps=4)
    assert [len(batch) for batch in drawn] == [64] * 4
    assert 0.4 < np.concatenate(drawn).mean() < 0.6, "of 18 and 2 images"
    drawn.clear()
    many = np.random.default_rng(0).random((130, 3 * SIDE * SIDE), dtype=np.float32)
    made = network.probabilities(many)
    assert [len(batch) for batch in drawn] == [64, 64, 2]
    assert (made[:, [1, 2, 3, 5]] == 0).all()
    assert made.sum(axis=1) == pytest.approx(1)
    assert made[100] == pytest.approx(network.probabilities(many[100:101])[0], abs=1e-5)
