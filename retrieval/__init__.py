"""A query becomes ranked cases: encoder, ingest, search, fusion, grouping by patient, evaluation, export.

Importing this package imports none of torch, open_clip or FAISS: names are resolved when first used (PEP
562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.archive_evaluation import evaluate_archive as evaluate_archive
    from retrieval.audit_log import AuditLog as AuditLog
    from retrieval.audit_log import AuditState as AuditState
    from retrieval.augmentation import AugmentResult as AugmentResult
    from retrieval.augmentation import augment_check as augment_check
    from retrieval.copy_report import CopyReport as CopyReport
    from retrieval.copy_report import check_copies as check_copies
    from retrieval.deidentification import IdentifierCount as IdentifierCount
    from retrieval.encoder import Encoder as Encoder
    from retrieval.errors import AuditError as AuditError
    from retrieval.errors import EncoderLoadError as EncoderLoadError
    from retrieval.errors import EncodingError as EncodingError
    from retrieval.errors import EvaluationError as EvaluationError
    from retrieval.errors import IdentifiersError as IdentifiersError
    from retrieval.errors import QueryError as QueryError
    from retrieval.errors import ReadingClosedError as ReadingClosedError
    from retrieval.errors import ReadingError as ReadingError
    from retrieval.errors import RetrievalError as RetrievalError
    from retrieval.errors import SyntheticSetError as SyntheticSetError
    from retrieval.evaluation import Estimate as Estimate
    from retrieval.evaluation import Label as Label
    from retrieval.evaluation import Precision as Precision
    from retrieval.evaluation import precision_at_k as precision_at_k
    from retrieval.evaluation_results import Evaluation as Evaluation
    from retrieval.export import to_dict as to_dict
    from retrieval.export import to_json as to_json
    from retrieval.generated_queries import GenerationPlan as GenerationPlan
    from retrieval.generated_query import GeneratedImageCheck as GeneratedImageCheck
    from retrieval.generated_query import GeneratedQuery as GeneratedQuery
    from retrieval.generated_query import generate_query as generate_query
    from retrieval.ingest import AddSummary as AddSummary
    from retrieval.ingest import add_manifest as add_manifest
    from retrieval.new_reading import make_reading as make_reading
    from retrieval.notice import RESEARCH_USE as RESEARCH_USE
    from retrieval.query import Query as Query
    from retrieval.query import Region as Region
    from retrieval.reading_export import rating_rows as rating_rows
    from retrieval.reading_results import ReadingResults as ReadingResults
    from retrieval.reading_results import evaluate_reading as evaluate_reading
    from retrieval.reading_study import ReadingStudy as ReadingStudy
    from retrieval.reading_study import open_reading as open_reading
    from retrieval.reading_study import reading_names as reading_names
    from retrieval.reembedding import ReembedSummary as ReembedSummary
    from retrieval.reembedding import reembed as reembed
    from retrieval.report_reader import ReportReading as ReportReading
    from retrieval.report_reader import read_report as read_report
    from retrieval.results import RankedCase as RankedCase
    from retrieval.results import SearchResult as SearchResult
    from retrieval.results import Timing as Timing
    from retrieval.saved_queries import SavedQueries as SavedQueries
    from retrieval.search import CaseSearch as CaseSearch
    from retrieval.synthetic_files import SetSummary as SetSummary
    from retrieval.synthetic_files import finish_set as finish_set
    from retrieval.synthetic_set import SyntheticSet as SyntheticSet
    from retrieval.training.encoder_settings import EncoderSettings as EncoderSettings
    from retrieval.training.encoder_tuning import train_encoder as train_encoder
    from retrieval.training.own_pairs import OwnPairs as OwnPairs
    from retrieval.training.own_pairs import archive_pairs as archive_pairs
    from retrieval.training.own_pairs import manifest_pairs as manifest_pairs
    from retrieval.training.tuning_card import EncoderTuning as EncoderTuning

_HOME = {
    "RESEARCH_USE": "notice",
    "AddSummary": "ingest",
    "AuditError": "errors",
    "AuditLog": "audit_log",
    "AuditState": "audit_log",
    "AugmentResult": "augmentation",
    "CaseSearch": "search",
    "CopyReport": "copy_report",
    "Encoder": "encoder",
    "EncoderLoadError": "errors",
    "EncoderSettings": "training.encoder_settings",
    "EncoderTuning": "training.tuning_card",
    "EncodingError": "errors",
    "Estimate": "evaluation",
    "Evaluation": "evaluation_results",
    "EvaluationError": "errors",
    "GenerationPlan": "generated_queries",
    "GeneratedImageCheck": "generated_query",
    "GeneratedQuery": "generated_query",
    "IdentifierCount": "deidentification",
    "IdentifiersError": "errors",
    "Label": "evaluation",
    "OwnPairs": "training.own_pairs",
    "Precision": "evaluation",
    "Query": "query",
    "QueryError": "errors",
    "RankedCase": "results",
    "ReadingClosedError": "errors",
    "ReadingError": "errors",
    "ReadingResults": "reading_results",
    "ReadingStudy": "reading_study",
    "ReembedSummary": "reembedding",
    "Region": "query",
    "ReportReading": "report_reader",
    "RetrievalError": "errors",
    "SavedQueries": "saved_queries",
    "SearchResult": "results",
    "SetSummary": "synthetic_files",
    "SyntheticSet": "synthetic_set",
    "SyntheticSetError": "errors",
    "Timing": "results",
    "add_manifest": "ingest",
    "augment_check": "augmentation",
    "check_copies": "copy_report",
    "archive_pairs": "training.own_pairs",
    "evaluate_archive": "archive_evaluation",
    "evaluate_reading": "reading_results",
    "finish_set": "synthetic_files",
    "generate_query": "generated_query",
    "make_reading": "new_reading",
    "open_reading": "reading_study",
    "manifest_pairs": "training.own_pairs",
    "precision_at_k": "evaluation",
    "rating_rows": "reading_export",
    "read_report": "report_reader",
    "reading_names": "reading_study",
    "reembed": "reembedding",
    "to_dict": "export",
    "to_json": "export",
    "train_encoder": "training.encoder_tuning",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
