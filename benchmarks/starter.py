"""How well the starter's search finds cases of the query's site and category, on phantoms not used in training.

    python -m benchmarks.starter

Reference cases and queries are held-out phantoms of different seeds, so that relevance is known. Each query searches
the same archive by its rendered image, by that image as the generator's autoencoder reconstructs it (no generated image
can have more detail), and by its report: through generated images, through the text tower, through the archive's
reports, and through all of them fused. Printed are the share of the first 10 cases of the same site, and of the same
site and category; the paired differences between these; and the classes in which generated images are furthest behind
the text tower, with the figures of a rendered image there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.machine import describe_machine
from benchmarks.prompts import shares
from generation import PRESETS, CoinGenerator, GenerationCache, Preset
from generation.model.files.weight_files import STARTER
from generation.phantom import PROFILES, SPLITS, Phantom, phantom_cases, write_phantoms
from generation.training.starter.autoencoder import restore
from index_store import Archive
from retrieval import CaseSearch, Encoder, Estimate, Label, Precision, SearchResult, add_manifest, precision_at_k
from retrieval.statistics.estimate import bootstrap_mean

REFERENCE_SEED = 1
K = 10
IMAGE, RESTORED, GENERATED, JOINT, REPORT, JOINED = (
    "(b) phantom image",
    "(b), through the autoencoder",
    "(a) report, generated images",
    "report, text to image",
    "report, to reports",
    "report, all fused",
)
COMPARED = (
    (JOINED, GENERATED),
    (JOINED, JOINT),
    (JOINED, REPORT),
    (GENERATED, JOINT),
    (GENERATED, IMAGE),
    (RESTORED, IMAGE),
    (JOINT, IMAGE),
)
WORST = 6


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classes = {(profile.site, profile.category) for profile in PROFILES}
    references = phantom_cases(options.per_class * len(classes), seed=REFERENCE_SEED, split="held-out")
    queries = phantom_cases(options.queries, seed=options.query_seed, split=options.wordings)
    with TemporaryDirectory() as folder:
        # Named, the starter's base comes without its LoRA; unnamed, with it.
        base = STARTER / "base" if options.no_lora else None
        generator = CoinGenerator(base, device=options.device, cache=GenerationCache(Path(folder) / "generated"))
        encoder = Encoder(device=options.device)
        with Archive.create(Path(folder) / "archive", name="held-out phantoms") as archive:
            manifest = write_phantoms(Path(folder) / "phantoms", references, size=options.size)
            add_manifest(archive, manifest, encoder, in_place=True)
            rows = _measure(CaseSearch(archive, encoder, generator), queries, references, options)
    report = {
        "machine": describe_machine(),
        "queries": len(queries),
        "wordings": options.wordings,
        "references": len(references),
        "classes": len(classes),
        "images": options.images,
        "preset": _preset(options).name,
        "generator": generator.describe(),
        "encoder": encoder.fingerprint,
        "asked": [_label(query) for query in queries],
        "rows": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n", encoding="utf-8")
    print(_table(report))
    return 0


def _measure(
    search: CaseSearch, queries: list[Phantom], references: list[Phantom], options: argparse.Namespace
) -> list[Row]:
    def by_report(*channels: str) -> Callable[[Phantom], SearchResult]:
        # One seed for each query; the rows after the first find its images in the cache.
        return lambda query: search.by_report(
            query.report, k=K, n_images=options.images, seed=query.seed, preset=_preset(options), channels=channels
        )

    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(STARTER / "base" / "vae", use_safetensors=True).eval()

    def restored(query: Phantom) -> Image.Image:
        return Image.fromarray(restore(vae, np.asarray(query.render(options.size))[None])[0])

    ways: dict[str, Callable[[Phantom], SearchResult]] = {
        IMAGE: lambda query: search.by_image(query.render(options.size), k=K),
        RESTORED: lambda query: search.by_image(restored(query), k=K),
        GENERATED: by_report("generated"),
        JOINT: by_report("joint"),
        REPORT: by_report("report"),
        JOINED: by_report(),
    }
    archive = [_label(phantom) for phantom in references]
    query_labels = [_label(query) for query in queries]
    rows = []
    for name, run in ways.items():
        started = time.perf_counter()
        results = [run(query) for query in tqdm(queries, desc=name, file=sys.stderr)]
        hits = [[Label(entry.case.site, entry.case.category) for entry in result.cases] for result in results]
        seconds = (time.perf_counter() - started) / len(queries)
        by_query = [
            shares([entry.case for entry in result.cases], query)
            for result, query in zip(results, queries, strict=True)
        ]
        site, both = map(list, zip(*by_query, strict=True))
        rows.append(Row(name, precision_at_k(query_labels, hits, archive, k=K), seconds, site, both))
    return rows


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of query, measured; and for each query, P@K of the site and of site and category."""

    name: str
    precision: Precision
    seconds_per_query: float
    site: list[float]
    both: list[float]


