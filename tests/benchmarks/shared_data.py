"""A stand-in for the folder of shared data: phantoms in the layout of the real smears and of COIN's examples."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from generation.phantom import FIELD, PROFILES, Phantom, View, phantom_cases
from generation.training.data.holdout import is_held_out

COLUMNS = ("image", "case", "patient", "slide", "site", "system", "category", "stain", "preparation", "report", "kind",
           "license", "source")  # fmt: skip
CELLS, FIELDS = 4, 4
"""Images of a patient."""


def write_shared_data(folder: Path) -> Path:
    """`cytology/` (cells and fields of the cervix, blood, spinal fluid) and `coin-examples/` in the folder."""
    cytology = folder / "cytology"
    cytology.mkdir(parents=True)
    cells, fields = _of("cervix", View("cell", 24.0)), _of("cervix", FIELD)
    rows = []
    for patient in _patients("block", held_out=2, others=4):
        rows += [_row(cytology, next(cells), patient, number) for number in range(CELLS)]
        rows += [_row(cytology, next(fields), patient, CELLS)]
    for site, patients in (
        ("blood", _patients("blood", held_out=2, others=3)),
        ("cerebrospinal fluid", _patients("fluid", held_out=0, others=1)),
    ):
        drawn = _of(site, FIELD)
        for patient in patients:
            rows += [
                {**_row(cytology, next(drawn), patient, number), "system": "", "category": ""}
                for number in range(FIELDS)
            ]
    _write(cytology / "manifest.csv", COLUMNS, rows)
    examples = folder / "coin-examples"
    examples.mkdir()
    two = phantom_cases(2, split="held-out")
    for phantom in two:
        phantom.render(128).save(examples / f"{phantom.key}.jpg")
    named = [{"image": f"{phantom.key}.jpg", "report": phantom.report} for phantom in two]
    _write(examples / "reports.csv", ("image", "report"), named)
    return folder


def _of(site: str, view: View) -> Iterator[Phantom]:
    return iter(phantom_cases(60, profiles=[one for one in PROFILES if one.site == site], views=[view]))


def _patients(name: str, *, held_out: int, others: int) -> list[str]:
    """Names of patients, so many of whom the starter's encoder is said never to have seen."""
    wanted = {True: held_out, False: others}
    chosen = []
    for number in count():
        patient = f"{name}-{number}"
        if wanted[is_held_out(patient)]:
            wanted[is_held_out(patient)] -= 1
            chosen.append(patient)
        if not any(wanted.values()):
            return chosen
    raise AssertionError("not reached")


def _row(folder: Path, phantom: Phantom, patient: str, number: int) -> dict[str, str]:
    morphology = phantom.morphology
    case = f"{patient}-{morphology.kind}-{number}"
    phantom.render(128 if phantom.view == FIELD else 100).save(folder / f"{case}.png")
    return {
        "image": f"{case}.png",
        "case": case,
        "patient": patient,
        "slide": f"{patient}-slide-{number % 2}",
        "site": morphology.site,
        "system": morphology.system,
        "category": morphology.category,
        "stain": morphology.stain,
        "preparation": morphology.preparation,
        "report": phantom.report,
        "kind": morphology.kind,
        "license": "Apache-2.0",
        "source": "phantoms",
    }


def _write(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(rows)
