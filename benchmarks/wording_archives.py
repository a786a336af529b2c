"""The archives and the queries of other authors that `benchmarks.wordings` compares.

wordings.csv holds queries by author: "notes" and "prose" have one for each site and category of the phantoms,
"screening" and "practice" are about the real smears. Who wrote them had not read the phantoms' findings and diagnoses.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from generation.phantom import PROFILES, phantom_cases, write_phantoms
from index_store import Archive
from retrieval import Encoder, add_manifest

ROOT: Final = Path(__file__).parents[1]
QUERY_SEED: Final = 77
Label = tuple[str, str]
"""Site and category."""


def read_queries(data: Path, phantoms: int) -> dict[str, list[tuple[str, Label]]]:
    """By author, texts and what they say."""
    queries: dict[str, list[tuple[str, Label]]] = defaultdict(list)
    files = {
        "": ROOT / "benchmarks" / "wordings.csv",
        "tests": ROOT / "tests" / "retrieval" / "language" / "sentences.csv",
        "shared": data / "reports" / "sentences.csv",
    }
    for author, path in files.items():
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    queries[author or row["author"]].append((row["text"], (row["site"], row["category"])))
    for phantom in phantom_cases(phantoms, seed=QUERY_SEED, split="held-out"):
        queries["phantoms"].append((phantom.report, (phantom.morphology.site, phantom.morphology.category)))
    return queries


def archives(
    folder: Path, encoder: Encoder, queries: Mapping[str, list[tuple[str, Label]]], data: Path, per_class: int
) -> Iterator[tuple[Archive, str]]:
    """The archives, one after the other, with their names."""
    classes = {(profile.site, profile.category) for profile in PROFILES}
    manifests = {}
    for name, split, seed in (("training words", "train", 5), ("held-out words", "held-out", 1)):
        phantoms = phantom_cases(per_class * len(classes), seed=seed, split=split)  # type: ignore[arg-type]
        manifests[name] = write_phantoms(folder / split, phantoms)
    for author in ("tests", "shared"):
        name = "tests' sentences" if author == "tests" else "shared sentences"
        manifests[name] = _reworded(manifests["training words"], author, queries[author])
    manifests["real smears"] = data / "cytology" / "manifest.csv"
    for number, (name, manifest) in enumerate(manifests.items()):
        if manifest.is_file():
            with Archive.create(folder / str(number)) as archive:
                add_manifest(archive, manifest, encoder, in_place=True)
                if archive.reports():
                    yield archive, name


def _reworded(manifest: Path, author: str, sentences: Sequence[tuple[str, Label]]) -> Path:
    """The manifest with an author's sentences as reports, in turn; images of what the author does not write of go."""
    of_label: dict[Label, list[str]] = defaultdict(list)
    for text, label in sentences:
        of_label[label].append(text)
    path = manifest.with_name(f"manifest-{author}.csv")
    with manifest.open(newline="", encoding="utf-8") as source, path.open("w", newline="", encoding="utf-8") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        used: dict[Label, int] = defaultdict(int)
        for row in rows:
            label = (row["site"], row["category"])
            if texts := of_label[label]:
                writer.writerow({**row, "report": texts[used[label] % len(texts)]})
                used[label] += 1
    return path
