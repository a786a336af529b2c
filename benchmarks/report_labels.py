"""Category and site read from sentences with a known answer.

    python -m benchmarks.report_labels

Precision is the share of the categories read that are right, coverage the share of the sentences with an answer that
are read right. A sentence without an answer is one where a careful reader abstains. By default the sentences of the
tests (in tests/retrieval/language: 400 that the rules were corrected with, and those that were written later and first
read unseen) are read, and those of the shared data where they are beside the checkout.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

from retrieval import read_report

ROOT = Path(__file__).parents[1]
OWN = ROOT / "tests" / "retrieval" / "language" / "sentences.csv"
HELD_OUT = ROOT / "tests" / "retrieval" / "language" / "held_out_sentences.csv"
SHARED = ROOT.parent / "shared" / "data" / "reports" / "sentences.csv"
ORDINARY = 60
"""The first sentences of the shared file are ordinary ones, the others hard."""


def read_sentences(path: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of a file by their kind; a file without kinds has the shared file's order."""
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            groups[row.get("kind") or ("ordinary" if number < ORDINARY else "hard")].append(row)
    return groups


def main() -> None:
    """Print a table, and the sentences that were read wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, nargs="*", help="CSV files with text, site, category (and kind)")
    chosen = parser.parse_args().sentences or [path for path in (OWN, HELD_OUT, SHARED) if path.exists()]
    print("| sentences | kind | n | with an answer | read | precision | coverage | site wrong |")
    print("|---|---|---|---|---|---|---|---|")
    wrong = []
    for path in chosen:
        for kind, rows in read_sentences(path).items():
            readings = [(row, read_report(row["text"])) for row in rows]
            read = [(row, reading) for row, reading in readings if reading.category]
            right = sum(reading.category == row["category"] for row, reading in read)
            answers = sum(bool(row["category"]) for row in rows)
            sites = sum(bool(reading.site and row["site"] and reading.site != row["site"]) for row, reading in readings)
            name = {SHARED: "shared", OWN: "of the tests", HELD_OUT: "held out"}.get(path, path.name)
            print(
                f"| {name} | {kind} | {len(rows)} | {answers} | {len(read)} | {right / max(1, len(read)):.3f} "
                f"| {right / max(1, answers):.3f} | {sites} |"
            )
            wrong += [(row, reading) for row, reading in read if reading.category != row["category"]]
    for row, reading in wrong:
        truth = row["category"] or "open"
        print(f"\nread as {reading.category} from {reading.category_words!r}, is {truth}: {row['text']}")


if __name__ == "__main__":
    sys.exit(main())
