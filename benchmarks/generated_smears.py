"""Whether images generated from reports find real smears of patients that no weights were trained on.

    python -m benchmarks.generated_smears --data ../shared/data

The archive holds the shared smears of the patients that the training leaves out (one in five); the queries are
reports about the cervix and about blood by other authors (`wordings.csv`: screening, practice). Each searches by images
generated with the LoRA and by the base alone, by the text tower, by the archive's reports, and by all channels of a
text, with generated images and without. Printed: the share of the first ten cases of the query's site, and of its site
and category (blood has one), beside chance; and the paired differences that decide whether generating is worth it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.wording_archives import read_queries
from generation import CoinGenerator, GenerationCache
from generation.model.files.weight_files import STARTER
from generation.training.data.holdout import is_held_out
from index_store import Archive
from retrieval import CaseSearch, Encoder, Label, add_manifest, precision_at_k
from retrieval.statistics.estimate import bootstrap_mean

SHARED: Final = Path(__file__).parents[2] / "shared" / "data"
K: Final = 10
TEXT: Final = ("joint", "report")
LORA, BASE = "generated, with the LoRA", "generated, the base alone"
JOINED, WITHOUT = "all joined", "joined, none generated"
WAYS: Final = {
    LORA: ("generated",),
    BASE: ("generated",),
    "`joint`": ("joint",),
    "`report`": ("report",),
    WITHOUT: TEXT,
    JOINED: ("generated", *TEXT),
}
COMPARED: Final = ((LORA, BASE), (JOINED, WITHOUT))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    texts = read_queries(options.data, 0)
    queries = [(text, Label(*label)) for author in ("screening", "practice") for text, label in texts[author]]
    queries = queries[:: max(1, len(queries) // options.queries)]
    encoder = Encoder(device=options.device)
    with TemporaryDirectory() as folder, Archive.create(Path(folder) / "archive") as archive:
        manifest = _unseen(options.data / "cytology" / "manifest.csv", Path(folder) / "unseen.csv")
        add_manifest(archive, manifest, encoder, images=options.data / "cytology", in_place=True)
        cache = GenerationCache(Path(folder) / "generated")
        with_lora, alone = (
            CaseSearch(archive, encoder, CoinGenerator(options.base, lora, device=options.device, cache=cache))
            for lora in (options.lora, None)
        )
        there = [Label(case.site, case.category) for case in archive.cases()]
        found = {
            name: [
                [
                    Label(hit.case.site, hit.case.category)
                    for hit in (alone if name == BASE else with_lora)
                    .by_report(text, k=K, n_images=options.images, preset=options.preset, channels=channels)
                    .cases
                ]
                for text, _ in queries
            ]
            for name, channels in WAYS.items()
        }
    print(f"{describe_machine()}\n{len(queries)} reports, {len(there)} cases, {options.images} images a report\n")
    print(_table([label for _, label in queries], found, there))
    return 0


def _unseen(manifest: Path, path: Path) -> Path:
    """The rows of the manifest whose patients the training left out, written to `path`. They name no patient there, so
    that each case counts: three patients have all of the cervix, and a search shows one result a patient."""
    with manifest.open(newline="", encoding="utf-8") as source, path.open("w", newline="", encoding="utf-8") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        writer.writerows({**row, "patient": ""} for row in rows if is_held_out(row["patient"]))
    return path


def _table(asked: list[Label], found: dict[str, list[list[Label]]], there: list[Label]) -> str:
    lines = [f"| query by | P@{K} site | P@{K} site + category |", "|---|---|---|"]
    for name, results in found.items():
        precision = precision_at_k(asked, results, there, k=K)
        lines.append(f"| {name} | {precision.site} | {precision.site_category} |")
    lines += [f"| chance | {precision.chance_site:.3f} | {precision.chance_site_category:.3f} |", ""]

    def both(name: str) -> list[float]:
        return [float(np.mean([hit == label for hit in hits])) for hits, label in zip(found[name], asked, strict=True)]

    for name, other in COMPARED:
        difference = bootstrap_mean(np.subtract(both(name), both(other)))
        lines.append(f"{name} − {other}: {difference.text(sign='+')} (site + category, paired)")
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/")
    parser.add_argument("--queries", type=int, default=24)
    parser.add_argument("--images", type=int, default=4, help="generated images for each report")
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--base", type=Path, default=STARTER / "base")
    parser.add_argument("--lora", type=Path, default=STARTER / "lora")
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
