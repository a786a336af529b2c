"""The archive's own cases as queries, against a count in plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.search.channels.own_cases import OwnCases

NEAREST = 5


def own_cases(seed: int) -> OwnCases:
    """Nine patients with one to three cases of one to three images each."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(9), rng.integers(1, 4, 9))
    case_of = np.repeat(np.arange(len(patients)), rng.integers(1, 4, len(patients)))
    vectors = rng.normal(size=(len(case_of), 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return OwnCases((), patients.astype(np.int64), case_of.astype(np.int64), vectors)


@pytest.mark.parametrize("seed", range(4))
def test_a_query_leaves_its_own_patient_out(seed: int) -> None:
    own = own_cases(seed)
    cases = own.sampled(6, np.random.default_rng(seed))
    assert len(set(own.patient_of[cases])) == len(cases) == 6
    queries = np.stack([own.vectors[own.images_of(case)[0]] for case in cases])

    expected = []
    for query, case in zip(queries, cases, strict=True):
        best: dict[int, float] = {}
        for image, vector in enumerate(own.vectors):
            patient = own.patient_of[own.case_of[image]]
            if patient != own.patient_of[case]:
                best[patient] = max(
                    best.get(patient, -1.0), sum(float(a) * float(b) for a, b in zip(query, vector, strict=True))
                )
        nearest = sorted(best.values(), reverse=True)[:NEAREST]
        expected.append(sum(nearest) / len(nearest))
    assert own.similarities(queries, cases) == pytest.approx(sorted(expected), abs=1e-6)


def test_images_of_a_case_are_its_rows() -> None:
    own = own_cases(0)
    for case in range(len(own.patient_of)):
        assert own.images_of(case).tolist() == [row for row, of in enumerate(own.case_of) if of == case]
