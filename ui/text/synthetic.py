"""What `coin generate --manifest` and `coin copy-check` print."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ui.text.layout import clean, page, wrapped
from ui.text.tables import table

if TYPE_CHECKING:
    from index_store import Problem
    from retrieval import CopyPair, CopyReport, SetSummary, Share

SHOWN: Final = 10
"""Of rows that were skipped, and of pairs."""
NOT_SHOWN: Final = (
    "What is not flagged is not proven to be new, and nothing here says that an image is private.",
    "The hash finds a whole picture again: after JPEG, resizing, mirroring, a quarter turn, a change of brightness or "
    "stain, a central crop of 5 % (at least 99.7 % of altered copies of 300 real images), but after a crop of 5 % from "
    "one corner only 23 %. A part of a picture, a single cell, or its manner are not found.",
    "Similarity is the encoder's: what it does not see, it cannot find alike.",
    "An image drawn of a reference's report lies near it by what it shows: the baseline tells that from copying only "
    "where several patients of each kind are among the references.",
)


def set_text(summary: SetSummary) -> str:
    """A set that is complete."""
    rate = f" ({summary.images_per_second:.2f} images/s)" if summary.drawn else ""
    lines = [
        f"{summary.images} images of {summary.reports} reports ({summary.distinct_reports} different) in "
        f"{summary.folder}: {len(summary.classes)} classes.",
        f"Drawn now: {summary.drawn} in {summary.seconds:.0f} s{rate}; the others were there.",
        f"Duplicates: {summary.exact_duplicates} of the same pixels, dropped; {summary.near_duplicates} that look "
        "alike, kept and marked in the column near_duplicate_of.",
    ]
    if summary.set_aside:
        lines.append(f"{summary.set_aside} images that the table no longer asks for lie in dropped/.")
    return page([*(wrapped(line) for line in lines), _skipped(summary.skipped)])


def share_text(share: Share, drawn: int, seconds: float, problems: Sequence[Problem]) -> str:
    """One share of a set."""
    done = (
        f"Share {share.number} of {share.of}: {drawn} images drawn in {seconds:.0f} s. When all shares are done, run "
        "the same command once without --shard: it ends the set."
    )
    return page([wrapped(done), _skipped(problems)])


def copy_text(report: CopyReport) -> str:
    """Near copies, the nearest pairs, and how near the set lies to the references."""
    parts = [
        wrapped(
            f"{report.images} images in {report.folder} compared with {report.references} images of {report.patients} "
            f"patients ({report.source}); encoder {report.encoder} ({report.fingerprint[:12]})."
        ),
        wrapped(_counted(report)),
    ]
    if report.near_copies:
        parts.append("\n".join(["Near copies:", *_pairs(report.near_copies)]))
    parts.append("\n".join(["Nearest of the others:", *_pairs(report.nearest[:SHOWN])]))
    parts.append(_distribution(report))
    notes = []
    if not report.patients_named and report.baseline is not None:
        notes.append(
            "Not every reference names its patient: cases or images stood for patients, so that the baseline may "
            "compare images of one patient, and lies too high."
        )
    if report.unreadable or report.skipped:
        notes.append(
            f"Not compared, because they cannot be read: {report.unreadable} images, {report.skipped} references."
        )
    parts += [wrapped(f"Note: {note}") for note in notes]
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in NOT_SHOWN)]))
    return page(parts)


def copy_record(report: CopyReport) -> dict[str, Any]:
    """The report for programs: files by their names alone, since it may be shared beside the images."""
    record = dataclasses.asdict(report)
    record["folder"] = report.folder.name
    for pair in (*record["near_copies"], *record["nearest"]):
        del pair["image_path"], pair["reference_path"]
    return record


def _counted(report: CopyReport) -> str:
    copies = len(report.near_copies)
    said = f"{copies} of {report.images} generated images ({copies / report.images:.2%}) are near copies of a reference"
    among = f"at most {report.threshold_bits} of 256 bits of a perceptual hash apart, in any of 8 orientations"
    if report.baseline is None:
        return f"{said}: {among}."
    flagged = report.baseline_near_copies
    return (
        f"{said}: {among}. Of the references themselves, {flagged} of {report.references} "
        f"({flagged / report.references:.2%}) are as near to an image of another patient, as both lie."
    )


def _pairs(pairs: Sequence[CopyPair]) -> list[str]:
    lines = [
        f"  {clean(pair.image)}  ~  {clean(pair.reference)}  "
        f"(similarity {pair.similarity:.3f}, {pair.hash_distance} bits)"
        for pair in pairs[:SHOWN]
    ]
    return [*lines, f"  and {len(pairs) - SHOWN} more (--json names all)"] if len(pairs) > SHOWN else lines


def _distribution(report: CopyReport) -> str:
    rows = [("generated, to the nearest reference", report.generated)]
    if report.baseline is not None:
        rows.append(("reference, to the nearest of another patient", report.baseline))
    cells = [["", "n", *(f"{float(share):.0%}" for share in report.generated.quantiles)]]
    cells += [[name, str(nearest.images), *(f"{v:.3f}" for v in nearest.quantiles.values())] for name, nearest in rows]
    widths = (46, 6, *([7] * len(report.generated.quantiles)))
    lines = [
        "Similarity to the nearest image, at or below which so many of the images lie:",
        *table(cells, align="<".ljust(len(widths), ">"), widths=widths, indent="", gap=""),
    ]
    if report.nearer_than_baseline is None or report.nearer_than_baseline_95 is None:
        return "\n".join([*lines, "All references are of one patient: there is no baseline to read this beside."])
    said = (
        f"A generated image lies nearer to a reference than a reference to one of another patient in "
        f"{report.nearer_than_baseline:.0%} of comparisons (50 % were they alike); "
        f"{report.nearer_than_baseline_95:.1%} of them lie nearer than 95 % of the references do (5 % were they alike)."
    )
    return "\n".join([*lines, wrapped(said)])


def _skipped(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    lines = [f"Skipped: {len(problems)} rows.", *(f"  {clean(str(problem))}" for problem in problems[:SHOWN])]
    return "\n".join([*lines, f"  and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else lines)
