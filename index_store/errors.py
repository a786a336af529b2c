"""The errors of an archive, as one small tree.

Every message says what is wrong, where, and what to do next; commands and views print it as it is.

    ArchiveError
    ├── NotAnArchiveError        the folder holds no archive (or a damaged one)
    ├── AlreadyAnArchiveError    `create` was called where something exists already
    ├── NewerArchiveError        written by a newer version of this software
    ├── OutdatedArchiveError     made by an earlier version: needs `coin migrate`
    ├── ArchiveReplacedError     the folder was moved, or holds another archive than the one that was opened
    ├── ReadOnlyArchiveError     an archive opened read-only was to be changed
    ├── ArchiveBusyError         another process or thread is writing
    ├── StorageError             disk or database are full, read-only, damaged or unreachable
    ├── EncoderMismatchError     vectors of another encoder than the archive's
    ├── EncoderIncompleteError   the encoder lacks vectors, so it cannot answer searches yet
    ├── VectorError              vectors that cannot be stored or searched (NaN, length, shape)
    ├── IndexDriftError          index and records disagree, even after rebuilding the index
    ├── BackupError              a damaged backup, or a target that cannot take one
    ├── FilterError              an invalid `CaseFilter`
    ├── CaseNotFoundError
    ├── ImageNotFoundError
    ├── ManifestError            a manifest that cannot be read at all (single rows: `Problem`)
    └── ImageProblem             one image that cannot be decoded safely
        └── SlideProblem         one slide, or a place of it, that cannot be read
"""

from __future__ import annotations


class ArchiveError(Exception):
    """Base of all errors that this package raises on purpose."""


class NotAnArchiveError(ArchiveError):
    """The folder holds no archive."""


class AlreadyAnArchiveError(ArchiveError):
    """A new archive was to be made where something exists already."""


class NewerArchiveError(ArchiveError):
    """The archive was written by a newer version of this software."""


class OutdatedArchiveError(ArchiveError):
    """The archive was made by an earlier version, and must be migrated first."""


class ArchiveReplacedError(ArchiveError):
    """The folder was moved, or holds another archive than the one that was opened."""


class ReadOnlyArchiveError(ArchiveError):
    """An archive that was opened read-only was to be changed."""


class ArchiveBusyError(ArchiveError):
    """Another process (or thread) is writing to the archive."""


class StorageError(ArchiveError):
    """The disk or the database is full, read-only, damaged or unreachable."""


class EncoderMismatchError(ArchiveError):
    """The vectors come from another encoder than the archive's."""


class EncoderIncompleteError(ArchiveError):
    """The encoder has not embedded everything yet."""


class VectorError(ArchiveError):
    """Vectors of the wrong shape or length, or not finite."""


class IndexDriftError(ArchiveError):
    """The vector index and the records disagree."""


class BackupError(ArchiveError):
    """A backup that cannot be made, or is damaged."""


class FilterError(ArchiveError):
    """An invalid `CaseFilter`."""


class CaseNotFoundError(ArchiveError):
    """No case of that key."""


class ImageNotFoundError(ArchiveError):
    """No image of that id, or its file is gone."""


class ManifestError(ArchiveError):
    """The manifest as a whole cannot be read."""


class ImageProblem(ArchiveError):
    """One image that cannot be decoded safely."""


class SlideProblem(ImageProblem):
    """One slide, or a place of it, that cannot be read."""
