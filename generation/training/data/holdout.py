"""Held-out patients, chosen by a hash of their name: the same ones in every run, also when patients are added, and the
same for an encoder and a LoRA that are trained on the same data.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from generation.atomic_write import write_atomic
from generation.errors import TrainingDataError, TrainingError
from generation.provenance import text_sha256

ONE_IN = 5
HELD_OUT = "held-out.txt"
_HEAD = (
    "# Patients that nothing was learned from: the SHA-256 of each one's name, as the manifest writes it.\n"
    "# All other patients of the training may have been learned from. As confidential as the model.\n"
)


def is_held_out(patient: str, one_in: int = ONE_IN) -> bool:
    """Whether a patient's images are kept for testing: one patient in `one_in`."""
    return _number(patient) % one_in == 0


def held_out_patients(patients: Iterable[str], one_in: int = ONE_IN) -> frozenset[str]:
    """The held-out ones of these patients.

    If the hashes would hold out none of few patients, it is the one of the smallest hash; if all, it is all except the
    one of the greatest.

    Raises `TrainingDataError` if there are not two patients, or `one_in` is below 2.
    """
    if one_in < 2:
        raise TrainingDataError(f"One patient in {one_in} cannot be held out: give 2 or more.")
    known = sorted(set(patients), key=_number)
    if len(known) < 2:
        raise TrainingDataError(
            f"There are images of {len(known) or 'no'} patient, and whole patients are held out to measure with: two "
            "are needed at least. Add others, or name the patients in the manifest's column `patient`."
        )
    chosen = frozenset(patient for patient in known if is_held_out(patient, one_in))
    if not chosen:
        return frozenset(known[:1])
    return chosen if len(chosen) < len(known) else frozenset(known[:-1])


def write_held_out(folder: Path, patients: Iterable[str]) -> Path:
    """Write `held-out.txt` beside a model: hashes of the held-out patients' names, since no name belongs there."""
    hashes = sorted({text_sha256(patient) for patient in patients})
    return write_atomic(folder / HELD_OUT, (_HEAD + "".join(f"{line}\n" for line in hashes)).encode())


def read_held_out(folder: Path) -> frozenset[str] | None:
    """The hashes that a training left in its folder; None if it left none.

    Raises `TrainingError` if they cannot be read.
    """
    path = folder / HELD_OUT
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read. Run the training's command once more: it writes it.") from error
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _number(patient: str) -> int:
    return int(text_sha256(patient), 16)
