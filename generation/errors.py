"""What can go wrong while generating.

    GenerationError
    ├── EmptyReportError        the report holds no text to generate from
    ├── SettingsError           a number or name cannot be used (n, seed, size, preset ...)
    ├── DeviceError             this machine lacks the device or number format
    ├── WeightsError            the base or the LoRA cannot be used
    │   ├── WeightsNotFoundError    there are none, or they could not be fetched from the hub
    │   ├── UnsafeWeightsError      pickled weights (.bin, .ckpt, .pt): refused; `coin … import` converts them
    │   └── LoraMismatchError       the LoRA has other shapes or names than the base, or is no LoRA
    ├── BlankImageError         the image is blank (not-a-number, or one colour)
    ├── ProvenanceError         an image's provenance cannot be read
    └── TrainingError           a training cannot begin or resume
        └── TrainingDataError       its images, reports or patients do not allow it

Every message says what is wrong, where, and what to do next. No message holds report text.
"""

from __future__ import annotations


class GenerationError(Exception):
    """Base of all errors of this package."""


class EmptyReportError(GenerationError, ValueError):
    """The report holds no letter and no digit."""


class SettingsError(GenerationError, ValueError):
    """A setting is out of range or unknown."""


class DeviceError(GenerationError):
    """The device or number format is not available on this machine."""


class WeightsError(GenerationError):
    """Weights that cannot be used: corrupt, incomplete, or of another kind of model."""


class WeightsNotFoundError(WeightsError):
    """There are no weights at the given place."""


class UnsafeWeightsError(WeightsError):
    """Pickled weights. Loading them could run any code, so only an import reads them, and only tensors."""


class LoraMismatchError(WeightsError):
    """The LoRA does not fit the base."""


class BlankImageError(GenerationError):
    """An image consists of not-a-numbers, or of one colour."""


class ProvenanceError(GenerationError):
    """An image, or the provenance in it, cannot be read."""


class TrainingError(GenerationError):
    """A training cannot begin or resume: the folder holds another one, its loss diverged …"""


class TrainingDataError(TrainingError):
    """Images, reports or patients that do not allow a training."""
