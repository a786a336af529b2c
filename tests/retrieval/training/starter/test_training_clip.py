"""The training of the starter's CLIP: its data, its losses, the towers, and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generation import CoinGenerator
from generation.phantom import phantom_cases
from generation.training.starter.base import TextEncoders, write_text_encoder
from generation.training.starter.vocabulary import build_vocabulary
from retrieval import Encoder
from retrieval.training.image_augmentation import restain, reword, two_views
from retrieval.training.losses import UNLABELLED, pair_loss, report_loss
from retrieval.training.starter.clip import TRUNK, new_clip, write_imagenet_start
from retrieval.training.starter.generator import train_generator_on
from retrieval.training.starter.image_tower import FROZEN_STAGES, train_image_tower
from retrieval.training.starter.pretrain_text_tower import pretrain_text_tower
from retrieval.training.starter.sampler import Pairs, PairSampler
from retrieval.training.starter.sdxl_text_encoders import hand_on_text_tower
from retrieval.training.starter.short_text_tower import KEPT_LAYERS, shorten_text_tower
from retrieval.training.starter.smears import FIELD_CROPS, KIND_SHARES, is_held_out, load_smears
from retrieval.training.starter.train import STEPS, train_starter
from retrieval.training.starter.within_class_covariance import reduce_stain_variance

REPORTS = ["(Ascites) smear shows clusters of cells.", "High-grade squamous intraepithelial lesion (HSIL)."]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP after one step or a few, in the folder `clip`, beside its vocabulary and the text tower it learned by."""
    folder = tmp_path_factory.mktemp("training")
    phantoms = phantom_cases(8, seed=78)
    build_vocabulary([phantom.report for phantom in phantom_cases(100)], folder / "vocab", size=700)
    pretrain_text_tower(lambda rng: (REPORTS[0], (0,)), (1,), folder / "vocab", folder / "reader", steps=0)
    pairs = Pairs(
        np.stack([np.asarray(phantom.render()) for phantom in phantoms]),
        np.arange(8) % 2,
        lambda i, rng: phantoms[i].report,
    )
    train_image_tower([(pairs, 8)], folder / "reader", folder / "clip", steps=2)
    return folder


@pytest.mark.slow
def test_a_trained_clip_loads_by_the_encoder(trained: Path) -> None:
    encoder = Encoder(trained / "clip")
    images = [Image.new("RGB", (128, 128), colour) for colour in ("red", "blue")]
    seen, read = encoder.encode_images(images), encoder.encode_texts(REPORTS)
    assert seen.shape == read.shape == (2, encoder.dim)
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_training_takes_up_earlier_weights(trained: Path, tmp_path: Path) -> None:
    pairs = Pairs(np.zeros((1, 128, 128, 3), np.uint8), np.zeros(1, np.int64), lambda i, rng: "NILM.")
    clip = trained / "clip"
    train_image_tower([(pairs, 1)], clip, tmp_path, steps=0, start_from=clip)
    assert Encoder(tmp_path).fingerprint == Encoder(clip).fingerprint


