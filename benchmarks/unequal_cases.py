"""How often a case with many fields of another kind stands above the right case with few.

    python -m benchmarks.unequal_cases [--archive FOLDER]

Whoever has more fields has a nearer one to anything. Cases of 64 and of 4 fields are made, once of phantoms of several
sites (normal fields only, 3 abnormal of 64, or 19; of 4 fields 0, 1 or 2), once of the images of an archive (each case
of images of one site, category and stain). One of 64 fields queries; no field of it is in another case. For each way to
join the best matches (`many_vectors.joined`), with `even` for 2 to 16 draws: in how many of all pairs a wrong case of
64 fields stands above a right one of 4, a wrong one of 4 above a right one of 64, and P@3 where half of the cases have
4. A search draws 4 where a tenth of the patients have as few.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.phantom_slides import SITES, field_phantoms
from generation.phantom.palette import STAINS
from index_store import Archive
from retrieval import Encoder
from retrieval.search.slides.many_vectors import expected_best, joined
from retrieval.search.slides.slide_query import BEST, MEAN, MEDIAN

MANY, FEW, FIRST = 64, 4, 3
ABNORMAL = {"normal": (0, 0), "few abnormal": (3, 1), "many abnormal": (19, 2)}
"""Abnormal fields of a phantom case with many fields, and of one with few."""
POOLS = {"normal": 140, "abnormal": 50}
CASES = 3
"""Of a kind, in the archive of a repetition."""
PIXELS = 128
Vectors = NDArray[np.float32]


def _even(similarities: NDArray[np.float64], drawn: int) -> float:
    return float(expected_best(similarities, drawn).mean())


WAYS: dict[str, Callable[[NDArray[np.float64]], float]] = {
    **{way: partial(joined, match=way) for way in (MEAN, MEDIAN, BEST)},
    **{f"even, {drawn} draws": partial(_even, drawn=drawn) for drawn in (2, 4, 8, 16)},
}


@dataclass(frozen=True, eq=False)
class Cases:
    """One that queries, of `name`; others with many fields and the same with few, and which are right."""

    name: str
    query: Vectors
    many: list[Vectors]
    few: list[Vectors]
    right: NDArray[np.bool_]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--archive", type=Path, help="an archive that has vectors of the starter")
    parser.add_argument("--sites", type=int, nargs="*", default=[0, 1, 2, 3], help="of `phantom_slides.SITES`")
    parser.add_argument("--repeat", type=int, default=4, help="how often cases are drawn")
    options = parser.parse_args(arguments)
    encoder = Encoder()
    print(f"\n{describe_machine()}")
    if options.sites:
        pools = {site: {kind: embed_phantoms(site, kind, encoder) for kind in POOLS} for site in options.sites}
        _table("phantoms", [drawn for seed in range(options.repeat) for drawn in _of_phantoms(pools, seed)])
    if options.archive:
        groups = _by_label(options.archive, encoder.fingerprint)
        _table("archive", [drawn for seed in range(options.repeat) for drawn in _of_groups(groups, seed)])
    return 0


def embed_phantoms(site: int, kind: str, encoder: Encoder) -> Vectors:
    """float32[n, d] of fields of a site's normal or abnormal finding, 96 µm wide, with a camera's noise."""
    stain = SITES[site][3]
    light = np.asarray(STAINS[stain].slide, np.float32) / 255
    pictures = []
    for number, phantom in enumerate(field_phantoms(site, abnormal=kind == "abnormal", count=POOLS[kind])):
        density = phantom.stained(PIXELS).density
        noise = 0.012 * np.random.default_rng(number).standard_normal(density.shape)
        pictures.append(Image.fromarray((np.clip(light * np.exp(-density) + noise, 0, 1) * 255 + 0.5).astype(np.uint8)))
    return encoder.encode_images(pictures, mpp=[96 / PIXELS] * len(pictures))


def _of_phantoms(pools: dict[int, dict[str, Vectors]], seed: int) -> Iterator[Cases]:
    rng = np.random.default_rng(seed)
    queries: list[tuple[int, str, Vectors]] = []
    many: list[Vectors] = []
    few: list[Vectors] = []
    what: list[tuple[int, bool]] = []
    for site, pool in pools.items():
        normal, abnormal = (rng.permutation(pool[kind]) for kind in POOLS)
        half, part = len(normal) // 2, len(abnormal) // 2
        for kind, (large, small) in ABNORMAL.items():
            queries.append((site, kind, np.concatenate([abnormal[:large], normal[: MANY - large]])))
            for _ in range(CASES):
                odd = rng.permutation(abnormal[part:])[:large]
                usual = rng.permutation(normal[half:])[: MANY - large]
                many.append(np.concatenate([odd, usual]))
                few.append(np.concatenate([odd[:small], usual[: FEW - small]]))
                what.append((site, large > 0))
    for site, kind, query in queries:
        yield Cases(kind, query, many, few, np.array([of == (site, kind != "normal") for of in what]))


def _by_label(folder: Path, fingerprint: str) -> dict[str, Vectors]:
    """The archive's images by site, category and stain, of which there are enough."""
    with Archive.open(folder) as archive:
        labels = {
            image.id: ", ".join(part for part in (case.site, case.category, image.stain) if part)
            for case in archive.cases()
            for image in case.images
        }
        ids, vectors = archive.known_vectors(sorted(labels), fingerprint)
    names = np.array([labels[image] for image in ids.tolist()])
    return {name: vectors[names == name] for name in sorted(set(names)) if (names == name).sum() >= 2 * MANY}


def _of_groups(groups: dict[str, Vectors], seed: int) -> Iterator[Cases]:
    rng = np.random.default_rng(seed)
    cut = {
        name: np.split(rng.permutation(rows)[: len(rows) // MANY * MANY], len(rows) // MANY)
        for name, rows in groups.items()
    }
    owners = [name for name, cases in cut.items() for _ in cases[1 : CASES + 1]]
    many = [rows for cases in cut.values() for rows in cases[1 : CASES + 1]]
    for name, cases in cut.items():
        yield Cases(name, cases[0], many, [rows[:FEW] for rows in many], np.array([owner == name for owner in owners]))


def _table(title: str, drawn: list[Cases]) -> None:
    names = list(dict.fromkeys(cases.name for cases in drawn))
    print(f"\n{title}, querying: {'; '.join(names)}\n")
    columns = (f"wrong of {MANY} above right of {FEW}", f"wrong of {FEW} above right of {MANY}")
    columns += (f"P@{FIRST}, half of the cases of {FEW}", f"P@{FIRST}, all of {MANY}")
    print(f"| {title} | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for way, score in WAYS.items():
        found = np.array([_measured(cases, score, number) for number, cases in enumerate(drawn)])
        print(f"| {way} | " + " | ".join(f"{value:.3f}" for value in found.mean(axis=0)) + " |", flush=True)


def _measured(cases: Cases, score: Callable[[NDArray[np.float64]], float], seed: int) -> tuple[float, ...]:
    many, few = (
        np.array([score((cases.query @ rows.T).astype(np.float64)) for rows in side])
        for side in (cases.many, cases.few)
    )
    right = cases.right
    mixed = np.where(np.random.default_rng(seed).random(len(many)) < 0.5, many, few)
    precisions = [float(right[np.argsort(-scores, kind="stable")[:FIRST]].mean()) for scores in (mixed, many)]
    above = [(wrong[~right][None] > own[right][:, None]).mean() for wrong, own in ((many, few), (few, many))]
    return (*above, *precisions)


if __name__ == "__main__":
    raise SystemExit(main())
