"""What a novelty check of report text would be calibrated on. The product judges no text: the table of
`benchmarks.comparability` shows why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.nearest import nearest_mean
from index_store import Archive, CaseFilter
from retrieval import EvaluationError
from retrieval.arrays import Vectors
from retrieval.assessment.novelty import Calibration
from retrieval.search.channels.own_cases import SAMPLE, read_own_cases


def calibrate_texts(
    archive: Archive,
    fingerprint: str,
    encode: Callable[[Sequence[str]], Vectors],
    *,
    where: CaseFilter | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
) -> Calibration:
    """What a report of each of `sample` patients finds of other patients: "joint" among images, "report" among reports.

    Args:
        encode: report texts to unit rows float32[n, d].

    Raises:
        EvaluationError: there are reports of fewer than two patients.
    """
    own = read_own_cases(archive, fingerprint, where=where)
    reports = own.reports()
    patients = own.patients_of([report.case_id for report in reports])
    if len(set(patients.tolist())) < 2:
        raise EvaluationError("Reports of at least two patients are needed to calibrate report text.")
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(patients))
    _, first = np.unique(patients[shuffled], return_index=True)
    chosen = np.sort(rng.permutation(shuffled[first])[:sample])
    encoded = encode([report.text for report in reports])
    among_reports = nearest_mean(encoded[chosen], encoded, patients, own=patients[chosen])
    return Calibration(
        fingerprint,
        {
            "joint": own.similarities(encoded[chosen], patients[chosen]),
            "report": tuple(np.sort(among_reports).tolist()),
        },
        filtered=where is not None,
    )
