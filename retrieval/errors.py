"""What can go wrong between a query and its ranked cases.

    RetrievalError
    ├── EncoderLoadError     the encoder's files are missing, broken, or of a kind that is not accepted
    ├── EncodingError        the encoder returned something that cannot be searched (not finite, no length)
    ├── EncoderMismatch      the archive's vectors were made by another encoder
    └── QueryError           the query cannot be answered as it was put

Every message says what is wrong, where, and what to do next. The two rooms below keep their own trees:
`generation.GenerationError` and `index_store.ArchiveError` pass through unchanged.
"""

from __future__ import annotations


class RetrievalError(Exception):
    """Base of everything this room raises on purpose."""


class EncoderLoadError(RetrievalError):
    """The encoder's files are missing, broken, or of a kind that is not accepted."""


class EncodingError(RetrievalError):
    """The encoder returned a vector that is not finite or has no length."""


class EncoderMismatch(RetrievalError):
    """The archive's vectors were made by another encoder: their similarities would mean nothing."""


class QueryError(RetrievalError):
    """The query cannot be answered as it was put: an empty report, a case without vectors …"""
