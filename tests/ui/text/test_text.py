"""What is printed: readable, complete, and harmless to a terminal."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

from index_store import ArchiveStatus, Case, Image, IndexStatus, Problem, SlidePlace
from retrieval import RESEARCH_USE, AddSummary, Query, RankedCase, SearchResult, Timing
from retrieval.search.fusion import FusionRule
from retrieval.search.results import ChannelAnswer, ChannelRank, Overlap
from ui.text.archive import add_text, status_text
from ui.text.case import case_text, natural_size_text
from ui.text.layout import WIDTH, clean, wrapped
from ui.text.search import search_text

REPORT_RULE = FusionRule("rrf")
REPORT = "The smear shows clusters of atypical cells with enlarged nuclei. " * 4


def case_of(report: str = REPORT, *, phantom: bool = False, key: str = "case-1") -> Case:
    image = Image(1, key, Path("a.png"), "0" * 64, 128, 128, stain="Papanicolaou", kind="field")
    return Case(1, key, "patient-1", report, "cervix", "Bethesda", "HSIL", phantom=phantom, images=(image,))


def result_of(*cases: Case, notes: tuple[str, ...] = ()) -> SearchResult:
    places = (ChannelRank("image", 3, 0.912, 0.5), ChannelRank("report", None, None, 0.0))
    ranked = tuple(
        RankedCase(n, 0.9 / 61, 0.912, case, case.images[0], n - 1, places, "image")
        for n, case in enumerate(cases, start=1)
    )
    return SearchResult(
        query=Query(case="asked", text="Clue cells.", region=None, more=("liked",)),
        cases=ranked,
        channels=(
            ChannelAnswer("image", 0.75, ("a", "b"), (0.9, 0.8)),
            ChannelAnswer("report", 0.25, ("c", "d"), (2, 1)),
        ),
        overlaps=(Overlap(("image", "report"), 0, 2),),
        rule=FusionRule("rrf"),
        generated=None,
        timing=Timing(0, 0.5, 0.25),
        encoder="tiny",
        fingerprint="f" * 64,
        notes=notes,
    )


def test_the_natural_size_of_a_picture_tells_crops_and_fields_apart() -> None:
    image = case_of().images[0]
    assert natural_size_text(image) == "field, 128 × 128 pixels"
    crop = replace(image, kind="crop", width=1600, height=96, mpp=0.25)
    assert natural_size_text(crop) == "crop, 1,600 × 96 pixels, 400 × 24 µm"
    assert natural_size_text(replace(image, kind="")) == "128 × 128 pixels"
    on_slide = replace(image, kind="", place=SlidePlace("f" * 64, 0, 0, 128, 128, 0))
    assert natural_size_text(on_slide) == "field of a slide, 128 × 128 pixels"


def test_a_result_shows_each_case_with_its_report_and_ends_with_the_notice() -> None:
    text = search_text(
        result_of(case_of(), case_of(phantom=True, key="case-2"), notes=("Only 2 of the 10.",)), REPORT_RULE
    )
    assert text.startswith("Cases nearest to the report and the case asked; more like liked\n  Clue cells.\n")
    assert " 1  90.0 points  case-1\n    cervix · HSIL · Papanicolaou\n    image #3 · reports –  (only image)\n" in text
    assert "in all of them (image 75%, reports 25%); place 62 gets half as many." in " ".join(text.split())
    assert "\nimage and reports disagree: they share 0 of" in text
    assert "points  case-2  [PHANTOM]  (+1 more image of this patient)" in text
    assert " ".join(text.split()).count(REPORT.strip()) == 2
    assert "Note: Only 2 of the 10." in text
    assert "0.75 s: generate 0.00, embed 0.50, search 0.250" in text
    assert text.endswith(RESEARCH_USE)
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_a_query_that_is_not_understood_says_so_above_the_cases() -> None:
    result = replace(result_of(case_of()), not_understood="it names no finding")
    text = " ".join(search_text(result, REPORT_RULE).split())
    assert "The query is not understood: it names no finding." in text
    assert text.index("not understood") < text.index("case-1")
    assert "not understood" not in search_text(result_of(case_of()), REPORT_RULE)


def test_an_empty_result_says_so() -> None:
    assert "No case found." in search_text(result_of(), REPORT_RULE)


def test_a_case_is_shown_whole() -> None:
    text = case_text(case_of(phantom=True))
    for part in ("case-1", "PHANTOM", "patient-1", "cervix", "HSIL", "a.png", "128×128", "Papanicolaou", RESEARCH_USE):
        assert part in text
    assert REPORT.strip() in " ".join(text.split())


def test_what_was_read_from_the_report_is_reported() -> None:
    text = case_text(dataclasses.replace(case_of(), derived=("site", "category")))
    assert "site      cervix (extracted from the report)" in text
    assert "category  HSIL (extracted from the report)" in text
    assert "system    Bethesda\n" in text
    assert "extracted from the report" not in case_text(case_of())


def test_control_characters_never_reach_the_terminal() -> None:
    hostile = "a\x1b[31mred\x1b]0;title\x07\r\nb\u202etxt.exe\tc\x9b31m"
    assert clean(hostile) == "a[31mred]0;title\nbtxt.exe c31m"
    assert "\x1b" not in search_text(result_of(case_of(hostile, key="k\x1b[2J")), REPORT_RULE)
    assert "\x1b" not in case_text(case_of(hostile))


def test_wrapping_keeps_a_report_s_own_lines() -> None:
    assert wrapped("one\n\ntwo", indent="  ") == "  one\n\n  two"


def test_an_indented_line_is_no_wider_than_the_page() -> None:
    text = wrapped("x " * WIDTH, indent=" " * 9)
    assert max(len(line) for line in text.splitlines()) in (WIDTH, WIDTH - 1)
    assert max(len(line) for line in wrapped("x" * WIDTH + " y").splitlines()) == WIDTH


def test_what_is_copied_stays_whole() -> None:
    path = "/home/somebody/" + "a-long-folder-name/" * 8 + "archive.schema-3"
    for words in (path, "--text-encoder", "https://example.org/a-b-c"):
        assert words in wrapped(f"{'word ' * 18}{words} more words").splitlines()[1]


def test_a_summary_names_every_skipped_row_and_why() -> None:
    problems = (
        Problem("manifest.csv, line 2", "a.png is not there", "Check the path."),
        Problem("manifest.csv, line 9", "b.png is damaged", "Copy it again."),
    )
    summary = AddSummary(added=3, updated=1, unchanged=5, skipped=problems, seconds=2.0)
    text = add_text(summary)
    assert "added 3 images, updated 1, unchanged 5, skipped 2; 2.0 s, 1.5 images/s" in text
    assert "skipped manifest.csv, line 2: a.png is not there. Check the path." in text
    assert "skipped manifest.csv, line 9: b.png is damaged. Copy it again." in text


def test_a_summary_says_what_was_read_and_embedded_where_anything_was() -> None:
    summary = AddSummary(added=0, updated=2, unchanged=0, skipped=(), seconds=1.0)
    assert add_text(summary) == "added 0 images, updated 2, unchanged 0, skipped 0"
    text = add_text(dataclasses.replace(summary, reports=7, derived=2, notes=("No tokenizer\x1b here.",)))
    assert text == (
        "added 0 images, updated 2, unchanged 0, skipped 0; site or category of 2 cases extracted from their reports; "
        "7 reports embedded\nNote: No tokenizer here."
    )


def test_status_says_how_exact_the_index_is() -> None:
    def told(index: IndexStatus | None) -> str:
        return status_text(
            ArchiveStatus(
                *(Path("archive"), "ours", "uuid", 3, 1, 1, 1, None, {}, 1),
                *(index, 1, 1, {}, {}, "archive.sqlite", ()),
            )
        )

    assert "half precision: exact, 10.4 MB of memory" in told(IndexStatus("half precision", {}, 0, 10_420_000))
    lists = told(IndexStatus("inverted lists", {"images": 0.9947, "reports": 0.9921}, 990_000, 90_000_000))
    assert "exact under filters" in lists
    assert "recall@10 0.995 (images), 0.992 (reports), measured at 990000 vectors" in " ".join(lists.split())
    assert "precision" not in told(None)
