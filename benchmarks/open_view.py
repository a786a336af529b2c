"""A view that is open while another process adds images: whether each of its answers is right, and how long it takes.

    python -m benchmarks.open_view [--images 100000] [--seconds 180] [--pause 2] [--archive FOLDER]

The view has one archive open all the time, as the page of the browser has: it searches by a case and by words, with the
diagnostics of each result, and reads the facets. The other process adds 100 images of 25 new cases in one transaction
(one of them close to the case that is searched by), opens the archive anew, asks the same, and writes down the answers
of that revision; then it pauses. Every answer of the view that is of one revision is compared with those. Times are
given of the processor and of the clock; "first" are the answers that are the first of their kind at a revision.

Archives as `benchmarks.growth` makes them. `--archive`: one that is there; images are added to it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.bulk_archive import build_archive
from benchmarks.growth import ADDED, add_pictures
from benchmarks.machine import describe_machine
from benchmarks.synthetic_vectors import SyntheticVectors
from index_store import Archive
from retrieval import CaseSearch, Diagnostics, Encoder, SearchResult

CASE = "case-0"
TEXT = "Smear 7, groups of cells with enlarged nuclei; squamous carcinoma is suspected."
NEAR = 0.1
"""How far the image is moved that is close to the case."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.answers:
        add_until(options.archive, options.answers, options.seconds, options.pause)
        return 0
    encoder = Encoder(None).load()
    with tempfile.TemporaryDirectory() as work:
        folder = options.archive or Path(work) / "archive"
        if options.archive is None:
            vectors = SyntheticVectors(options.images, encoder.dim)
            build_archive(folder, vectors, vectors.array(), fingerprint=encoder.fingerprint, reports=options.images)
        answers = Path(work) / "answers.jsonl"
        print(describe_machine())
        print(json.dumps(watch(folder, encoder, answers, options.seconds, options.pause), indent=1))
    return 0


def watch(folder: Path, encoder: Encoder, answers: Path, seconds: float, pause: float) -> dict[str, object]:
    """Ask as the view does for so many seconds while another process adds; what was found, and what it took."""
    encoder.encode_texts(["warm"])
    given: list[tuple[int, str, object]] = []
    times: dict[str, list[tuple[float, float]]] = {}
    seen: set[tuple[int, str]] = set()
    with Archive.open(folder) as archive:
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        ask(archive, search, diagnostics)  # what an open view has read
        command = [sys.executable, "-m", "benchmarks.open_view", "--archive", str(folder), "--answers", str(answers)]
        command += ["--seconds", str(seconds), "--pause", str(pause)]
        other = subprocess.Popen(command, cwd=Path(__file__).parents[1])
        while other.poll() is None:
            for kind in ("case", "words"):
                before, clock, processor = archive.revision, time.perf_counter(), time.process_time()
                answer = _answer(archive, search, diagnostics, kind)
                took = (time.process_time() - processor, time.perf_counter() - clock)
                if archive.revision != before:
                    continue  # of one of two revisions
                name = f"by {kind}" if (before, kind) in seen else f"by {kind}, first"
                seen.add((before, kind))
                times.setdefault(name, []).append(took)
                given.append((before, kind, answer))
    right = {}
    for line in answers.read_text("utf-8").splitlines():
        revision, found = json.loads(line)
        right |= {(revision, kind): answer for kind, answer in found.items()}
    compared = [(answer, right[revision, kind]) for revision, kind, answer in given if (revision, kind) in right]
    return {
        "images added": ADDED * len({revision for revision, _ in right}),
        "answers of one revision": len(given),
        "compared with a fresh process": len(compared),
        "of different revisions": len({revision for revision, kind, _ in given if (revision, kind) in right}),
        "different": sum(answer != expected for answer, expected in compared),
        "ms of the processor, and of the clock: median, 95th of 100, longest": {
            name: [_figures([entry[number] for entry in taken]) for number in range(2)]
            for name, taken in sorted(times.items())
        },
    }


def add_until(folder: Path, answers: Path, seconds: float, pause: float) -> None:
    """The other process: adds, and answers each revision with everything opened anew."""
    encoder = Encoder(None).load()
    until, number = time.monotonic() + seconds, 0
    with Archive.open(folder) as archive, answers.open("w", encoding="utf-8") as file:
        near = archive.vectors_of([archive.case(CASE).images[0].id], encoder.fingerprint)
        while time.monotonic() < until:
            moved = np.random.default_rng([3, number]).normal(size=(ADDED, encoder.dim)).astype(np.float32)
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            moved[:1] = near + NEAR * moved[:1]
            moved[:1] /= np.linalg.norm(moved[:1])
            add_pictures(archive, time.time_ns(), moved, encoder.fingerprint)
            with Archive.open(folder, read_only=True) as anew:
                found = ask(anew, CaseSearch(anew, encoder), Diagnostics(anew, encoder))
                file.write(json.dumps((anew.revision, found)) + "\n")
                file.flush()
            number += 1
            time.sleep(pause)


def ask(archive: Archive, search: CaseSearch, diagnostics: Diagnostics) -> dict[str, object]:
    """Both answers, as `_answer`."""
    return {kind: _answer(archive, search, diagnostics, kind) for kind in ("case", "words")}


def _answer(archive: Archive, search: CaseSearch, diagnostics: Diagnostics, kind: str) -> object:
    """Cases with their scores, agreement, confounders and the facets, as JSON gives them back."""
    result: SearchResult = (
        search.by_case(CASE) if kind == "case" else search.by_report(TEXT, channels=("joint", "report"))
    )
    described = diagnostics.describe(result)
    cases = [[entry.case.key, round(entry.score, 6)] for entry in result.cases]
    return [cases, repr(described.agreement), repr(described.nuisance), archive.facets()["site"]]


def _figures(seconds: Sequence[float]) -> list[float]:
    ordered = sorted(seconds)
    of_100 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return [round(1e3 * value, 1) for value in (statistics.median(ordered), of_100, ordered[-1])]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000, help="of the archive that is made")
    parser.add_argument("--seconds", type=float, default=180, help="how long images are added")
    parser.add_argument("--pause", type=float, default=2, help="seconds between two additions")
    parser.add_argument("--archive", type=Path, default=None, help="an archive that is there")
    parser.add_argument("--answers", type=Path, default=None, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