def _preset(options: argparse.Namespace) -> Preset:
    chosen = PRESETS[options.preset]
    if options.guidance is None:
        return chosen
    return dataclasses.replace(chosen, name=f"{chosen.name}, guidance {options.guidance:g}", guidance=options.guidance)


def _label(phantom: Phantom) -> Label:
    return Label(phantom.morphology.site, phantom.morphology.category)


def _table(report: dict) -> str:
    rows: list[Row] = report["rows"]
    image = rows[0].precision
    lines = [
        f"{report['queries']} phantom queries ({report['wordings']} wordings) against {report['references']} held-out "
        f"phantom cases of {report['classes']} classes (site × category)",
        f"{report['images']} images for each report, preset '{report['preset']}'",
        report["machine"],
        "",
        f"| query | P@{K} site | P@{K} site + category | ratio to (b), site / site + category | s / query |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        p = row.precision
        ratio = f"{_ratio(p.site, image.site)} / {_ratio(p.site_category, image.site_category)}"
        lines.append(f"| {row.name} | {p.site} | {p.site_category} | {ratio} | {row.seconds_per_query:.2f} |")
    lines.append(f"| chance | {image.chance_site:.3f} | {image.chance_site_category:.3f} | | |")
    lines += ["", "Only the row (a) generates images; the rows after it find them in the cache."]
    return "\n".join([*lines, "", *_differences(rows), "", *_classes(rows, report["asked"])])


def _differences(rows: list[Row]) -> list[str]:
    named = {row.name: row for row in rows}
    lines = [f"| difference, paired | P@{K} site | P@{K} site + category |", "|---|---|---|"]
    for name, other in COMPARED:
        row, beside = named[name], named[other]
        site, both = (
            bootstrap_mean(np.subtract(left, right))
            for left, right in ((row.site, beside.site), (row.both, beside.both))
        )
        lines.append(f"| {name} − {other} | {site} | {both} |")
    return lines


def _classes(rows: list[Row], query_labels: list[Label]) -> list[str]:
    """The WORST classes by the difference of the sums, so that a class with many queries and a small gap counts too."""
    both = {row.name: np.array(row.both) for row in rows}
    queries_of = {label: [i for i, other in enumerate(query_labels) if other == label] for label in query_labels}
    behind = both[GENERATED] - both[JOINT]
    worst = sorted(queries_of, key=lambda label: (behind[queries_of[label]].sum(), label.site, label.category))[:WORST]
    ways = (GENERATED, JOINT, IMAGE, RESTORED)
    lines = [f"| furthest behind | queries | {' | '.join(ways)} |", f"|---|---|{'---|' * len(ways)}"]
    rest = [i for label, queries in queries_of.items() if label not in worst for i in queries]
    groups = [(f"{label.site}: {label.category}", queries_of[label]) for label in worst] + [("all other classes", rest)]
    for name, queries in groups:
        if queries:
            means = " | ".join(f"{both[way][queries].mean():.3f}" for way in ways)
            lines.append(f"| {name} | {len(queries)} | {means} |")
    return lines


def _ratio(value: Estimate, reference: Estimate) -> str:
    return f"{value.mean / reference.mean:.2f}" if reference.mean else "-"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument(
        "--wordings",
        choices=SPLITS,
        default="held-out",
        help="whose words the queries' reports use; the phantoms themselves are unseen in both",
    )
    parser.add_argument("--per-class", type=int, default=30, help="reference cases per site and category")
    parser.add_argument("--images", type=int, default=4, help="generated images for each report")
    parser.add_argument("--preset", choices=PRESETS, default="draft")
    parser.add_argument("--guidance", type=float, help="another guidance than the preset's")
    parser.add_argument("--no-lora", action="store_true", help="the starter's base alone")
    parser.add_argument("--query-seed", type=int, default=0, help="settings are chosen on other queries than reported")
    parser.add_argument("--size", type=int, default=128, help="pixels of a phantom's side")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
