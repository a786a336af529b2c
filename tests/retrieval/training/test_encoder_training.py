"""An encoder fine-tuned on one's own pairs: what is learned, how it goes on, and the comparison before and after."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import hypergeom

from generation import SettingsError, TrainingDataError, TrainingError
from generation.phantom import phantom_cases, write_phantoms
from generation.training.data.pairs import TrainingPair, title_of
from index_store import Archive
from retrieval import Encoder, EncoderLoadError, add_manifest
from retrieval.encoder.model_files import find_clip
from retrieval.statistics.estimate import Estimate
from retrieval.training.before_after import OWN, Compared, Comparison, Seen, compare
from retrieval.training.encoder_settings import EncoderSettings
from retrieval.training.encoder_tuning import train_encoder
from retrieval.training.model_card import EncoderTuning
from retrieval.training.pairs import archive_pairs, manifest_pairs
from retrieval.training.trainable_clip import TrainableClip
from tests.full_disk import full_disk
from tests.training_pairs import Interrupt, phantom_pairs, stop

ROOT = Path(__file__).parents[3]
SMALL = EncoderSettings(
    rank=4, steps=6, batch_size=8, warmup=2, learning_rate=5e-3, validate_every=3, checkpoint_every=2
)
KINDS = {"Benign. Stripes.": "Benign", "Malignant. Plain.": "Malignant"}


def striped_pairs(patients: int = 20) -> list[TrainingPair]:
    """Striped images and plain ones, each with its report: two of each patient."""
    pairs = []
    for number in range(2 * patients):
        rng = np.random.default_rng(number)
        report = list(KINDS)[number % 2]
        field = np.full((40, 40, 3), 130.0)
        if number % 2 == 0:
            field[:, :] = np.where(np.arange(40) % 8 < 4, 60, 200)[None, :, None]
        image = Image.fromarray(np.clip(field + rng.normal(0, 12, field.shape), 0, 255).astype(np.uint8))
        pairs.append(
            TrainingPair(
                content=f"{number:064x}",
                patient=f"patient {number // 2}",
                report=report,
                load=lambda image=image: image,  # type: ignore[misc]
                attributes={"site": "breast", "system": "IAC Yokohama", "category": KINDS[report]},
            )
        )
    return pairs


def run(pairs: list[TrainingPair], folder: Path, encoder: Path | None, **changed: object) -> EncoderTuning:
    progress = {"progress": changed.pop("progress")} if "progress" in changed else {}
    settings = dataclasses.replace(SMALL, **changed)  # type: ignore[arg-type]
    made = train_encoder(pairs, folder, encoder=encoder, settings=settings, device="cpu", **progress)  # type: ignore[arg-type]
    assert made is not None
    return made


@pytest.fixture(scope="module")
def tuned(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EncoderTuning:
    folder = tmp_path_factory.mktemp("tuned") / "clip"
    return run(
        striped_pairs(), folder, clip_folder, steps=30, batch_size=16, learning_rate=2e-2, validate_every=15, hold_out=3
    )


def test_it_learns_what_held_out_patients_show(tuned: EncoderTuning) -> None:
    losses = [loss for _, loss in tuned.validation]
    assert losses[0] > losses[1] > losses[2]
    by_name = {(figure.asked, figure.metric): figure for figure in tuned.comparison.figures}
    found = by_name["report finds its category", "mAP"]
    assert found.after.mean > found.before.mean and found.verdict == "better"
    assert "Report finds its category" in tuned.comparison.words


def test_the_folder_loads_as_an_encoder(tuned: EncoderTuning, clip_folder: Path) -> None:
    before, after = Encoder(clip_folder, device="cpu"), Encoder(tuned.folder, device="cpu")
    assert after.fingerprint == tuned.after_fingerprint != before.fingerprint == tuned.before_fingerprint
    texts = list(KINDS)
    seen, read = after.encode_images([pair.load() for pair in striped_pairs(2)]), after.encode_texts(texts)
    assert seen.shape == (4, before.dim) and read.shape == (2, before.dim)
    assert not np.allclose(read, before.encode_texts(texts), atol=1e-3)
    assert 0 < tuned.trained_share < 0.5


def test_the_card_tells_what_must_be_known(tuned: EncoderTuning) -> None:
    card = (tuned.folder / "README.md").read_text(encoding="utf-8")
    assert "Research use only. Not for diagnosis." in card
    assert f"{tuned.trained_share:.1%}".replace("%", " %") in card
    assert tuned.before_fingerprint in card and tuned.after_fingerprint in card
    assert "| report finds its category | mAP |" in card and "as confidential as" in card
    for pair in striped_pairs():
        assert pair.report not in card and f"{pair.patient} " not in card


@pytest.mark.parametrize("mode", [pytest.param("lora", marks=pytest.mark.slow), "full"])
def test_an_interrupted_training_ends_in_the_same_encoder(mode: str, clip_folder: Path, tmp_path: Path) -> None:
    pairs = striped_pairs(8)
    rate = 5e-3 if mode == "lora" else 1e-4
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path / "a", clip_folder, mode=mode, learning_rate=rate, progress=Interrupt(5, stop))
    assert not (tmp_path / "a" / "open_clip_config.json").exists(), "half a model is no model"
    resumed = run(pairs, tmp_path / "a", clip_folder, mode=mode, learning_rate=rate)
    whole = run(pairs, tmp_path / "b", clip_folder, mode=mode, learning_rate=rate)
    assert resumed.after_fingerprint == whole.after_fingerprint
    assert resumed.comparison == whole.comparison and resumed.validation == whole.validation
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log if "validation_loss" in record] == [0, 3, 6]


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "expected"), [(5, 5), (64, 10)])
def test_a_batch_is_as_large_as_set_or_as_all_training_pairs(
    batch_size: int, expected: int, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 16 pairs of eight patients, 6 are of held-out ones; two views of each image are seen."""
    seen: list[int] = []
    see = TrainableClip.embed_images

    def count(clip: TrainableClip, pixels: torch.Tensor) -> torch.Tensor:
        if clip.network.training:
            seen.append(len(pixels))
        return see(clip, pixels)

    monkeypatch.setattr(TrainableClip, "embed_images", count)
    tuned = run(striped_pairs(8), tmp_path, clip_folder, steps=2, batch_size=batch_size)
    assert (tuned.trained.images, tuned.held_out.images) == (10, 6)
    assert seen == [2 * expected] * 2


