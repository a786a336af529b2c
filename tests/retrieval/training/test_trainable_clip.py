"""Which weights a training opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from generation.training.data.pairs import TrainingPair
from generation.training.data.step_sampling import items_of_step
from retrieval import Encoder
from retrieval.encoder.formats.open_clip_folder import WEIGHTS
from retrieval.encoder.model_files import find_clip
from retrieval.training import encoder_run, trainable_clip
from retrieval.training.encoder_run import EncoderRun
from retrieval.training.encoder_settings import EncoderSettings
from retrieval.training.image_augmentation import two_views
from retrieval.training.losses import report_loss
from retrieval.training.pixel_store import PixelStore
from retrieval.training.trainable_clip import TrainableClip
from tests.retrieval.conftest import speckled

TEXTS = ["Benign.", "Malignant.", "Atypical."]


@pytest.mark.parametrize("towers", ["both", "image"])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_towers_that_are_named_are_trained(clip_folder: Path, mode: str, towers: str) -> None:
    every = set(load_file(clip_folder / WEIGHTS[0]))
    of_image = {name for name in every if name.startswith("visual.")}
    assert of_image and "logit_scale" in every - of_image
    trained = set(TrainableClip(find_clip(clip_folder), EncoderSettings(mode=mode, towers=towers), "cpu").trained)
    if mode == "full":
        assert trained == (every if towers == "both" else {*of_image, "logit_scale"})
        return
    added = trained - {"logit_scale"}
    assert "logit_scale" in trained and all(".lora_" in name for name in added)
    kinds = {name.startswith("visual.") for name in added}
    assert kinds == ({True, False} if towers == "both" else {True})


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> TrainableClip:
    settings = EncoderSettings(mode="full", batch_size=3, weight_decay=0.25, seed=4)
    return TrainableClip(find_clip(clip_folder), settings, "cpu")


def test_images_and_texts_are_embedded_as_the_encoder_does(clip: TrainableClip, encoder: Encoder) -> None:
    """From pixels of 0 to 1, which the encoder has normalised already."""
    images = [speckled(number) for number in range(3)]
    pixels = torch.cat([torch.as_tensor(encoder.prepare(image)) for image in images]) * clip.deviation + clip.mean
    assert 0 <= pixels.min() < pixels.max() <= 1
    clip.network.eval()
    with torch.no_grad():
        np.testing.assert_allclose(clip.embed_images(pixels), encoder.encode_images(images), atol=1e-5)
        np.testing.assert_allclose(clip.embed_texts(clip.tokenize(TEXTS)), encoder.encode_texts(TEXTS), atol=1e-5)


@pytest.mark.parametrize(("logarithm", "scale"), [(0.0, 1.0), (np.log(99.5), 99.5), (5.0, 100.0)])
def test_similarities_are_scaled_by_at_most_100(clip: TrainableClip, logarithm: float, scale: float) -> None:
    before = clip.network.logit_scale.detach().clone()
    clip.network.logit_scale.data.fill_(logarithm)
    try:
        assert float(clip.scale.detach()) == pytest.approx(scale, rel=1e-5)
    finally:
        clip.network.logit_scale.data.copy_(before)


def test_which_layers_a_lora_is_added_to() -> None:
    """Linear ones, and convolutions that are linear at each position; not the inside of torch's attention."""
    from torch import nn

    for module, linear in (
        (nn.Linear(2, 3), True),
        (nn.Conv2d(2, 4, 1), True),
        (nn.Conv2d(2, 4, 1, groups=2), False),
        (nn.Conv2d(2, 4, 3), False),
        (nn.Conv2d(2, 4, (1, 3)), False),
        (nn.MultiheadAttention(4, 2).out_proj, False),
        (nn.LayerNorm(4), False),
    ):
        assert trainable_clip._is_linear(module) == linear, module


