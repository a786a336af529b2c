"""How far each preset agrees with `reference`: in its images, and in the hits of a search by them.

    python -m benchmarks.presets [--base FOLDER --lora FOLDER]

Every preset generates images of held-out phantom reports from the same seeds. Printed are: the cosine in the encoder's
space between a preset's image and the reference's image of the same seed; the share of the reference's first ten cases
that a search by the preset's images finds too; and how often those ten are of the report's site and category. Two rows
are for comparison: `reference` from other seeds (only the noise differs) and, for the images, another report's. One row
is the reference in bfloat16, as a GPU computes it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.machine import describe_machine
from generation import PRESETS, CoinGenerator, GenerationCache, Preset
from generation.phantom import PROFILES, Phantom, phantom_cases, write_phantoms
from index_store import Archive
from retrieval import CaseSearch, Encoder, Label, add_manifest, precision_at_k

K = 10
OTHER_SEEDS = 10_000  # added to a seed for another one
REFERENCE = PRESETS["reference"]
DRAFT = PRESETS["draft"]


@dataclass(frozen=True)
class Way:
    """One way to generate."""

    name: str
    preset: Preset
    dtype: str = "float32"
    seed_offset: int = 0


@dataclass(frozen=True)
class Generated:
    """The images of one way for every report, as unit rows float32[reports, images, d], and the hits of a search."""

    vectors: npt.NDArray[np.float32]
    hits: list[list[tuple[str, str, str]]]
    """Key, site and category of the first ten of each report."""
    seconds_an_image: float


@dataclass(frozen=True)
class Row:
    name: str
    similarity: float
    """Mean cosine to the reference's image of the same seed."""
    similarity_low: float
    """The 5th percentile of it."""
    overlap: float
    """Share of the reference's first ten cases, mean over reports."""
    precision: float
    """Share of the first ten of the report's site and category, mean over categories."""
    seconds_an_image: float


def all_ways() -> list[Way]:
    """The presets that need no further LoRA, and rows for comparison; all are compared with the first."""
    options = {"use_karras_sigmas": False, "euler_at_final": True}
    return [
        Way("reference", REFERENCE),
        Way("reference, bfloat16", REFERENCE, dtype="bfloat16"),
        Way("reference, other seeds", REFERENCE, seed_offset=OTHER_SEEDS),
        Way("draft", DRAFT),
        Way("draft, guidance 7.5", dataclasses.replace(DRAFT, name="draft-7.5", guidance=7.5)),
        Way("draft, 25 steps", dataclasses.replace(DRAFT, name="draft-25", steps=25)),
        Way("draft, Euler at the end", dataclasses.replace(DRAFT, name="draft-euler", scheduler_options=options)),
    ]


