"""A LoRA trained on one's own pairs: what it learns, how it goes on after an interruption, what it leaves behind."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from generation import (
    CoinGenerator,
    LoraMismatchError,
    SettingsError,
    TrainingDataError,
    TrainingError,
    WeightsNotFoundError,
)
from generation.model.lora.find import find_lora
from generation.phantom import phantom_cases, write_phantoms
from generation.provenance import read_provenance, text_sha256
from generation.training.checkpoint import Checkpoint, Checkpoints, locked
from generation.training.data.holdout import held_out_patients
from generation.training.data.pairs import TrainingPair
from generation.training.lora import train_lora
from generation.training.lora_card import LoraTraining
from generation.training.lora_settings import LoraSettings
from retrieval import EvaluationError
from retrieval.synthetic.patient_splits import trained_patients
from tests.few_steps import few_steps
from tests.full_disk import full_disk
from tests.training_pairs import Interrupt, phantom_pairs, stop

ROOT = Path(__file__).parents[3]
LORA_FILE = "pytorch_lora_weights.safetensors"
SMALL = LoraSettings(
    rank=2,
    steps=6,
    batch_size=2,
    warmup=2,
    views=2,
    learning_rate=1e-2,
    validation_images=4,
    validate_every=3,
    checkpoint_every=2,
    sample_every=0,
)
REPORT = "(Ascites) smear shows atypical cells."


@pytest.fixture(scope="module")
def pairs() -> list[TrainingPair]:
    return phantom_pairs(12)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encodings are made once for all trainings on these pairs."""
    return tmp_path_factory.mktemp("encodings")


@pytest.fixture(scope="module")
def trained(pairs: list[TrainingPair], base: Path, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "lora"
    with few_steps():  # of the sheets' sampling
        run(pairs, folder, base, work, sample_every=3, sample_reports=2, sample_seeds=2)
    return folder


def run(
    pairs: list[TrainingPair], folder: Path, base: Path | None, work: Path | None, **changed: object
) -> LoraTraining:
    progress = {"progress": changed.pop("progress")} if "progress" in changed else {}
    settings = dataclasses.replace(SMALL, **changed)  # type: ignore[arg-type]
    made = train_lora(pairs, folder, base=base, settings=settings, device="cpu", work=work, **progress)  # type: ignore[arg-type]
    assert made is not None
    return made


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / LORA_FILE)


def same(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_trained_lora_loads_by_the_generator_and_changes_images(trained: Path, base: Path) -> None:
    plain = CoinGenerator(base, device="cpu").generate(REPORT, n=1, preset="draft").images[0]
    tuned = CoinGenerator(base, trained, device="cpu").generate(REPORT, n=1, preset="draft").images[0]
    assert tuned.provenance.lora_fingerprint and not plain.provenance.lora_fingerprint
    assert not np.array_equal(np.asarray(plain.image), np.asarray(tuned.image))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        pytest.param(
            {"ema": 0.9, "accumulate": 2, "schedule": "constant", "min_snr": 0.0}, marks=pytest.mark.slow, id="average"
        ),
    ],
)
def test_an_interrupted_training_ends_in_the_same_weights(
    changed: dict[str, object], pairs: list[TrainingPair], base: Path, work: Path, trained: Path, tmp_path: Path
) -> None:
    """Bit for bit: interrupted at step 5, after the checkpoint of step 4."""
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path / "a", base, work, progress=Interrupt(5, stop), **changed)
    assert not (tmp_path / "a" / LORA_FILE).exists()
    resumed = run(pairs, tmp_path / "a", base, work, **changed)
    whole = run(pairs, tmp_path / "b", base, work, **changed) if changed else None
    other = tmp_path / "b" if changed else trained
    assert same(tmp_path / "a", other)
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log if "validation_loss" in record] == [0, 3, 6], "no step stands there twice"
    if whole is not None:
        assert resumed.validation == whole.validation and resumed.change == whole.change


