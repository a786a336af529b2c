"""From a manifest to an archive of cases with vectors: what `coin add` does.

    manifest -> direct identifiers (counted; replaced or refused on request)
             -> site and category from reports -> plan by content hash
             -> fields of whole slides (chosen one slide ahead)
             -> read and decode (threads) -> encode -> one transaction a batch
             -> vectors of the reports that lack one -> one transaction a batch

Where another encoder compares texts, the images are embedded by it once they are stored, and so are the reports.

Images that are in the archive already are neither decoded nor encoded again, which is also how an interrupted run is
resumed. A row that cannot be used is named in the summary and does not affect the others.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from index_store import COLOUR
from index_store.scale import MAX_MPP, MIN_MPP, OPTION, is_plausible
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.roles import role_encoders
from retrieval.errors import IdentifiersError
from retrieval.ingest.deidentification import IdentifierCount, pseudonyms_of, screen_rows, total
from retrieval.ingest.embed_images import Embedded, embedded_batches, generated_image
from retrieval.ingest.embed_missing import embed_for_texts, embed_reports, embed_rescaled, left_behind, read_colours
from retrieval.ingest.infer_labels import infer_labels, not_english
from retrieval.ingest.slide_fields import AddedSlide, SlideFields, UnreadField

if TYPE_CHECKING:
    from index_store import Archive, Case, FieldChoice, ManifestRow, Plan, PlannedField, PlannedImage, Problem

_UNSAFE: Final = "stays in place under a path that holds an identifier, which would be stored"
_RENAME: Final = "Rename the file or its folder, or add without --in-place."


@dataclass(frozen=True)
class AddSummary:
    """The result of adding a manifest."""

    added: int
    """Images that are new in the archive."""
    updated: int
    """Images there already whose case or attributes the manifest gave anew; not encoded again."""
    unchanged: int
    """Images in the archive, as in the manifest."""
    skipped: tuple[Problem, ...]
    """Every row that was not added, and why."""
    seconds: float
    reports: int = 0
    """Reports that were embedded, also of earlier manifests."""
    derived: int = 0
    """New or changed cases whose site or category was extracted from their report."""
    identifiers: tuple[IdentifierCount, ...] = ()
    """Numbers of direct identifiers in the manifest's rows by kind; never the identifiers."""
    redacted: bool = False
    """Whether they were replaced before anything was stored."""
    notes: tuple[str, ...] = ()
    """What could not be done although every row was added, and why."""
    slides: tuple[AddedSlide, ...] = ()
    """Whole slides of which fields were added."""

    @property
    def images_per_second(self) -> float:
        """Images added a second; 0 where nothing was."""
        return self.added / self.seconds if self.seconds else 0.0


class Workers(Protocol):
    """Embeds images outside this process (`ray_workers.RayWorkers`)."""

    def encoded(self, items: Sequence[PlannedImage | PlannedField], encoder: Encoder, batch_size: int) -> Embedded:
        """The images in batches of `batch_size`, each with its vectors, in the order in which they are done."""


