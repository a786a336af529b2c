"""The state of an archive as records of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from index_store.records import EncoderInfo, Role


@dataclass(frozen=True)
class IndexStatus:
    """How the in-process vector index searches."""

    mode: str
    """`half precision` (exact by proof), `fast scan` or `inverted lists` (approximate; exact under filters)."""
    recall: Mapping[str, float]
    """recall@10 without a filter by query type (`images`, `reports`), measured on the archive itself; empty where the
    index is exact."""
    measured_at: int
    """Vectors there were when recall was measured; 0 where the index is exact."""
    memory_bytes: int
    """Bytes held in memory; memory-mapped files are not counted."""


@dataclass(frozen=True)
class RoleStatus:
    """The encoder of one role, and how much of the archive it can find."""

    encoder: EncoderInfo
    images_without_vector: int
    """Images that have no vector of it: no search by this role finds them."""
    reports_without_vector: int
    """Reports with text that have no vector of it: where the role is text, only their words are compared."""
    indexed: int
    """Vectors in its index."""
    index: IndexStatus | None
    """None where the vectors are on a server."""


@dataclass(frozen=True)
class ArchiveStatus:
    """The state of an archive in numbers."""

    path: Path
    name: str
    uuid: str
    schema_version: int
    patients: int
    cases: int
    images: int
    encoder: EncoderInfo | None
    """The encoder of the image role; None before the first image."""
    embeddings: Mapping[str, int]
    """Vectors by encoder fingerprint."""
    indexed: int
    """Vectors in the index of the image role's encoder."""
    index: IndexStatus | None
    """None before the first image, and where the vectors are on a server."""
    log_sequence: int
    """The last change in the log."""
    index_sequence: int
    """The last change the index has applied; equal to `log_sequence` when it is up to date."""
    sites: Mapping[str, int]
    """Cases by site, most frequent first."""
    categories: Mapping[str, int]
    """Cases by category, most frequent first."""
    catalog: str
    """Where the records are: a file, or the URL of a database server."""
    notes: tuple[str, ...]
    """What happened to the index since the archive was opened, such as that it was rebuilt, and why."""
    roles: Mapping[Role, RoleStatus] = field(default_factory=dict)
    """By role; empty before the first image, and where they were not requested. Where one encoder has both, both say
    the same."""
    derived: Mapping[str, int] = field(default_factory=dict)
    """Cases whose site, reporting system and category were extracted from their report, by the name of the column."""
    scales: Mapping[str, int] = field(default_factory=dict)
    """Images by µm a pixel, to two digits and ascending; those whose scale is not known, if any, under "unknown"."""