@pytest.mark.slow
def test_a_finished_training_takes_more_steps(
    pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
) -> None:
    run(pairs, tmp_path / "a", base, work, steps=4, schedule="constant")
    run(pairs, tmp_path / "a", base, work, steps=6, schedule="constant")
    run(pairs, tmp_path / "b", base, work, steps=6, schedule="constant")
    assert same(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_only_what_the_steps_take_is_encoded(pairs: list[TrainingPair], base: Path, tmp_path: Path) -> None:
    loaded: list[str] = []

    def load(pair: TrainingPair) -> Any:
        loaded.append(pair.content)
        return pair.load()

    watched = [dataclasses.replace(pair, load=partial(load, pair)) for pair in pairs]
    run(watched, tmp_path / "a", base, tmp_path / "work", steps=2, batch_size=1, validation_images=1)
    assert len(loaded) == len(set(loaded)) == 3, "one that is measured, two that are learned from"
    made = run(watched, tmp_path / "b", base, tmp_path / "work", epochs=0.5, batch_size=1, validation_images=1)
    assert made.steps == 4 and len(loaded) == 5, "half of the eight images that are learned from"


@pytest.mark.slow
def test_the_loss_of_held_out_patients_falls(base: Path, work: Path, tmp_path: Path) -> None:
    """All images alike, so that what is learned of some is true of the others; the same figures each time."""
    alone = phantom_pairs(16, seed=6, per_patient=1)
    pairs = [dataclasses.replace(pair, load=phantom_pairs(1)[0].load) for pair in alone]
    made = run(
        pairs, tmp_path, base, None, steps=40, batch_size=4, warmup=5, rank=8, validate_every=20, views=1, hold_out=2,
        validation_images=10,
    )  # fmt: skip
    assert made.change.patients >= 6
    losses = [loss for _, loss in made.validation]
    assert losses[0] > losses[1] > losses[2]
    assert made.change.high < 0 and "fell" in made.change.words
    assert made.change.after == pytest.approx(losses[2])


def test_each_checkpoint_and_the_best_are_loras(pairs: list[TrainingPair], trained: Path, base: Path) -> None:
    final = weights(trained)
    names = sorted(path.parent.name for path in trained.glob(f"*/{LORA_FILE}"))
    assert names == ["best", "step-2", "step-4", "step-6"]
    last, earlier = weights(trained / "step-6"), weights(trained / "step-2")
    assert all(torch.equal(last[name], value.half()) for name, value in final.items())
    assert any(not torch.equal(last[name], earlier[name]) for name in last)
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    losses = {record["step"]: record["validation_loss"] for record in log if "validation_loss" in record}
    lowest = min((3, 6), key=lambda step: losses[step])
    assert (lowest == 6) == all(torch.equal(weights(trained / "best")[name], last[name]) for name in last)
    assert len(find_lora(trained / "step-2").files) == 1
    known = {pair.patient for pair in pairs}
    assert trained_patients(known, trained / "step-2") == trained_patients(known, trained) == known - held_out(pairs)


@pytest.mark.slow
def test_a_training_begins_with_another_lora(
    pairs: list[TrainingPair], base: Path, work: Path, trained: Path, tmp_path: Path
) -> None:
    """At a rate of nearly nothing it stays as it was, also where its strength is in the weights otherwise."""
    settings = dataclasses.replace(SMALL, steps=1, learning_rate=1e-12, alpha=6.0)
    given: dict[str, Any] = {"base": base, "device": "cpu", "work": work}
    made = train_lora(pairs, tmp_path / "a", settings=settings, start=trained, **given)
    assert made is not None and made.notes[0].startswith("Begun with the LoRA lora (") and len(made.notes) == 1
    before, after = weights(trained), weights(tmp_path / "a")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert (tmp_path / "a" / "held-out.txt").read_bytes() == (trained / "held-out.txt").read_bytes()
    with pytest.raises(TrainingError, match="begun with another start fingerprint"):
        train_lora(pairs, tmp_path / "a", settings=settings, **given)
    with pytest.raises(LoraMismatchError, match=r"has rank 2\. Give --rank 2"):
        train_lora(pairs, tmp_path / "b", settings=dataclasses.replace(settings, rank=3), start=trained, **given)
    (alone := tmp_path / "alone").mkdir()
    shutil.copy(trained / LORA_FILE, alone)
    made = train_lora(pairs, tmp_path / "c", settings=settings, start=alone, **given)
    assert made is not None and "Whom that one was trained on is not known" in made.notes[0]
    assert not (tmp_path / "c" / "held-out.txt").exists()


@pytest.mark.slow
def test_own_prompts_are_sampled_and_stand_nowhere(
    pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SMALL, steps=1, sample_every=1, sample_seeds=1)
    prompts = ["Zebra cells in clusters.", "Zebra stripes."]
    with few_steps():
        train_lora(pairs, tmp_path, base=base, settings=settings, device="cpu", work=work, sample_prompts=prompts)
    with Image.open(tmp_path / "samples" / "step-000001.png") as sheet:
        assert sheet.height == 50 + 2 * (64 + 22 + 8), "two rows"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"ebra" in path.read_bytes()]


