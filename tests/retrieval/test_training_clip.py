"""The starter CLIP's training: what it is fed, what it writes, and what becomes of its text tower."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generation import CoinGenerator
from generation.phantom import phantom_cases
from generation.training.base import TextEncoders, write_text_encoder
from generation.training.vocabulary import build_vocabulary
from retrieval import Encoder
from retrieval.training.augmentation import reword, two_views
from retrieval.training.clip import Pairs, new_clip, pair_loss, train_clip
from retrieval.training.reader import train_reader
from retrieval.training.smears import CELL_SHARE, FIELD_CROPS, is_held_out, load_smears
from retrieval.training.starter import train_starter
from retrieval.training.text_tower import hand_on_text_tower

REPORTS = ["(Ascites) smear shows clusters of cells.", "High-grade squamous intraepithelial lesion (HSIL)."]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP after one step or a few, in the folder `clip`, with its vocabulary beside it."""
    folder = tmp_path_factory.mktemp("training")
    phantoms = phantom_cases(8, seed=78)
    build_vocabulary([phantom.report for phantom in phantom_cases(100)], folder / "vocab", size=700)
    pairs = Pairs(
        np.stack([np.asarray(phantom.draw()) for phantom in phantoms]),
        np.arange(8) % 2,
        lambda i, rng: phantoms[i].report,
    )
    train_clip([(pairs, 8)], folder / "vocab", folder / "clip", seconds=0.5)
    return folder


def test_a_trained_clip_loads_by_the_encoder(trained: Path) -> None:
    encoder = Encoder(trained / "clip")
    images = [Image.new("RGB", (128, 128), colour) for colour in ("red", "blue")]
    seen, read = encoder.encode_images(images), encoder.encode_texts(REPORTS)
    assert seen.shape == read.shape == (2, encoder.dim)
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)


def test_training_takes_up_earlier_weights(trained: Path, tmp_path: Path) -> None:
    pairs = Pairs(np.zeros((1, 128, 128, 3), np.uint8), np.zeros(1, np.int64), lambda i, rng: "NILM.")
    train_clip([(pairs, 1)], trained / "vocab", tmp_path, seconds=0.0, start_from=trained / "clip")
    assert Encoder(tmp_path).fingerprint == Encoder(trained / "clip").fingerprint


def test_training_can_keep_to_an_earlier_clip(trained: Path, tmp_path: Path) -> None:
    """Its text tower is taken over as it is, and the kept images' vectors stay nearer to its own."""
    images = np.stack([np.asarray(phantom.draw(32)) for phantom in phantom_cases(8, seed=79)])
    away = {}
    for kept in (False, True):
        pairs = Pairs(images, np.arange(8) % 2, lambda i, rng: REPORTS[i % 2], patients=np.arange(8), kept=kept)
        lines: list[str] = []
        train_clip(
            [(pairs, 8), (dataclasses.replace(pairs, kept=True), 1)], trained / "vocab", tmp_path / str(kept),
            seconds=105, clock=itertools.count().__next__, keep_to=trained / "clip", log=lines.append,
        )  # fmt: skip
        assert [line.split()[2] for line in lines] == ["25", "50"]  # the clock counts looks at it: two a step
        away[kept] = float(lines[-1].split()[-3])
        read = [Encoder(folder).encode_texts(REPORTS) for folder in (trained / "clip", tmp_path / str(kept))]
        assert np.array_equal(read[0], read[1])
    assert 0 < away[True] < away[False]


def test_the_reader_learns_to_tell_reports_apart_and_leaves_the_image_tower(trained: Path, tmp_path: Path) -> None:
    def write(rng: np.random.Generator) -> tuple[str, tuple[int, ...]]:
        label = int(rng.integers(2))
        return REPORTS[label], (label,)

    train_reader(
        write, (2,), trained / "vocab", tmp_path, seconds=3.0, batch_size=8, start_from=trained / "clip",
    )  # fmt: skip
    before, after = Encoder(trained / "clip"), Encoder(tmp_path)
    image = [Image.new("RGB", (128, 128), "red")]
    assert np.array_equal(before.encode_images(image), after.encode_images(image))
    apart = [float(encoder.encode_texts(REPORTS)[0] @ encoder.encode_texts(REPORTS)[1]) for encoder in (before, after)]
    assert apart[1] < min(apart[0], 0.5)


def test_another_vocabulary_keeps_what_is_known_of_its_tokens(trained: Path, tmp_path: Path) -> None:
    other = build_vocabulary(["zebra clusters of cells"] * 4, tmp_path / "vocab")
    model, _ = new_clip(other, start_from=trained / "clip")
    earlier, _ = new_clip(trained / "vocab", start_from=trained / "clip")
    known, now = (json.loads((folder / "vocab.json").read_text()) for folder in (trained / "vocab", other))
    assert "cells</w>" in known and "zebra</w>" in now and "zebra</w>" not in known
    for token in ("cells</w>", "<|endoftext|>"):
        assert torch.equal(model.token_embedding.weight[now[token]], earlier.token_embedding.weight[known[token]])


