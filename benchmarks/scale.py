"""What it is worth to bring images of different magnifications to one scale before they are compared.

    python -m benchmarks.scale

Phantoms are photographed by three objectives at the same pixels: fields 48 µm (40×), 96 µm (20×) and 192 µm wide (10×)
of one smear. The archive holds each reference in one of them, by chance. Printed
is the share of the first 10 references of the query's site, and of its site and category, for queries of each
magnification: seen as they are, cut to one field of 96 µm in the middle, and cut to several whose mean is compared (as
an encoder does that was imported with `--field-um 96`). The last column is an archive of the query's own magnification,
as it is.

The same on real fields (`--data`): cervical smears at 0.245 µm a pixel (CRIC; doi:10.1038/s41597-021-00933-8 gives
0.228, and the copy has 1,280 of 1,376 columns), whole or cut to the middle half, without the query's patient.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from generation.phantom import PROFILES, Phantom, View, phantom_cases
from index_store import decode_image
from retrieval import Encoder
from retrieval.arrays import Bools, Floats, Vectors
from retrieval.encoder.scale import fields_of
from retrieval.statistics.estimate import bootstrap_mean

K = 10
PIXELS = 128
MAGNIFICATIONS = {"40×": 48.0, "20×": 96.0, "10×": 192.0}
"""The width of a photograph in µm."""
CRIC_MPP = 0.228 * 1376 / 1280
AS_IT_IS, CENTRE, FIELDS = "as it is", "one field in the middle", "mean of fields"
WAYS = (AS_IT_IS, CENTRE, FIELDS)

Views = dict[str, dict[str, Vectors]]
"""Vectors float32[n, d] by way and magnification."""


def photographs(phantom: Phantom) -> dict[str, Image.Image]:
    """A phantom's finding by each objective, with `PIXELS` pixels a side."""
    views = {name: View("field", width) for name, width in MAGNIFICATIONS.items()}
    return {name: dataclasses.replace(phantom, view=view).render(PIXELS) for name, view in views.items()}


def embedded(encoder: Encoder, images: Sequence[Image.Image], mpp: float, field: float) -> dict[str, Vectors]:
    """The vectors of images of one scale, float32[n, d], by way; fields have a side of `field` µm."""
    side = round(field / mpp)
    fields = [fields_of(image, mpp, field) for image in images]
    vectors = encoder.encode_images([one for of_image in fields for one in of_image])
    starts = np.cumsum([0, *(len(of_image) for of_image in fields[:-1])])
    means = np.add.reduceat(vectors, starts)
    middle = [_middle(image, side) if side < min(image.size) else image for image in images]
    return {
        AS_IT_IS: encoder.encode_images(images),
        CENTRE: encoder.encode_images(middle),
        FIELDS: means / np.linalg.norm(means, axis=1, keepdims=True),
    }


def _middle(image: Image.Image, side: int) -> Image.Image:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def shares(scores: Floats, relevant: Bools) -> Floats:
    """float[q]: the share of each query's first K that is relevant."""
    first = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(relevant, first, axis=1).mean(axis=1)


def compare(queries: Views, references: Views, chosen: Sequence[str], truths: dict[str, Bools], own: Bools) -> None:
    """Print a table for each truth.

    Args:
        chosen: of each reference, the magnification in which the mixed archive holds it.
        truths: bool[q, n] by name, which references are relevant. own: bool[q, n], those that a query may not find.
    """
    names = list(queries[AS_IT_IS])
    archives = {way: np.stack([references[way][name][i] for i, name in enumerate(chosen)]) for way in WAYS}
    for title, relevant in truths.items():
        print(f"\n{title}, P@{K}\n\n| query | {' | '.join(WAYS)} | gain of {FIELDS} | own magnification alone |")
        print("|" + "---|" * (len(WAYS) + 3))
        gains = []
        for name in names:
            found = {way: shares(_without(queries[way][name] @ archives[way].T, own), relevant) for way in WAYS}
            alone = shares(_without(queries[AS_IT_IS][name] @ references[AS_IT_IS][name].T, own), relevant)
            gains.append(found[FIELDS] - found[AS_IT_IS])
            cells = [f"{bootstrap_mean(found[way])}" for way in WAYS]
            print(f"| {name} | {' | '.join(cells)} | {bootstrap_mean(gains[-1])} | {bootstrap_mean(alone)} |")
        print(f"| all | | | | {bootstrap_mean(np.mean(gains, axis=0))} | |")


def _without(scores: Floats, own: Bools) -> Floats:
    return np.where(own, -np.inf, scores)


def on_phantoms(encoder: Encoder, per_class: int, n_queries: int, field: float) -> None:
    """Print the tables of phantoms."""
    classes = {(profile.site, profile.category) for profile in PROFILES}
    references = phantom_cases(per_class * len(classes), seed=1, split="held-out")
    queries = phantom_cases(n_queries, seed=2, split="held-out")
    chosen = np.random.default_rng(0).choice(list(MAGNIFICATIONS), len(references)).tolist()
    views = [_views(encoder, phantoms, field) for phantoms in (queries, references)]
    site: Callable[[Phantom], object] = lambda phantom: phantom.profile.site  # noqa: E731
    label: Callable[[Phantom], object] = lambda phantom: (phantom.profile.site, phantom.profile.category)  # noqa: E731
    truths = {
        name: np.array([[key(query) == key(reference) for reference in references] for query in queries])
        for name, key in (("Phantoms: the query's site", site), ("Phantoms: its site and category", label))
    }
    print(f"\n{len(queries)} queries, {len(references)} references of {len(classes)} classes")
    compare(*views, chosen, truths, np.zeros((len(queries), len(references)), dtype=bool))


def _views(encoder: Encoder, phantoms: Sequence[Phantom], field: float) -> Views:
    found: Views = {way: {} for way in WAYS}
    taken = [photographs(phantom) for phantom in phantoms]
    for name, width in MAGNIFICATIONS.items():
        for way, vectors in embedded(encoder, [images[name] for images in taken], width / PIXELS, field).items():
            found[way][name] = vectors
    return found


def on_smears(encoder: Encoder, folder: Path, field: float) -> None:
    """Print the table of real cervical fields, whole or cut to the middle half."""
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "field" and row["site"] == "cervix"]
    images = [decode_image(folder / row["image"]) for row in rows]
    views: Views = {way: {} for way in WAYS}
    for name, part in (("whole", 1), ("middle half", 2)):
        cut = [_middle(image, min(image.size) // part) for image in images]
        for way, vectors in embedded(encoder, cut, CRIC_MPP, field).items():
            views[way][name] = vectors
    chosen = np.random.default_rng(0).choice(["whole", "middle half"], len(rows)).tolist()
    patient, category = (np.array([row[name] for row in rows]) for name in ("patient", "category"))
    same = {"Cervical fields: the query's category": category[:, None] == category[None]}
    print(f"\n{len(rows)} fields of {len(set(patient.tolist()))} patients")
    compare(views, views, chosen, same, patient[:, None] == patient[None])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--encoder", help="a folder or hub id; by default the starter")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--per-class", type=int, default=8, help="reference phantoms of each class")
    parser.add_argument("--queries", type=int, default=132)
    parser.add_argument("--field", type=float, default=96.0, help="side of a field in µm")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the shared data's folder")
    options = parser.parse_args(arguments)
    encoder = Encoder(options.encoder, device=options.device).load()
    print(json.dumps({"machine": describe_machine(), "encoder": encoder.name, "field_um": options.field}))
    on_smears(encoder, options.data / "cytology", options.field)
    on_phantoms(encoder, options.per_class, options.queries, options.field)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
