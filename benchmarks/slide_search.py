"""How a patient's score is best made of many fields against many: whole slides that query for slides of their finding.

    python -m benchmarks.slide_search

Composed slides (`benchmarks/phantom_slides.py`) of several sites go into an archive by `add_manifest`: half of each
site's hold only normal fields, a quarter few abnormal ones (1 to 5 % of those that can be read), a quarter many (20 to
40 %). Each slide then queries by its stored fields for the others. Printed are P@5 by site and by finding (abnormal,
however much of it, or not), with 95 % intervals over slides, for each way to join the best matches, for the mean of all
fields as one vector, and by chance: once with all fields, once where every second slide keeps its first 8 only, with
the share of the first 5 that the slides with all fields take. Last, how many of the first 5 the search over the
archive's index gives that a comparison with every image gives, and its time.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine
from benchmarks.phantom_slides import ABNORMAL_SHARE, SITES, compose
from index_store import Archive, CaseFilter
from retrieval import Encoder, add_manifest
from retrieval.encoder.vectors import mean_query
from retrieval.search.slides.many_vectors import joined, rank_by_fields
from retrieval.search.slides.slide_query import MATCHES
from retrieval.statistics.estimate import bootstrap_mean

MANY = (0.2, 0.4)
FIRST = 5
SMALL = 8
ONE_VECTOR = "mean of the fields as one vector"
Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slides:
    """The slides of the archive, in the order of their case ids."""

    keys: list[str]
    site: NDArray[np.int64]
    finding: NDArray[np.int64]
    """Site, and whether anything is abnormal."""
    kind: list[str]
    """"normal", "few abnormal" or "many abnormal"."""
    vectors: list[NDArray[np.float32]]
    """float32[fields, d] of each"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sites", type=int, default=5, help="sites, of seven")
    parser.add_argument("--slides", type=int, default=12, help="slides of a site, a multiple of 4")
    parser.add_argument("--fields", type=int, default=12, help="fields along a composed slide's edge")
    parser.add_argument("--first", type=int, default=1000, help="the first slide's number")
    options = parser.parse_args(arguments)
    encoder = Encoder()
    with tempfile.TemporaryDirectory() as folder:
        kinds = _write(Path(folder), options.sites, options.slides, options.fields, options.first)
        with Archive.create(Path(folder) / "archive") as archive:
            add_manifest(archive, Path(folder) / "slides.csv", encoder)
            slides = _read(archive, encoder.fingerprint, kinds)
            print(f"\n{describe_machine()}\n")
            fields = [len(rows) for rows in slides.vectors]
            print(f"{len(fields)} slides, {sum(fields)} fields, {min(fields)} to {max(fields)} a slide\n")
            small = _every_second(slides.site)
            _table(slides, slides.vectors, small, "all fields")
            cut = [rows[:SMALL] if few else rows for rows, few in zip(slides.vectors, small, strict=True)]
            _table(slides, cut, small, f"every second slide has {SMALL} fields")
            _compare(archive, encoder.fingerprint, slides)
    return 0


