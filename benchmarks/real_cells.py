"""How well an encoder finds real cells of patients that it was not trained on, and the effect of another stain.

    python -m benchmarks.real_cells                    # the starter, on patients not used in its training
    python -m benchmarks.real_cells --work runs/folds  # five folds by patient, trained where missing

Data: `../shared/data/cytology` (manifest.csv), read in place. Cells: 2,013 crops of the cervix from 15 CRIC blocks,
which count as patients, in six categories; their cells and fields are left out of a fold's training together. Rare
categories come from two to four blocks, so blocks are assigned to the folds by their number of abnormal cells.

A query is a held-out cell; its patient is left out of the results. Gallery A: the cells the fold was trained on
(the archive that a reviewer has). Gallery B: the cells of the fold's other held-out patients, which nothing was trained
on either; queries whose category no other patient of the fold has do not count there. Scored as images (P@5 of the
nearest five cells), macro over categories, with intervals from resampled patients
(`retrieval.statistics.cluster_bootstrap`; from slides where there is one patient). Chance is the share of the query's
category in the gallery. The colour histogram has the same queries and galleries.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.real_folds import held_out, train_folds
from benchmarks.real_input import SHARED
from benchmarks.stain import BETWEEN_LABORATORIES, FAR_APART, kept_share
from generation.phantom import phantom_cases
from retrieval import Encoder, Estimate
from retrieval.encoder.colour_histogram import colour_histogram
from retrieval.statistics.cluster_bootstrap import MacroBootstrap
from retrieval.training.starter.smears import is_held_out

FOLDS = 5
NEAREST_CELLS = 5
NEAREST = 10
STAIN_QUERIES = 400  # images of a kind that are perturbed, spread evenly over the held-out ones
PHANTOM_QUERIES = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Smears:
    """The manifest's images, and the columns of each: arrays of one length."""

    images: list[Image.Image]
    patient: np.ndarray
    slide: np.ndarray
    site: np.ndarray
    stain: np.ndarray
    category: np.ndarray
    cell: np.ndarray
    """bool: a cell of the cervix."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, of how many queries."""

    name: str
    queries: int
    values: dict[str, Estimate]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    manifest = options.data / "cytology" / "manifest.csv"
    if not manifest.is_file():
        print(f"There is no {manifest}: name the folder that holds cytology/ with --data.", file=sys.stderr)
        return 1
    smears = read_smears(manifest)
    if options.work is None:
        encoders = [Encoder(options.clip)]
        unseen = [np.array([is_held_out(patient) for patient in smears.patient])]
    else:
        fold = deal_folds(smears)
        unseen = [np.array([held_out(fold, f, patient) for patient in smears.patient]) for f in range(FOLDS)]
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        train_folds(manifest, fold, options.work, steps=options.steps, device=options.device, imagenet=options.imagenet)
        encoders = [Encoder(options.work / f"fold-{f}") for f in range(FOLDS)]
    vectors = [encoder.encode_images(smears.images) for encoder in encoders]
    colours = np.stack([colour_histogram(np.asarray(image)) for image in smears.images])
    tables = {
        "Cells of the cervix, macro P@5": cells(smears, vectors, colours, unseen),
        "Sites and stains, share of the nearest 10": sites_and_stains(smears, vectors, colours, unseen),
        "Stain perturbed, share of the top 10 kept": stain_overlap(
            smears, encoders, vectors, unseen, phantoms=options.phantoms
        ),
    }
    print(describe_machine())
    for title, rows in tables.items():
        print(f"\n{title}\n\n{_table(rows)}")
    if options.json:
        report = {"machine": describe_machine(), "encoders": [e.fingerprint for e in encoders], "tables": tables}
        options.json.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n", encoding="utf-8")
    return 0


def read_smears(manifest: Path) -> Smears:
    """Every image of the manifest, decoded in memory as RGB, fields reduced to 512 px."""
    with manifest.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    images = []
    for row in rows:
        with Image.open(manifest.parent / row["image"]) as opened:
            image = opened.convert("RGB")
        image.thumbnail((512, 512), Image.Resampling.BICUBIC)
        images.append(image)
    columns = {
        name: np.array([row[name] for row in rows])
        for name in ("patient", "slide", "site", "stain", "category", "kind")
    }
    cell = (columns.pop("kind") == "cell") & (columns["site"] == "cervix")
    return Smears(images, cell=cell, **columns)


