"""How the model is held: fused in full precision, lent to the device, compiled."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from generation import BlankImageError, CoinGenerator, Preset, SettingsError
from generation.model.lora.find import find_lora
from generation.model.pipeline import CoinPipeline
from generation.model.placement import Placement
from generation.model.tokens import PromptTokens
from generation.model.weights import find_base
from tests.models import tiny_lora

QUICK = Preset("quick", steps=2, guidance=7.5)
REPORT = "Clusters of atypical cells."


def pixels(generator: CoinGenerator, seed: int = 0, preset: Preset = QUICK) -> np.ndarray:
    return np.asarray(generator.generate(REPORT, seeds=[seed], preset=preset).images[0].image, dtype=np.int16)


def weights_of(base: Path, lora: Path | None, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    found = find_base(base)
    loras = [] if lora is None else [find_lora(lora)]
    pipeline = CoinPipeline(found, loras, PromptTokens(found), device="cpu", dtype=dtype)
    return {
        name if part == "unet" else f"{part}.{name}": tensor
        for part in ("unet", "text_encoder", "text_encoder_2")
        for name, tensor in getattr(pipeline._pipe, part).state_dict().items()
    }


@pytest.mark.slow
def test_a_lora_is_fused_in_float32_and_rounded_once(base: Path, tmp_path: Path) -> None:
    """A change below half a step of bfloat16 vanishes where it is added to a weight that is rounded already."""
    faint = tiny_lora(tmp_path / "faint", base, strength=0.01)
    exact = weights_of(base, faint, torch.float32)
    fused = weights_of(base, faint, torch.bfloat16)
    plain = weights_of(base, None, torch.bfloat16)
    assert {tensor.dtype for tensor in fused.values()} == {torch.bfloat16}
    for name, tensor in fused.items():
        assert torch.equal(tensor, exact[name].to(torch.bfloat16)), name
    name = next(name for name in fused if name.endswith("attn2.to_k.weight"))
    float32 = weights_of(base, None, torch.float32)[name]
    change = exact[name] - float32
    twice_rounded = (plain[name] + change.to(torch.bfloat16)).float()
    lost, kept = (
        float(torch.dot(change.flatten(), (of - plain[name].float()).flatten()))
        for of in (twice_rounded, fused[name].float())
    )
    whole = float(torch.dot(change.flatten(), change.flatten()))
    assert kept / whole == pytest.approx(1, abs=0.35)
    assert lost / whole < 0.6


class TestPlacement:
    @pytest.fixture
    def pipe(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        """Two models and what is none. Without a GPU, a copy on the device is one elsewhere in main memory."""
        monkeypatch.setattr(torch.Tensor, "to", lambda tensor, _device, **_options: tensor.clone())
        return SimpleNamespace(
            components={"one": torch.nn.Linear(3, 2), "two": torch.nn.BatchNorm1d(2), "tokenizer": "no model"}
        )

    @staticmethod
    def places(part: torch.nn.Module) -> list[int]:
        return [tensor.data_ptr() for tensor in (*part.parameters(), *part.buffers())]

    def test_lent_parts_are_on_the_device_inside_the_block_only(self, pipe: SimpleNamespace) -> None:
        one, two = pipe.components["one"], pipe.components["two"]
        weight = one.weight.detach().clone()
        at_home = (self.places(one), self.places(two))
        placement = Placement(pipe, "cpu", low_memory=True)
        with placement.holding("one", "missing"):
            assert set(self.places(one)).isdisjoint(at_home[0])
            assert self.places(two) == at_home[1]
            assert torch.equal(one.weight, weight)
        with placement.holding("two"):
            assert set(self.places(two)).isdisjoint(at_home[1])
        assert (self.places(one), self.places(two)) == at_home

    def test_parts_come_back_after_an_error(self, pipe: SimpleNamespace) -> None:
        one = pipe.components["one"]
        at_home = self.places(one)
        placement = Placement(pipe, "cpu", low_memory=True)
        with pytest.raises(KeyError), placement.holding("one"):
            raise KeyError
        assert self.places(one) == at_home

    def test_low_memory_draws_the_same_images(self, base: Path, lora: Path) -> None:
        usual, frugal = (CoinGenerator(base, lora, device="cpu", low_memory=low) for low in (False, True))
        for seed in (0, 1):
            assert np.array_equal(pixels(usual, seed), pixels(frugal, seed))


class TestFewSteps:
    @pytest.mark.slow
    def test_a_second_lora_is_fused_after_the_first(self, base: Path, lora: Path) -> None:
        second = tiny_lora(base.parent / "few-step", base, seed=8)
        plain = CoinGenerator(base, lora, device="cpu")
        both = CoinGenerator(base, lora, few_step_lora=second, device="cpu")
        assert both.fingerprint != plain.fingerprint
        made = both.generate(REPORT, n=1, preset="lcm").images[0]
        assert made.provenance.lora == "tiny-lora + few-step"
        fingerprints = f"{find_lora(lora).fingerprint} + {find_lora(second).fingerprint}"
        assert made.provenance.lora_fingerprint == fingerprints
        assert (made.provenance.scheduler, made.provenance.steps) == ("LCMScheduler", 8)
        lightning = both.generate(REPORT, n=1, preset="lightning").images[0]
        assert not np.array_equal(np.asarray(made.image), np.asarray(lightning.image))

    def test_presets_and_loras_that_do_not_belong_together(self, base: Path, lora: Path) -> None:
        with pytest.raises(SettingsError, match=r"'lcm' needs a LoRA that was distilled"):
            CoinGenerator(base, lora, device="cpu").generate(REPORT, preset="lcm")
        with pytest.raises(SettingsError, match=r"'reference' is not made for a LoRA that was distilled"):
            CoinGenerator(base, lora, few_step_lora=lora, device="cpu").generate(REPORT)


def test_only_the_transformer_blocks_are_compiled_and_nothing_before_the_first_image(
    base: Path, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling itself takes a minute here; what is asked of torch is watched."""
    asked: list[tuple[str, dict[str, object]]] = []

    def watch(module: torch.nn.Module, *_args: object, **options: object) -> None:
        asked.append((type(module).__name__, options))

    monkeypatch.setattr(torch.nn.Module, "compile", watch)
    CoinGenerator(base, lora, device="cpu").load()
    assert asked == []
    CoinGenerator(base, lora, device="cpu", compiled=True).load()
    assert {name for name, _ in asked} == {"BasicTransformerBlock"}
    assert len(asked) == 4


