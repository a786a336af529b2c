"""Real smears searched with COIN's published reports and images: the time, and the sites and categories of the hits.

    python -m benchmarks.real_input [--sheet result.png]

Builds an archive of `../shared/data/cytology` and searches it by all reports and images of
`../shared/data/coin-examples`.
The examples have no known answer in this archive (most of their sites are not in it), so nothing is scored: the table
shows the sites and categories of the nearest cases, for a person to judge. The starter was trained on four in five of
the archive's patients and on none of the examples.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from generation import CoinGenerator
from index_store import Archive
from retrieval import CaseSearch, Encoder, SearchResult, add_manifest
from ui.image_labels import SYNTHETIC
from ui.pictures.contact_sheet import Section, Tile, contact_sheet, save_sheet
from ui.text.case import case_summary

SHARED = Path(__file__).parents[1] / "../shared/data"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/ and coin-examples/")
    parser.add_argument("--preset", default="draft", help="draft or reference")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sheet", type=Path, help="save a contact sheet of the queries and their nearest cases")
    options = parser.parse_args(arguments)
    examples = options.data / "coin-examples" / "reports.csv"
    if not examples.is_file():
        print(f"There are no examples in {examples.parent}: name the folder with --data.", file=sys.stderr)
        return 1
    with examples.open(newline="", encoding="utf-8") as handle:
        pairs = list(csv.DictReader(handle))
    generator = CoinGenerator(device=options.device)
    encoder = Encoder(device=options.device).load()
    generator.load()
    print(describe_machine())
    with TemporaryDirectory() as folder, Archive.create(Path(folder) / "archive") as archive:
        summary = add_manifest(archive, options.data / "cytology" / "manifest.csv", encoder)
        print(f"added {summary.added} images in {summary.seconds:.1f} s ({summary.images_per_second:.1f} images/s)")
        search = CaseSearch(archive, encoder, generator)
        sections = []
        by_report, by_image = [], []
        for pair in pairs:
            report_result = search.by_report(pair["report"], k=10, preset=options.preset)
            image_result = search.by_image(examples.parent / pair["image"], k=10)
            by_report.append(report_result)
            by_image.append(image_result)
            print(f"\n{pair['image']}: {pair['report'][:110]}")
            print(f"  report: {_nearest(report_result)}")
            print(f"  image:  {_nearest(image_result)}")
            sections.append(_section(pair["report"], report_result))
        print(f"\n{len(pairs)} report queries, median seconds: {_split(by_report)}")
        print(f"{len(pairs)} image queries, median seconds: {_split(by_image)}")
        if options.sheet:
            save_sheet(contact_sheet("COIN's example reports in an archive of real smears", sections), options.sheet)
    return 0


def _nearest(result: SearchResult) -> str:
    """Sites and categories of the ten nearest patients, most frequent first, and the range of their similarity."""
    kinds = Counter(f"{hit.case.site} {hit.case.category}".strip() for hit in result.cases)
    first, last = result.cases[0].similarity, result.cases[-1].similarity
    return f"{', '.join(f'{n} × {kind}' for kind, n in kinds.most_common(4))} (similarity {first:.2f} to {last:.2f})"


def _split(results: list[SearchResult]) -> str:
    parts = {
        name: float(np.median([getattr(result.timing, f"{name}_s") for result in results]))
        for name in ("generate", "embed", "search")
    }
    return ", ".join(f"{name} {seconds:.3f}" for name, seconds in parts.items())


def _section(report: str, result: SearchResult, shown: int = 3) -> Section:
    generated = result.generation.images[:2] if result.generation else ()
    tiles = [Tile(image.image, f"seed {image.provenance.seed}", "", SYNTHETIC) for image in generated]
    for hit in result.cases[:shown]:
        with Image.open(hit.image.path) as opened:
            tiles.append(Tile(opened.convert("RGB"), f"similarity {hit.similarity:.2f}", case_summary(hit.case)))
    return Section(report[:120], "", tuple(tiles))


if __name__ == "__main__":
    started = time.perf_counter()
    status = main()
    print(f"{time.perf_counter() - started:.0f} s in all")
    raise SystemExit(status)