def add_manifest(
    archive: Archive,
    manifest: Path | str,
    encoder: Encoder,
    *,
    text_encoder: Encoder | None = None,
    images: Path | str | None = None,
    in_place: bool = False,
    mpp: float | None = None,
    choice: FieldChoice | None = None,
    batch_size: int = 64,
    derive: bool = True,
    identifiers: Literal["warn", "redact", "refuse"] = "warn",
    progress: Progress | None = None,
    embedding: Progress | None = None,
    workers: Workers | None = None,
    replaced: Callable[[Sequence[Case]], object] | None = None,
) -> AddSummary:
    """Add a manifest's images to the archive, with their cases and vectors, then embed every report that lacks its
    vector (also of cases that were there before).

    Args:
        manifest: CSV, JSON lines or .xlsx, see `index_store.read_manifest`.
        encoder: compares images, and texts where no other encoder does.
        text_encoder: compares texts with images and with reports: the archive's encoder of the role `text`, which a new
            archive gives to it here. It embeds all images and reports that lack a vector of it. None: where the archive
            has another encoder for texts, these stay without a vector of it, and the summary's notes say so.
        images: the folder that the images' paths are relative to; by default the manifest's own.
        in_place: refer to the image files where they lie instead of copying them into the archive.
        mpp: µm a pixel of the images of which neither the manifest nor their file says it. What is said of one image
            wins over its file, and that over what is said of all; a difference of more than 10 % is noted.
        choice: how many fields are cut out of a whole slide, of what size, by which rule. A slide whose fields were
            chosen by these settings before is not read again; by others, the fields that these choose are added.
        batch_size: images, or reports, a transaction. After a crash, all finished batches are there and none in part.
        derive: extract site, system and category from the report where they are not given (see `infer_labels`).
        identifiers: what to do where rows hold direct identifiers (see `deidentification`): count them in the
            summary, replace them before anything is stored, or refuse the manifest.
        workers: embed the images on the machines of a Ray cluster and not in this process.
        progress: called with the number of new images that are done, and their total.
        embedding: the same for reports.
        replaced: called with the cases as they were whose report the manifest has replaced, once it is.

    Generated images are skipped, recognised by their provenance or by a column `synthetic` (as in the manifest of a
    synthetic set): retrievers prefer them to real ones, and every result must be a case.

    An encoder that cannot embed texts adds the images all the same; the summary's notes say so.

    Raises:
        index_store.ManifestError: the manifest as a whole cannot be read.
        EncoderLoadError: an encoder lacks the tower that its role needs; nothing is stored.
        IdentifiersError: it holds identifiers and was to be refused; nothing is stored.
        index_store.EncoderMismatchError: the archive was embedded by another encoder, or compares texts by another.
        index_store.ArchiveBusyError: another process is writing.
        index_store.StorageError: the disk refuses. What was added before stays, and adding the manifest again resumes.
    """
    from index_store import Problem, read_manifest

    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    encoder.require_images()
    started = time.perf_counter()
    read = read_manifest(manifest, images=images)
    text_encoder = role_encoders(archive, encoder, text_encoder).text  # refuses before any work is done
    redacted = identifiers == "redact"
    rows, synthetic = _without_synthetic(_scaled(read.rows, mpp))
    screening = screen_rows(rows, pseudonyms=pseudonyms_of(archive.uuid) if redacted else None, in_place=in_place)
    if identifiers == "refuse" and screening.counts:
        raise IdentifiersError(
            f"{read.path.name} holds direct identifiers: {total(screening.counts)}. Nothing was stored. Remove them, "
            "or have them replaced (`coin add --redact`)."
        )
    with archive.writer():
        plan = archive.pending(infer_labels(archive, screening.rows) if derive else screening.rows, choice=choice)
        former = _with_another_report(archive, plan) if replaced is not None else []
        by_scale = any(used is not None and used.field_um is not None for used in (encoder, text_encoder))
        updated = archive.update(plan.changed, drop_rescaled=by_scale)
        rescaled, unread = embed_rescaled(archive, plan, encoder, batch_size) if by_scale else ((), [])
        fields = SlideFields(plan.slides)
        if workers is None:
            source = embedded_batches(itertools.chain(plan.new, fields.planned()), encoder, batch_size)
        else:
            source = workers.encoded([*plan.new, *fields.planned(elsewhere=True)], encoder, batch_size)
        added, refused, doubtful = _add_new(
            archive, plan, encoder, source, fields, in_place=in_place, progress=progress
        )
        of_plan = [item.row for items in (plan.new, plan.changed, plan.slides) for item in items]
        touched = archive.case_labels({row.case for row in of_plan if row.derived})
        if text_encoder is encoder:
            reports, notes = embed_reports(archive, encoder, batch_size, embedding)
        elif text_encoder is None:
            reports, notes = 0, left_behind(archive)
        else:
            reports, notes = embed_for_texts(archive, text_encoder, batch_size, progress, embedding)
        if archive.encoder_of(COLOUR) is not None:
            read_colours(archive, batch_size)
    if replaced is not None and former:
        replaced(former)
    notes += rescaled
    notes += not_english(screening.rows) if derive else ()
    unsafe = [Problem(f"line {row.line}", _UNSAFE, _RENAME) for row in screening.unsafe]
    found = (*synthetic, *unsafe, *plan.problems, *unread, *refused, *fields.problems)
    skipped = [*read.problems, *(_in_file(problem, read.path) for problem in found)]
    return AddSummary(
        added=added,
        updated=updated,
        unchanged=len(plan.unchanged),
        skipped=tuple(skipped),
        seconds=time.perf_counter() - started,
        reports=reports,
        derived=sum(bool(case.derived) for case in touched.values()),
        identifiers=screening.counts,
        redacted=redacted,
        notes=(*read.notes, *plan.notes, *doubtful, *notes),
        slides=tuple(fields.done),
    )