class TestBlankImages:
    @staticmethod
    def decode_to(pixels: np.ndarray, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(CoinPipeline, "_decode", lambda _pipeline, _latents: pixels[None])
        CoinGenerator(base, device="cpu").generate(REPORT, n=1, preset=QUICK)

    @pytest.mark.slow
    @pytest.mark.parametrize("levels", [0, 1])
    def test_an_image_of_one_colour_is_refused(self, levels: int, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """From two neighbouring levels of 255 on, it is an image."""
        grey = np.full((64, 64, 3), 0.5, np.float32)
        grey[0, 0, 0] += 0.9 * levels / 255
        with pytest.raises(BlankImageError, match="image of seed 0 is of one colour"):
            self.decode_to(grey, base, monkeypatch)
        grey[0, 0, 0] = 0.5 + 1.1 / 255
        self.decode_to(grey, base, monkeypatch)

    @pytest.mark.slow
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_single_value_that_is_not_a_number_is_refused(
        self, value: float, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pixels = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
        pixels[5, 6, 1] = value
        with pytest.raises(BlankImageError, match="not-a-number"):
            self.decode_to(pixels, base, monkeypatch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_low_memory_on_a_gpu_holds_less_and_draws_the_same(base: Path, lora: Path) -> None:
    held, drawn = [], []
    pixels(CoinGenerator(base, lora, device="cuda"))  # the libraries' own workspaces are taken with the first image
    for low in (False, True):
        before = torch.cuda.memory_allocated()
        generator = CoinGenerator(base, lora, device="cuda", low_memory=low)
        drawn.append(pixels(generator))
        held.append(torch.cuda.memory_allocated() - before)
        del generator
    assert np.array_equal(*drawn)
    assert held[1] < held[0] / 10