def test_patients_are_held_out_whole(pairs: list[TrainingPair], trained: Path) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    begun = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert "| images | 8 | 4 |" in card and "| patients | 4 | 2 |" in card
    assert begun["hold_out"] == 5
    lines = (trained / "held-out.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == {text_sha256(name) for name in held_out(pairs)}
    assert "`held-out.txt` lists them" in card and "Held out are whole patients, one in 5" in card
    assert trained_patients({pair.patient for pair in pairs}, trained) == {p.patient for p in pairs} - held_out(pairs)
    assert trained_patients({"patient 1"}, trained / "pytorch_lora_weights.safetensors") <= {"patient 1"}


def test_where_patients_are_not_named_nothing_is_said_of_them(
    pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
) -> None:
    nameless = [dataclasses.replace(pair, patient_named=number > 0) for number, pair in enumerate(pairs)]
    made = run(nameless, tmp_path / "a", base, work, steps=1, batch_size=9)
    card = (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert "**Patients are not named, and nothing is held out by patient.**" in card
    assert "| patients |" not in card and "whole patients" not in card and "held-out patients" not in card
    assert made.change.words in card and "nothing says how sure" in made.change.words
    assert not (tmp_path / "a" / "held-out.txt").exists()
    assert made.notes == ["A step takes 9 images, and there are 8 to learn from."] and made.notes[0] in card
    with pytest.raises(EvaluationError, match=r"Which patients a was trained on is not known.*names patients"):
        trained_patients({"patient 1"}, tmp_path / "a")
    assert trained_patients({"patient 1"}, base) == frozenset(), "nobody trained it here"


def test_a_training_is_not_taken_back(pairs: list[TrainingPair], base: Path, work: Path, trained: Path) -> None:
    before = (trained / "training.json").read_bytes()
    with pytest.raises(TrainingError, match=r"holds a training of 6 steps, and 4 are asked for: .*Give --steps 6"):
        run(pairs, trained, base, work, steps=4, sample_every=3, sample_reports=2, sample_seeds=2)
    assert (trained / "training.json").read_bytes() == before


def test_no_file_tells_a_report_or_a_patient(pairs: list[TrainingPair], trained: Path) -> None:
    told = [word for pair in pairs for word in (pair.report, pair.patient)]
    files = [path for path in trained.rglob("*") if path.is_file()]
    assert {"README.md", "log.jsonl", "training.json", "state.json"} <= {path.name for path in files}
    for path in files:
        held = path.read_bytes()
        assert not [word for word in told if word.encode() in held], path.name


def test_the_card_tells_what_must_be_known(trained: Path, base: Path) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    described = CoinGenerator(base, trained, device="cpu").describe()
    assert "Research use only. Not for diagnosis." in card
    assert described["base_fingerprint"] in card
    assert "can memorise" in card and "copies of whole images and of parts" in card
    assert "| site: " in card and "| rank | 2 |" in card and "| 3 | " in card


def test_sample_sheets_are_marked_synthetic(trained: Path) -> None:
    assert [path.name for path in sorted((trained / "samples").iterdir())] == [
        "step-000000.png", "step-000003.png", "step-000006.png",
    ]  # fmt: skip
    provenance = read_provenance(trained / "samples" / "step-000003.png")
    assert provenance is not None and provenance.synthetic
    assert provenance.lora == "in training, step 3" and provenance.prompt == ""


@pytest.mark.slow
def test_another_strength_than_one_is_in_the_weights(
    pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
) -> None:
    run(pairs, tmp_path, base, work, alpha=6.0, steps=2)
    kept = Checkpoints(tmp_path).newest()
    assert kept is not None
    written = weights(tmp_path)
    ups = [name for name in written if name.endswith("up.weight") or ".lora_B." in name]
    assert len(ups) == len(written) / 2
    trained = sorted(value.norm().item() for name, value in kept.weights.items() if ".lora_B." in name)
    saved = sorted(written[name].norm().item() / 3 for name in ups)
    assert trained == pytest.approx(saved) and max(saved) > 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("true", [90, 120, 0, 10, 64, 64]),
        pytest.param("square", [64, 64, 0, 0, 64, 64], marks=pytest.mark.slow),
    ],
)
def test_the_model_is_told_of_the_cut_as_requested(
    asked: str, told: list[int], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import UNet2DConditionModel

    heard: set[tuple[float, ...]] = set()
    forward = UNet2DConditionModel.forward

    def listening(self: Any, *given: Any, added_cond_kwargs: dict[str, torch.Tensor], **more: Any) -> Any:
        heard.update(map(tuple, added_cond_kwargs["time_ids"].tolist()))
        return forward(self, *given, added_cond_kwargs=added_cond_kwargs, **more)

    monkeypatch.setattr(UNet2DConditionModel, "forward", listening)
    wide = [
        dataclasses.replace(pair, load=lambda pair=pair: pair.load().resize((120, 90)))  # type: ignore[misc]
        for pair in phantom_pairs(4)
    ]
    made = run(wide, tmp_path, base, None, steps=1, views=1, conditioning=asked)
    assert heard == {tuple(map(float, told))}
    assert made.settings.conditioning == asked


@pytest.mark.cluster
@pytest.mark.parametrize("more", [[], ["--text-encoder"]], ids=["unet", "text encoders"])
def test_two_processes_learn_what_one_does(more: list[str], base: Path, tmp_path: Path) -> None:
    """torchrun on the processor (accelerate's own launcher needs MPI for that): twice 2 images a step are once 4. One
    image cannot be read, and is counted whichever process meets it."""
    manifest = write_phantoms(tmp_path / "phantoms", phantom_cases(12, seed=9), size=64)
    with manifest.open(newline="", encoding="utf-8") as file:
        patients = {row["image"]: row["patient"] for row in csv.DictReader(file)}
    held = held_out_patients(patients.values())
    damaged = next(image for image, patient in patients.items() if patient not in held)
    (manifest.parent / damaged).write_bytes(b"no image")
    given = ["-m", "ui", "train", "lora", "--manifest", manifest, "--base", base, "--device", "cpu", "--rank", "2",
             "--steps", "4", "--views", "1", "--sample-every", "4", "--sample-seeds", "1", "--warmup", "0",
             "--validate-every", "2", *more]  # fmt: skip
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for launcher, batch, name in ((torchrun, "2", "two"), ([sys.executable], "4", "one")):
        command = [*launcher, *given, "--batch-size", batch, "--out", tmp_path / name, "--work", tmp_path / "w" / name]
        subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=True)
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    for name in ("one", "two"):
        assert "Left out: 1 ×" in (tmp_path / name / "README.md").read_text(encoding="utf-8")
        assert (tmp_path / name / "samples" / "step-000004.png").is_file()
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line).get("validation_loss") for line in log] for log in logs]
    assert [loss for loss in losses[0] if loss] == pytest.approx([loss for loss in losses[1] if loss], abs=1e-5)