def test_sdxl_reads_a_report_as_the_clip_does(trained: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    hand_on_text_tower(trained / "clip", first, second)
    tokens, pooled = TextEncoders(trained / "vocab", first, second).encode(REPORTS)
    assert tokens.shape == (2, 77, 384)
    as_unit = pooled.float().numpy() / np.linalg.norm(pooled.float().numpy(), axis=1, keepdims=True)
    assert np.allclose(as_unit, Encoder(trained / "clip").encode_texts(REPORTS), atol=2e-3)


def test_a_text_encoder_with_missing_weights_is_refused(tmp_path: Path) -> None:
    weights = {
        "text_model.embeddings.token_embedding.weight": np.zeros((10, 8), np.float32),
        "text_model.embeddings.position_embedding.weight": np.zeros((77, 8), np.float32),
    }
    with pytest.raises(ValueError, match="differ from the model"):
        write_text_encoder(tmp_path, weights, layers=1, heads=2, end_id=9, projection=False)


def test_two_views_are_seeded_and_differ_at_times_in_the_stain_alone() -> None:
    half = torch.zeros(40, 3, 32, 32)
    half[:, :, :, 16:] = 0.8  # dark beside light: where the border lies shows turn and scale
    first, again, other = (two_views(half, torch.Generator().manual_seed(seed), 32) for seed in (1, 1, 2))
    assert first.shape == (80, 3, 32, 32) and torch.isfinite(first).all()
    assert torch.equal(first, again) and not torch.equal(first, other)
    dark = (first.mean(1) < first.mean(1).mean((1, 2), keepdim=True)).flatten(1)
    same_place = (dark[:40] == dark[40:]).float().mean(1) > 0.95
    assert 10 <= int(same_place.sum()) <= 30
    assert (first[:40] - first[40:]).abs().mean((1, 2, 3)).min() > 0.005


def test_a_pair_is_the_other_view_or_the_same_finding_in_another_patient() -> None:
    rows = torch.eye(4).repeat(2, 1)  # four images, two views each
    label, patient = torch.tensor([0, 0, 1, 1]).repeat(2), torch.tensor([0, 0, 1, 2]).repeat(2)
    apart = pair_loss(rows, label, patient)
    neighbours, patients, findings = rows.clone(), rows.clone(), rows.clone()
    neighbours[[1, 5]] = rows[0]  # the same finding in the same patient, now alike
    patients[[3, 7]] = rows[2]  # the same finding in two patients
    findings[[2, 6]] = rows[0]  # two findings of two patients
    assert pair_loss(patients, label, patient) < apart < pair_loss(findings, label, patient)
    assert torch.isclose(pair_loss(neighbours, label, patient), apart, atol=1e-5)


def test_rewording_loses_words_but_never_all() -> None:
    rng = np.random.default_rng(0)
    report = "(Ascites) smear shows cells. The morphology is consistent with adenocarcinoma. Follow-up."
    words = set(report.split())
    versions = {reword(report, rng) for _ in range(50)}
    assert len(versions) > 5
    for version in versions:
        assert version and {word.rstrip(".") for word in version.split()} <= {word.rstrip(".") for word in words}
    assert reword("NILM", rng) == "NILM"


def test_held_out_patients_are_never_loaded(tmp_path: Path) -> None:
    patients = [f"patient-{i}" for i in range(40)]
    lines = ["image,patient,site,category,kind,report"]
    for patient in patients:
        Image.new("RGB", (20, 10), "pink").save(tmp_path / f"{patient}.png")
        lines.append(f"{patient}.png,{patient},cervix,NILM,cell,NILM for {patient}.")
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    pairs = load_smears(tmp_path / "manifest.csv", first_label=7, size=16)
    held_out = [patient for patient in patients if is_held_out(patient)]
    assert 2 <= len(held_out) <= 16
    assert pairs.images.shape == (40 - len(held_out), 16, 16, 3)
    assert set(pairs.labels) == {7}
    rng = np.random.default_rng(0)
    said = json.dumps([pairs.reports(i, rng) for i in range(len(pairs.images))])
    assert not any(f"{patient}." in said for patient in held_out)


def test_rare_categories_are_drawn_more_often_and_fields_are_looked_at_closely(tmp_path: Path) -> None:
    lines = ["image,patient,site,category,kind,report"]
    for i in range(9):
        Image.new("RGB", (20, 20), "pink").save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,one,cervix,{'SCC' if i == 8 else 'NILM'},cell,report {i}.")
    Image.new("RGB", (300, 200), "blue").save(tmp_path / "field.png")
    lines.append("field.png,two,blood,,field,report 9.")
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    pairs = load_smears(tmp_path / "manifest.csv", first_label=0, size=16, leave_out=lambda patient: False)
    assert len(pairs.images) == len(pairs.labels) == 9 + 1 + FIELD_CROPS
    assert pairs.chances is not None and pairs.patients is not None
    assert pairs.chances.sum() == pytest.approx(1)
    assert pairs.chances[:9].sum() == pytest.approx(CELL_SHARE)
    assert 1 < pairs.chances[8] / pairs.chances[0] < 8
    assert len(set(pairs.patients[:9])) == 1 and len(set(pairs.patients[9:])) == 1
    rng = np.random.default_rng(0)
    assert all(pairs.reports(i, rng).endswith("report 9.") for i in range(9, len(pairs.images)))


def test_the_whole_training_runs_resumes_and_loads(tmp_path: Path) -> None:
    """Every stage for a second or two; then again, which has nothing left to train."""
    log: list[str] = []
    for _ in range(2):
        train_starter(tmp_path, minutes=0.1, smears=None, log=log.append, phantoms_drawn=90)
    assert [line for line in log if line.endswith("done before")] == [
        f"{stage}: done before" for stage in ("vae", "reader", "clip", "unet", "lora")
    ]
    result = tmp_path / "result"
    made = CoinGenerator(result / "base", result / "lora").generate("NILM.", n=1, preset="draft").images[0]
    assert made.image.size == (128, 128)
    assert Encoder(result / "clip").encode_images([made.image]).shape == (1, 192)
    assert "_name_or_path" not in (result / "base" / "unet" / "config.json").read_text(encoding="utf-8")
