"""`coin augment-check` as its users meet it."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from generation.phantom import PROFILES, phantom_cases, write_phantoms
from retrieval import RESEARCH_USE, AugmentResult
from retrieval.statistics.estimate import Estimate
from retrieval.synthetic.utility import ClassCount, WayResult
from tests.ui.conftest import coin
from ui.text.evaluation.augment import augment_text, verdicts


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms of each of two categories, and two of others."""
    wanted = {("cervix", "NILM"), ("urine", "HGUC")}
    phantoms = phantom_cases(6, profiles=[p for p in PROFILES if (p.site, p.category) in wanted])
    return write_phantoms(tmp_path_factory.mktemp("labelled"), phantoms, size=64)


@pytest.mark.slow
def test_both_experiments_are_made_of_a_manifest(environment: dict[str, str], labelled: Path) -> None:
    arguments = ("augment-check", "--manifest", labelled, "--per-class", "2", "--folds", "3", "--repeats", "1")
    done = coin(*arguments, "--real-fraction", "0.5", "--real-fraction", "1")
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    for said in ("real only", "synthetic only", "real and synthetic", "commonest class", "cervix NILM", "macro-F1 by"):
        assert said in words
    assert done.stdout.count(RESEARCH_USE) == 1
    found = json.loads(coin(*arguments, "--json").stdout)
    assert found["notice"] == RESEARCH_USE
    assert [way["way"] for way in found["result"]["ways"]] == ["real", "synthetic", "both"]
    assert len(found["verdicts"]) == 2
    held = labelled.parent / "patients.txt"
    with labelled.open(newline="", encoding="utf-8") as file:
        whose = {row["category"]: row["patient"] for row in csv.DictReader(file)}
    held.write_text("\n".join(whose.values()))
    tested = json.loads(coin(*arguments, "--json", "--test-patients", held).stdout)["result"]
    assert (tested["folds"], tested["tested_patients"]) == (1, 2)


def test_what_cannot_be_meant_is_reported(environment: dict[str, str], labelled: Path, tmp_path: Path) -> None:
    done = coin("augment-check", "--kind", "cell")
    assert (done.exit_code, "--kind and --images go with --manifest" in done.stderr) == (2, True)
    done = coin("augment-check", "--manifest", labelled, "--synthetic", tmp_path)
    assert (done.exit_code, "holds no set of generated images" in done.stderr) == (1, True)
    (tmp_path / "none.txt").write_text("\n")
    done = coin("augment-check", "--manifest", labelled, "--test-patients", tmp_path / "none.txt")
    assert (done.exit_code, "names no patient" in done.stderr) == (2, True)


def result(low: float, high: float) -> AugmentResult:
    def values(mean: float) -> dict[str, Estimate]:
        return {name: Estimate(mean, mean, mean) for name in ("macro-F1", "macro recall", "accuracy", "AUROC")}

    change = {name: Estimate((low + high) / 2, low, high) for name in values(0)}
    return AugmentResult(
        source="m.csv", encoder="starter", fingerprint="a" * 64, synthetic="20 images a class", images=40, patients=9,
        tested_images=40, tested_patients=9, patients_named=True, trained_patients=0, drawn_by="patients",
        folds=3, repeats=2,
        classes=tuple(ClassCount(f"class {number:02}", 2, 2, 20.0) for number in range(20)),
        left_out={}, derived=0, ambiguous=0, commonest=dict.fromkeys(values(0), 0.1),
        classifier="linear probe",
        ways=(
            WayResult("real", 1.0, 30, 0, values(0.5), {}),
            WayResult("synthetic", 1.0, 0, 20, values(0.4), change),
            WayResult("both", 1.0, 30, 20, values(0.6), change),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.02, 0.10, "raise macro-F1 by +0.060 [+0.020, +0.100]."),
        (-0.10, -0.02, "lower macro-F1 by -0.060 [-0.100, -0.020]."),
        (0.0003, 0.0203, "change macro-F1 by +0.010 [+0.000, +0.020]: no difference that these images can show."),
        (-0.02, 0.04, "change macro-F1 by +0.010 [-0.020, +0.040]: no difference that these images can show."),
    ],
)
def test_the_sentence_says_what_the_interval_allows(low: float, high: float, said: str) -> None:
    alone, added = verdicts(result(low, high))
    assert alone == (
        f"Synthetic images alone, instead of the real images of 100% of the training patients (30 images), {said}"
    )
    assert added == (f"Synthetic images added to the real images of 100% of the training patients (30 images) {said}")