@pytest.mark.slow
def test_half_precision_and_gradient_checkpointing_learn_nearly_the_same(
    pairs: list[TrainingPair], base: Path, work: Path, trained: Path, tmp_path: Path
) -> None:
    run(pairs, tmp_path / "checkpointed", base, work, checkpointing=True)
    assert all(
        torch.allclose(a, b, atol=1e-4)
        for a, b in zip(weights(trained).values(), weights(tmp_path / "checkpointed").values(), strict=True)
    )
    half = run(pairs, tmp_path / "half", base, tmp_path / "work", dtype="bfloat16")
    assert half.dtype == "bfloat16"
    assert half.change.after == pytest.approx(half.change.before, rel=0.2)
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in weights(tmp_path / "half").values())


class TestBadInput:
    def test_nothing_to_learn_from(self, base: Path, tmp_path: Path) -> None:
        with pytest.raises(TrainingDataError, match="no images with reports"):
            run([], tmp_path, base, None)

    def test_one_patient(self, pairs: list[TrainingPair], base: Path, tmp_path: Path) -> None:
        with pytest.raises(TrainingDataError, match=r"of 1 patient, .*Add others, or name the patients"):
            run(pairs[:2], tmp_path / "out", base, None)
        assert not (tmp_path / "out").exists()

    @pytest.mark.slow
    def test_unreadable_images_are_left_out_and_counted(
        self, pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
    ) -> None:
        def unreadable() -> None:
            raise TrainingDataError("The image is damaged.")

        bad = [dataclasses.replace(pairs[0], load=unreadable, content="0" * 64)]
        empty = [dataclasses.replace(pairs[1], report=" … ")]
        made = run([*pairs, *bad, *empty], tmp_path, base, work, steps=1, batch_size=9)
        assert made.skipped == {"The image is damaged.": 1, "The report is empty.": 1}
        assert "Left out: 1 × The image is damaged." in (tmp_path / "README.md").read_text(encoding="utf-8")
        all_bad = [dataclasses.replace(pair, load=unreadable, content=f"{n:064x}") for n, pair in enumerate(pairs)]
        with pytest.raises(TrainingDataError, match=r"no readable image of held-out patients\. 4 × The image is dam"):
            run(all_bad, tmp_path / "bad", base, None)
        held = held_out(all_bad)
        learned = [bad if bad.patient not in held else pair for bad, pair in zip(all_bad, pairs, strict=True)]
        with pytest.raises(TrainingDataError, match=r"no readable image to learn from\. 8 × The image is damaged"):
            run(learned, tmp_path / "learned", base, work)

    @pytest.mark.slow
    def test_an_unreadable_image_is_replaced_and_the_training_goes_on_after_an_interruption(
        self, pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
    ) -> None:
        """The same weights as without an interruption, also where more steps were asked for later."""

        def unreadable() -> None:
            raise TrainingDataError("The image is damaged.")

        learned = [number for number, pair in enumerate(pairs) if pair.patient not in held_out(pairs)]
        some = list(pairs)
        some[learned[0]] = dataclasses.replace(pairs[learned[0]], load=unreadable, content="0" * 64)
        given = {"steps": 5, "schedule": "constant", "batch_size": 2, "validate_every": 9}
        with pytest.raises(KeyboardInterrupt):
            run(some, tmp_path / "a", base, work, progress=Interrupt(3, stop), **given)
        made = run(some, tmp_path / "a", base, work, **given)
        run(some, tmp_path / "b", base, work, **given)
        assert same(tmp_path / "a", tmp_path / "b") and made.skipped == {"The image is damaged.": 1}

    @pytest.mark.slow
    def test_a_held_out_image_under_another_patient_is_not_learned_from(
        self, pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path
    ) -> None:
        made = run(pairs, tmp_path / "first", base, work, steps=1)
        assert made.held_out.images == 4
        (held, *_) = [pair for pair in pairs if pair.patient in held_out(pairs)]
        leaked = dataclasses.replace(held, patient=next(p.patient for p in pairs if p.patient not in held_out(pairs)))
        again = run([*pairs, leaked], tmp_path / "second", base, work, steps=1)
        assert again.trained.images == made.trained.images
        assert sum(again.skipped.values()) == 1

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"rank": 0}, "rank is 0"),
            ({"rank": -4}, "rank is -4"),
            ({"learning_rate": float("nan")}, "learning rate is nan"),
            ({"text_dropout": 1.0}, "text dropout is 1.0"),
            ({"crop": "best"}, "choose one of centre, random"),
            ({"hold_out": 1}, "give 2 or more"),
            ({"min_snr": -1.0}, "min snr is -1.0"),
        ],
    )
    def test_settings_out_of_range(self, changed: dict[str, object], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            dataclasses.replace(SMALL, **changed)  # type: ignore[arg-type]

    def test_a_size_that_the_base_cannot_have(self, pairs: list[TrainingPair], base: Path, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"image size is 60: .* multiple of 8"):
            run(pairs, tmp_path, base, None, size=60)

    def test_a_base_that_is_not_there(self, pairs: list[TrainingPair], tmp_path: Path) -> None:
        with pytest.raises(WeightsNotFoundError, match="no base at"):
            run(pairs, tmp_path, tmp_path / "gone", None)

    def test_a_folder_of_another_training_or_of_other_things(
        self, pairs: list[TrainingPair], base: Path, trained: Path, tmp_path: Path
    ) -> None:
        before = (trained / LORA_FILE).read_bytes()
        with pytest.raises(TrainingError, match="begun with another learning rate, rank"):
            run(pairs, trained, base, None, rank=4, learning_rate=1e-3)
        with pytest.raises(TrainingError, match="begun with another data"):
            run(pairs[:-2], trained, base, None)
        assert (trained / LORA_FILE).read_bytes() == before
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(TrainingError, match="files that are no training's"):
            run(pairs, tmp_path, base, None)

    def test_two_trainings_in_one_folder(self, pairs: list[TrainingPair], base: Path, tmp_path: Path) -> None:
        with locked(tmp_path), pytest.raises(TrainingError, match="Another training is running"):
            run(pairs, tmp_path, base, None)

    @pytest.mark.slow
    def test_a_full_disk_costs_no_checkpoint(
        self, pairs: list[TrainingPair], base: Path, work: Path, trained: Path, tmp_path: Path
    ) -> None:
        full = full_disk()
        try:
            with pytest.raises(OSError):
                run(pairs, tmp_path, base, work, progress=Interrupt(3, full.__enter__))
        finally:
            full.__exit__(None, None, None)
        assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000002"]
        run(pairs, tmp_path, base, work)
        assert same(tmp_path, trained)

    @pytest.mark.slow
    def test_a_loss_that_runs_away(self, pairs: list[TrainingPair], base: Path, work: Path, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match="diverged"):
            run(pairs, tmp_path, base, work, learning_rate=1e30, warmup=0, clip=1e30, steps=20)


def held_out(pairs: list[TrainingPair]) -> frozenset[str]:
    return held_out_patients(pair.patient for pair in pairs)


class TestCheckpoints:
    def test_the_last_two_are_kept_and_a_half_written_one_is_passed_over(self, tmp_path: Path) -> None:
        kept = Checkpoints(tmp_path)
        assert kept.newest() is None
        for step in (1, 2, 3):
            kept.save(Checkpoint(step, {"a": torch.full((2,), float(step))}, {"exp_avg/a": torch.ones(2)}))
        (tmp_path / "checkpoints" / "step-00000004.tmp").mkdir()
        names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
        assert names == ["step-00000002", "step-00000003", "step-00000004.tmp"]
        found = kept.newest()
        assert found is not None and found.step == 3 and found.weights["a"].tolist() == [3.0, 3.0]

    def test_a_damaged_one_is_named(self, tmp_path: Path) -> None:
        kept = Checkpoints(tmp_path)
        kept.save(Checkpoint(1, {"a": torch.ones(2)}, {}))
        (tmp_path / "checkpoints" / "step-00000001" / "weights.safetensors").write_bytes(b"half")
        with pytest.raises(TrainingError, match=r"step-00000001 is damaged. Delete that folder"):
            kept.newest()
