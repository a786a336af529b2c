"""What can go wrong in the archive, as one small tree.

Every message says what is wrong, where, and what to do next; a command or a view prints it as it is.

    ArchiveError
    ├── NotAnArchiveError        the folder holds no archive (or a damaged one)
    ├── AlreadyAnArchiveError    `create` was asked for where something is already
    ├── NewerArchiveError        written by a newer version of this software
    ├── OutdatedArchiveError     needs a migration, and was opened read-only
    ├── ReadOnlyArchiveError     a change was asked of an archive opened read-only
    ├── ArchiveBusyError         somebody else is writing
    ├── StorageError             the disk or the database refused: full, read-only, damaged
    ├── EncoderMismatchError     vectors of another encoder than the archive's
    ├── EncoderIncompleteError   an encoder that has not embedded everything yet cannot answer searches
    ├── VectorError              vectors that must not be stored or searched (NaN, length, shape)
    ├── IndexDriftError          the index and the records disagree, even after rebuilding it
    ├── BackupError              a backup that is damaged, or a place that cannot take one
    ├── FilterError              a `CaseFilter` that cannot be meant
    ├── CaseNotFoundError
    ├── ImageNotFoundError
    ├── ManifestError            a manifest that cannot be read at all (single rows: `Problem`)
    └── ImageProblem             one image that cannot be decoded safely
"""

from __future__ import annotations


class ArchiveError(Exception):
    """Base of everything this room raises on purpose."""


class NotAnArchiveError(ArchiveError):
    """The folder holds no archive."""


class AlreadyAnArchiveError(ArchiveError):
    """A new archive was asked for where something is already."""


class NewerArchiveError(ArchiveError):
    """The archive was written by a newer version of this software."""


class OutdatedArchiveError(ArchiveError):
    """The archive needs a migration and was opened read-only."""


class ReadOnlyArchiveError(ArchiveError):
    """A change was asked of an archive that was opened read-only."""


class ArchiveBusyError(ArchiveError):
    """Another process (or thread) is writing to the archive."""


class StorageError(ArchiveError):
    """The disk or the database refused: full, read-only or damaged."""


class EncoderMismatchError(ArchiveError):
    """The vectors come from another encoder than the archive's."""


class EncoderIncompleteError(ArchiveError):
    """The encoder has not embedded everything yet."""


class VectorError(ArchiveError):
    """Vectors of the wrong shape or length, or not finite."""


class IndexDriftError(ArchiveError):
    """The vector index and the records disagree."""


class BackupError(ArchiveError):
    """A backup that cannot be made, or cannot be trusted."""


class FilterError(ArchiveError):
    """A `CaseFilter` that cannot be meant."""


class CaseNotFoundError(ArchiveError):
    """No case of that key."""


class ImageNotFoundError(ArchiveError):
    """No image of that id, or its file is gone."""


class ManifestError(ArchiveError):
    """The manifest as a whole cannot be read."""


class ImageProblem(ArchiveError):
    """One image that cannot be decoded safely."""