@pytest.mark.parametrize("changed", [{"checkpointing": True}, {"dtype": "bfloat16"}], ids=str)
def test_less_memory_gives_nearly_the_same_gradients(changed: dict[str, Any], clip_folder: Path) -> None:
    pixels = torch.rand((4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    gradients = []
    for settings in (SMALL, dataclasses.replace(SMALL, **changed)):
        clip = TrainableClip(find_clip(clip_folder), settings, "cpu")
        size = clip.network.visual.image_size
        height = size if isinstance(size, int) else size[0]
        rows = clip.embed_images(torch.nn.functional.interpolate(pixels, (height, height)))
        texts = clip.embed_texts(clip.tokenize(list(KINDS)))
        assert rows.dtype == texts.dtype == torch.float32
        (rows @ texts.T).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in clip.trained.values() if p.grad is not None]))
    one, other = gradients
    assert one.norm() > 0 and one.shape == other.shape
    if "checkpointing" in changed:
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)
    else:
        assert not torch.equal(one, other), "it is another format"
        assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.95


def test_the_text_tower_can_stay_as_it_is(clip_folder: Path, tmp_path: Path) -> None:
    tuned = run(striped_pairs(8), tmp_path, clip_folder, towers="image", steps=2)
    before, after = Encoder(clip_folder, device="cpu"), Encoder(tuned.folder, device="cpu")
    assert np.array_equal(before.encode_texts(list(KINDS)), after.encode_texts(list(KINDS)))
    image = [striped_pairs(1)[0].load()]
    assert not np.allclose(before.encode_images(image), after.encode_images(image), atol=1e-4)


@pytest.mark.slow
def test_the_starter_can_be_tuned(tmp_path: Path) -> None:
    """Its image tower is of convolutions with batch normalisation, whose statistics must stay."""
    from safetensors.torch import load_file

    from retrieval.encoder.model_files import find_clip

    tuned = run(phantom_pairs(8), tmp_path, None, steps=1, batch_size=2)
    before, after = (load_file(find_clip(folder).weights[0]) for folder in (None, tuned.folder))
    assert before.keys() == after.keys()
    moved = {name for name in before if not np.allclose(before[name].float(), after[name], atol=1e-6)}
    assert any(name.startswith("visual.") for name in moved)
    assert not [name for name in moved if "running_" in name or "num_batches" in name]


