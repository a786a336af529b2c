"""How a report's prompt and the generator's settings affect a search by generated images.

    python -m benchmarks.prompts --tables long      # plain truncation, condensing, chunks
    python -m benchmarks.prompts --tables settings  # guidance, negative prompts, the site stated
    python -m benchmarks.prompts --tables glossary  # machine-translated wordings, with the glossary and without

Held-out phantoms of known site and category query an archive of other held-out phantoms by the images that are
generated from their reports, as the `generated` channel does (without the check of the site, which would hide
differences). P@10: the share of the first ten cases of the query's site, and of its site and category, with 95 %
bootstrap intervals over queries. Differences are paired: the same query, the same seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.machine import describe_machine
from benchmarks.prompt_ways import Way, mistranslated, pooled, ways_of
from generation import CoinGenerator, GenerationCache
from generation.phantom import PROFILES, Phantom, phantom_cases, write_phantoms
from index_store import Archive, Case
from retrieval import CaseSearch, Encoder, add_manifest
from retrieval.encoder.vectors import mean_query
from retrieval.search.results_assembly import nearest_cases
from retrieval.statistics.estimate import bootstrap_mean

K = 10
TABLES = ("long", "settings", "glossary")


@dataclass(frozen=True, eq=False)
class Measured:
    """Of each query: shares of the first ten, and its images' unit rows, float32[queries, images, d]."""

    site: npt.NDArray[np.float64]
    both: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    classes = {(profile.site, profile.category) for profile in PROFILES}
    references = phantom_cases(options.per_class * len(classes), seed=1, split="held-out")
    encoder = Encoder(device=options.device)
    report: dict[str, Any] = {"machine": describe_machine(), "encoder": encoder.fingerprint, "tables": {}}
    print(f"{options.images} images for each report, preset draft, {len(references)} references; {report['machine']}")
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        with Archive.create(Path(temporary) / "archive") as archive:
            add_manifest(archive, write_phantoms(Path(temporary) / "phantoms", references), encoder, in_place=True)
            for name in options.tables:
                queries = _queries(name, options)
                ways = ways_of(name, CoinGenerator(device=options.device))
                measured: dict[str, Measured] = {}
                for way in ways:
                    measured[way.name] = _measure(way, queries, archive, encoder, folder, options)
                pictures = encoder.encode_images([query.render() for query in queries])
                title, rows = f"{name}: {len(queries)} reports", _rows(ways, measured, pictures)
                print(f"\n{title}\n\n{_table(rows)}", flush=True)
                report["tables"][title] = rows
                if name == "glossary":
                    report["tables"]["words"] = by_words = _by_words(archive, encoder, queries)
                    print(f"\n{by_words}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n", encoding="utf-8")
    return 0


def _queries(table: str, options: argparse.Namespace) -> list[Phantom]:
    if table != "glossary":
        return phantom_cases(options.queries, seed=options.query_seed, split="held-out")
    among = phantom_cases(40 * options.queries, seed=options.query_seed, split="held-out")
    return [phantom for phantom in among if mistranslated(phantom.report) != phantom.report][: options.queries]


def _measure(
    way: Way, queries: list[Phantom], archive: Archive, encoder: Encoder, folder: Path, options: argparse.Namespace
) -> Measured:
    cache = GenerationCache(folder / way.pooled)  # the pooling is not in the key
    generator = way.kind(device=options.device, cache=cache, **way.options)
    requests = [(way.report(query), range(query.seed, query.seed + options.images)) for query in queries]
    with pooled(way.pooled):
        queue = generator.generate_queue(requests, preset="draft")
        vectors = [
            encoder.encode_images([image.image for image in generation.images])
            for generation in tqdm(queue, desc=way.name, total=len(requests), file=sys.stderr)
        ]
    site, both = np.zeros((2, len(queries)))
    for index, (query, image_vectors) in enumerate(zip(queries, vectors, strict=True)):
        hits = nearest_cases(archive, mean_query(image_vectors), K, where=None, fingerprint=encoder.fingerprint)
        site[index], both[index] = shares([entry.case for entry in hits], query)
    return Measured(site, both, np.stack(vectors))


def shares(cases: Sequence[Case], query: Phantom) -> tuple[float, float]:
    """The shares of the first ten with the query's site, and with its site and category."""
    wanted = query.morphology
    of_site = [case.site == wanted.site for case in cases]
    of_both = [case.category == wanted.category and right for case, right in zip(cases, of_site, strict=True)]
    return sum(of_site) / K, sum(of_both) / K


def _by_words(archive: Archive, encoder: Encoder, queries: list[Phantom]) -> str:
    """The channels that compare words, queried by machine-translated reports."""
    lines = [f"| P@{K} site + category by | usual wording | machine-translated | with the glossary | gained, paired |"]
    lines.append("|---|---|---|---|---|")
    searches = {understands: CaseSearch(archive, encoder, glossary=understands) for understands in (False, True)}
    for channel in ("joint", "report"):
        both = {}
        for name, understands, wording in (
            ("usual", False, str),
            ("translated", False, mistranslated),
            ("understood", True, mistranslated),
        ):
            results = [
                searches[understands].by_report(wording(query.report), k=K, channels=(channel,)) for query in queries
            ]
            both[name] = np.array(
                [
                    shares([entry.case for entry in result.cases], query)[1]
                    for result, query in zip(results, queries, strict=True)
                ]
            )
        cells = [*map(bootstrap_mean, both.values()), bootstrap_mean(both["understood"] - both["translated"])]
        lines.append(f"| `{channel}` | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Row:
    """One way, measured: estimates as text, and mean cosines."""

    name: str
    site: str
    both: str
    against: str
    gained_site: str
    gained_both: str
    to_first: float
    """Mean cosine to the image of the table's first way from the same seed."""
    to_phantom: float
    """Mean cosine to the phantom's own picture."""


def _rows(ways: Sequence[Way], measured: dict[str, Measured], pictures: npt.NDArray[np.float32]) -> list[Row]:
    first = measured[ways[0].name]
    rows = []
    for way in ways:
        values = measured[way.name]
        other = measured.get(way.against)
        rows.append(
            Row(
                way.name,
                str(bootstrap_mean(values.site)),
                str(bootstrap_mean(values.both)),
                way.against,
                "" if other is None else str(bootstrap_mean(values.site - other.site)),
                "" if other is None else str(bootstrap_mean(values.both - other.both)),
                float((values.vectors * first.vectors).sum(axis=-1).mean()),
                float((values.vectors * pictures[:, None]).sum(axis=-1).mean()),
            )
        )
    return rows


def _table(rows: Sequence[Row]) -> str:
    lines = [
        f"| reports and generation | P@{K} site | P@{K} site + category | cosine to the first row, same seed "
        "| cosine to the phantom |",
        "|---|---|---|---|---|",
        *(f"| {r.name} | {r.site} | {r.both} | {r.to_first:.3f} | {r.to_phantom:.3f} |" for r in rows),
        "",
        f"| difference, paired | P@{K} site | P@{K} site + category |",
        "|---|---|---|",
        *(f"| {r.name} − {r.against} | {r.gained_site} | {r.gained_both} |" for r in rows if r.against),
    ]
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--query-seed", type=int, default=79, help="of no other benchmark")
    parser.add_argument("--per-class", type=int, default=30, help="reference cases per site and category")
    parser.add_argument("--images", type=int, default=2, help="generated images for each report")
    parser.add_argument(
        "--folder", type=Path, help="keep generated images here, so that a second run generates nothing"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
