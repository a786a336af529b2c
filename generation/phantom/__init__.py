"""Phantoms: reference fields rendered from known morphology, with reports (no patient, no licence, no download)."""

from generation.phantom.morphology import Morphology
from generation.phantom.phantom import FIELD, PHANTOM_NOTICE, SPLITS, Phantom, View, phantom_cases, write_phantoms
from generation.phantom.profiles import PROFILES, Profile

__all__ = [
    "FIELD",
    "PHANTOM_NOTICE",
    "PROFILES",
    "SPLITS",
    "Morphology",
    "Phantom",
    "Profile",
    "View",
    "phantom_cases",
    "write_phantoms",
]
