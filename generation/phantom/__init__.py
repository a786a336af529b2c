"""Phantoms: reference fields drawn from known morphology, with reports (no patient, no licence, no download)."""

from .phantom import PHANTOM_NOTICE, SPLITS, Morphology, Phantom, phantom_cases, write_phantoms
from .profiles import PROFILES, Profile

__all__ = [
    "PHANTOM_NOTICE",
    "PROFILES",
    "SPLITS",
    "Morphology",
    "Phantom",
    "Profile",
    "phantom_cases",
    "write_phantoms",
]
