"""What every step of a search costs as the archive grows, with its diagnostics, by the clock.

    python -m benchmarks.growth [--sizes 1000 10000 100000] [--repetitions 11] [--clock wall] [--pairs]

Archives of synthetic vectors (four images a case, two cases a patient, every report embedded), inserted in bulk and
without picture files, searched with the starter's encoder. With `--pairs` each image has a case, a patient and a
report of its own, in varied words. Each size runs in a process of its own. The slope is that of the median over the
size, both as logarithms, between the last two sizes: 0 where the cost stays, 1 where it is as the archive. The
encoder's own time is in a query by words. On a machine that others fill, `--clock processor` measures the processor's
time in place of the clock's.

A new process is timed three times: what the first derives of the records, the others read from the disk.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, count
from pathlib import Path

from benchmarks.bulk_archive import CASES, PAIRS, Shape, add_images, build_archive
from benchmarks.machine import describe_machine
from benchmarks.synthetic_vectors import SITES, SyntheticVectors
from index_store import Archive, CaseFilter
from retrieval import CaseSearch, Encoder
from retrieval.assessment.diagnostics import Diagnostics

ADDED = 100
"""Images that another process adds."""
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.one:
        shape, clock = PAIRS if options.pairs else CASES, CLOCKS[options.clock]
        print(json.dumps(measure(options.one, options.repetitions, options.folder, clock, shape)))
        return 0
    found: dict[int, dict[str, list[float]]] = {}
    for size in options.sizes:
        command = [sys.executable, "-m", "benchmarks.growth", "--one", str(size)]
        command += ["--repetitions", str(options.repetitions)]
        command += ["--clock", options.clock, *(["--folder", str(options.folder)] if options.folder else [])]
        command += ["--pairs"] if options.pairs else []
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
        found[size] = json.loads(made.stdout)
        print(f"{size} images measured", file=sys.stderr)
    print(describe_machine(), "\n")
    print(f"| ms: median (95th of 100) | {' | '.join(f'{size:,} images' for size in options.sizes)} | slope |")
    print("|---|" + "---|" * (len(options.sizes) + 1))
    for name in found[options.sizes[0]]:
        cells = [_cell(found[size][name]) for size in options.sizes]
        print(f"| {name} | {' | '.join(cells)} | {_slope({size: found[size][name] for size in options.sizes})} |")
    return 0


def measure(
    size: int, repetitions: int, folder: Path | None, clock: Callable[[], float], shape: Shape = CASES
) -> dict[str, list[float]]:
    """Seconds of each repetition by the name of the step."""
    times = partial(_times, clock)
    encoder = Encoder(None).load()
    encoder.encode_texts(["warm"])
    vectors = SyntheticVectors(size, encoder.dim)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        path = Path(work) / "archive"
        build_archive(path, vectors, vectors.array(), fingerprint=encoder.fingerprint, reports=size, shape=shape)
        with Archive.open(path) as archive:  # the index is built and saved once
            archive.search(vectors.queries(1), 1, fingerprint=encoder.fingerprint)
            with archive.writer():
                pass
        cases = size // shape.images_per_case
        first: list[float] = []
        for number in range(3):
            archive = Archive.open(path)
            search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
            first += times(1, partial(_by_case, search, diagnostics, number))
            if number < 2:
                archive.close()
        found["first answer of a new process, by a case"] = first
        found["first answer of a new process, by words as well"] = times(1, partial(_by_words, search, diagnostics, 0))
        numbers = count(1)
        pairs = combinations(range(SITES), 2)
        more = vectors.queries(ADDED * repetitions, seed=9)

        _by_words(search, diagnostics, 1)  # what it took to keep for the next process is done
        archive.close()
        archive = Archive.open(path)
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        found["first answer of a later process, by words"] = times(1, partial(_by_words, search, diagnostics, 0))

        def filtered(query: Callable[..., None]) -> None:
            where = CaseFilter(sites=tuple(f"site-{site}" for site in next(pairs)))
            query(search, diagnostics, next(numbers) * 7 % cases, where)

        steps: dict[str, Callable[[], object]] = {
            "by a case, with diagnostics": lambda: _by_case(search, diagnostics, next(numbers) * 7 % cases),
            "by words, with diagnostics": lambda: _by_words(search, diagnostics, next(numbers) * 7 % cases),
            "by a case, under a filter that is new": lambda: filtered(_by_case),
            "by words, under a filter that is new": lambda: filtered(_by_words),
            "facets": archive.facets,
            "status": archive.status,
        }
        for name, step in steps.items():
            step()
            found[name] = times(repetitions, step)
        after: list[float] = []
        with Archive.open(path) as other:
            for number in range(min(5, repetitions)):
                add_images(other, more[number * ADDED : (number + 1) * ADDED], size + 1 + number * ADDED, shape)
                after += times(1, lambda: _by_words(search, diagnostics, next(numbers) * 7 % cases))
        found[f"by words, after {ADDED} images by another process"] = after
        found["remove a case"] = times(
            min(5, repetitions), lambda: archive.remove(f"case-{cases - 1 - next(numbers) % (cases // 2)}")
        )
        archive.close()
    return found


def _by_case(search: CaseSearch, diagnostics: Diagnostics, case: int, where: CaseFilter | None = None) -> None:
    diagnostics.describe(search.by_case(f"case-{case}", where=where))


def _by_words(search: CaseSearch, diagnostics: Diagnostics, case: int, where: CaseFilter | None = None) -> None:
    text = f"Smear {case}, groups of cells with enlarged nuclei; squamous carcinoma is suspected."
    diagnostics.describe(search.by_report(text, where=where, channels=("joint", "report")))


def _times(clock: Callable[[], float], repetitions: int, step: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(repetitions):
        started = clock()
        step()
        found.append(clock() - started)
    return found


def _cell(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0] * 1e3:.1f}"
    ordered = sorted(values)
    return f"{statistics.median(values) * 1e3:.1f} ({ordered[math.ceil(0.95 * len(ordered)) - 1] * 1e3:.1f})"


def _slope(of_size: dict[int, list[float]]) -> str:
    sizes = sorted(of_size)[-2:]
    if len(sizes) < 2:
        return ""
    low, high = (max(1e-9, statistics.median(of_size[size])) for size in sizes)
    return f"{math.log(high / low) / math.log(sizes[1] / sizes[0]):.2f}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="images of each archive")
    parser.add_argument("--repetitions", type=int, default=11, help="of each step")
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall", help="whose time is measured")
    parser.add_argument("--folder", type=Path, default=None, help="where the archives are made")
    parser.add_argument("--pairs", action="store_true", help="an image a case, a case a patient, varied reports")
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
