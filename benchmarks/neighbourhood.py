"""The time of each diagnostic beside the search itself, and the confounders that hits share.

    python -m benchmarks.neighbourhood

On an archive of held-out phantoms. Times are the median and longest of the repetitions, in milliseconds. For each
confounder: the mean over all cases of the share of the first 10 patients that have the query's value, against chance.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.text_calibration import calibrate_texts
from generation.phantom import PROFILES, phantom_cases, write_phantoms
from index_store import Archive, Case, CaseFilter
from retrieval import Encoder, Gallery, RankedCase, add_manifest
from retrieval.assessment.confounder_pool import ConfounderPool
from retrieval.assessment.confounders import confounder_codes, shared_with_query
from retrieval.assessment.label_agreement import agreement
from retrieval.assessment.novelty import nearest_similarity
from retrieval.assessment.novelty_calibration import calibrate
from retrieval.language.query_text import conclusion_key, morphology_and_diagnosis
from retrieval.search.batch import Candidates
from retrieval.search.by_category import gallery
from retrieval.search.results_assembly import nearest_cases


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classes = len({(profile.site, profile.category) for profile in PROFILES})
    encoder = Encoder(device=options.device)
    with TemporaryDirectory() as folder, Archive.create(Path(folder) / "archive") as archive:
        phantoms = phantom_cases(options.per_class * classes, seed=1, split="held-out")
        add_manifest(archive, write_phantoms(Path(folder) / "phantoms", phantoms), encoder, in_place=True)
        fingerprint, cases = encoder.fingerprint, archive.cases()
        query = next(case for case in cases if case.site == "cervix")
        vector = archive.vectors_of([query.images[0].id], fingerprint)
        others = CaseFilter(exclude_patients=(query.patient,))
        pool, of_site = ConfounderPool.of(archive), ConfounderPool.of(archive, CaseFilter(sites=("cervix",)))
        calibration = calibrate(archive, fingerprint)

        def search(where: CaseFilter = others) -> tuple[RankedCase, ...]:
            return nearest_cases(archive, vector, 10, where=where, fingerprint=fingerprint)

        def rows() -> Gallery:
            return gallery(archive, vector, fingerprint=fingerprint, system=query.system, site=query.site, where=others)

        cervix = CaseFilter(sites=("cervix",), exclude_patients=(query.patient,))
        hits, of_cervix = search(), search(cervix)
        measured: dict[str, Callable[[], object]] = {
            "the search itself, 10 cases": search,
            "agreement": lambda: agreement(hits, system=query.system),
            "confounder audit, pool read before": lambda: pool.audit(hits, query=query),
            "confounder audit of a filtered search": lambda: of_site.audit(of_cervix, query=query),
            "reading the confounder pool": lambda: ConfounderPool.of(archive),
            "novelty check": lambda: calibration.judge(nearest_similarity([hit.score for hit in hits]), "case"),
            "gallery": rows,
            "report text": lambda: morphology_and_diagnosis(query.report),
            "conclusion of a report": lambda: conclusion_key(query.report),
            "calibrating images (500 patients)": lambda: calibrate(archive, fingerprint),
            "calibrating texts (500 patients)": lambda: calibrate_texts(archive, fingerprint, encoder.encode_texts),
        }
        print(f"{len(cases)} phantom cases, one image each\n{describe_machine()}\n")
        print("| | median ms | longest ms |\n|---|---|---|")
        for name, work in measured.items():
            middle, longest = _milliseconds(work, 3 if name.startswith("calibrating") else options.repetitions)
            print(f"| {name} | {middle:.1f} | {longest:.1f} |")
        _shared(archive, cases, fingerprint)
    return 0


def _shared(archive: Archive, cases: Sequence[Case], fingerprint: str) -> None:
    ids = np.array([case.images[0].id for case in cases])
    vectors, patients = archive.vectors_of(ids.tolist(), fingerprint), np.arange(len(ids))
    representatives = Candidates(patients, patients, patients).rank(vectors @ vectors.T, patients).ranked_images[:, :10]
    _, sites = np.unique([case.site for case in cases], return_inverse=True)
    print("\n| shared with the query | first 10 | chance | chance within the sites of the hits |\n|---|---|---|---|")
    for field, codes in confounder_codes(cases, ids).items():
        observed, chance = shared_with_query(codes, patients, representatives, codes, patients)
        _, within = shared_with_query(codes, patients, representatives, codes, patients, strata=sites)
        if np.isfinite(observed).any():
            print(f"| {field} | {np.nanmean(observed):.3f} | {np.nanmean(chance):.3f} | {np.nanmean(within):.3f} |")


def _milliseconds(work: Callable[[], object], repetitions: int) -> tuple[float, float]:
    taken = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - started))
    return float(np.median(taken)), max(taken)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--per-class", type=int, default=30, help="cases per site and category")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
