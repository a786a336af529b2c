"""What can go wrong between a query and its ranked cases.

    RetrievalError
    ├── AuditError           the audit log cannot be written, so that no query may be answered, or is damaged
    ├── EncoderLoadError     the encoder's files are missing, broken, or of a kind that is not accepted
    ├── EncodingError        an image that cannot be encoded, or a vector that cannot be searched
    ├── EvaluationError      an archive whose cases do not allow an evaluation or calibration
    ├── IdentifiersError     a manifest holds direct identifiers, and was to be refused where it does
    ├── QueryError           the query cannot be answered as it was put
    ├── ReaderStudyError     a blinded reader study that cannot be created, opened or resumed
    │   └── ReaderStudyClosedError   the reader has closed it: ratings are frozen
    ├── SyntheticSetError    a folder that cannot take (or is not) a set of generated images
    └── WorkerError          the machines that were to embed images do not do it

Every message says what is wrong, where, and what to do next. The two packages below keep their own trees, which pass
through unchanged: `generation.GenerationError`, and `index_store.ArchiveError` (with `EncoderMismatchError`, where the
archive was embedded by another encoder).
"""

from __future__ import annotations


class RetrievalError(Exception):
    """Base of everything that this package raises on purpose."""


class AuditError(RetrievalError):
    """The audit log cannot be written or read, or is damaged."""


class EncoderLoadError(RetrievalError):
    """The encoder's files are missing, broken, or of a kind that is not accepted."""


class EncodingError(RetrievalError):
    """An image that cannot be encoded, or a vector that is not finite or has no length."""


class EvaluationError(RetrievalError):
    """An archive that cannot be evaluated: it is empty, has no categories, or only one patient."""


class IdentifiersError(RetrievalError):
    """A manifest holds direct identifiers, and was to be refused where it does. Says how many, never which."""


class QueryError(RetrievalError):
    """The query cannot be answered as it was put: no generator for a report, a fusion that does not exist …"""


class ReaderStudyError(RetrievalError):
    """A blinded reader study that cannot be created from what is there, is damaged, or was given an invalid rating."""


class ReaderStudyClosedError(ReaderStudyError):
    """The reader has closed the study: none of their ratings can be changed any more."""


class SyntheticSetError(RetrievalError):
    """A folder that cannot take a set of generated images, or has one that was generated with other settings."""


class WorkerError(RetrievalError):
    """Workers on other machines are not there, are lost again and again, or have another encoder."""
