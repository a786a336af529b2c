"""The images that a blinded reader study may use: those of an archive, and generated ones with provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generation import text_sha256
from retrieval.errors import ReaderStudyError
from retrieval.language.archive_labels import meant_filter
from retrieval.language.concepts import category_concept, site_concept
from retrieval.language.label_extraction import read_report

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter

_PAGE: Final = 500  # cases at a time
NO_PROVENANCE: Final = "without provenance, so that nobody can say what they are"


@dataclass(frozen=True)
class Candidate:
    """An image that may be selected, with its labels. The empty string means "not known"."""

    path: Path
    sha256: str
    """Of the source file."""
    shorter: int
    """Pixels of its shorter side."""
    owner: str
    """The patient, or the hash of the report that it was generated from."""
    site: str = ""
    category: str = ""
    generated: bool = False
    phantom: bool = False
    """Rendered by this software: grouped with the real images, without being one."""
    case: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How a generated image was made."""
    file_sha256: str = ""
    """Of the bytes at `path`, for an image of an archive."""


def archive_candidates(archive: Archive, where: CaseFilter | None = None) -> list[Candidate]:
    """The images of the cases that `where` permits; files of equal content once."""
    found: dict[str, Candidate] = {}
    where = meant_filter(archive, where)
    offset = 0
    while cases := archive.cases(where, limit=_PAGE, offset=offset):
        offset += len(cases)
        for case in cases:
            for image in case.images:
                found.setdefault(
                    image.sha256,
                    Candidate(
                        image.path,
                        image.sha256,
                        min(image.width, image.height),
                        case.patient,
                        case.site,
                        case.category,
                        phantom=case.phantom,
                        case=case.key,
                        file_sha256=image.file_sha256,
                    ),
                )
    return list(found.values())


def generated_candidates(folder: Path, archive: Archive) -> tuple[list[Candidate], Counter[str]]:
    """The generated images in a folder and below it, files of equal content once, and the number of files left out by
    reason.

    Site and category are those of the archive's case whose report the image was generated from, or else those that
    `read_report` extracts from its prompt.

    Raises:
        ReaderStudyError: there is no such folder.
    """
    from generation import ProvenanceError, read_provenance
    from index_store import content_hash
    from index_store.errors import ImageProblem

    if not folder.is_dir():
        raise ReaderStudyError(
            f"There is no folder of generated images '{folder}'. Make some with `coin generate --out FOLDER`, or name "
            "another with --generated."
        )
    labels = _labels_by_report(archive)
    found: dict[str, Candidate] = {}
    left_out: Counter[str] = Counter()
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg")):
        try:
            provenance, sha256 = read_provenance(path), content_hash(path)
        except (ProvenanceError, ImageProblem, OSError):
            left_out["that cannot be read, or whose provenance was altered"] += 1
            continue
        if provenance is None:
            left_out[NO_PROVENANCE] += 1
            continue
        site, category = labels.get(provenance.report_sha256) or _extract_labels(provenance.prompt)
        found[sha256] = Candidate(
            path,
            sha256,
            min(provenance.width, provenance.height),
            provenance.report_sha256,
            site,
            category,
            generated=True,
            provenance=asdict(provenance),
        )
    return list(found.values()), left_out


def _labels_by_report(archive: Archive) -> dict[str, tuple[str, str]]:
    """Site and category by the report's hash; empty for a report of cases with different labels."""
    labels: dict[str, tuple[str, str]] = {}
    offset = 0
    while cases := archive.cases(limit=_PAGE, offset=offset):
        offset += len(cases)
        for case in cases:
            key = text_sha256(case.report)
            label = (case.site, case.category)
            same = _meaning(*labels.get(key, label)) == _meaning(*label)
            labels[key] = labels.get(key, label) if same else ("", "")
    return labels


def _meaning(site: str, category: str) -> tuple[str, str]:
    return site_concept(site), category_concept(site, "", category)


def _extract_labels(prompt: str) -> tuple[str, str]:
    labels = read_report(prompt)
    return labels.site or "", labels.category or ""
