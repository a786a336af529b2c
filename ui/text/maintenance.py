"""What the maintenance commands print: doctor, backup, restore, migrate, reembed, encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from index_store import COLOUR
from ui.text.layout import clean, page, wrapped
from ui.text.tables import name_value_table

if TYPE_CHECKING:
    from index_store import (
        BackupDescriptor,
        EncoderCoverage,
        EncoderInfo,
        Examination,
        Finding,
        Migration,
        Problem,
        Restoration,
        Role,
    )
    from retrieval import ReembedSummary


def examination_text(found: Examination) -> str:
    """What `coin doctor` examined, and its findings, worst first."""
    how = "checksums compared" if found.checksums else "only looked for, no checksum compared"
    rows = [
        ("folder", str(found.path)),
        ("name", found.name),
        ("patients", str(found.patients)),
        ("cases", str(found.cases)),
        ("images", str(found.images)),
        ("files", f"{found.files}, {how}"),
        ("log", f"{found.log_sequence} changes"),
        ("self-recall", f"searched with {found.recalled} stored vectors"),
        ("schema", f"version {found.schema_version}"),
    ]
    lines = [f"encoder {coverage_text(coverage)}" for coverage in found.encoders]
    order = sorted(found.findings, key=lambda finding: (finding.repaired, finding.harmless))
    findings = [_finding(finding) for finding in order]
    if not found.findings:
        findings = ["Nothing is wrong."]
    elif found.healthy:
        findings.append("Nothing is left to do.")
    return page([name_value_table(rows), "\n".join(lines), *findings])


def backup_text(target: Path, descriptor: BackupDescriptor) -> str:
    """What a backup contains, and what it lacks."""
    lines = [
        f"Backup of '{descriptor.name}' in '{target}': {descriptor.cases} cases, {descriptor.images} images, "
        f"{descriptor.files} stored pictures, each with its checksum compared.",
        *_missing(descriptor),
    ]
    return "\n".join(wrapped(line) for line in lines)


def restoration_text(restored: Restoration) -> str:
    """What was restored, and what was not."""
    descriptor = restored.card
    lines = [
        f"Restored '{descriptor.name}', as it was on {descriptor.created}, in '{restored.path}': {descriptor.cases} "
        f"cases, {descriptor.images} images, {descriptor.files} stored pictures. Checksums and counts agree; "
        f"{restored.examination.recalled} stored vectors found themselves.",
        *_missing(descriptor),
    ]
    findings = [_finding(finding) for finding in restored.examination.findings]
    return "\n".join([*(wrapped(line) for line in lines), *findings])


def migration_text(done: Migration) -> str:
    """What `coin migrate` did, and where the backup is."""
    if done.before == done.after:
        return f"'{done.path}' is up to date (schema {done.after}). Nothing was changed."
    lines = [f"'{done.path}' was brought from schema {done.before} to {done.after}."]
    if done.backup is not None:
        lines.append(
            f"As it was before: '{done.backup}', from which `coin restore` makes an archive. It may share the "
            "pictures' files with the archive, and is no backup against a failing disk. It holds reports: delete it "
            "once you do not need it."
        )
    return "\n".join(wrapped(line) for line in lines)


def _missing(descriptor: BackupDescriptor) -> list[str]:
    lines = []
    if descriptor.in_place:
        lines.append(
            f"{descriptor.in_place} images were added in place: they are not in the backup, but where they were."
        )
    if descriptor.damaged:
        lines.append(
            f"{len(descriptor.damaged)} pictures were damaged, and are not in the backup: "
            f"{', '.join(descriptor.damaged)}"
        )
    return lines


def _finding(finding: Finding) -> str:
    mark = "repaired" if finding.repaired else "harmless" if finding.harmless else "WRONG"
    lines = [wrapped(f"{mark} ({finding.check}): {finding.what}: {finding.count}")]
    lines += [wrapped(example, indent="  ") for example in finding.examples]
    if finding.count > len(finding.examples):
        lines.append(f"  and {finding.count - len(finding.examples)} more")
    if not finding.repaired:
        lines.append(wrapped(finding.advice, indent="  "))
    return "\n".join(lines)


_USED: Final = {"image": "searches by image", "text": "searches by text", COLOUR: "the channel `colour`"}
"""By role, what uses its encoder."""


def reembed_text(
    summary: ReembedSummary, dropped: int | None, role: Role | None = None, unused: Sequence[EncoderInfo] = ()
) -> str:
    """What `coin reembed` did, for one role or (None) for both, and each image that it skipped, with the reason.

    Args:
        unused: encoders that no search uses, where their vectors were to be deleted and it is not known which.
    """
    searches = "searches" if role is None else _USED[role]
    name = f"{summary.encoder} ({summary.fingerprint[:12]})"
    lines = [
        f"embedded {summary.embedded} images and {summary.reports} reports with {clean(name)}; {summary.seconds:.1f} s",
        f"{searches} use it now"
        if summary.switched
        else f"{searches} still use the previous encoder; {summary.waiting} images lack a vector of the new one",
    ]
    if dropped is not None:
        lines.append(f"deleted the vectors of {dropped} images by the previous encoder")
    lines += [
        wrapped(
            f"No search uses {encoder.name}: `coin encoders --drop {encoder.fingerprint[:12]}` deletes its vectors."
        )
        for encoder in unused
    ]
    lines += [clean(f"  skipped {problem}") for problem in summary.skipped]
    lines += [wrapped(f"Note: {note}") for note in summary.notes]
    return "\n".join(lines)


def colours_text(stored: int, skipped: Sequence[Problem]) -> str:
    """How many images' colours were read, what for, and each image that was skipped, with the reason."""
    use = (
        "Compared where a search names the channel (`--channel image --channel colour`) or the fusion rules weigh it "
        "(`coin evaluate --choose-fusion`)."
    )
    return "\n".join(
        [f"read the colours of {stored} images", *(clean(f"  skipped {each}") for each in skipped), wrapped(use)]
    )


def encoders_text(known: Sequence[EncoderCoverage], dropped: int | None) -> str:
    """The encoders of an archive, and how much each has embedded."""
    lines = [] if dropped is None else [f"deleted the vectors of {dropped} images"]
    lines += [f"  {coverage_text(coverage)}" for coverage in known] or ["No encoder yet: add a manifest first."]
    for coverage in known:
        if "text" in coverage.roles and coverage.reports and not coverage.report_vectors:
            lines.append(
                wrapped(
                    f"No report has a vector of {coverage.encoder.name}. Where it reads images only, no encoder "
                    "compares texts here, and reports are found by their words alone: `coin reembed --role text "
                    "--encoder …` gives this role to another."
                )
            )
    return "\n".join(lines)


def coverage_text(coverage: EncoderCoverage) -> str:
    """One encoder, in one line."""
    encoder = coverage.encoder
    uses = {0: "", 1: f"; used by {' and '.join(_USED[role] for role in coverage.roles)}"}.get(len(coverage.roles))
    return clean(
        f"{encoder.fingerprint[:12]}  {encoder.name} ({encoder.dim}-d): "
        f"{coverage.vectors} of {coverage.images} images, "
        f"{coverage.report_vectors} of {coverage.reports} reports{'; used by searches' if uses is None else uses}"
    )