class TestBadInput:
    def test_nothing_to_learn_from_or_one_patient(self, clip_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(TrainingDataError, match="no images with reports"):
            run([], tmp_path, clip_folder)
        with pytest.raises(TrainingDataError, match="two are needed"):
            run(striped_pairs(1), tmp_path / "out", clip_folder)
        assert not (tmp_path / "out").exists()

    def test_unreadable_images_are_left_out_and_counted(self, clip_folder: Path, tmp_path: Path) -> None:
        def unreadable() -> Image.Image:
            raise TrainingDataError("The image is damaged.")

        pairs = striped_pairs(8)
        bad = dataclasses.replace(pairs[0], load=unreadable, content="f" * 64)
        assert run([*pairs, bad], tmp_path / "a", clip_folder, steps=1).skipped == {"The image is damaged.": 1}
        with pytest.raises(TrainingDataError, match="None of the 16 images could be read"):
            run([dataclasses.replace(pair, load=unreadable) for pair in pairs], tmp_path / "b", clip_folder)

    @pytest.mark.parametrize("label", [pytest.param("Decoding images", marks=pytest.mark.slow), "Training"])
    def test_a_full_disk_costs_nothing_but_time(self, label: str, clip_folder: Path, tmp_path: Path) -> None:
        pairs, full = striped_pairs(8), full_disk()
        try:
            with pytest.raises(OSError):
                run(pairs, tmp_path / "a", clip_folder, progress=Interrupt(3, full.__enter__, label=label))
        finally:
            full.__exit__(None, None, None)
        assert not (tmp_path / "a" / "open_clip_config.json").exists()
        whole = run(pairs, tmp_path / "b", clip_folder)
        assert run(pairs, tmp_path / "a", clip_folder).after_fingerprint == whole.after_fingerprint

    def test_settings_and_folders(self, clip_folder: Path, tuned: EncoderTuning, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="rank is 0"):
            dataclasses.replace(SMALL, rank=0)
        with pytest.raises(SettingsError, match="choose one of lora, full"):
            dataclasses.replace(SMALL, mode="half")
        with pytest.raises(EncoderLoadError, match="no encoder folder"):
            run(striped_pairs(), tmp_path, tmp_path / "gone")
        with pytest.raises(
            TrainingError, match=r"begun with another batch size, hold out, learning rate, rank, validate every\."
        ):
            run(striped_pairs(), tuned.folder, clip_folder, rank=8)

    def test_without_categories_only_own_images_are_looked_for(self, clip_folder: Path, tmp_path: Path) -> None:
        pairs = [dataclasses.replace(pair, attributes={}) for pair in striped_pairs(8)]
        tuned = run(pairs, tmp_path, clip_folder, steps=1)
        assert {figure.asked for figure in tuned.comparison.figures} == {OWN}
        assert "was not measured" in tuned.comparison.notes[0]


class TestComparison:
    def seen(self, pairs: list[TrainingPair], telling: float) -> Seen:
        """Vectors that tell the two kinds apart as far as `telling`, 0 to 1."""
        rng = np.random.default_rng(0)
        towards = {report: np.eye(2, 16)[place] for place, report in enumerate(KINDS)}
        rows = np.stack([telling * towards[pair.report] for pair in pairs]) + 0.3 * rng.normal(size=(len(pairs), 16))
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return Seen(unit.astype(np.float32), {report: row.astype(np.float32) for report, row in towards.items()})

    def figures(self, before: float, after: float) -> dict[tuple[str, str], Compared]:
        pairs = striped_pairs(30)
        held = np.array([int(pair.patient.split()[1]) < 10 for pair in pairs])
        made = compare(pairs, held, self.seen(pairs, before), self.seen(pairs, after))
        return {(figure.asked, figure.metric): figure for figure in made.figures}

    def test_better_and_worse_are_told_apart(self) -> None:
        better, worse, same = self.figures(0.2, 2.0), self.figures(2.0, 0.2), self.figures(1.0, 1.0)
        key = "image finds its category", "mAP"
        assert (better[key].verdict, worse[key].verdict) == ("better", "worse")
        assert better[key].difference.mean == pytest.approx(-worse[key].difference.mean)
        assert better[key].after.mean == pytest.approx(1.0) and better[key].queries == 20
        assert same[key].verdict == "no sure difference" and same[key].difference.mean == 0
        # Every patient has both kinds: by chance half of them are led by the right one, and mAP asks for all.
        assert better[key].chance == worse[key].chance == pytest.approx(0.28, abs=0.02)

    def test_of_one_patient_nothing_is_called_better(self) -> None:
        pairs = striped_pairs(10)
        held = np.array([pair.patient == "patient 3" for pair in pairs])
        made = compare(pairs, held, self.seen(pairs, 0.2), self.seen(pairs, 2.0))
        assert {figure.verdict for figure in made.figures} == {"too few patients"}
        assert made.words.count("(of one patient, and 6 are needed to say how sure)") == 3
        assert "better" not in made.words

    @pytest.mark.parametrize("named", [True, False])
    def test_of_five_patients_or_of_nameless_ones_nothing_is_called_better(self, named: bool) -> None:
        pairs = [dataclasses.replace(pair, patient_named=named) for pair in striped_pairs(20)]
        held = np.array([int(pair.patient.split()[1]) < (5 if named else 9) for pair in pairs])
        made = compare(pairs, held, self.seen(pairs, 0.2), self.seen(pairs, 2.0))
        assert {figure.verdict for figure in made.figures} == {"too few patients" if named else "patients not named"}
        assert "better" not in made.words and ("5 patients" in made.words) == named

    def test_recall_counts_ranks_below_k_and_chance_is_hypergeometric(self) -> None:
        """Eight held-out images of four reports. The own images of the reports stand on the ranks 0, 1, 4 and 5: one
        within the first, two within five, all within ten, of which there are eight."""
        reports = [f"Report {number}." for number in range(4)]
        pairs = [
            dataclasses.replace(pair, report=reports[number % 4], attributes={})
            for number, pair in enumerate(striped_pairs(5))
        ]
        held = np.array([number < 8 for number in range(10)])
        images = np.eye(10, dtype=np.float32)
        first_own = {0: 0, 1: 1, 2: 4, 3: 5}
        read = {}
        for number, rank in first_own.items():
            others = [image for image in range(8) if image % 4 != number]
            order = [*others[:rank], number, number + 4, *others[rank:]]
            row = np.zeros(10, dtype=np.float32)
            row[order] = np.linspace(1, 0.1, 8)
            read[reports[number]] = row
        seen = Seen(images, read)
        figures = {figure.metric: figure for figure in compare(pairs, held, seen, seen).figures}
        assert [figures[f"R@{k}"].after.mean for k in (1, 5, 10)] == [0.25, 0.75, 1.0]
        for k in (1, 5, 10):
            missed = hypergeom(8, 2, min(k, 8)).pmf(0)
            assert figures[f"R@{k}"].chance == pytest.approx(1 - missed), k

    def test_a_report_that_says_the_same_counts_as_its_own(self) -> None:
        figure = self.figures(2.0, 2.0)[OWN, "R@1"]
        assert figure.after.mean == 1.0 and figure.queries == 20
        assert figure.chance == pytest.approx(0.5)

    @pytest.mark.parametrize(
        ("low", "high", "named", "verdict"),
        [
            (0.01, 0.2, True, "better"),
            (0.0, 0.2, True, "no sure difference"),
            (-0.2, 0.0, True, "no sure difference"),
            (-0.2, -0.01, True, "worse"),
            (-np.inf, np.inf, True, "too few patients"),
            (0.01, 0.2, False, "patients not named"),
        ],
    )
    def test_a_verdict_and_its_words(self, low: float, high: float, named: bool, verdict: str) -> None:
        even = Estimate(0.5, 0.4, 0.6)
        figures = [
            Compared("report finds its image", metric, 9, 2, even, even, Estimate(0.1, low, high), None, named)
            for metric in ("R@1", "R@5")
        ]
        assert {figure.verdict for figure in figures} == {verdict}
        words = {
            "too few patients": "R@1 +0.100, R@5 +0.100 (of 2 patients, and 6 are needed to say how sure).",
            "patients not named": "R@1 +0.100, R@5 +0.100 (patients are not named, so that nothing says how sure).",
        }.get(verdict, f"R@1 +0.100 ({verdict}), R@5 +0.100 ({verdict}).")
        assert Comparison(tuple(figures), ()).words == f"Report finds its image: {words}"


class TestOwnPairs:
    @pytest.fixture
    def manifest(self, tmp_path: Path) -> Path:
        for number in range(4):
            Image.effect_noise((48, 40), 10 + number).convert("RGB").save(tmp_path / f"anna-{number}.png")
        (tmp_path / "anna-2.png").write_bytes(b"no image")
        rows = ["image,report,case,patient,site,category"]
        rows += [f"anna-{n}.png,Report {n // 2}.,case {n // 2},Anna {n},breast,Benign" for n in (0, 2, 3)]
        rows += ["anna-1.png,,case 9,Anna 9,breast,Benign", "gone.png,Report.,case 8,Anna 8,,"]
        (tmp_path / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
        return tmp_path / "manifest.csv"

    def test_a_manifest_is_read_as_coin_add_reads_it(self, manifest: Path) -> None:
        own = manifest_pairs(manifest)
        # Line 4 gives its case another patient than line 3.
        assert [(pair.patient, pair.case) for pair in own.pairs] == [("Anna 0", "case 0"), ("Anna 2", "case 1")]
        assert own.pairs[0].attributes == {"site": "breast", "category": "Benign"}
        assert own.pairs[0].load().size == (48, 40)
        assert sum(own.skipped.values()) == 3
        assert not [reason for reason in own.skipped if "anna" in reason.lower()]
        with pytest.raises(TrainingDataError, match=r"^The image is a text file") as told:
            own.pairs[1].load()
        assert "anna" not in str(told.value)
        assert "Report" not in repr(own.pairs[0])

    def test_categories_are_read_from_reports_and_rows_left_out_say_why(self, manifest: Path, tmp_path: Path) -> None:
        """COIN's spreadsheet has image and report alone."""
        rows = ["anna-0.png,(Cervical smear) no intraepithelial lesion or malignancy (NILM).", "anna-1.png,"]
        rows += [f"{Path('/elsewhere/anna-3.png')},Report."]
        table = tmp_path / "below" / "coin.csv"
        table.parent.mkdir()
        table.write_text("\n".join(["image,report", *rows]), encoding="utf-8")
        own = manifest_pairs(table, images=tmp_path)
        assert [title_of(pair.labelled()) for pair in own.pairs] == ["cervix · NILM"]
        assert own.skipped == {"Has no report.": 1, "Names an image outside the images' folder.": 1}
        with pytest.raises(TrainingDataError, match=r"Left out: 2 × Names an image that is not there\. .*--images"):
            manifest_pairs(table)

    def test_an_archive_gives_the_same(self, manifest: Path, encoder: Encoder, tmp_path: Path) -> None:
        with Archive.create(tmp_path / "archive") as archive:
            add_manifest(archive, manifest, encoder)
            own = archive_pairs(archive)
            (pair,) = own.pairs
            (same, _) = manifest_pairs(manifest).pairs
            assert (pair.content, pair.patient, pair.case, pair.report) == (
                same.content, same.patient, same.case, same.report,
            )  # fmt: skip
            assert pair.attributes == same.attributes
            assert pair.load().tobytes() == same.load().tobytes()
            archive.image_path(1).unlink()
            with pytest.raises(TrainingDataError, match="gone, damaged or altered"):
                pair.load()


@pytest.mark.cluster
def test_two_processes_learn_what_one_does(clip_folder: Path, tmp_path: Path) -> None:
    """Twice 4 images a step are once 8, compared with each other; each process decodes its share."""
    manifest = write_phantoms(tmp_path / "phantoms", phantom_cases(16, seed=9), size=64)
    given = ["-m", "ui", "train", "encoder", "--manifest", manifest, "--encoder", clip_folder, "--device", "cpu",
             "--steps", "4", "--warmup", "0", "--validate-every", "2", "--mode", "full"]  # fmt: skip
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for launcher, batch, name in ((torchrun, "4", "two"), ([sys.executable], "8", "one")):
        command = [*launcher, *given, "--batch-size", batch, "--out", tmp_path / name, "--work", tmp_path / "w" / name]
        subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=True)
    one, two = (load_file(tmp_path / name / "open_clip_model.safetensors") for name in ("one", "two"))
    before = load_file(clip_folder / "open_clip_model.safetensors")
    for name, weights in one.items():
        difference = (weights - two[name]).abs()
        if name.endswith("attn.in_proj_bias"):
            # What is added to every key changes no attention: its gradient is rounding alone, and Adam makes whole
            # steps of that, in either direction.
            difference = torch.cat(difference.chunk(3)[::2])
        assert difference.max() <= 1e-5, name
    assert any(not torch.allclose(one[name], before[name], atol=2e-5) for name in one)
    assert "Trained by 2 processes: a step takes 8 images." in (tmp_path / "two" / "README.md").read_text("utf-8")
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line).get("validation_loss") for line in log] for log in logs]
    assert [loss for loss in losses[0] if loss] == pytest.approx([loss for loss in losses[1] if loss], abs=1e-5)
