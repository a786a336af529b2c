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
"""Skipped rows, and pairs, at most."""
LOOKED_FOR: Final = (
    "whole pictures and the squares that a training cuts out of them, in 8 orientations, after JPEG, resizing, changes "
    "of brightness or stain: by a perceptual hash",
    "parts down to a quarter of a picture, also turned by any angle, mirrored, enlarged, or beside something else: by "
    "keypoints and the pixels below them",
    "images more alike to one reference than references are to one another: by the encoder",
)
LIMITS: Final = (
    "Nothing here shows that an image is private. Not looked for: a part that covers less than a fifth of the "
    "generated picture, a single cell, a style, and what was redrawn so that its details differ. "
    "docs/synthetic-data.md has the measured rates.",
    "Similarity is the encoder's: it misses what the encoder does not represent.",
    "An image generated from a reference's report is near it by its content: the baseline separates that from copying "
    "only where the references include several patients of each kind.",
)


def set_text(summary: SetSummary) -> str:
    """A summary of a complete set."""
    rate = f" ({summary.images_per_second:.2f} images/s)" if summary.drawn else ""
    lines = [
        f"{summary.images} images from {summary.reports} reports ({summary.distinct_reports} different) in "
        f"{summary.folder}: {len(summary.classes)} classes.",
        f"Generated now: {summary.drawn} in {summary.seconds:.0f} s{rate}; those before it were kept.",
        f"Duplicates: {summary.exact_duplicates} of the same pixels, dropped; {summary.near_duplicates} that look "
        "alike, kept and marked in the column near_duplicate_of.",
    ]
    if summary.set_aside:
        lines.append(f"{summary.set_aside} images that the table no longer contains are in dropped/.")
    return page([*(wrapped(line) for line in lines), _skipped(summary.skipped)])


def share_text(share: Share, generated: int, seconds: float, problems: Sequence[Problem]) -> str:
    """A summary of one share of a set."""
    done = (
        f"Share {share.number} of {share.of}: {generated} images generated in {seconds:.0f} s. When all shares are "
        "done, run the same command once without --shard: it completes the set."
    )
    return page([wrapped(done), _skipped(problems)])


def copy_text(report: CopyReport) -> str:
    """Near copies, the nearest pairs, and the similarity of the set to the references."""
    parts = [
        wrapped(
            f"{report.images} images in {report.folder} compared with {report.references} images {_whose(report)} "
            f"({report.source}); encoder {report.encoder} ({report.fingerprint[:12]})."
        ),
        wrapped(_counted(report)),
    ]
    if report.near_copies:
        parts.append("\n".join(["Copies:", *_pairs(report.near_copies)]))
    if report.alarms:
        parts.append("\n".join(["Alarmingly alike, look at these:", *_pairs(report.alarms)]))
    parts.append("\n".join(["Looked for:", *(wrapped(f"- {line}", indent="  ") for line in LOOKED_FOR)]))
    parts.append("\n".join(["Nearest of the others:", *_pairs(report.nearest[:SHOWN])]))
    parts.append(_distribution(report))
    notes = []
    if not report.patients_named and report.baseline is not None:
        notes.append(
            "Not every reference names its patient, so that nothing is said of patients: the baseline may compare "
            "images of one patient and be too high, and what lies below it is not shown to be no copy. Name patients "
            "in the manifest's column `patient`."
        )
    if report.unreadable:
        notes.append(f"{report.unreadable} images cannot be read, and were not compared.")
    notes += [f"{count} references were not compared: {reason}" for reason, count in sorted(report.skipped.items())]
    if report.plain or report.plain_references:
        notes.append(
            f"{report.plain} images and {report.plain_references} references show too little detail for a copied part "
            "to be recognised: of these only whole pictures are."
        )
    if report.extreme is None:
        notes.append(
            "Extreme similarity raises no alarm here: it takes 500 references, and of more than one patient, to know "
            "how alike images of different patients are."
        )
    parts += [wrapped(f"Note: {note}") for note in notes]
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in LIMITS)]))
    return page(parts)


def copy_record(report: CopyReport) -> dict[str, Any]:
    """The report for programs: files by their names alone, since it may be shared beside the images."""
    record = dataclasses.asdict(report)
    record["folder"] = report.folder.name
    record["clean"], record["looked_for"] = report.clean, LOOKED_FOR
    for pair in (*record["near_copies"], *record["alarms"], *record["nearest"]):
        del pair["image_path"], pair["reference_path"]
    return record


def _counted(report: CopyReport) -> str:
    copies = len(report.near_copies)
    finding = (
        f"{copies} of {report.images} generated images ({copies / report.images:.2%}) copy a reference or a part of "
        f"one: at most {report.threshold_bits} of 256 bits of a perceptual hash apart, or with pixels that correlate "
        f"by {report.threshold_correlation:g} or more."
    )
    if report.extreme is not None:
        finding += (
            f" {len(report.alarms)} others are alarmingly alike to one: more than {report.extreme:.3f}, which at most "
            f"one in 500 references reaches with {report.others}."
        )
    if report.baseline is None:
        return finding
    flagged = report.baseline_near_copies
    return (
        f"{finding} Of the references themselves, {flagged} of {report.references} "
        f"({flagged / report.references:.2%}) have a hash as near to that of {report.others}."
    )


def _whose(report: CopyReport) -> str:
    return f"of {report.patients} patients" if report.patients_named else "whose patients are not all named"


def _pairs(pairs: Sequence[CopyPair]) -> list[str]:
    lines = [f"  {clean(pair.image)}  ~  {clean(pair.reference)}  ({pair.words})" for pair in pairs[:SHOWN]]
    return [*lines, f"  and {len(pairs) - SHOWN} more (--json names all)"] if len(pairs) > SHOWN else lines


def _distribution(report: CopyReport) -> str:
    rows = [("generated, to the nearest reference", report.generated)]
    if report.baseline is not None:
        whose = "of another patient" if report.patients_named else "other"
        rows.append((f"reference, to the nearest {whose}", report.baseline))
    cells = [["", "n", *(f"{float(share):.0%}" for share in report.generated.quantiles)]]
    cells += [[name, str(nearest.images), *(f"{v:.3f}" for v in nearest.quantiles.values())] for name, nearest in rows]
    widths = (46, 6, *([7] * len(report.generated.quantiles)))
    lines = [
        "Similarity to the nearest image, at or below which so many of the images lie:",
        *table(cells, align="<".ljust(len(widths), ">"), widths=widths, indent="", gap=""),
    ]
    if report.nearer_than_baseline is None or report.nearer_than_baseline_95 is None:
        one = "patient" if report.patients_named else "case"
        return "\n".join([*lines, f"All references are of one {one}: there is no baseline to read this beside."])
    comparison = (
        f"A generated image is nearer to a reference than a reference to {report.others} in "
        f"{report.nearer_than_baseline:.0%} of comparisons (50 % if there were no difference); "
        f"{report.nearer_than_baseline_95:.1%} of them are nearer than 95 % of the references are (5 % if there were "
        "no difference). This is of the set as a whole: a few copies among many images do not show in it."
    )
    return "\n".join([*lines, wrapped(comparison)])


def _skipped(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    lines = [f"Skipped: {len(problems)} rows.", *(f"  {clean(str(problem))}" for problem in problems[:SHOWN])]
    return "\n".join([*lines, f"  and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else lines)
