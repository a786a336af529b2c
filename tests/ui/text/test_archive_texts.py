"""Summaries of an archive's maintenance, of synthetic sets and of training: every number beside its own label."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import PIL.Image
import pytest

from generation import GeneratedImage, Generation, LoraSettings, LoraTraining, PairCounts, Prompt, Provenance
from generation.training.validation import Change
from index_store import ArchiveStatus, EncoderCoverage, EncoderInfo, Examination, Finding, Problem, Role
from retrieval import (
    RESEARCH_USE,
    ArchiveCalibration,
    Compared,
    CopyPair,
    CopyReport,
    EncoderSettings,
    EncoderTuning,
    Estimate,
    Facet,
    ReembedSummary,
    SetSummary,
    Share,
)
from retrieval.assessment.novelty import NoveltyCheck
from retrieval.copies.overlap import Overlap
from retrieval.generated.site_check import SiteRates
from retrieval.synthetic.copy_report import Nearness
from retrieval.training.before_after import Comparison
from ui.text.archive import calibration_text, status_text
from ui.text.evaluation.synthetic import SHOWN, copy_record, copy_text, set_text, share_text
from ui.text.generation import generation_text
from ui.text.maintenance import coverage_text, encoders_text, examination_text, reembed_text
from ui.text.train import encoder_text, lora_text

ENCODER = EncoderInfo("abcdef0123456789", "tiny", 32)
ROLES: tuple[Role, ...] = ("image", "text")
COVERAGE = EncoderCoverage(ENCODER, active=True, images=9, vectors=8, reports=7, report_vectors=6, roles=ROLES)


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_status_has_each_count_in_its_row() -> None:
    status = ArchiveStatus(
        *(Path("archive"), "ours", "uuid", 3, 11, 12, 13, ENCODER, {"abcdef0123456789": 10}, 14),
        *(None, 20, 17, {"cervix": 8, "": 4}, {"HSIL": 12}, "archive.sqlite", ("A note.",)),
    )
    text = status_text(status)
    rows = dict(line.strip().split(None, 1) for line in text.split("\n\n")[0].splitlines())
    assert rows["patients"] == "11"
    assert rows["cases"] == "12"
    assert rows["images"] == "13"
    assert rows["encoder"] == "tiny (32-d, abcdef012345)"
    assert rows["embeddings"] == "10 of abcdef012345"
    assert rows["index"] == "14 vectors, 3 changes behind"
    assert rows["schema"] == "version 3"
    assert rows["sites"] == "cervix 8, not given 4"
    assert rows["categories"] == "HSIL 12"
    assert "read from reports: none" in text
    assert text.endswith(f"Note: A note.\n\n{RESEARCH_USE}")
    labels = {"site": (Facet("cervix", 12, ("cervix", "Cx")),), "category": (Facet("HSIL", 12, ("H-SIL",)),)}
    derived = dataclasses.replace(status, derived={"site": 3, "system": 2, "category": 2})
    text = words(status_text(derived, labels))
    assert "cervix 12 (also Cx)" in text
    assert "HSIL 12 (also H-SIL) read from reports: site of 3 cases, category of 2 (`coin reports" in text
    current = dataclasses.replace(status, index_sequence=20, encoder=None)
    assert "14 vectors, up to date" in status_text(current)
    assert "encoder     none yet" in status_text(current)


def finding(**more: object) -> Finding:
    return Finding("files", "altered", 5, "Restore it.", ("a.png", "b.png"), **more)  # type: ignore[arg-type]


def test_an_examination_lists_what_is_wrong_first() -> None:
    harmless, repaired = finding(harmless=True), finding(repaired=True)
    found = Examination(
        Path("archive"), "ours", "uuid", 3, 11, 12, 13, (COVERAGE,), 14, True, 15, 16, (repaired, harmless, finding())
    )
    text = examination_text(found)
    rows = dict(line.strip().split(None, 1) for line in text.split("\n\n")[0].splitlines())
    assert (rows["patients"], rows["cases"], rows["images"]) == ("11", "12", "13")
    assert rows["files"] == "14, checksums compared"
    assert rows["log"] == "16 changes"
    assert rows["self-recall"] == "searched with 15 stored vectors"
    assert [text.index(mark) for mark in ("WRONG (files)", "harmless (files)", "repaired (files)")] == sorted(
        text.index(mark) for mark in ("WRONG (files)", "harmless (files)", "repaired (files)")
    )
    assert "WRONG (files): altered: 5\n  a.png\n  b.png\n  and 3 more\n  Restore it." in text
    assert text.count("Restore it.") == 2, "what was repaired needs no advice"
    assert "Nothing is" not in text
    assert "Nothing is left to do." in examination_text(dataclasses.replace(found, findings=(harmless, repaired)))
    complete = dataclasses.replace(finding(), count=2)
    assert "more" not in examination_text(dataclasses.replace(found, findings=(complete,)))
    sound = examination_text(dataclasses.replace(found, findings=(), checksums=False))
    assert "Nothing is wrong." in sound
    assert "14, only looked for, no checksum compared" in sound


def test_coverage_counts_images_and_reports_apart() -> None:
    assert coverage_text(COVERAGE) == ("abcdef012345  tiny (32-d): 8 of 9 images, 6 of 7 reports; used by searches")
    assert encoders_text([dataclasses.replace(COVERAGE, active=False, roles=())], 5) == (
        "deleted the vectors of 5 images\n  abcdef012345  tiny (32-d): 8 of 9 images, 6 of 7 reports"
    )
    one = coverage_text(dataclasses.replace(COVERAGE, active=False, roles=("text",)))
    assert one.endswith("6 of 7 reports; used by searches by text")
    assert encoders_text([], None) == "No encoder yet: add a manifest first."
    without = encoders_text([dataclasses.replace(COVERAGE, report_vectors=0)], None)
    assert "No report has a vector of tiny. Where it reads images only, no encoder compares texts" in words(without)
    assert "No report" not in encoders_text([dataclasses.replace(COVERAGE, roles=("image",), report_vectors=0)], None)


def test_reembedding_says_whether_searches_were_switched() -> None:
    done = ReembedSummary("tiny", "abcdef0123456789", 8, 6, 0, (), True, 2.5)
    assert reembed_text(done, None) == (
        "embedded 8 images and 6 reports with tiny (abcdef012345); 2.5 s\nsearches use it now"
    )
    left = dataclasses.replace(done, switched=False, waiting=3, skipped=(Problem("a.png", "is gone", "Copy it."),))
    lines = reembed_text(left, 4).splitlines()
    assert lines[1:] == [
        "searches still use the previous encoder; 3 images lack a vector of the new one",
        "deleted the vectors of 4 images by the previous encoder",
        "  skipped a.png: is gone. Copy it.",
    ]


SET = SetSummary(
    folder=Path("set"),
    images=40,
    drawn=16,
    reports=10,
    distinct_reports=9,
    classes={"a": 30, "b": 10},
    exact_duplicates=2,
    near_duplicates=3,
    set_aside=0,
    seconds=8.0,
    skipped=(),
)


def test_a_set_counts_images_reports_classes_and_duplicates() -> None:
    text = words(set_text(SET))
    assert "40 images from 10 reports (9 different) in set: 2 classes." in text
    assert "Generated now: 16 in 8 s (2.00 images/s); those before it were kept." in text
    assert "Duplicates: 2 of the same pixels, dropped; 3 that look alike, kept and marked" in text
    assert "dropped/" not in text
    assert "7 images that the table no longer contains are in dropped/." in words(
        set_text(dataclasses.replace(SET, set_aside=7))
    )
    assert "Generated now: 0 in 8 s; those before" in words(set_text(dataclasses.replace(SET, drawn=0)))


@pytest.mark.parametrize(("count", "more"), [(SHOWN, None), (SHOWN + 1, "and 1 more")])
def test_skipped_rows_are_counted_and_the_list_is_cut(count: int, more: str | None) -> None:
    problems = [Problem(f"line {number}", "has no report", "Give one.") for number in range(count)]
    text = share_text(Share(2, 5), 4, 3.0, problems)
    assert "Share 2 of 5: 4 images generated in 3 s." in words(text)
    assert f"Skipped: {count} rows." in text
    assert text.count("has no report") == SHOWN
    assert ("and " in text.partition("Skipped")[2]) == (more is not None)
    if more:
        assert f"  {more}\n" in text


def pair(number: int, bits: int, part: Overlap | None = None) -> CopyPair:
    return CopyPair(f"{number}.png", Path("x"), f"r{number}.png", Path("y"), 0.9 - number / 100, bits, part)


COPIES = CopyReport(
    folder=Path("set"),
    images=50,
    unreadable=0,
    plain=0,
    plain_references=0,
    source="m.csv",
    references=80,
    patients=60,
    patients_named=True,
    skipped={},
    encoder="tiny",
    fingerprint="abcdef0123456789",
    threshold_bits=20,
    threshold_correlation=0.65,
    near_copies=(pair(1, 3, Overlap(30, 0.97, 0.5, True)),),
    extreme=0.88,
    alarms=(pair(0, 95),),
    nearest=tuple(pair(number, 90 + number) for number in range(2, 14)),
    generated=Nearness(50, 0.7, {"0.05": 0.51, "0.5": 0.71, "0.95": 0.91}),
    baseline=Nearness(79, 0.6, {"0.05": 0.41, "0.5": 0.61, "0.95": 0.81}),
    baseline_near_copies=4,
    nearer_than_baseline_95=0.124,
    nearer_than_baseline=0.55,
)


def test_a_copy_report_has_each_count_where_it_belongs() -> None:
    text = copy_text(COPIES)
    flat = words(text)
    assert "50 images in set compared with 80 images of 60 patients (m.csv); encoder tiny (abcdef012345)." in flat
    assert "1 of 50 generated images (2.00%) copy a reference or a part of one: at most 20 of 256 bits" in flat
    assert "1 others are alarmingly alike to one: more than 0.880, which at most one in 500 references reaches" in flat
    assert "Of the references themselves, 4 of 80 (5.00%) have a hash as near" in flat
    copied = "similarity 0.890, 3 bits, 50% of the picture, mirrored, correlation 0.97"
    assert f"Copies:\n  1.png  ~  r1.png  ({copied})\n" in text
    assert "look at these:\n  0.png  ~  r0.png  (similarity 0.900, 95 bits)\n" in text
    assert "Looked for: - whole pictures and the squares that a training cuts out of them" in flat
    assert "This is of the set as a whole: a few copies among many images do not show in it." in flat
    nearest = text.partition("Nearest of the others:\n")[2].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in nearest] == [f"{number}.png" for number in range(2, 12)]
    head = f"{'':46}     n     5%    50%    95%"
    assert f"{head}\n{'generated, to the nearest reference':46}    50  0.510  0.710  0.910\n" in text
    assert f"{'reference, to the nearest of another patient':46}    79  0.410  0.610  0.810\n" in text
    assert "in 55% of comparisons (50 % if there were no difference); 12.4% of them are nearer than 95 %" in flat
    assert "Note:" not in text
    assert text.endswith(RESEARCH_USE)


def test_a_copy_report_without_baseline_says_so() -> None:
    alone = dataclasses.replace(
        COPIES,
        baseline=None,
        nearer_than_baseline=None,
        nearer_than_baseline_95=None,
        near_copies=(),
        alarms=(),
        extreme=None,
        unreadable=5,
        skipped={"Has no report.": 6},
    )
    flat = words(copy_text(alone))
    assert "0 of 50 generated images (0.00%)" in flat
    assert "correlate by 0.65 or more. Looked for" in flat
    assert "Extreme similarity raises no alarm here: it takes 500 references" in flat
    assert "All references are of one patient: there is no baseline" in flat
    assert "Note: 5 images cannot be read, and were not compared." in flat
    assert "Note: 6 references were not compared: Has no report." in flat
    assert "Copies:" not in flat
    assert "look at these" not in flat
    assert "7 images and 0 references show too little detail" in words(copy_text(dataclasses.replace(alone, plain=7)))
    assert "not compared" not in words(copy_text(dataclasses.replace(alone, skipped={}, unreadable=0)))
    unnamed = words(copy_text(dataclasses.replace(COPIES, patients_named=False)))
    assert "Note: Not every reference names its patient" in unnamed
    assert "names its patient" not in words(copy_text(dataclasses.replace(alone, patients_named=False)))


def test_a_copy_record_holds_no_path() -> None:
    record = copy_record(dataclasses.replace(COPIES, folder=Path("/home/somebody/set")))
    assert record["folder"] == "set"
    assert all("image_path" not in each and "reference_path" not in each for each in record["nearest"])
    assert [each["image"] for each in record["alarms"]] == ["0.png"]
    assert "image_path" not in record["alarms"][0]
    assert list(record["near_copies"]) == [
        {
            "image": "1.png",
            "reference": "r1.png",
            "similarity": pytest.approx(0.89),
            "hash_distance": 3,
            "part": {"pairs": 30, "correlation": 0.97, "share": 0.5, "mirrored": True},
        }
    ]
    assert record["clean"] is False


def test_without_names_nothing_is_said_of_patients() -> None:
    """But that they are not named, and that nothing is known of them therefore."""
    flat = words(copy_text(dataclasses.replace(COPIES, patients_named=False)))
    assert "80 images whose patients are not all named (m.csv)" in flat
    assert "60 patients" not in flat
    assert "reaches with another image." in flat and "as near to that of another image." in flat
    assert "Not every reference names its patient, so that nothing is said of patients" in flat
    assert "another patient" not in flat and "of another patient" not in flat


def test_nothing_found_is_clean_only_where_it_could_have_been_found() -> None:
    """A sentence that reassures needs references enough, and pictures with detail."""
    none = dataclasses.replace(COPIES, near_copies=(), alarms=())
    assert none.clean
    for blind in (
        {"plain": 1},
        {"plain_references": 1},
        {"unreadable": 1},
        {"skipped": 1},
        {"extreme": None},
        {"patients_named": False},
    ):
        assert not dataclasses.replace(none, **blind).clean
    assert not dataclasses.replace(none, alarms=COPIES.alarms).clean
    assert not dataclasses.replace(none, near_copies=COPIES.near_copies).clean


def test_a_trained_lora_says_what_it_was_trained_on_and_how_to_use_it() -> None:
    training = LoraTraining(
        weights=Path("out/lora.safetensors"),
        work=Path("kept"),
        base="starter",
        base_fingerprint="b",
        data_fingerprint="d",
        size=64,
        prediction="epsilon",
        device="cpu",
        dtype="float32",
        processes=1,
        steps=120,
        seconds_a_step=0.25,
        trained=PairCounts(31, 21, True, 11, {}),
        held_out=PairCounts(9, 7, True, 5, {}),
        measured=9,
        skipped={"no report": 3},
        settings=LoraSettings(),
        validation=((0, 0.5), (60, 0.4), (120, 0.45)),
        change=Change(0.5, 0.45, -0.05, -0.1, -0.01, 7),
        notes=("A step takes 64 images, and there are 31 to learn from.",),
    )
    text = lora_text(training, {"no image": 2}, None)
    flat = words(text)
    assert "Trained on 31 images of 21 patients with 11 different reports; held out: 9 images of 7 patients." in flat
    assert "Left out: 2 × no image\nLeft out: 3 × no report" in text
    assert "The lowest was 0.4000, at step 60." in flat
    assert "Note: A step takes 64 images" in flat
    assert "120 steps, 0.25 s each on cpu in float32." in flat
    assert "  coin generate --lora out --text REPORT\n" in text
    assert "coin generate --base mine --lora out" in lora_text(training, {}, "mine")
    nameless = dataclasses.replace(training, trained=PairCounts(31, 21, False, 11, {}))
    flat = words(lora_text(nameless, {}, None))
    assert "Trained on 31 images with 11 different reports; held out: 9 images. Patients are not named" in flat
    assert "21" not in flat and "7 patients." not in flat


def test_generated_images_are_labelled_and_counted() -> None:
    made = Provenance(
        *("0" * 64, "Clue cells.", 7, "draft", 20, 4.0, "ddim", 64, 64, "m", "f", "l", "g", "s", "c"),
        negative_prompt="blur",
    )
    image = GeneratedImage(PIL.Image.new("RGB", (4, 4)), made, Path("seed-7.png"), False)
    prompt = Prompt("report", "Clue cells.", 5, 77, dropped=("a part", "another"))
    text = generation_text(Generation("report", prompt, (image,), 1.25))
    assert text.splitlines() == [
        "SYNTHETIC: 1 generated images in 1.2 s",
        "prompt (5 of 77 tokens): Clue cells.",
        "left out of the prompt: a part | another",
        "negative prompt: blur",
        "  seed 7, draft, 20 steps, guidance 4.0  seed-7.png",
    ]
    chunked = dataclasses.replace(prompt, dropped=(), chunks=("Clue", "cells."))
    text = generation_text(Generation("report", chunked, (), 1.25))
    assert "prompt (5 of 77 tokens, in 2 chunks): Clue cells.\n" in text
    assert "the report was read in 2 chunks; nothing was left out of the prompt" in text
    assert "negative" not in text


def test_a_trained_encoder_is_compared_figure_by_figure() -> None:
    def figure(asked: str, metric: str, mean: float, chance: float | None) -> Compared:
        before, after = Estimate(mean, mean - 0.1, mean + 0.1), Estimate(mean + 0.2, mean + 0.1, mean + 0.3)
        return Compared(asked, metric, 9, 5, before, after, Estimate(0.2, 0.1, 0.3), chance)

    tuning = EncoderTuning(
        folder=Path("out"),
        work=Path("kept"),
        encoder="tiny",
        before_fingerprint="b",
        after_fingerprint="a",
        data_fingerprint="d",
        device="cpu",
        steps=80,
        seconds_a_step=0.5,
        trained_share=0.0625,
        trained=PairCounts(31, 21, True, 11, {}),
        held_out=PairCounts(9, 7, True, 5, {}),
        skipped={},
        settings=EncoderSettings(),
        validation=((0, 1.0),),
        comparison=Comparison(
            (figure("image finds its category", "P@10", 0.4, 0.125), figure("x", "MRR", 0.3, None)), ()
        ),
        notes=("A step takes 64 images, and there are 31 to learn from.",),
    )
    text = encoder_text(tuning, {"no image": 2})
    assert "80 steps, 0.50 s each on cpu; 6.2 % of the weights were trained." in text
    assert "Left out: 2 × no image" in text
    assert "  coin reembed --archive ARCHIVE --encoder out\n" in text
    head, first, second = text[text.index("\n\n" + " " * 31 + "before") :].strip("\n").split("\n\n")[0].splitlines()
    cells = ("0.400 [0.300, 0.500]", "0.600 [0.500, 0.700]", "0.200 [0.100, 0.300]", "0.125")
    for name, cell in zip(("before", "after", "difference", "chance"), cells, strict=True):
        assert first[head.index(name) :].startswith(cell), name
    assert first.startswith("image finds its category P@10  0.400")
    assert second == "x                        MRR   0.300 [0.200, 0.400]   0.500 [0.400, 0.600]   0.200 [0.100, 0.300]"


@pytest.mark.parametrize("filtered", [True, False])
def test_a_calibration_names_the_rule_of_each_query_type(filtered: bool) -> None:
    rules = tuple(
        NoveltyCheck(kind, True, 0, threshold, 0, 0.05, 0.01, 0.125, 40, filtered)
        for kind, threshold in (("image", 0.8125), ("case", 0.75), ("generated", 0.5))
    )
    made = ArchiveCalibration(SiteRates(30, 2, 60, 51), rules)
    text = calibration_text(made, "20 images")
    assert text.splitlines()[0].endswith(
        "by the archive's own cases" + (" that the filter lets through" if filtered else "")
    )
    interval = "false alarms 5.0% [1.0%, 12.5%] of 40 cases"
    assert f"  an image          comparable from 0.812 on; {interval}\n" in text
    assert f"  a case            comparable from 0.750 on; {interval}\n" in text
    assert f"  generated images  comparable from 0.500 on; {interval}\n" in text
    assert "Generated: 20 images." in text
    assert words(made.sites.words) in words(text)