def _scaled(rows: Sequence[ManifestRow], mpp: float | None) -> Sequence[ManifestRow]:
    """The rows with a scale that was given for all of them, where they have none of their own."""
    if mpp is None:
        return rows
    if not is_plausible(mpp):
        raise ValueError(f"mpp must be from {MIN_MPP} to {MAX_MPP:g} µm a pixel, not {mpp}")
    return [row if row.mpp is not None else dataclasses.replace(row, mpp=mpp, mpp_source=OPTION) for row in rows]


def _without_synthetic(rows: Sequence[ManifestRow]) -> tuple[list[ManifestRow], list[Problem]]:
    """The rows that are not marked as generated images, and a problem for each of those that are."""
    marked = [row for row in rows if row.attributes.get("synthetic", "").lower() in ("true", "yes", "1")]
    lines = {row.line for row in marked}
    problems = [generated_image(row.line) for row in marked]
    return [row for row in rows if row.line not in lines], problems


def _with_another_report(archive: Archive, plan: Plan) -> list[Case]:
    """The stored cases whose report the plan replaces."""
    reports = {item.row.case: item.row.report for item in plan.changed if item.row.report}
    cases = (archive.case(key) for key in reports)
    return [case for case in cases if case.report and case.report != reports[case.key]]


def _add_new(
    archive: Archive,
    plan: Plan,
    encoder: Encoder,
    source: Embedded,
    fields: SlideFields,
    *,
    in_place: bool,
    progress: Progress | None,
) -> tuple[int, list[Problem], list[str]]:
    """Add new images as they come from `source`.

    Returns how many were added, a problem for each of the others, and notes on how files were read.
    """
    from index_store import Problem, lines_text

    added, done = 0, 0
    noted: dict[str, list[int]] = {}
    problems: list[Problem] = []
    with closing(source) as batches:
        for batch, vectors in batches if plan.new or plan.slides else ():
            new = [item for item in batch if not isinstance(item, Problem)]
            problems += [item for item in batch if isinstance(item, Problem) and not isinstance(item, UnreadField)]
            for item in new:
                for note in item.notes:
                    noted.setdefault(note, []).append(item.row.line)
            if new:
                archive.use_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)
                added += archive.add(
                    new, vectors, fingerprint=encoder.fingerprint, in_place=in_place, slides=fields.cuts
                )
            fields.take(batch)
            fields.close(archive)
            done += len(batch)
            if progress is not None:
                progress(done, len(plan.new) + fields.expected)
    fields.close(archive)  # those of which an interrupted run had left nothing
    doubtful = [
        f"{len(lines)} {'picture' if len(lines) == 1 else 'pictures'} ({lines_text(lines)}): {note}."
        for note, lines in noted.items()
    ]
    return added, problems, doubtful


def _in_file(problem: Problem, manifest: Path) -> Problem:
    return dataclasses.replace(problem, where=f"{manifest.name}, {problem.where}")