def deal_folds(smears: Smears) -> dict[str, int]:
    """Which fold each patient with cells is held out in: sorted by their abnormal cells, most first, and assigned
    in turns, so that each fold has as many patients and the few with rare categories are spread."""
    abnormal = {
        str(patient): int((smears.cell & (smears.patient == patient) & (smears.category != "NILM")).sum())
        for patient in np.unique(smears.patient[smears.cell])
    }
    order = [*range(FOLDS), *reversed(range(FOLDS))]
    return {
        patient: order[rank % len(order)]
        for rank, patient in enumerate(sorted(abnormal, key=lambda patient: (-abnormal[patient], patient)))
    }


def clusters(smears: Smears, images: np.ndarray) -> np.ndarray:
    """The units resampled for an interval: patients, or where all images are of one patient its slides; int[n]."""
    unit = smears.patient if len(np.unique(smears.patient[images])) > 1 else smears.slide
    return np.unique(unit[images], return_inverse=True)[1]


def cells(smears: Smears, vectors: list[np.ndarray], colours: np.ndarray, unseen: list[np.ndarray]) -> list[Row]:
    """Both galleries, each with the encoder, the histogram, the difference of the two, and chance."""
    categories, label = np.unique(smears.category, return_inverse=True)
    rows = []
    for gallery in ("A: training patients", "B: other held-out patients"):
        query_parts, precisions = [], {"encoder": [], "colour histogram": [], "chance": []}
        for embedded, out in zip(vectors, unseen, strict=True):
            for patient in np.unique(smears.patient[smears.cell & out]):
                queries = np.flatnonzero(smears.cell & (smears.patient == patient))
                among = out & (smears.patient != patient) if gallery.startswith("B") else ~out
                candidates = np.flatnonzero(smears.cell & among)
                queries = queries[np.isin(label[queries], label[candidates])]
                if not len(queries):
                    continue
                query_parts.append(queries)
                for name, table in (("encoder", embedded), ("colour histogram", colours)):
                    nearest = candidates[_nearest(table[queries], table[candidates], NEAREST_CELLS)]
                    precisions[name].append((label[nearest] == label[queries][:, None]).mean(axis=1))
                precisions["chance"].append((label[candidates] == label[queries][:, None]).mean(axis=1))
        if not query_parts:
            continue
        query = np.concatenate(query_parts)
        scores = {name: np.concatenate(parts) for name, parts in precisions.items()}
        scores["encoder - histogram"] = scores["encoder"] - scores["colour histogram"]
        present = np.unique(label[query])
        bootstrap = MacroBootstrap(clusters(smears, query), label[query], len(categories))
        parts = [present, *(np.array([category]) for category in present)]
        for name, values in scores.items():
            estimates = [average.estimate for average in bootstrap.mean({name: values}, parts)[name]]
            columns = dict(zip(["macro", *categories[present].tolist()], estimates, strict=True))
            rows.append(Row(f"{gallery}; {name}", len(query), columns))
    return rows


def sites_and_stains(
    smears: Smears, vectors: list[np.ndarray], colours: np.ndarray, unseen: list[np.ndarray]
) -> list[Row]:
    """How many of the ten nearest share the site, and the stain; as the mean over each site.

    The query's patient is left out only where others of the site exist. The two sites from Pathology Atlas are one
    patient and one laboratory each, and were trained on: there only the query's image is left out, and site, stain,
    patient and laboratory cannot be separated. Within the spinal fluid both stains come from the same specimen.
    """
    rows = []
    everything = np.arange(len(smears.patient))
    for site in np.unique(smears.site):
        one_patient = len(np.unique(smears.patient[smears.site == site])) == 1
        name = f"{site} ({'one patient, seen in training' if one_patient else 'held-out patients'})"
        for way in ("encoder", "colour histogram"):
            same_site, same_stain, query_parts = [], [], []
            for embedded, out in zip(vectors, unseen, strict=True):
                queries = np.flatnonzero((smears.site == site) & (out | one_patient))
                table = colours if way == "colour histogram" else embedded
                scores = table[queries] @ table.T
                own = (
                    everything == queries[:, None]
                    if one_patient
                    else smears.patient == smears.patient[queries][:, None]
                )
                scores[own] = -np.inf
                nearest = np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]
                same_site.append((smears.site[nearest] == site).mean(axis=1))
                same_stain.append((smears.stain[nearest] == smears.stain[queries][:, None]).mean(axis=1))
                query_parts.append(queries)
            whose = clusters(smears, np.concatenate(query_parts))
            values = {
                "site": _mean(np.concatenate(same_site), whose),
                "stain": _mean(np.concatenate(same_stain), whose),
            }
            rows.append(Row(f"{name}; {way}", len(whose), values))
    return rows


