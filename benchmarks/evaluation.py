"""How long `coin evaluate` takes once everything is embedded: 10,000 cases of 6,667 patients, three images each.

    OMP_NUM_THREADS=2 python -m benchmarks.evaluation [--cases 10000] [--dim 512]
    python -m benchmarks.evaluation --pairs 30000 [--sample 1300] --dim 256

The second measures `coin evaluate --no-histogram` on image–report pairs that were inserted in bulk (`bulk_archive`).

A real archive is built (its time is not counted): reports of phantoms, tiny pictures, and for images, reports and
generated images vectors around a centre for each category, with noise. Then everything is measured that
`coin evaluate --generate all` measures when nothing is left to embed or to generate: colour histograms are read from
the pictures.

Time: O(n m d + n p log p) for each channel and O(n p log p) for each fusion, with n cases, m images of d dimensions and
p patients; the intervals take O(2000 n) for each row and metric.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import PIL.Image
from tqdm import tqdm

from benchmarks.bulk_archive import CASES, build_archive
from benchmarks.machine import describe_machine
from benchmarks.synthetic_vectors import SyntheticVectors
from generation.phantom import phantom_cases
from index_store import Archive, ManifestRow
from retrieval import QueryTypeResult, default_rules, evaluate_archive, ordinal
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.evaluate import evaluate_experiment
from retrieval.evaluation.experiment import build_experiment
from retrieval.evaluation.material import gather
from retrieval.search.channels.colour import HISTOGRAM
from retrieval.search.channels.own_runs import EvaluationMaterials
from ui.commands.progress import progress

FINGERPRINT = "vectors of the benchmark"
IMAGES = 3
NOISE = {"image": 1.6, "report": 1.2, "generated": 1.8}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.pairs:
        print(json.dumps(_of_pairs(options.pairs, options.sample, options.dim, options.folder), indent=2))
        return 0
    with TemporaryDirectory(dir=options.folder) as folder:
        started = time.perf_counter()
        with _archive(Path(folder), options.cases, options.dim) as archive:
            built, busy = time.perf_counter(), time.process_time()
            results, cases, gathered = _evaluated(archive)
        done = time.perf_counter()
        busy = time.process_time() - busy
    task = next(task for task in results[1].tasks if task.name == "category")
    figures = {
        "machine": describe_machine(),
        "cases": len(cases.keys),
        "patients": cases.patients,
        "images": len(cases.image_ids),
        "dimensions": options.dim,
        "rows": sum(len(result.tasks[0].parts[0].rows) for result in results),
        "building the archive, s (not counted)": round(built - started, 1),
        "reading, colour histograms, s": round(gathered - built, 1),
        "ranking and intervals, s": round(done - gathered, 1),
        "evaluation, s": round(done - built, 1),
        "of it processor time, s": round(busy, 1),
        "peak memory, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **{f"P@10 {row.channel}": str(row.scores["P@10"]) for row in task.parts[0].rows},
    }
    print(json.dumps(figures, indent=2) if options.json else "\n".join(f"{k:40} {v}" for k, v in figures.items()))
    return 0


def _evaluated(archive: Archive) -> tuple[tuple[QueryTypeResult, ...], LabelledCases, float]:
    rules = default_rules()
    material = gather(
        archive,
        encoder=None,
        generation=None,
        sample=None,
        seed=0,
        histogram=True,
        rules=rules,
        work=None,
        progress=progress,
    )
    cases = material.cases
    by_name = {scorer.name: scorer for scorer in material.experiment.scorers}
    images, colours = by_name["image"], by_name[HISTOGRAM]
    everyone = np.arange(len(cases.keys))
    # The next steps of `gather`, with vectors instead of generated images.
    experiment = build_experiment(
        EvaluationMaterials(
            archive=archive,
            image_ids=cases.image_ids,
            images=(images.queries, images.references),
            reports=cases.reports,
            rules=rules,
            texts=by_name["joint"].queries,
            generated=_near(cases, images.references.shape[1], "generated"),
            colours=(colours.queries, colours.references),
        ),
        queries=everyone,
        report_queries=everyone,
        left_out=0,
    )
    gathered = time.perf_counter()
    with progress("Evaluating", unit="queries") as count:
        results = evaluate_experiment(cases, experiment, gain=ordinal, progress=count)
    return results, cases, gathered


def _archive(folder: Path, count: int, dim: int) -> Archive:
    """Every second patient has two cases."""
    phantoms = phantom_cases(count)
    (folder / "images").mkdir()
    rows = []
    for number, phantom in enumerate(tqdm(phantoms, desc="images", file=sys.stderr)):
        for i in range(IMAGES):
            path = folder / "images" / f"{number}-{i}.png"
            index = IMAGES * number + i
            PIL.Image.new("RGB", (8, 8), (index % 256, index // 256 % 256, index // 65536)).save(path)
            rows.append(
                ManifestRow(
                    index,
                    path.name,
                    path,
                    case=f"case {number:05}",
                    patient=f"patient {number - (number % 3 == 2):05}",
                    report=phantom.report,
                    site=phantom.profile.site,
                    system=phantom.profile.system,
                    category=phantom.profile.category,
                    stain=("Papanicolaou", "Giemsa")[number % 2],
                    phantom=True,
                )
            )
    archive = Archive.create(folder / "archive", name="benchmark")
    archive.use_encoder(FINGERPRINT, name="no model", dim=dim)
    labels = [(row.site, row.system, row.category) for row in rows]
    vectors = _vectors(labels, dim, "image")
    items = archive.pending(rows).new
    for start in tqdm(range(0, len(items), 3000), desc="adding", file=sys.stderr):
        block = [item.load() for item in items[start : start + 3000]]
        archive.add(block, vectors[start : start + len(block)], fingerprint=FINGERPRINT, in_place=True)
    cases = archive.cases()
    texts = _vectors([(case.site, case.system, case.category) for case in cases], dim, "report")
    archive.add_report_vectors(
        [case.id for case in cases], [case.report for case in cases], texts, fingerprint=FINGERPRINT
    )
    return archive


def _near(cases: LabelledCases, dim: int, kind: str) -> np.ndarray:
    return _vectors([(label.site, label.system, label.category) for label in cases.labels], dim, kind)


def _vectors(labels: Sequence[tuple[str, str, str]], dim: int, kind: str) -> np.ndarray:
    """Unit rows float32[n, dim] around one centre a label, the same centres for every kind."""
    order = sorted(set(labels))
    unit: Callable[[np.ndarray], np.ndarray] = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    centres = unit(np.random.default_rng(1).normal(size=(len(order), dim)))
    noise = unit(np.random.default_rng([2, *kind.encode()]).normal(size=(len(labels), dim)))
    return unit(centres[[order.index(label) for label in labels]] + NOISE[kind] * 3 * noise).astype(np.float32)


def _of_pairs(pairs: int, sample: int | None, dim: int, folder: Path | None) -> dict[str, object]:
    """What an evaluation of so many image–report pairs takes. `sample`: queries; None: as many as by default."""
    vectors = SyntheticVectors(pairs, dim)
    with TemporaryDirectory(dir=folder) as work:
        path = Path(work) / "archive"
        build_archive(path, vectors, vectors.array(), reports=pairs, shape=replace(CASES, images_per_case=1))
        with Archive.open(path, read_only=True) as archive:
            started, busy = time.perf_counter(), time.process_time()
            evaluation = evaluate_archive(archive, histogram=False, sample=sample, gain=ordinal, progress=progress)
            return {
                "machine": describe_machine(),
                "pairs": evaluation.cases,
                "patients": evaluation.patients,
                "queries": evaluation.sampled or evaluation.cases,
                "evaluation, s": round(time.perf_counter() - started, 1),
                "of it processor time, s": round(time.process_time() - busy, 1),
                "peak memory, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=0, help="instead: so many image–report pairs, inserted in bulk")
    parser.add_argument("--sample", type=int, help="of the pairs: how many are queries")
    parser.add_argument("--folder", type=Path, help="where the temporary archive is made")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
