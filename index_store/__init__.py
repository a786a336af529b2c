"""The archive: cases, images, reports and embeddings, and the vector index derived from them.

`Archive` is the one door; `read_manifest` reads what comes in; the rest are the records that cross the wall.
Names are resolved when first used, so that importing this room loads neither SQLAlchemy nor FAISS.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .archive import Archive
    from .backup_folder import BackupCard
    from .errors import (
        AlreadyAnArchiveError,
        ArchiveBusyError,
        ArchiveError,
        BackupError,
        CaseNotFoundError,
        EncoderIncompleteError,
        EncoderMismatchError,
        FilterError,
        ImageNotFoundError,
        ImageProblem,
        IndexDriftError,
        ManifestError,
        NewerArchiveError,
        NotAnArchiveError,
        OutdatedArchiveError,
        ReadOnlyArchiveError,
        StorageError,
        VectorError,
    )
    from .filters import CaseFilter
    from .findings import Examination, Finding
    from .images import content_hash, decode_image, read_source
    from .manifest import Manifest, ManifestRow, read_manifest
    from .plan import NewImage, Plan, PlannedImage
    from .records import (
        ArchiveStatus,
        Case,
        EncoderCoverage,
        EncoderInfo,
        Hit,
        Image,
        IndexStatus,
        Owner,
        Particulars,
        Problem,
        StoredReport,
    )
    from .report_table import ReportRow, ReportTable, read_report_table
    from .restoration import Restoration

_MODULES = {
    "archive": ("Archive",),
    "backup_folder": ("BackupCard",),
    "errors": (
        "AlreadyAnArchiveError",
        "ArchiveBusyError",
        "ArchiveError",
        "BackupError",
        "CaseNotFoundError",
        "EncoderIncompleteError",
        "EncoderMismatchError",
        "FilterError",
        "ImageNotFoundError",
        "ImageProblem",
        "IndexDriftError",
        "ManifestError",
        "NewerArchiveError",
        "NotAnArchiveError",
        "OutdatedArchiveError",
        "ReadOnlyArchiveError",
        "StorageError",
        "VectorError",
    ),
    "filters": ("CaseFilter",),
    "findings": ("Examination", "Finding"),
    "images": ("content_hash", "decode_image", "read_source"),
    "manifest": ("Manifest", "ManifestRow", "read_manifest"),
    "plan": ("NewImage", "Plan", "PlannedImage"),
    "report_table": ("ReportRow", "ReportTable", "read_report_table"),
    "restoration": ("Restoration",),
    "records": (
        "ArchiveStatus",
        "Case",
        "EncoderCoverage",
        "EncoderInfo",
        "Hit",
        "Image",
        "IndexStatus",
        "Owner",
        "Particulars",
        "Problem",
        "StoredReport",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AlreadyAnArchiveError",
    "Archive",
    "ArchiveBusyError",
    "ArchiveError",
    "ArchiveStatus",
    "BackupCard",
    "BackupError",
    "Case",
    "CaseFilter",
    "CaseNotFoundError",
    "EncoderCoverage",
    "EncoderIncompleteError",
    "EncoderInfo",
    "EncoderMismatchError",
    "Examination",
    "FilterError",
    "Finding",
    "Hit",
    "Image",
    "ImageNotFoundError",
    "ImageProblem",
    "IndexDriftError",
    "IndexStatus",
    "Manifest",
    "ManifestError",
    "ManifestRow",
    "NewImage",
    "NewerArchiveError",
    "NotAnArchiveError",
    "OutdatedArchiveError",
    "Owner",
    "Particulars",
    "Plan",
    "PlannedImage",
    "Problem",
    "ReadOnlyArchiveError",
    "ReportRow",
    "ReportTable",
    "Restoration",
    "StorageError",
    "StoredReport",
    "VectorError",
    "content_hash",
    "decode_image",
    "read_manifest",
    "read_report_table",
    "read_source",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
