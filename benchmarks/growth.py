"""What every step of a search costs as the archive grows, with its diagnostics, by the clock.

    python -m benchmarks.growth [--sizes 1000 10000 100000] [--large] [--repetitions 11] [--clock wall] [--pairs]
                                [--write docs]

Archives of synthetic vectors (four images a case, two cases a patient, every report embedded), inserted in bulk and
without picture files, searched with the starter's encoder. With `--pairs` each image has a case, a patient and a
report of its own, in varied words. Each size runs in a process of its own. The slope is that of the median over the
size, both as logarithms, between the last two sizes: 0 where the cost stays, 1 where it is as the archive. The
encoder's own time is in a query by words. `--large` adds 300,000 and 1,000,000 images; `--write` makes a page and a
picture in a folder. Memory is what a process has more after its answers than after loading its models, measured in one
of its own, with mapped files and without them. On a machine that others fill, `--clock processor` measures the
processor's time in place of the clock's.

A new process is timed three times: what the first derives of the records, the others read from the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, count
from pathlib import Path

import PIL.Image
import psutil
from sqlalchemy import update

from benchmarks import growth_report
from benchmarks.bulk_archive import CASES, PAIRS, Shape, add_images, build_archive
from benchmarks.growth_report import ADDED, ADDING, MEMORY, OWN_MEMORY
from benchmarks.machine import describe_machine
from benchmarks.synthetic_vectors import IMAGES_PER_CASE, SITES, SyntheticVectors
from index_store import Archive, CaseFilter, ManifestRow, NewImage, decode_image
from index_store.catalog.counts.kept import recount
from index_store.catalog.models import CaseRow
from index_store.vectors import Vectors
from retrieval import CaseSearch, Diagnostics, Encoder, Query, SavedQueries
from retrieval.generated.near_duplicate import nearest_references
from retrieval.language.vocabulary import vocabulary
from retrieval.search.by_category import gallery

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
LARGE = (300_000, 1_000_000)
PICTURE = PIL.Image.effect_noise((64, 64), 60).convert("RGB")
with io.BytesIO() as _file:
    PICTURE.save(_file, "PNG")
    PICTURE_BYTES = _file.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.memory:
        print(json.dumps(memory(options.memory)))
        return 0
    if options.one:
        shape, clock = PAIRS if options.pairs else CASES, CLOCKS[options.clock]
        print(json.dumps(measure(options.one, options.repetitions, options.folder, clock, shape)))
        return 0
    found: dict[int, dict[str, list[float]]] = {}
    sizes = sorted({*options.sizes, *(LARGE if options.large else ())})
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.growth", "--one", str(size)]
        command += ["--repetitions", str(options.repetitions)]
        command += ["--clock", options.clock, *(["--folder", str(options.folder)] if options.folder else [])]
        command += ["--pairs"] if options.pairs else []
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
        found[size] = json.loads(made.stdout)
        print(f"{size} images measured", file=sys.stderr)
    print(describe_machine(), "\n")
    print(growth_report.table(found), "\n")
    print("Grows faster than its work:", *(growth_report.faster_than_its_work(found) or ["nothing"]), sep="\n- ")
    if options.write is not None:
        growth_report.write(
            options.write, found, describe_machine(), clock=options.clock, repetitions=options.repetitions
        )
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
        give_categories(path)
        with Archive.open(path) as archive:  # the index is built and saved once
            archive.search(vectors.queries(1), 1, fingerprint=encoder.fingerprint)
            with archive.writer():
                pass
        cases = size // shape.images_per_case
        first: list[float] = []
        for number in range(3):
            archive = Archive.open(path)
            search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
            first += times(1, partial(by_case, search, diagnostics, number))
            if number < 2:
                archive.close()
        found["first answer of a new process, by a case"] = first
        found["first answer of a new process, by words as well"] = times(1, partial(by_words, search, diagnostics, 0))
        numbers = count(1)
        pairs = combinations(range(SITES), 2)
        more = vectors.queries(ADDED * repetitions, seed=9)
        single = vectors.queries(2 * (repetitions + 1), seed=10)  # drawing them takes the longer the larger the archive

        by_words(search, diagnostics, 1)  # what it took to keep for the next process is done
        archive.close()
        archive = Archive.open(path)
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        found["first answer of a later process, by words"] = times(1, partial(by_words, search, diagnostics, 0))

        def filtered(query: Callable[..., None]) -> None:
            where = CaseFilter(sites=tuple(f"site-{site}" for site in next(pairs)))
            query(search, diagnostics, next(numbers) * 7 % cases, where)

        steps: dict[str, Callable[[], object]] = {
            "by a case, with diagnostics": lambda: by_case(search, diagnostics, next(numbers) * 7 % cases),
            "by words, with diagnostics": lambda: by_words(search, diagnostics, next(numbers) * 7 % cases),
            "by a case, under a filter that is new": lambda: filtered(by_case),
            "by words, under a filter that is new": lambda: filtered(by_words),
            "facets": archive.facets,
            "status": archive.status,
            "gallery": lambda: gallery(
                archive,
                single[next(numbers) % len(single)][None],
                fingerprint=encoder.fingerprint,
                system=vocabulary().systems[0].name,
            ),
            "saved query, kept and read": lambda: _save(SavedQueries(Path(work) / "queries"), f"q{next(numbers)}"),
            "copy check of a picture": lambda: nearest_references(
                archive, [PICTURE], single[next(numbers) % len(single)][None], fingerprint=encoder.fingerprint
            ),
        }
        for name, step in steps.items():
            step()
            found[name] = times(repetitions, step)
        after: list[float] = []
        with Archive.open(path) as other:
            for number in range(min(5, repetitions)):
                add_images(other, more[number * ADDED : (number + 1) * ADDED], size + 1 + number * ADDED, shape)
                after += times(1, lambda: by_words(search, diagnostics, next(numbers) * 7 % cases))
        found[f"by words, after {ADDED} images by another process"] = after
        found["remove a case"] = times(
            min(5, repetitions), lambda: archive.remove(f"case-{cases - 1 - next(numbers) % (cases // 2)}")
        )
        found[ADDING] = times(
            min(5, repetitions), lambda: add_pictures(archive, next(numbers), more[:ADDED], encoder.fingerprint)
        )
        archive.close()
        with Archive.open(path, read_only=True) as reader:
            found["coin doctor --quick"] = times(1, lambda: reader.examine(checksums=False))
            found["coin backup"] = times(1, lambda: reader.back_up(Path(work) / "backup", allow_damaged=True))
        command = [sys.executable, "-m", "benchmarks.growth", "--memory", str(path)]
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
        found |= {name: [megabytes] for name, megabytes in json.loads(made.stdout).items()}
    return found


def memory(path: Path) -> dict[str, float]:
    """Megabytes that this process has more after a query by a case and one by words than with its models alone; and
    without mapped files, whose pages processes share and the system takes back when it needs them."""
    encoder = Encoder(None).load()
    encoder.encode_texts(["warm"])
    before = psutil.Process().memory_info()
    with Archive.open(path, read_only=True) as archive:
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        by_case(search, diagnostics, 0)
        by_words(search, diagnostics, 0)
        after = psutil.Process().memory_info()
    taken, shared = after.rss - before.rss, getattr(after, "shared", 0) - getattr(before, "shared", 0)
    return {MEMORY: round(taken / 1024**2, 1), OWN_MEMORY: round((taken - shared) / 1024**2, 1)}


def give_categories(path: Path) -> None:
    """Every eighth case gets one of three categories that a gallery shows."""
    system = vocabulary().systems[0]
    with Archive.open(path) as archive, archive.writer(), archive._catalog.writing() as session:
        for number, category in enumerate(system.categories[:3]):
            of_category = (CaseRow.id % 8 == 0) & (CaseRow.id % 3 == number)
            session.execute(update(CaseRow).where(of_category).values(system=system.name, category=category.name))
        recount(session)


def _save(queries: SavedQueries, name: str) -> None:
    queries.save(name, Query(text="Groups of cells with enlarged nuclei."))
    queries.load(name)


def add_pictures(archive: Archive, number: int, vectors: Vectors, fingerprint: str) -> None:
    """As `coin add` does once they are embedded: `ADDED` images of 25 new cases, with these vectors, float32[ADDED, d].
    `number` is another one each time."""
    items = []
    for i in range(ADDED):
        data = f"{number} {i}".encode()
        case = f"added-{number}-{i // IMAGES_PER_CASE}"
        row = ManifestRow(2, "x.png", Path("x.png"), case, case, "Scattered cells, some enlarged.", site="site-1")
        items.append(NewImage(row, hashlib.sha256(data).hexdigest(), PICTURE_BYTES, decode_image(PICTURE_BYTES)))
    archive.add(items, vectors, fingerprint=fingerprint)


def by_case(search: CaseSearch, diagnostics: Diagnostics, case: int, where: CaseFilter | None = None) -> None:
    diagnostics.describe(search.by_case(f"case-{case}", where=where))


def by_words(search: CaseSearch, diagnostics: Diagnostics, case: int, where: CaseFilter | None = None) -> None:
    text = f"Smear {case}, groups of cells with enlarged nuclei; squamous carcinoma is suspected."
    diagnostics.describe(search.by_report(text, where=where, channels=("joint", "report")))


def _times(clock: Callable[[], float], repetitions: int, step: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(repetitions):
        started = clock()
        step()
        found.append(clock() - started)
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="images of each archive")
    parser.add_argument("--large", action="store_true", help="also 300,000 and 1,000,000 images")
    parser.add_argument("--write", type=Path, default=None, help="a folder for growth.md and growth.svg")
    parser.add_argument("--repetitions", type=int, default=11, help="of each step")
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall", help="whose time is measured")
    parser.add_argument("--folder", type=Path, default=None, help="where the archives are made")
    parser.add_argument("--pairs", action="store_true", help="an image a case, a case a patient, varied reports")
    parser.add_argument("--memory", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
