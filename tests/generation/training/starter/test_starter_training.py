"""The starter's training, stage by stage, in a few steps each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from generation import CoinGenerator
from generation.phantom import phantom_cases
from generation.training.adapter import add_lora, save_lora
from generation.training.run_settings import decayed_rate
from generation.training.starter.autoencoder import CONFIG, begin_as_thumbnail, encode, to_tensor, train_autoencoder
from generation.training.starter.dataset import render_training_set
from generation.training.starter.denoiser import EncodedSet, joined, train_denoiser
from generation.training.starter.vocabulary import CONTEXT, END, build_vocabulary


@pytest.fixture(scope="module")
def fields() -> np.ndarray:
    return np.stack([np.asarray(phantom.render()) for phantom in phantom_cases(8, seed=77)])


def some_of(images: np.ndarray) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: images[rng.choice(len(images), n)]


def test_every_report_can_be_written_in_the_vocabulary(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    folder = build_vocabulary([phantom.report for phantom in phantom_cases(300)], tmp_path, size=900)
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert max(vocabulary, key=vocabulary.__getitem__) == END, "towers pool at the highest id"
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    ids = tokenizer("Ünknown wörds, 12 % and 汉字 too").input_ids
    assert vocabulary[END] not in ids[:-1], "no word is unknown"
    assert len(tokenizer("smear shows").input_ids) == 4, "frequent words are one token each"
    padded = tokenizer("x", padding="max_length").input_ids
    assert len(padded) == CONTEXT


def test_rendered_training_phantoms_are_kept(tmp_path: Path) -> None:
    first = render_training_set(tmp_path, 5, size=32)
    file = next(tmp_path.glob("*.npy"))
    written = file.stat().st_mtime_ns
    again = render_training_set(tmp_path, 5, size=32)
    assert file.stat().st_mtime_ns == written
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.images[2], np.asarray(first.phantoms[2].render(32)))


@pytest.mark.slow
def test_an_untrained_autoencoder_passes_colour_on(fields: np.ndarray) -> None:
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    plain, vae = AutoencoderKL(**CONFIG), AutoencoderKL(**CONFIG)
    begin_as_thumbnail(vae)

    def seen(model: AutoencoderKL) -> float:
        """How much of the coarse red-green differences between places and fields comes through."""
        pixels = to_tensor(fields)
        with torch.inference_mode():
            restored = model.decode(model.encode(pixels).latent_dist.mean).sample
        coarse = [torch.nn.functional.avg_pool2d(image, 16) for image in (pixels, restored)]
        before, after = ((image[:, 0] - image[:, 1]).flatten().numpy() for image in coarse)
        return float(np.corrcoef(before, after)[0, 1])

    assert seen(vae) > 0.7 > abs(seen(plain))


@pytest.mark.slow
def test_a_trained_autoencoder_loads_and_scales_its_latents(tmp_path: Path, fields: np.ndarray) -> None:
    from diffusers import AutoencoderKL

    train_autoencoder(some_of(fields), tmp_path / "vae", steps=4, batch_size=2)
    vae = AutoencoderKL.from_pretrained(tmp_path / "vae")
    latents = encode(vae, fields) * vae.config.scaling_factor
    assert latents.shape == (8, CONFIG["latent_channels"], 8, 8)
    assert latents.std() == pytest.approx(1.0, rel=0.05)


@pytest.mark.slow
def test_an_autoencoder_goes_on_from_another_by_what_a_network_sees(tmp_path: Path, fields: np.ndarray) -> None:
    import torch
    from diffusers import AutoencoderKL

    seen: list[int] = []

    def features(images: torch.Tensor) -> list[torch.Tensor]:
        seen.append(len(images))
        return [images[:, :, ::4, ::4], images[:, :, ::8, ::8]]

    train_autoencoder(some_of(fields), tmp_path / "first", steps=2, batch_size=2)
    train_autoencoder(
        some_of(fields), tmp_path / "next", steps=2, batch_size=2, start_from=tmp_path / "first", features=features,
        learning_rate=1e-5,
    )  # fmt: skip
    assert seen == [2] * 4, "of original and restored images, in both steps"
    first, following = (AutoencoderKL.from_pretrained(tmp_path / name).state_dict() for name in ("first", "next"))
    assert all(torch.allclose(value, following[name], atol=1e-3) for name, value in first.items())
    assert not all(torch.equal(value, following[name]) for name, value in first.items())


def test_two_sets_are_joined_in_the_shares_asked_for() -> None:
    import torch

    def encoded(n: int, chances: np.ndarray | None = None) -> EncodedSet:
        return EncodedSet(
            torch.full((n, 1, 1, 1), float(n)), torch.zeros(n, 1, 1), torch.zeros(n, 1), np.arange(n)[:, None], chances
        )

    both = joined(encoded(3), encoded(2, np.array([0.9, 0.1])), share=0.4)
    assert both.latents.flatten().tolist() == [3, 3, 3, 2, 2]
    assert both.texts_of.flatten().tolist() == [0, 1, 2, 3, 4], "texts of the second follow those of the first"
    assert both.chances == pytest.approx([0.2, 0.2, 0.2, 0.36, 0.04])


@pytest.mark.slow
def test_a_lora_trained_here_loads_by_the_generator(tmp_path: Path, base: Path) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    frozen = {name: value.clone() for name, value in unet.state_dict().items()}
    add_lora(unet, rank=2)
    data = EncodedSet(torch.randn(6, 4, 16, 16), torch.randn(6, 77, 32), torch.randn(6, 16), np.arange(6).reshape(6, 1))
    train_denoiser(unet, data, tmp_path / "lora", steps=20, texts=slice(None), batch_size=2, save=save_lora)
    left = {name.replace(".base_layer", ""): value for name, value in unet.state_dict().items() if "lora" not in name}
    assert all(torch.equal(frozen[name], left[name]) for name in frozen), "the base was not trained"

    report = "(Ascites) smear shows atypical cells."
    plain = CoinGenerator(base).generate(report, n=1, preset="draft").images[0]
    tuned = CoinGenerator(base, tmp_path / "lora").generate(report, n=1, preset="draft").images[0]
    assert tuned.provenance.lora_fingerprint and not plain.provenance.lora_fingerprint
    assert not np.array_equal(np.asarray(plain.image), np.asarray(tuned.image))


@pytest.mark.slow
def test_a_seed_gives_the_same_weights_bit_for_bit(tmp_path: Path, fields: np.ndarray, base: Path) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    data = EncodedSet(
        torch.randn(6, 4, 16, 16, generator=torch.Generator().manual_seed(0)),
        torch.ones(6, 77, 32),
        torch.ones(6, 16),
        np.arange(6).reshape(6, 1),
    )

    def denoiser(folder: Path, seed: int) -> None:
        unet = UNet2DConditionModel.from_pretrained(base / "unet")
        train_denoiser(unet, data, folder, steps=2, texts=slice(None), batch_size=2, seed=seed)

    def autoencoder(folder: Path, seed: int) -> None:
        train_autoencoder(some_of(fields), folder, steps=2, batch_size=2, seed=seed)

    for train in (denoiser, autoencoder):
        runs = [tmp_path / f"{train.__name__} {number}" for number in range(3)]
        for folder, seed in zip(runs, (1, 1, 2), strict=True):
            train(folder, seed)
        first, second, other = (
            b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors"))) for folder in runs
        )
        assert first == second != other, train.__name__


def test_a_decayed_rate_is_warmed_up_and_falls_along_a_cosine() -> None:
    rates = [decayed_rate(step, peak=2.0, steps=1000, warmup=10, floor=0.01) for step in range(1000)]
    assert rates[0] == pytest.approx(0.2 * 1.01) and rates[9] == pytest.approx(2.0 * 1.01, rel=1e-3)
    assert rates[500] == pytest.approx(2.0 * 0.51) and rates[999] == pytest.approx(2.0 * 0.01, rel=1e-3)
    assert max(rates) == rates[9] and rates[9:] == sorted(rates[9:], reverse=True)
    assert decayed_rate(600, peak=2.0, steps=1000, begin=600) == 2.0
    assert decayed_rate(800, peak=2.0, steps=1000, begin=600) == pytest.approx(1.0)
