"""What a LoRA's training can be asked for: text encoders, aspect buckets, optimizers, float16, trackers."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from generation import CoinGenerator, LoraMismatchError, LoraSettings, SettingsError, TrainingDataError
from generation.model.embeddings import PromptEmbeddings
from generation.model.lora.find import find_lora
from generation.training.adapter import LORA_FILE
from generation.training.checkpoint import Checkpoint, Checkpoints
from generation.training.data.buckets import BucketBatches, bucket_shapes, nearest_shapes
from generation.training.data.pairs import TrainingPair
from generation.training.lora import train_lora
from generation.training.lora_card import LoraTraining
from generation.training.optimizers import make_optimizer, optimizer_state, restore_optimizer
from tests.few_steps import few_steps
from tests.training_pairs import Interrupt, phantom_pairs, stop

SMALL = LoraSettings(
    rank=2, steps=4, batch_size=2, warmup=0, views=2, learning_rate=1e-2, validation_images=2, validate_every=2,
    checkpoint_every=2, sample_every=0,
)  # fmt: skip
SHAPES = ((64, 64), (96, 48), (100, 48), (48, 96), (40, 80), (90, 64))


@pytest.fixture(scope="module")
def pairs() -> list[TrainingPair]:
    return phantom_pairs(12)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encodings")


def run(
    pairs: list[TrainingPair], folder: Path, base: Path, work: Path, *, start: Path | None = None, **changed: Any
) -> LoraTraining:
    progress = {"progress": changed.pop("progress")} if "progress" in changed else {}
    settings = dataclasses.replace(SMALL, **changed)
    made = train_lora(pairs, folder, base=base, settings=settings, device="cpu", work=work, start=start, **progress)
    assert made is not None
    return made


def resumed(pairs: list[TrainingPair], folder: Path, base: Path, work: Path, **changed: Any) -> dict[str, torch.Tensor]:
    """The weights of a training that was interrupted after the checkpoint of step 2, and that went on."""
    with pytest.raises(KeyboardInterrupt):
        run(pairs, folder, base, work, progress=Interrupt(3, stop), **changed)
    run(pairs, folder, base, work, **changed)
    return load_file(folder / LORA_FILE)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def read(pairs: list[TrainingPair], base: Path, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA on UNet and text encoders."""
    folder = tmp_path_factory.mktemp("text") / "lora"
    with few_steps():
        run(pairs, folder, base, work, text_encoder=True, sample_every=2, sample_reports=1, sample_seeds=1)
    return folder


