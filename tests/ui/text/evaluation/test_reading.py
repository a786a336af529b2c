"""A reader study in words: every number beside its own label. All counts differ, so that none can stand for another."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import cast

import pytest

from retrieval import Agreement, Estimate, Guesses, Origin, ReaderCount, ReaderStudy, ReaderStudyResults, Scores
from retrieval.reader_study.study import Truth
from ui.text.evaluation import reading

SCORES = Scores(
    axis="anatomic",
    real=Estimate(4.1, 3.9, 4.3),
    generated=Estimate(3.2, 3.0, 3.5),
    difference=Estimate(-0.9, -1.2, -0.6),
    images_real=31,
    images_generated=29,
    ratings=117,
    missing=3,
)
GUESSES = Guesses(
    reader="P1",
    guessed=58,
    missing=2,
    right=41,
    accuracy=Estimate(0.71, 0.57, 0.82),
    chance=0.5,
    generated=28,
    generated_right=19,
    real=30,
    real_right=22,
)
OTHER = dataclasses.replace(
    GUESSES, reader="P2", guessed=40, right=17, missing=20, accuracy=Estimate(0.425, 0.3, 0.6), chance=0.7
)
AGREEMENT = Agreement(
    question="guess",
    statistic="Cohen's kappa",
    readers=("P1", "P2"),
    images=37,
    observed=0.83,
    kappa=Estimate(0.61, 0.4, 0.8),
    undefined="",
)
RESULTS = ReaderStudyResults(
    reading="pilot",
    archive="ours",
    real=32,
    phantoms=0,
    generated=33,
    by_category=21,
    by_site=9,
    shows_labels=True,
    side=256,
    compression="JPEG quality 95",
    readers=(
        ReaderCount("P1", True, "2026-05-04T10:00", 60, 58, 65),
        ReaderCount("Dr. B", False, "2026-05-05", 1, 1, 65),
    ),
    still_reading=(ReaderCount("P3", True, "", 12, 11, 65),),
    scores=(SCORES,),
    guesses=(GUESSES, OTHER),
    accuracy=Estimate(0.59, 0.5, 0.68),
    agreement=(AGREEMENT,),
    confidence=0.95,
)


def test_scores_stand_in_their_columns() -> None:
    assert reading.score_rows(RESULTS) == [
        {
            "1 to 5": "anatomic authenticity",
            "real": "4.10 [3.90, 4.30]",
            "generated": "3.20 [3.00, 3.50]",
            "generated − real": "-0.90 [-1.20, -0.60]",
            "images": "31 + 29",
            "ratings": "117",
            "missing": "3",
        }
    ]
    few = dataclasses.replace(SCORES, axis="diagnostic", real=None, difference=Estimate(0.5, 0.25, 0.75))
    (row,) = reading.score_rows(dataclasses.replace(RESULTS, scores=(few,)))
    assert (row["1 to 5"], row["real"], row["generated − real"]) == (
        "diagnostic authenticity",
        "too few",
        "+0.50 [+0.25, +0.75]",
    )


def test_guesses_stand_in_their_columns_and_are_summed_over_readers() -> None:
    first, second, total = reading.guess_rows(RESULTS)
    assert first == {
        "reader": "P1",
        "right": "41 of 58",
        "accuracy": "0.71 [0.57, 0.82]",
        "chance": "0.50",
        "chance within": "no",
        "generated seen": "19 of 28",
        "real seen": "22 of 30",
        "missing": "2",
    }
    assert (second["chance"], second["chance within"], second["missing"]) == ("0.70", "no", "20")
    assert {name: value for name, value in total.items() if value} == {
        "reader": "all",
        "right": "58 of 98",
        "accuracy": "0.59 [0.50, 0.68]",
        "missing": "22",
    }
    assert list(total) == list(first)
    assert len(reading.guess_rows(dataclasses.replace(RESULTS, accuracy=None))) == 2


@pytest.mark.parametrize(
    ("chance", "within"), [(0.57, "yes"), (0.82, "yes"), (0.569, "no"), (0.821, "no"), (None, "–")]
)
def test_chance_is_within_the_interval_with_its_ends(chance: float | None, within: str) -> None:
    guesses = dataclasses.replace(GUESSES, chance=chance)
    (row,) = reading.guess_rows(dataclasses.replace(RESULTS, guesses=(guesses,), accuracy=None))
    assert row["chance within"] == within
    assert (row["chance"] == "–") == (chance is None)


def test_nobody_who_guessed_has_no_accuracy() -> None:
    guesses = dataclasses.replace(GUESSES, accuracy=None)
    (row,) = reading.guess_rows(dataclasses.replace(RESULTS, guesses=(guesses,), accuracy=None))
    assert (row["accuracy"], row["chance within"], row["chance"]) == ("too few", "–", "0.50")


def test_agreement_names_its_readers_and_why_it_is_undefined() -> None:
    (row,) = reading.agreement_rows(RESULTS)
    assert row == {
        "of": "the guess",
        "readers": "P1 and P2",
        "statistic": "Cohen's kappa",
        "value": "0.61 [0.40, 0.80]",
        "the same answer": "83 %",
        "images": "37",
    }
    three = dataclasses.replace(RESULTS, readers=(*RESULTS.readers, RESULTS.readers[0]))
    of_all = dataclasses.replace(AGREEMENT, readers=("P1", "P2", "P3"), kappa=Estimate(0.61, -math.inf, math.inf))
    (row,) = reading.agreement_rows(dataclasses.replace(three, agreement=(of_all,)))
    assert (row["readers"], row["value"]) == ("all", "0.61 [no interval]")
    undefined = dataclasses.replace(AGREEMENT, kappa=None, undefined="every answer is the same", observed=None)
    (row,) = reading.agreement_rows(dataclasses.replace(three, agreement=(undefined,)))
    assert (row["readers"], row["value"], row["the same answer"]) == (
        "P1 and P2",
        "undefined: every answer is the same",
        "–",
    )


def test_the_introduction_counts_images_pairs_and_readers() -> None:
    assert reading.introduction(RESULTS) == [
        "Study 'pilot', archive 'ours': 32 real, and 33 generated images; 21 pairs share site and category, 9 more the "
        "site. Pictures of 256 × 256 pixels, JPEG quality 95.",
        "Readers counted, all of them closed: P1 (a pseudonym), Dr. B (a name).",
        "Still reading, and not counted: P3 (a pseudonym) (12).",
        "Intervals are of 95 %. Images of one patient, or generated from one report, are one piece of evidence; means "
        "of fewer than 6 have no interval. An answer that was not given is left out, and counted as missing.",
    ]


@pytest.mark.parametrize(
    ("real", "phantoms", "counts", "word", "note"),
    [
        (32, 0, "32 real", "real", ""),
        (0, 32, "32 phantoms instead of real ones", "phantom", "All images in the role of real ones"),
        (20, 12, "20 real and 12 phantoms instead of real ones", "real, phantom", "Some of the images"),
    ],
)
def test_phantoms_are_never_called_real(real: int, phantoms: int, counts: str, word: str, note: str) -> None:
    results = dataclasses.replace(RESULTS, real=real, phantoms=phantoms, still_reading=())
    lines = reading.introduction(results)
    assert f"archive 'ours': {counts}, and 33 generated images" in lines[0]
    assert reading.real_word(results) == word
    assert (len(lines) == 4) == bool(note)
    assert lines[1].startswith(note or "Readers counted")
    assert f"{word} seen" in reading.guess_rows(results)[0]


@pytest.mark.parametrize(
    ("real", "generated", "pairs", "reveals"),
    [(4, 4, 4, False), (4, 4, 3, True), (5, 4, 4, True), (4, 5, 4, True)],
)
def test_the_owner_reads_whether_every_picture_has_a_counterpart(
    real: int, generated: int, pairs: int, reveals: bool
) -> None:
    origins = {
        f"{number}.png": Origin(generated=number < generated, phantom=False, source_sha256="")
        for number in range(real + generated)
    }
    truth = Truth(origins, by_category=pairs, by_site=0, left_out={"too small": 2}, archive="ours")
    study = SimpleNamespace(
        name="pilot",
        folder="readings/pilot",
        pictures=tuple(origins),
        truth=lambda: truth,
        shows_labels=False,
        side=256,
        compression="PNG",
        phantoms="none",
    )
    text = " ".join(reading.study_text(cast(ReaderStudy, study)).split())
    assert ("Not every picture has a counterpart" in text) == reveals
    assert f"{real + generated} pictures: {real} real and {generated} generated. {pairs} pairs share" in text
    assert "Left out: 2 too small." in text


def test_progress_tells_who_has_closed() -> None:
    assert reading.progress_text("pilot", (*RESULTS.readers, *RESULTS.still_reading)) == (
        "pilot\n"
        "  P1 (a pseudonym)  60 of 65 rated, closed 2026-05-04\n"
        "  Dr. B (a name)  1 of 65 rated, closed 2026-05-05\n"
        "  P3 (a pseudonym)  12 of 65 rated, still reading"
    )
    assert reading.progress_text("pilot", ()) == "pilot\n  nobody has begun"


def test_the_printed_tables_hold_the_rows_in_order() -> None:
    text = reading.results_text(RESULTS)
    parts = ["Authenticity\n", "Real or generated?\n", "Agreement\n", "What this does not show:\n"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("  1 to 5"))
    row = lines[lines.index(head) + 1]
    for name, cell in (("images", "31 + 29"), ("ratings", "117"), ("missing", "3")):
        assert row[head.index(name) :].startswith(cell), name
    assert "Agreement" not in reading.results_text(dataclasses.replace(RESULTS, agreement=()))
