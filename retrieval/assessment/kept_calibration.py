"""The calibrations that searches are judged by: made when first needed, and kept for the next process.

A calibration belongs to a channel, a type of query, an encoder and a filter. It is made anew when more than `OUTDATED`
of its images have changed, and says how many have until then.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.assessment.novelty import Calibration
from retrieval.errors import EvaluationError
from retrieval.search.channels.channel import CalibrationMaterials, Channel

if TYPE_CHECKING:
    from index_store import CaseFilter, DerivedName, LogPosition

REMEMBERED: Final = 64
"""Calibrations that are kept, the last that were made."""
OUTDATED: Final = 0.05
"""The share of changed images beyond which a calibration is made anew."""
FORMAT: Final = 2
"""To be raised when calibrations are computed otherwise."""


@dataclass(frozen=True, eq=False)
class KeptCalibration:
    """A calibration, or why there is none, and what it was made of."""

    found: Calibration | str
    position: LogPosition
    """Of the archive's change log."""
    images: int
    """That the filter let through."""

    def changes(self, position: LogPosition) -> int:
        """How many changes of images the log holds since."""
        return position.sequence - self.position.sequence

    def is_current(self, position: LogPosition) -> bool:
        """Whether it may still be judged by, where the log is at `position`."""
        return 0 <= self.changes(position) <= OUTDATED * self.images


def calibration_for(channel: Channel, materials: CalibrationMaterials, position: LogPosition) -> KeptCalibration:
    """What an earlier process has kept, or a new one, which is kept.

    Args:
        channel: is calibrated.
        materials: name the type of query and the filter.
        position: where the archive's change log is.
    """
    name = _name(channel, materials)
    known = _read(name, materials)
    if known is None or not known.is_current(position):
        known = _made(channel, materials)
        _write(name, materials, known)
    return known


def _made(channel: Channel, materials: CalibrationMaterials) -> KeptCalibration:
    table = materials.archive.image_table(materials.where)
    found: Calibration | str
    try:
        found = _calibration(materials, channel.own_similarities(materials)[materials.query_type])
    except EvaluationError as error:  # too few patients or generated images: nothing to compare with
        found = str(error)
    return KeptCalibration(found, table.position, len(table))


def _calibration(materials: CalibrationMaterials, scores: tuple[float, ...]) -> Calibration:
    return Calibration(
        materials.encoder.fingerprint, {materials.query_type: scores}, filtered=materials.where is not None
    )


def _read(name: DerivedName, materials: CalibrationMaterials) -> KeptCalibration | None:
    kept = materials.archive.read_derived(name)
    if kept is None:
        return None
    scores, reason = kept.arrays["scores"], kept.values["reason"]
    found = reason or _calibration(materials, tuple(scores.tolist()))
    return KeptCalibration(found, kept.position, kept.values["images"])


def _write(name: DerivedName, materials: CalibrationMaterials, made: KeptCalibration) -> None:
    from index_store import Derived

    scores, reason = ((), made.found) if isinstance(made.found, str) else (made.found.scores[materials.query_type], "")
    arrays = {"scores": np.array(scores, dtype=np.float64)}
    materials.archive.write_derived(name, Derived(made.position, arrays, {"images": made.images, "reason": reason}))


def _name(channel: Channel, materials: CalibrationMaterials) -> DerivedName:
    from index_store import DerivedName

    key = (channel.name, materials.query_type, materials.encoder.fingerprint, _values(materials.where))
    return DerivedName("calibration", FORMAT, repr((*key, *channel.calibration_key(materials))), keep=REMEMBERED)


def _values(where: CaseFilter | None) -> list[tuple[str, object]] | None:
    """The filter's values, whatever their order."""
    if where is None:
        return None
    values = dataclasses.asdict(where).items()
    return [(name, sorted(value) if isinstance(value, tuple) else value) for name, value in values]
