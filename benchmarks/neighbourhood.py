"""What each look at the neighbourhood costs beside the search itself, on an archive of phantoms.

    python -m benchmarks.neighbourhood

Median and longest of the repetitions, in milliseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.machine import describe_machine
from generation.phantom import PROFILES, phantom_cases, write_phantoms
from index_store import Archive, CaseFilter
from retrieval import Encoder, add_manifest
from retrieval.agreement import agreement
from retrieval.calibration import calibrate, calibrate_texts
from retrieval.comparability import nearest_similarity
from retrieval.gallery import gallery
from retrieval.nuisance import NuisancePool
from retrieval.ranking import rank_by_mean
from retrieval.report_text import morphology_and_diagnosis, report_family


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classes = len({(profile.site, profile.category) for profile in PROFILES})
    encoder = Encoder(device=options.device)
    with TemporaryDirectory() as folder, Archive.create(Path(folder) / "archive") as archive:
        phantoms = phantom_cases(options.per_class * classes, seed=1, split="held-out")
        add_manifest(archive, write_phantoms(Path(folder) / "phantoms", phantoms), encoder, in_place=True)
        fingerprint, held = encoder.fingerprint, archive.cases()
        query = next(case for case in held if case.site == "cervix")
        vector = archive.vectors_of([query.images[0].id], fingerprint)
        others = CaseFilter(exclude_patients=(query.patient,))
        pool = NuisancePool(held)
        calibration = calibrate(archive, fingerprint)

        def search(k: int = 10):
            return rank_by_mean(archive, vector, k, where=others, fingerprint=fingerprint)

        def rows(**read: object):
            return gallery(
                archive, vector, fingerprint=fingerprint, system=query.system, site=query.site, where=others, **read
            )

        hits = search()
        measured: dict[str, Callable[[], object]] = {
            "the search itself, 10 cases": search,
            "agreement": lambda: agreement(hits, system=query.system),
            "nuisance audit, pool read before": lambda: pool.audit(hits, query=query),
            "nuisance audit of a filtered search": lambda: pool.audit(
                hits, query=query, where=CaseFilter(sites=("cervix",))
            ),
            "reading the nuisance pool": lambda: NuisancePool.of(archive),
            "judging comparability": lambda: calibration.judge(nearest_similarity(hits), "case"),
            "gallery, cases read before": lambda: rows(held=held),
            "gallery": rows,
            "report text": lambda: morphology_and_diagnosis(query.report),
            "report family": lambda: report_family(query.report),
            "calibrating images (500 patients)": lambda: calibrate(archive, fingerprint),
            "calibrating texts (500 patients)": lambda: calibrate_texts(archive, fingerprint, encoder.encode_texts),
        }
        print(f"{len(held)} phantom cases, one image each\n{describe_machine()}\n")
        print("| | median ms | longest ms |\n|---|---|---|")
        for name, work in measured.items():
            middle, longest = _milliseconds(work, 3 if name.startswith("calibrating") else options.repetitions)
            print(f"| {name} | {middle:.1f} | {longest:.1f} |")
    return 0


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