@pytest.mark.slow
def test_the_image_tower_learns_and_leaves_the_text_tower(trained: Path, tmp_path: Path) -> None:
    """Every loss falls where findings differ to the eye, some of them unsaid."""
    rng = np.random.default_rng(0)
    striped = np.where(np.arange(32) % 8 < 4, 60, 200)[None, :, None].repeat(32, 0).repeat(3, 2)
    plain = np.full((32, 32, 3), 130)
    images = [np.clip(kind + rng.normal(0, 8, kind.shape), 0, 255) for kind in (striped, plain) for _ in range(4)]
    labels = np.repeat([0, 1], 4)
    labels[[0, 4]] = UNLABELLED
    pairs = Pairs(np.stack(images).astype(np.uint8), labels, lambda i, rng: REPORTS[i // 4], patients=np.arange(8))
    lines: list[str] = []
    train_image_tower(
        [(pairs, 8)], trained / "reader", tmp_path, steps=76, log=lines.append,
        start_from=trained / "clip", learning_rate=4e-3,
    )  # fmt: skip
    said = [line.split() for line in lines]
    assert [words[3:6] for words in said] == [[step, "of", "76"] for step in ("25", "50", "75")]
    first, last = (dict(zip(words[6::2], map(float, words[7::2]), strict=True)) for words in (said[0], said[-1]))
    assert set(first) == {"pairs", "reports", "findings"}
    assert all(last[loss] < first[loss] for loss in first), (first, last)
    before, after = Encoder(trained / "reader"), Encoder(tmp_path)
    assert np.array_equal(before.encode_texts(REPORTS), after.encode_texts(REPORTS))


@pytest.mark.slow
def test_a_seed_gives_the_same_weights_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    """Of the image tower and of both text towers; another seed gives others."""
    images = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    pairs = Pairs(images, np.arange(4), lambda i, rng: REPORTS[i % 2])
    reader = trained / "reader"

    def image_tower(folder: Path, seed: int) -> None:
        train_image_tower([(pairs, 4)], reader, folder, steps=3, seed=seed)

    def text_tower(folder: Path, seed: int) -> None:
        pretrain_text_tower(
            lambda rng: (REPORTS[int(rng.integers(2))], (0,)), (1,), trained / "vocab", folder, steps=2, seed=seed,
            batch_size=4,
        )  # fmt: skip

    def short_text_tower(folder: Path, seed: int) -> None:
        shorten_text_tower(lambda rng: REPORTS[int(rng.integers(2))], reader, folder, steps=2, seed=seed)

    for train in (image_tower, text_tower, short_text_tower):
        runs = [tmp_path / f"{train.__name__} {number}" for number in range(3)]
        for folder, seed in zip(runs, (1, 1, 2), strict=True):
            train(folder, seed)
        first, second, other = ((folder / "open_clip_model.safetensors").read_bytes() for folder in runs)
        assert first == second != other, train.__name__


@pytest.mark.slow
def test_a_tower_that_was_trained_before_keeps_its_first_stages(trained: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.integers(0, 255, (4, 32, 32, 3), np.uint8), np.arange(4), lambda i, rng: REPORTS[i % 2])
    train_image_tower(
        [(pairs, 4)], trained / "reader", tmp_path, steps=3, start_from=trained / "clip",
    )  # fmt: skip
    before, after = (load_file(folder / "open_clip_model.safetensors") for folder in (trained / "clip", tmp_path))
    blocks = tuple(f"visual.trunk.blocks.{stage}." for stage in range(FROZEN_STAGES))
    kept = {name for name in before if name.startswith((*blocks, "visual.trunk.conv_stem", "visual.trunk.bn1"))}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(kept) > 100 and not kept & changed
    assert {"visual.trunk.conv_head.weight", "visual.trunk.bn2.running_mean"} <= changed


@pytest.mark.slow
def test_the_image_tower_starts_from_imagenet_and_reads_as_before(trained: Path, tmp_path: Path) -> None:
    import timm

    learned = timm.create_model(TRUNK, pretrained=False).state_dict()
    save_file(learned, tmp_path / "trunk.safetensors")
    write_imagenet_start(tmp_path / "trunk.safetensors", trained / "reader", tmp_path / "start")
    weights = load_file(tmp_path / "start" / "open_clip_model.safetensors")
    for name in ("conv_stem.weight", "blocks.4.0.conv_dw.weight", "conv_head.weight"):
        assert torch.equal(weights[f"visual.trunk.{name}"], learned[name].half())
    reader, start = Encoder(trained / "reader"), Encoder(tmp_path / "start")
    assert np.array_equal(reader.encode_texts(REPORTS), start.encode_texts(REPORTS))
    save_file({"conv_stem.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RuntimeError, match="conv_head"):
        write_imagenet_start(tmp_path / "other.safetensors", trained / "reader", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_a_shorter_text_tower_learns_the_embeddings_of_the_whole_one(trained: Path, tmp_path: Path) -> None:
    def agreement(folder: Path) -> float:
        return float((Encoder(folder).encode_texts(REPORTS) * Encoder(trained / "reader").encode_texts(REPORTS)).sum())

    for name, steps in (("untaught", 0), ("taught", 44)):
        shorten_text_tower(lambda rng: REPORTS[int(rng.integers(2))], trained / "reader", tmp_path / name, steps=steps)
    assert agreement(tmp_path / "taught") > max(agreement(tmp_path / "untaught"), 1.8)
    config = json.loads((tmp_path / "taught" / "open_clip_config.json").read_text())["model_cfg"]
    assert config["text_cfg"]["layers"] == len(KEPT_LAYERS) == 2
    model, _ = new_clip(trained / "vocab", start_from=tmp_path / "taught")
    assert len(model.transformer.resblocks) == 2


class PooledColours(torch.nn.Module):
    """An image tower that sees 16 mean colours, and passes them on by a last layer that changes nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 48))
        last = self.trunk.get_classifier = lambda: self.trunk[-1]
        torch.nn.init.eye_(last().weight)
        torch.nn.init.zeros_(last().bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        seen: torch.Tensor = self.trunk(pixels)
        return seen


def random_images(seed: int) -> torch.Tensor:
    coarse = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 1)


def test_the_normalised_tower_varies_less_under_other_stains() -> None:
    """On other images than those it was normalised by, relative to how far images lie apart."""
    tower = PooledColours()

    @torch.no_grad()
    def moved(seed: int) -> float:
        """How far a stain moves an image, as a share of how far images lie apart."""
        image = random_images(seed)
        other = restain(image, torch.Generator().manual_seed(seed))
        here, there = (torch.nn.functional.normalize(tower(batch * 2 - 1), dim=-1) for batch in (image, other))
        return float((here - there).norm(dim=1).mean() / torch.cdist(here, here).mean())

    before = [moved(seed) for seed in (6, 7, 8)]
    reduce_stain_variance(tower, [random_images(seed) for seed in range(3)], torch.Generator().manual_seed(0))
    assert all(moved(seed) < 0.93 * was for seed, was in zip((6, 7, 8), before, strict=True)), before


@pytest.mark.slow
def test_normalising_changes_the_last_layer_alone(trained: Path) -> None:
    visual = new_clip(trained / "vocab", start_from=trained / "clip")[0].visual
    before = {name: weights.clone() for name, weights in visual.state_dict().items()}
    reduce_stain_variance(visual, [random_images(0)], torch.Generator().manual_seed(0))
    changed = {name for name, weights in visual.state_dict().items() if not torch.equal(weights, before[name])}
    last = next(name for name, layer in visual.named_modules() if layer is visual.trunk.get_classifier())
    assert changed == {f"{last}.weight", f"{last}.bias"}


def test_a_batch_has_images_of_each_source_by_its_share_and_reports_are_embedded_once() -> None:
    asked: list[str] = []

    def read(texts: list[str]) -> torch.Tensor:
        asked.extend(texts)
        return torch.nn.functional.one_hot(torch.tensor([len(text) for text in texts]), 40).float()

    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    said = Pairs(images, np.arange(6), lambda i, rng: "x" * (i + 1), statements=np.arange(6) // 2)
    unsaid = Pairs(images + 100, np.full(6, UNLABELLED), lambda i, rng: "never read", patients=np.zeros(6, np.int64))
    sampler = PairSampler([(said, 6), (unsaid, 2)], read, np.random.default_rng(0), "cpu")
    sampler.advance()
    batch = sampler.batch()
    shown = (batch.pixels[:, 0, 0, 0] * 255).round().int().tolist()
    assert shown[:6] == list(range(6)) and all(number >= 100 for number in shown[6:])  # all once before any twice
    assert batch.label.tolist() == [0, 1, 2, 3, 4, 5, UNLABELLED, UNLABELLED]
    assert batch.statement.tolist() == [0, 0, 1, 1, 2, 2, UNLABELLED, UNLABELLED]
    assert batch.reports.argmax(1).tolist() == [1, 2, 3, 4, 5, 6, 0, 0]
    assert not set(batch.patient[:6].tolist()) & set(batch.patient[6:].tolist())
    assert len(asked) == len(set(asked)) == 7 and "never read" not in asked


@pytest.mark.slow
def test_the_text_tower_learns_to_separate_reports_and_leaves_the_image_tower(trained: Path, tmp_path: Path) -> None:
    def write(rng: np.random.Generator) -> tuple[str, tuple[int, ...]]:
        label = int(rng.integers(2))
        return REPORTS[label], (label,)

    pretrain_text_tower(
        write, (2,), trained / "vocab", tmp_path, steps=40, batch_size=8, start_from=trained / "clip",
    )  # fmt: skip
    before, after = Encoder(trained / "clip"), Encoder(tmp_path)
    image = [Image.new("RGB", (128, 128), "red")]
    assert np.array_equal(before.encode_images(image), after.encode_images(image))
    apart = [float(encoder.encode_texts(REPORTS)[0] @ encoder.encode_texts(REPORTS)[1]) for encoder in (before, after)]
    assert apart[1] < min(apart[0], 0.5)


@pytest.mark.slow
def test_another_vocabulary_keeps_what_is_known_of_its_tokens(trained: Path, tmp_path: Path) -> None:
    other = build_vocabulary(["zebra clusters of cells"] * 4, tmp_path / "vocab")
    model, _ = new_clip(other, start_from=trained / "clip")
    earlier, _ = new_clip(trained / "vocab", start_from=trained / "clip")
    known, now = (json.loads((folder / "vocab.json").read_text()) for folder in (trained / "vocab", other))
    assert "cells</w>" in known and "zebra</w>" in now and "zebra</w>" not in known
    for token in ("cells</w>", "<|endoftext|>"):
        assert torch.equal(model.token_embedding.weight[now[token]], earlier.token_embedding.weight[known[token]])


@pytest.mark.slow
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


def test_in_one_patient_only_the_other_view_is_a_candidate() -> None:
    """All else is left out, so that the loss is 0 whatever the rows are."""
    rows = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    one_finding, one_patient = torch.zeros(8, dtype=torch.int64), torch.zeros(8, dtype=torch.int64)
    assert pair_loss(rows, one_finding, one_patient).item() == pytest.approx(0.0, abs=1e-5)


def test_an_unlabelled_image_matches_nothing_but_its_other_view() -> None:
    rows = torch.eye(4).repeat(2, 1)
    label, patient = (
        torch.tensor([UNLABELLED, UNLABELLED, UNLABELLED, 0]).repeat(2),
        torch.tensor([0, 0, 1, 2]).repeat(2),
    )
    apart = pair_loss(rows, label, patient)
    own, others, itself = rows.clone(), rows.clone(), rows.clone()
    own[[1, 5]] = rows[0]  # of one patient: they may show the same
    others[[2, 6]] = rows[0]
    itself[0] = rows[1]  # one view is no longer like the other
    assert torch.isclose(pair_loss(own, label, patient), apart, atol=1e-5)
    assert pair_loss(others, label, patient) > apart and pair_loss(itself, label, patient) > apart


def test_a_report_matches_every_image_of_its_statement() -> None:
    read = torch.eye(3)
    statement = torch.tensor([0, 0, UNLABELLED])
    swapped = 10 * read[[1, 0, 2]].repeat(2, 1)
    assert torch.isclose(report_loss(10 * read.repeat(2, 1), read, statement), report_loss(swapped, read, statement))
    unread = 10 * read[[0, 1, 0]].repeat(2, 1)  # what is seen in an image without a report does not count
    assert torch.isclose(report_loss(10 * read.repeat(2, 1), read, statement), report_loss(unread, read, statement))
    told_apart = torch.tensor([0, 1, UNLABELLED])
    assert report_loss(10 * read.repeat(2, 1), read, told_apart) < report_loss(swapped, read, told_apart)


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


def test_rare_categories_are_sampled_more_often_and_fields_are_cropped(tmp_path: Path) -> None:
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
    assert pairs.chances[:9].sum() == pytest.approx(KIND_SHARES["cell"])
    assert pairs.chances[9] == pytest.approx(KIND_SHARES["field"])
    assert 1 < pairs.chances[8] / pairs.chances[0] < 8
    assert len(set(pairs.patients[:9])) == 1 and len(set(pairs.patients[9:])) == 1
    rng = np.random.default_rng(0)
    assert all(pairs.reports(i, rng).endswith("report 9.") for i in range(9, len(pairs.images)))


@pytest.mark.slow
def test_the_whole_training_runs_resumes_and_loads(tmp_path: Path) -> None:
    """Every stage for a step or a few; then again, which has nothing left to train."""
    log: list[str] = []
    for _ in range(2):
        train_starter(
            tmp_path, smears=None, log=log.append, steps=dict.fromkeys(STEPS, 2), batch=(6, 3, 8), phantom_count=45
        )
    assert [line for line in log if line.endswith("done before")] == [
        f"{stage}: done before" for stage in ("vae", "reader", "short_reader", "clip", "unet", "lora")
    ]
    result = tmp_path / "result"
    made = CoinGenerator(result / "base", result / "lora").generate("NILM.", n=1, preset="draft").images[0]
    assert made.image.size == (128, 128)
    assert Encoder(result / "clip").encode_images([made.image]).shape == (1, 192 + 45 + 9)  # a direction an image
    assert "_name_or_path" not in (result / "base" / "unet" / "config.json").read_text(encoding="utf-8")
    with pytest.raises(FileExistsError, match="of another training"):
        train_generator_on(result, tmp_path, smears=None, log=log.append, steps={}, phantom_count=45)
    on = tmp_path / "on"
    for _ in range(2):
        train_generator_on(result, on, smears=None, log=log.append, steps={"denoiser": 1, "lora": 1}, phantom_count=45)
    assert log[-1] == "lora: done before"
    CoinGenerator(on / "result" / "base", on / "result" / "lora").generate("NILM.", n=1, preset="draft")
    before, after = (
        load_file(folder / "base" / "unet" / "diffusion_pytorch_model.safetensors")
        for folder in (result, on / "result")
    )
    # A step at the learning rate changes a weight by about that; random weights would differ by far more.
    moved = [float((after[name].float() - before[name].float()).abs().max()) for name in before]
    assert 0 < max(moved) < 0.01