class TestTextEncoders:
    @pytest.mark.slow
    def test_both_learn_and_are_saved_as_published_ones_are(self, read: Path, base: Path) -> None:
        from diffusers import StableDiffusionXLPipeline

        weights = load_file(read / LORA_FILE)
        for part in ("unet.", "text_encoder.text_model.", "text_encoder_2.text_model."):
            ups = [weights[name] for name in weights if name.startswith(part) and (".up." in name or "lora_B" in name)]
            assert ups and max(float(up.abs().max()) for up in ups) > 0, part
        pipe = StableDiffusionXLPipeline.from_pretrained(base, use_safetensors=True, add_watermarker=False)
        pipe.load_lora_weights(str(read))
        by_diffusers = pipe.encode_prompt("Ascites smear.", device="cpu", do_classifier_free_guidance=False)[0]
        generator = CoinGenerator(base, read, device="cpu")
        ours, *_ = generator._pipeline().embed_texts(["Ascites smear."])
        plain, *_ = CoinGenerator(base, device="cpu")._pipeline().embed_texts(["Ascites smear."])
        assert torch.allclose(by_diffusers, ours, atol=1e-5) and not torch.allclose(plain, ours, atol=1e-4)
        fit = generator.requirements().loras[0]
        assert fit.layers == len(weights) / 2, "each of them has its place"
        assert fit.text_layers == sum(name.startswith("text_encoder") for name in weights) / 2 > 0

    @pytest.mark.slow
    def test_interrupted_it_ends_in_the_same_weights(
        self, read: Path, pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
    ) -> None:
        with few_steps():
            given = {"text_encoder": True, "sample_every": 2, "sample_reports": 1, "sample_seeds": 1}
            assert same(resumed(pairs, tmp_path / "lora", base, work, **given), load_file(read / LORA_FILE))

    @pytest.mark.slow
    def test_no_report_is_encoded_ahead_and_the_sheets_show_what_was_learned(
        self, read: Path, pairs: list[TrainingPair], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoded: list[torch.Tensor] = []
        encode = PromptEmbeddings._encode

        def watched(self: PromptEmbeddings, *given: Any) -> list[Any]:
            encoded.append((found := encode(self, *given))[0])
            return found

        monkeypatch.setattr(PromptEmbeddings, "_encode", watched)
        given = {"sample_every": 1, "sample_reports": 1, "sample_seeds": 1}
        with few_steps():
            run(pairs, tmp_path / "lora", base, tmp_path / "work", text_encoder=True, steps=1, **given)
        assert [path.name for path in (tmp_path / "work").glob("*/*")] == ["images"]
        assert torch.equal(encoded[0], encoded[1]) and not torch.equal(encoded[1], encoded[2]), "before, after a step"
        assert "on the attention of the UNet and of the text encoders" in (read / "README.md").read_text("utf-8")

    def test_it_is_begun_with_and_refused_where_they_would_be_lost(
        self, read: Path, pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
    ) -> None:
        run(pairs, tmp_path / "a", base, work, start=read, steps=1, learning_rate=1e-12, text_encoder=True)
        before, after = load_file(read / LORA_FILE), load_file(tmp_path / "a" / LORA_FILE)
        assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
        assert len(find_lora(tmp_path / "a" / "best").files) == 1
        with pytest.raises(LoraMismatchError, match=r"changes the text encoders, too: give --text-encoder"):
            run(pairs, tmp_path / "b", base, work, start=read)


class TestBuckets:
    def test_the_rectangles_are_those_of_sdxl(self) -> None:
        shapes = bucket_shapes(1024, 8)
        assert shapes[0] == (1024, 1024) and {(1152, 896), (896, 1152), (1216, 832), (1344, 768)} <= set(shapes)
        assert all(w * h <= 1024**2 and w * h > 0.85 * 1024**2 and w % 64 == h % 64 == 0 for w, h in shapes)
        assert all(w % 8 == h % 8 == 0 for w, h in bucket_shapes(128, 8))

    def test_each_image_goes_to_the_nearest_that_fills_a_batch(self) -> None:
        shapes = ((8, 8), (12, 6), (6, 12))
        sizes = [(100, 100), (200, 100), (190, 100), (100, 200)]
        assert nearest_shapes(sizes, shapes, batch=2) == [(8, 8), (12, 6), (12, 6), (8, 8)]
        assert nearest_shapes(sizes, shapes, batch=1)[3] == (6, 12)

    def test_a_batch_is_of_one_group_and_a_round_has_every_item(self) -> None:
        groups = np.array([0] * 9 + [1] * 2 + [2] * 5)
        batches = BucketBatches(groups, batch=3, seed=4)
        assert batches.in_a_round == 3 + 1 + 2
        two = [batches.items(number, 1) for number in range(12)]
        assert all(len(set(groups[items].tolist())) == 1 for items in two)
        for number in (0, 1):
            in_round = np.concatenate(two[6 * number : 6 * (number + 1)])
            assert set(in_round.tolist()) == set(range(16)) and len(in_round) == 18
        assert np.array_equal(BucketBatches(groups, batch=3, seed=4).items(4, 5), np.concatenate(two[4:9]))
        assert not np.array_equal(BucketBatches(groups, batch=3, seed=5).items(0, 6), np.concatenate(two[:6]))

    @pytest.mark.slow
    def test_the_model_sees_batches_of_one_shape_and_resumes(
        self, pairs: list[TrainingPair], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from diffusers import UNet2DConditionModel

        seen: list[tuple[tuple[int, ...], list[float]]] = []
        forward = UNet2DConditionModel.forward

        def watched(self: Any, noised: Any, *given: Any, added_cond_kwargs: dict[str, Any], **more: Any) -> Any:
            if torch.is_grad_enabled():
                seen.append((tuple(noised.shape), added_cond_kwargs["time_ids"][0, 4:].tolist()))
            return forward(self, noised, *given, added_cond_kwargs=added_cond_kwargs, **more)

        monkeypatch.setattr(UNet2DConditionModel, "forward", watched)

        def shaped(pair: TrainingPair, shape: tuple[int, int]) -> TrainingPair:
            return dataclasses.replace(pair, load=lambda: pair.load().resize(shape), size=lambda: shape)

        def unreadable() -> Any:
            raise TrainingDataError("The image is damaged.")

        some = [shaped(pair, SHAPES[number % 3 * 2]) for number, pair in enumerate(pairs)]
        some.append(dataclasses.replace(some[0], load=unreadable, size=unreadable, content="0" * 64))
        made = run(some, tmp_path / "whole", base, tmp_path / "work", buckets=True)
        assert [shape[0] for shape, _ in seen] == [2] * 4, "each step is one whole batch"
        assert len({shape for shape, _ in seen}) > 1
        assert all(ids == [4.0 * shape[2], 4.0 * shape[3]] for shape, ids in seen), "the autoencoder scales by 4"
        assert made.skipped in ({}, {"The image is damaged.": 1})
        weights = resumed(some, tmp_path / "parts", base, tmp_path / "work", buckets=True)
        assert same(weights, load_file(tmp_path / "whole" / LORA_FILE))


class Counting(torch.optim.Optimizer):
    """Keeps what AdamW does not: a number, tensors within a dictionary that share their memory, and a group's."""

    shared = torch.arange(3.0)

    def __init__(self, parameters: list[Any]) -> None:
        super().__init__(parameters, {"lr": 1.0, "d": 0.5})

    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["d"] *= 1.5
            for parameter in group["params"]:
                state = self.state[parameter]
                state["step"] = state.get("step", 0) + 1
                state["inner"] = {"map": self.shared}
                parameter.data -= group["d"] * state["step"] * parameter.grad


@pytest.mark.parametrize("name", ["counting", "adamw", "prodigy", "adamw8bit"])
def test_an_optimizer_goes_on_from_what_was_kept(name: str, tmp_path: Path) -> None:
    """Through a checkpoint's files, to the same numbers bit for bit; those of packages where they are installed."""
    if package := {"prodigy": "prodigyopt", "adamw8bit": "bitsandbytes"}.get(name):
        pytest.importorskip(package)

    def steps(parameters: list[torch.nn.Parameter], optimizer: Any, numbers: range) -> None:
        for number in numbers:
            random = torch.Generator().manual_seed(number)
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=random)
            optimizer.step()

    def begun() -> tuple[list[torch.nn.Parameter], Any]:
        parameters = [torch.nn.Parameter(torch.ones(64, 80)), torch.nn.Parameter(torch.ones(3, 4))]
        if name == "counting":
            return parameters, Counting(parameters)
        return parameters, make_optimizer(name, parameters, learning_rate=1.0, weight_decay=0.01)

    whole, optimizer = begun()
    steps(whole, optimizer, range(6))
    first, optimizer = begun()
    steps(first, optimizer, range(3))
    tensors, numbers = optimizer_state(optimizer, ["a", "b"])
    weights = dict(zip("ab", first, strict=True))
    Checkpoints(tmp_path).save(Checkpoint(3, weights, tensors, state={"optimizer": numbers}))
    kept = Checkpoints(tmp_path).newest()
    assert kept is not None
    second, optimizer = begun()
    with torch.no_grad():
        for letter, parameter in zip("ab", second, strict=True):
            parameter.copy_(kept.weights[letter])
    restore_optimizer(optimizer, ["a", "b"], kept.optimizer, kept.state["optimizer"])
    steps(second, optimizer, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


@pytest.mark.slow
def test_float16_goes_on_with_the_scale_that_it_had(
    pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
) -> None:
    made = run(pairs, tmp_path / "whole", base, work, dtype="float16")
    kept = Checkpoints(tmp_path / "whole").newest()
    assert made.dtype == "float16" and kept is not None and kept.state["scaler"]["scale"] >= 1
    weights = load_file(tmp_path / "whole" / LORA_FILE)
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in weights.values())
    assert same(resumed(pairs, tmp_path / "parts", base, work, dtype="float16"), weights)
    plain = run(pairs, tmp_path / "plain", base, work)
    assert made.change.after == pytest.approx(plain.change.after, rel=0.05)


def test_trackers_show_what_the_log_has(pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(pairs, tmp_path, base, work, tensorboard=True)
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [(point.step, point.value) for point in shown.Scalars("validation_loss")]
    assert losses == [
        (record["step"], pytest.approx(record["validation_loss"], rel=1e-6))
        for record in log
        if "validation_loss" in record
    ]
    assert set(shown.Tags()["scalars"]) == {"loss", "learning_rate", "seconds", "validation_loss"}
    told = [word.encode() for pair in pairs for word in (pair.report, pair.patient)]
    held = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert not [word for word in told if word in held]


@pytest.mark.parametrize(
    ("changed", "package"),
    [
        ({"optimizer": "adamw8bit"}, "bitsandbytes"),
        ({"optimizer": "prodigy", "learning_rate": 1.0}, "prodigyopt"),
        ({"tensorboard": True}, "tensorboard"),
        ({"wandb": True}, "wandb"),
    ],
)
def test_a_package_that_is_missing_is_named_before_any_work(
    changed: dict[str, Any],
    package: str,
    pairs: list[TrainingPair],
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=rf"needs the package {package}, .*: pip install {package}, or "):
        run(pairs, tmp_path / "out", base, tmp_path / "work", **changed)
    assert not (tmp_path / "out").exists() and not (tmp_path / "work").exists()


def test_prodigy_is_not_given_the_usual_rate() -> None:
    with pytest.raises(SettingsError, match=r"prodigy multiplies it .* Give a learning rate of 1"):
        LoraSettings(optimizer="prodigy")