def test_a_loras_strength_is_alpha_by_rank_and_its_weights_are_seeded(clip_folder: Path) -> None:
    weights = []
    for alpha, seed, strength in ((0.0, 1, 1.0), (8.0, 1, 2.0), (2.0, 2, 0.5)):
        settings = EncoderSettings(rank=4, alpha=alpha, seed=seed, towers="image")
        made = TrainableClip(find_clip(clip_folder), settings, "cpu")
        assert {m.scaling["default"] for m in made.network.modules() if hasattr(m, "scaling")} == {strength}
        assert {min(value.shape) for name, value in made.trained.items() if "lora" in name} == {4}
        weights.append(torch.cat([value.flatten() for value in made.trained.values()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_statistics_of_batch_normalisation_are_not_updated(clip: TrainableClip) -> None:
    clip.network.add_module("between", torch.nn.BatchNorm2d(2))
    try:
        clip.train()
        assert clip.network.training
        assert not clip.network.between.training
    finally:
        del clip.network.between


def test_tied_weights_are_written_apart() -> None:
    one, other = torch.ones(3), torch.zeros(3)
    apart = trainable_clip._apart({"a": one, "b": one, "c": other})
    assert apart["a"] is one and apart["c"] is other
    assert apart["b"].data_ptr() != one.data_ptr() and torch.equal(apart["b"], one)


@pytest.fixture
def run(clip: TrainableClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderRun:
    """Seven pairs of three reports to learn from, and five that are measured."""
    size = clip.network.visual.image_size
    height = size if isinstance(size, int) else size[0]
    pixels = np.random.default_rng(1).integers(0, 256, (12, 3, height, height), dtype=np.uint8)
    pairs = [
        TrainingPair(content=f"{n:064x}", patient=f"p{n}", report=TEXTS[n % 3], load=lambda: speckled(0))
        for n in range(12)
    ]
    store = PixelStore([(pixels[:4], [p.content for p in pairs[:4]]), (pixels[4:], [p.content for p in pairs[4:]])], {})  # type: ignore[arg-type]
    monkeypatch.setattr(encoder_run, "BATCH", 2)
    settings = EncoderSettings(mode="full", batch_size=3, weight_decay=0.25, seed=4)
    return EncoderRun(tmp_path, settings, clip, store, pairs[:7], pairs[7:])


def pixels_of(run: EncoderRun, numbers: list[int]) -> torch.Tensor:
    store = run._training._store
    every = np.concatenate([part for part, _ in store.parts])
    return torch.from_numpy(every[numbers]).float() / 255


def test_matrices_decay_and_nothing_else(run: EncoderRun, clip: TrainableClip) -> None:
    matrices, others = run.optimizer.param_groups
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.25, 0.0)
    assert {value.ndim > 1 for value in matrices["params"]} == {True}
    assert {value.ndim > 1 for value in others["params"]} == {False}
    assert len(matrices["params"]) + len(others["params"]) == len(clip.trained)
    assert run.trained_share == 1


def test_what_is_measured_is_the_loss_of_all_as_one_batch(run: EncoderRun, clip: TrainableClip) -> None:
    clip.network.eval()
    with torch.no_grad():
        rows = clip.scale * clip.embed_images(pixels_of(run, list(range(7, 12))))
        which = torch.tensor([number % 3 for number in range(7, 12)])
        expected = report_loss(torch.cat([rows, rows]), clip.embed_texts(clip.tokenize(TEXTS))[which], which)
    assert run.validate() == pytest.approx(float(expected), rel=1e-4)


def test_a_step_is_of_two_views_of_its_batch(run: EncoderRun, clip: TrainableClip) -> None:
    for step in (0, 5):
        run.step = step
        items = items_of_step(step, items=7, count=3, seed=4)
        pixels = pixels_of(run, items.tolist())
        seed = int(np.random.default_rng([4, 1, step]).integers(2**62))
        views = two_views(pixels, torch.Generator().manual_seed(seed), pixels.shape[-1]).clamp(0, 1)
        with torch.no_grad():
            which = torch.from_numpy(items % 3)
            read = clip.embed_texts(clip.tokenize(TEXTS))[which]
            expected = report_loss(clip.scale * clip.embed_images(views), read, which)
        run.optimizer.zero_grad()
        assert run.backward() == pytest.approx(float(expected), rel=1e-4)
        assert all(value.grad is not None for value in clip.trained.values())


@pytest.mark.parametrize(("batch_size", "expected"), [(1, 1), (7, 7), (8, 7)])
def test_a_step_takes_no_more_than_there_are(run: EncoderRun, batch_size: int, expected: int) -> None:
    run._settings = EncoderSettings(mode="full", batch_size=batch_size)
    seen: list[int] = []
    take = run._training.take
    run._training.take = lambda items: seen.append(len(items)) or take(items)  # type: ignore[method-assign, func-returns-value]
    run.backward()
    assert seen == [expected]


def test_rates_of_a_training() -> None:
    assert EncoderSettings().peak_rate == 5e-4
    assert EncoderSettings(mode="full").peak_rate == 2e-5
    assert EncoderSettings(mode="full", learning_rate=1e-3).peak_rate == 1e-3
    settings = EncoderSettings(steps=100, warmup=10, learning_rate=1.0)
    assert settings.rate(0) < settings.rate(5) < settings.rate(9) <= 1.0
    assert settings.rate(10) == pytest.approx(1.0, abs=0.01)
    assert settings.rate(55) == pytest.approx(0.5, abs=0.03)
    assert settings.rate(99) < 0.01