def test_the_table_has_a_row_for_each_training_set() -> None:
    text = augment_text(result(0, 0.1))
    table = text[text.index("trained on") :].split("\n\n")[0].splitlines()
    assert [line.split() for line in table] == [
        ["trained", "on", "real", "images", "synthetic", "macro-F1", "accuracy", "AUROC"],
        ["real", "only", "30", "(100%)", *["0.500", "[0.500,", "0.500]"] * 3],
        ["synthetic", "only", "20", *["0.400", "[0.400,", "0.400]"] * 3],
        ["real", "and", "synthetic", "30", "(100%)", "20", *["0.600", "[0.600,", "0.600]"] * 3],
        ["commonest", "class", *["0.100"] * 3],
    ]
    means = [line.index(value) for line, value in zip(table[1:], ("0.500", "0.400", "0.600", "0.100"), strict=True)]
    assert max(means) - min(means) <= 1, "the commonest class has its figure under the means"
    head = table[0]
    for line, synthetic in ((table[2], "20"), (table[3], "20")):
        assert line[: head.index("synthetic") + len("synthetic")].endswith(synthetic)


def test_doubts_are_reported_and_long_tables_cut() -> None:
    told = " ".join(augment_text(result(0, 0.1)).split())
    assert "and 8 more (--json names all)" in told
    assert "Note:" not in told
    doubtful = dataclasses.replace(
        result(0, 0.1),
        left_out={"Has no report.": 3},
        derived=8,
        ambiguous=2,
        drawn_by="slides",
        folds=1,
        tested_patients=1,
    )
    told = " ".join(augment_text(doubtful).split())
    assert "Note: 3 × left out: Has no report." in told
    assert "The category of 8 images was read from their reports, and may be misread." in told
    assert "2 reports belong to several classes" in told
    assert "One patient was tested" in told
    assert "of fewer than 6 patients nothing says how sure this is" in told and "raise" not in told
    assert "40 held-out images of 1 patient: those named, 2 times" in told


def test_without_names_nothing_is_said_of_patients() -> None:
    unnamed = dataclasses.replace(result(0.02, 0.1), patients_named=False, left_out={"Has no report.": 3})
    told = " ".join(augment_text(unnamed).split())
    assert "40 images whose patients are not all named in 20 classes" in told
    assert "9 patients" not in told and "training patients" not in told
    assert "3 folds of images and cases" in told and "held-out" not in told
    assert "Note: Patients are not named, so that nothing is held out by patient" in told
    assert "patients are not named, so that nothing says how sure this is" in told and " raise " not in told


def test_patients_that_a_model_was_trained_on_are_said_to_be_left_out() -> None:
    told = " ".join(augment_text(dataclasses.replace(result(0, 0.1), trained_patients=4, folds=1)).split())
    assert "40 held-out images of 9 patients: those that no model was trained on, 2 times." in told
    assert "4 patients were not tested: a model that took part may have been trained on them." in told


def test_of_few_patients_nothing_is_called_sure() -> None:
    for sentence in verdicts(result(float("-inf"), float("inf"))):
        assert sentence.endswith("[no interval]; of fewer than 6 patients nothing says how sure this is.")


@pytest.mark.slow
def test_a_network_is_trained_from_scratch_where_it_is_requested(
    environment: dict[str, str], labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COIN_ARCHIVE", str(tmp_path / "archive"))
    assert coin("init").exit_code == 0
    assert coin("add", labelled).exit_code == 0
    monkeypatch.setattr("retrieval.synthetic.small_network.train_network.__kwdefaults__", {"seed": 0, "steps": 3})
    options = ("--classifier", "network", "--per-class", "2", "--folds", "3", "--repeats", "1")
    of_archive = coin("augment-check", *options)
    assert of_archive.exit_code == 0, of_archive.output
    words = " ".join(of_archive.stdout.split())
    assert "Classifier: small network, from scratch; pixels, 48 × 48." in words
    assert "linear probe" not in words
    of_manifest = json.loads(coin("augment-check", "--manifest", labelled, *options, "--json").stdout)["result"]
    assert of_manifest["classifier"] == "small network, from scratch"
    assert of_manifest["images"] == len(labelled.read_text().splitlines()) - 1