def chosen_ways(options: argparse.Namespace) -> list[Way]:
    return [way for way in all_ways() if options.ways is None or way.name in ("reference", *options.ways)]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classes = {(profile.site, profile.category) for profile in PROFILES}
    references = phantom_cases(options.per_class * len(classes), seed=1, split="held-out")
    queries = phantom_cases(options.queries, seed=options.query_seed, split="held-out")
    with TemporaryDirectory() as folder:
        cache = GenerationCache(Path(folder) / "generated")
        generators = {
            dtype: CoinGenerator(options.base, options.lora, device=options.device, dtype=dtype, cache=cache)
            for dtype in ("float32", "bfloat16")
        }
        encoder = Encoder(options.encoder, device=options.device)
        with Archive.create(Path(folder) / "archive", name="held-out phantoms") as archive:
            manifest = write_phantoms(Path(folder) / "phantoms", references, size=options.size)
            add_manifest(archive, manifest, encoder, in_place=True)
            rows: list[Row] = []
            first: Generated | None = None
            for way in chosen_ways(options):
                search = CaseSearch(archive, encoder, generators[way.dtype])
                generated = _generate(search, generators[way.dtype], encoder, way, queries, options.images)
                first = first or generated
                rows.append(_row(way.name, generated, first, queries, references))
                print(_line(rows[-1]), file=sys.stderr, flush=True)
    assert first is not None
    report = {
        "machine": describe_machine(),
        "queries": len(queries),
        "references": len(references),
        "images": options.images,
        "generator": generators["float32"].describe(),
        "encoder": encoder.fingerprint,
        "another_report": another_report(first.vectors),
        "rows": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n", encoding="utf-8")
    print(table(report))
    return 0


def _generate(
    search: CaseSearch, generator: CoinGenerator, encoder: Encoder, way: Way, queries: list[Phantom], images: int
) -> Generated:
    requests = [(query.report, [query.seed + way.seed_offset + n for n in range(images)]) for query in queries]
    started = time.perf_counter()
    queue = tqdm(generator.generate_queue(requests, preset=way.preset), desc=way.name, total=len(queries))
    vectors = [encoder.encode_images([image.image for image in generation.images]) for generation in queue]
    seconds = (time.perf_counter() - started) / (len(queries) * images)
    hits = []
    for report, seeds in requests:  # finds the images in the cache
        result = search.by_report(
            report, k=K, n_images=images, seed=seeds[0], preset=way.preset, channels=("generated",)
        )
        hits.append([(entry.case.key, entry.case.site, entry.case.category) for entry in result.cases])
    return Generated(np.stack(vectors), hits, seconds)


def _row(name: str, generated: Generated, first: Generated, queries: list[Phantom], references: list[Phantom]) -> Row:
    cosines = (generated.vectors * first.vectors).sum(axis=-1)
    overlap = [
        len({key for key, _, _ in mine} & {key for key, _, _ in theirs}) / K
        for mine, theirs in zip(generated.hits, first.hits, strict=True)
    ]
    precision = precision_at_k(
        [_label(query) for query in queries],
        [[Label(site, category) for _, site, category in cases] for cases in generated.hits],
        [_label(phantom) for phantom in references],
        k=K,
    )
    return Row(
        name,
        float(cosines.mean()),
        float(np.quantile(cosines, 0.05)),
        float(np.mean(overlap)),
        precision.site_category.mean,
        generated.seconds_an_image,
    )


def another_report(vectors: npt.NDArray[np.float32]) -> float:
    """Mean cosine between the first images of one report and of the next."""
    first = vectors[:, 0]
    return float((first * np.roll(first, 1, axis=0)).sum(axis=-1).mean())


def _label(phantom: Phantom) -> Label:
    return Label(phantom.morphology.site, phantom.morphology.category)


def _line(row: Row) -> str:
    return (
        f"| {row.name} | {row.similarity:.3f} | {row.similarity_low:.3f} | {row.overlap:.0%} | {row.precision:.3f} "
        f"| {row.seconds_an_image:.2f} |"
    )


def table(report: dict) -> str:
    """The rows as Markdown."""
    lines = [
        f"{report['queries']} held-out phantom reports, {report['images']} images each, against "
        f"{report['references']} held-out phantom cases",
        report["machine"],
        "",
        "| generated by | cosine to `reference`, same seed | 5th percentile | its first ten found "
        "| P@10 site + category | s / image |",
        "|---|---|---|---|---|---|",
        *(_line(row) for row in report["rows"]),
        f"| another report's images | {report['another_report']:.3f} | | | | |",
    ]
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=88)
    parser.add_argument("--query-seed", type=int, default=0)
    parser.add_argument("--per-class", type=int, default=30, help="reference cases per site and category")
    parser.add_argument("--images", type=int, default=4, help="images for each report")
    parser.add_argument("--size", type=int, default=128, help="pixels of a phantom's side")
    parser.add_argument("--ways", nargs="+", choices=[way.name for way in all_ways()], help="these, beside reference")
    parser.add_argument("--base", help="a base's folder or hub id (the starter, if not given)")
    parser.add_argument("--lora", help="a LoRA's folder or file")
    parser.add_argument("--encoder", help="a model's folder or 'hf-hub:org/name' (the starter, if not given)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