def stain_overlap(
    smears: Smears, encoders: list[Encoder], vectors: list[np.ndarray], unseen: list[np.ndarray], *, phantoms: int
) -> list[Row]:
    """How much of the top 10 remains when the query's stain is another laboratory's: real images against the images of
    all other patients, phantoms against other phantoms."""
    kinds = {
        "cells of the cervix": smears.cell,
        "fields of the cervix": (smears.site == "cervix") & ~smears.cell,
        "fields of blood": smears.site == "blood",
    }
    references = [phantom.render() for phantom in phantom_cases(phantoms, seed=1, split="held-out")]
    phantom_queries = [
        phantom.render() for phantom in phantom_cases(min(PHANTOM_QUERIES, phantoms), seed=77, split="held-out")
    ]
    archives = [encoder.encode_images(references) for encoder in encoders]
    rows = []
    for shift in (BETWEEN_LABORATORIES, FAR_APART):
        for kind, of_kind in kinds.items():
            query_parts, kept = [], []
            for encoder, table, out in zip(encoders, vectors, unseen, strict=True):
                queries = np.flatnonzero(of_kind & out)
                queries = queries[:: max(1, len(queries) * len(encoders) // STAIN_QUERIES)]
                own = smears.patient == smears.patient[queries][:, None]
                kept.append(kept_share(encoder, [smears.images[i] for i in queries], table, own, shift))
                query_parts.append(queries)
            whose, values = clusters(smears, np.concatenate(query_parts)), np.concatenate(kept)
            rows.append(Row(f"{kind}, {shift}", len(values), {"kept": _mean(values, whose)}))
        none_left_out = np.zeros((len(phantom_queries), len(references)), bool)
        values = np.concatenate(
            [
                kept_share(encoder, phantom_queries, table, none_left_out, shift)
                for encoder, table in zip(encoders, archives, strict=True)
            ]
        )
        whose = np.tile(np.arange(len(phantom_queries)), len(encoders))
        rows.append(Row(f"phantoms, {shift}", len(values), {"kept": _mean(values, whose)}))
    return rows


def _nearest(queries: np.ndarray, gallery: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :k]


def _mean(values: np.ndarray, patients: np.ndarray) -> Estimate:
    averages = MacroBootstrap(patients, np.zeros(len(values), int), 1).mean({"": values}, [np.array([0])])
    return averages[""][0].estimate


def _table(rows: list[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    lines = [f"| | queries | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        values = " | ".join(str(row.values[c]) if c in row.values else "" for c in columns)
        lines.append(f"| {row.name} | {row.queries} | {values} |")
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/")
    parser.add_argument("--clip", type=Path, help="another encoder than the starter's, trained without the same fifth")
    parser.add_argument("--work", type=Path, help="folder of the folds' encoders, fold-0 to fold-4")
    parser.add_argument("--steps", type=int, default=320, help="training steps of a fold; 320 take 8 minutes of a core")
    parser.add_argument(
        "--imagenet", type=Path, help="safetensors of timm's tf_efficientnet_lite0 that folds start from"
    )
    parser.add_argument("--phantoms", type=int, default=1320, help="phantoms that are searched, stain perturbed")
    parser.add_argument("--device", default="cpu", help="where folds are trained: cpu or cuda")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    started = time.perf_counter()
    status = main()
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    raise SystemExit(status)
