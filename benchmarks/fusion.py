"""Which fusion of the channels is best where archive and query are of one author?

The weights in `retrieval/search/fusion_rules.toml` were chosen by `benchmarks.wordings`, on queries of other authors.

    python -m benchmarks.fusion

Held-out phantoms query an archive of other phantoms by report and by image, through each channel; the channels'
rankings are then fused by every rule of a small grid. Twice: the archive's reports use the phrases of the queries
(held-out ones), or others (training ones). These queries (seed 77) are used for choosing only. Printed is the share of
the first 10 cases that have the query's site and category.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from benchmarks.machine import describe_machine
from generation import CoinGenerator, GenerationCache
from generation.phantom import PROFILES, Phantom, phantom_cases, write_phantoms
from index_store import Archive
from retrieval import CHANNELS, CaseSearch, Encoder, FusionRule, Query, add_manifest
from retrieval.search.fusion import POOL, fuse

K = 10
QUERY_SEED = 77
REFERENCES = {"the query's phrases": ("held-out", 1), "other phrases": ("train", 5)}  # split, seed of the archive
WEIGHTS = {"text": (("generated", (0, 0.5, 1)), ("joint", (1, 2)), ("report", (1, 2, 4)))}
WEIGHTS["text and image"] = (("image", (1, 2)), *WEIGHTS["text"])
Ranked = Mapping[str, Mapping[str, float]]
"""By channel, the score of each of its hits, by the case's key."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    logging.disable(logging.INFO)
    encoder = Encoder()
    queries = phantom_cases(options.queries, seed=QUERY_SEED, split="held-out")
    print(f"{len(queries)} queries by report and image, seed {QUERY_SEED}, {options.images} images for each report")
    print(f"{describe_machine()}\n")
    with TemporaryDirectory() as folder:
        generator = CoinGenerator(cache=GenerationCache(Path(folder) / "generated"))
        runs = {
            name: _run(queries, split, seed, Path(folder) / split, encoder, generator, options)
            for name, (split, seed) in REFERENCES.items()
        }
    print(f"| channels | rule | {' | '.join(runs)} |\n|---|---|{'---|' * len(runs)}")
    for channel in (channel for channel in CHANNELS if channel != "colour"):  # its histograms are not kept here
        _row(channel, "alone", FusionRule(weights={channel: 1}), (channel,), queries, runs)
    for name, grid in WEIGHTS.items():
        channels = tuple(channel for channel, _ in grid)
        for method, weights in product(("rrf", "score"), product(*(choices for _, choices in grid))):
            rule = FusionRule(method, dict(zip(channels, weights, strict=True)))  # type: ignore[arg-type]
            _row(name, f"{method} {':'.join(f'{weight:g}' for weight in weights)}", rule, channels, queries, runs)
    return 0


def _run(
    queries: Sequence[Phantom],
    split: str,
    seed: int,
    folder: Path,
    encoder: Encoder,
    generator: CoinGenerator,
    options: argparse.Namespace,
) -> tuple[dict[str, tuple[str, str]], list[Ranked]]:
    """The label of each reference, and each channel's hits for each query."""
    classes = {(profile.site, profile.category) for profile in PROFILES}
    references = phantom_cases(options.per_class * len(classes), seed=seed, split=split)  # type: ignore[arg-type]
    with Archive.create(folder / "archive") as archive:
        add_manifest(archive, write_phantoms(folder / "phantoms", references), encoder, in_place=True)
        search = CaseSearch(archive, encoder, generator)
        ranked: list[Ranked] = []
        for query in tqdm(queries, desc=split, file=sys.stderr):
            seeds = tuple(range(query.seed, query.seed + options.images))
            by_channel = {
                name: Query(text=query.report, seeds=seeds, channels=(name,), k=POOL)
                for name in ("generated", "joint", "report")
            }
            results = {name: search.run(channel_query) for name, channel_query in by_channel.items()}
            results["image"] = search.by_image(query.render(), k=POOL)
            ranked.append({name: {e.case.key: e.score for e in result.cases} for name, result in results.items()})
    return {phantom.key: _label(phantom) for phantom in references}, ranked


def _row(
    name: str,
    how: str,
    rule: FusionRule,
    channels: Sequence[str],
    queries: Sequence[Phantom],
    runs: Mapping[str, tuple[dict[str, tuple[str, str]], list[Ranked]]],
) -> None:
    cells = []
    for labels, ranked in runs.values():
        keys = list(labels)
        relevant = []
        for query, hits in zip(queries, ranked, strict=True):
            scores = {c: np.array([[hits[c].get(key, -np.inf) for key in keys]]) for c in channels}
            best = np.argsort(-fuse(rule, scores).scores[0], kind="stable")[:K]
            relevant.append(np.mean([labels[keys[i]] == _label(query) for i in best]))
        cells.append(f"{np.mean(relevant):.3f}")
    print(f"| {name} | {how} | {' | '.join(cells)} |", flush=True)


def _label(phantom: Phantom) -> tuple[str, str]:
    return phantom.morphology.site, phantom.morphology.category


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=176)
    parser.add_argument("--per-class", type=int, default=30, help="reference cases per site and category")
    parser.add_argument("--images", type=int, default=2, help="generated images for each report")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