def _write(folder: Path, sites: int, slides: int, fields: int, first: int) -> dict[str, tuple[int, str]]:
    """Slides and their manifest; by case, the site and what the slide holds."""
    kinds: dict[str, tuple[int, str]] = {}
    with (folder / "slides.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "case", "site", "report"])
        for number in range(sites * slides):
            site, turn = number // slides, number % slides
            kind, share = (("normal", (0.0, 0.0)), ("few abnormal", ABNORMAL_SHARE), ("many abnormal", MANY))[
                0 if turn % 2 == 0 else 1 + turn // 2 % 2
            ]
            slide = compose(first + number, fields=fields, site=site, share=share)
            part = folder / f"{number}"
            part.mkdir()
            key = f"slide-{number:03}"
            path = slide.write(part).rename(part / "slide.svs")  # a smaller TIFF than a slide is taken for a field
            rows.writerow([path.relative_to(folder), key, SITES[site][0], f"Composed slide {number}."])
            kinds[key] = site, kind
            print(f"slide {number} ({slide.site}, {kind})", file=sys.stderr)
    return kinds


def _read(archive: Archive, fingerprint: str, kinds: dict[str, tuple[int, str]]) -> Slides:
    cases = sorted(archive.cases(), key=lambda case: case.id)
    site = np.array([kinds[case.key][0] for case in cases])
    kind = [kinds[case.key][1] for case in cases]
    finding = site * 2 + np.array([name != "normal" for name in kind])
    vectors = [archive.vectors_of([image.id for image in case.images], fingerprint) for case in cases]
    return Slides([case.key for case in cases], site, finding, kind, vectors)


def _every_second(site: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[slides], some of each kind."""
    turn = np.arange(len(site)) % max(1, np.bincount(site).max())
    return (turn // 4 + site) % 2 == 1


def _scores(queries: NDArray[np.float32], stored: list[NDArray[np.float32]], way: str) -> Scores:
    """Of every slide for one that queries: float64[slides]."""
    if way == ONE_VECTOR:
        return np.array([float((rows @ mean_query(queries)[0]).max()) for rows in stored])
    similarities = [(queries @ rows.T).astype(np.float64) for rows in stored]
    return np.array([joined(values, way) for values in similarities])


def _first(scores: Scores, own: int) -> list[int]:
    others = np.where(np.arange(len(scores)) == own, -np.inf, scores)
    order: list[int] = np.argsort(-others, kind="stable")[:FIRST].tolist()
    return order


def _table(slides: Slides, stored: list[NDArray[np.float32]], small: NDArray[np.bool_], title: str) -> None:
    kinds = ("normal", "few abnormal", "many abnormal")
    columns = ("P@5 by site", "P@5 by finding", *(f"{kind}" for kind in kinds), "of slides with all fields")
    print(f"| {title} | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    n = len(slides.keys)
    for way in (*MATCHES, ONE_VECTOR):
        found = [_first(_scores(stored[query], stored, way), query) for query in range(n)]
        _row(way, slides, [np.array(ranked) for ranked in found], small)
    _row("chance", slides, [np.delete(np.arange(n), query) for query in range(n)], small)
    print(flush=True)


def _row(way: str, slides: Slides, found: list[NDArray[np.int64]], small: NDArray[np.bool_]) -> None:
    by_site = np.array([(slides.site[ranked] == slides.site[q]).mean() for q, ranked in enumerate(found)])
    by_finding = np.array([(slides.finding[ranked] == slides.finding[q]).mean() for q, ranked in enumerate(found)])
    kinds = np.array(slides.kind)
    parts = [str(bootstrap_mean(by_finding[kinds == kind])) for kind in ("normal", "few abnormal", "many abnormal")]
    large = np.array([(~small[ranked]).mean() for ranked in found])
    cells = [str(bootstrap_mean(by_site)), str(bootstrap_mean(by_finding)), *parts, str(bootstrap_mean(large))]
    print(f"| {way} | " + " | ".join(cells) + " |")


def _compare(archive: Archive, fingerprint: str, slides: Slides) -> None:
    """The search over the index against every image."""
    ids = {case.patient: case.key for case in archive.cases()}
    by_patient = archive.patient_ids(ids)
    print("| search over the index | of the first 5 by every image | seconds a query (median) |\n|---|---|---|")
    for match in MATCHES:
        shared, seconds = [], []
        for number, key in enumerate(slides.keys):
            exact = {
                slides.keys[other] for other in _first(_scores(slides.vectors[number], slides.vectors, match), number)
            }
            started = time.perf_counter()
            ranking = rank_by_fields(
                archive,
                slides.vectors[number],
                FIRST,
                pool=FIRST,
                where=CaseFilter(exclude_cases=(key,)),
                fingerprint=fingerprint,
                match=match,
            )
            seconds.append(time.perf_counter() - started)
            found = {ids[patient] for patient, number_ in by_patient.items() if number_ in list(ranking)[:FIRST]}
            shared.append(len(found & exact) / FIRST)
        print(f"| {match} | {bootstrap_mean(np.array(shared))} | {np.median(seconds):.3f} |")


if __name__ == "__main__":
    raise SystemExit(main())
