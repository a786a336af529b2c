"""The records of the API: small frozen dataclasses. The empty string means "not given"."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from index_store.slide_records import CaseSlide, SlidePlace

if TYPE_CHECKING:
    import PIL.Image


Role = Literal["image", "text", "colour"]
"""What an encoder does in an archive: compare images, compare texts with images and with reports, or compare images by
their colours."""
IMAGE: Final = "image"
TEXT: Final = "text"
COLOUR: Final = "colour"
ROLES: Final[tuple[Role, ...]] = (IMAGE, TEXT)
"""Those that a model is given. Colours need none: what has the fingerprint `COLOUR_FINGERPRINT` has their role, as long
as any image has a vector of it."""
COLOUR_FINGERPRINT: Final = hashlib.sha256(b"colour histogram, 8 x 8 x 8").hexdigest()
"""Of the histograms' kind, as an encoder's of its weights."""


@dataclass(frozen=True)
class Problem:
    """Something skipped or doubtful, described for the person who can correct it."""

    where: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.advice}"


def count_reasons(problems: Iterable[Problem]) -> Counter[str]:
    """How many of the problems have each reason, as sentences that name no file and no line."""
    whats = (re.sub(r"\bline \d+", "an earlier line", problem.what) for problem in problems)
    return Counter(f"{what[:1].upper()}{what[1:]}." for what in whats)


def lines_text(lines: Sequence[int], *, most: int = 10) -> str:
    """The first lines of a manifest for a message: "line 3", "lines 3, 8 …"."""
    each = sorted(set(lines))
    return f"line{'' if len(each) == 1 else 's'} {', '.join(map(str, each[:most]))}{' …' if len(each) > most else ''}"


@dataclass(frozen=True)
class Image:
    """A field or a cell crop of a case."""

    id: int
    case_key: str
    path: Path
    """The stored copy, or the file itself where it was added in place."""
    sha256: str
    """Of the source file's bytes."""
    width: int
    height: int
    slide: str = ""
    kind: str = ""
    stain: str = ""
    preparation: str = ""
    in_place: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The manifest's further columns."""
    file_sha256: str = ""
    """Of the bytes at `path`: compared before the picture is shown."""
    note: str = ""
    """How its file was read, where that is not the whole truth: "of its 5 pages, the first was read"."""
    mpp: float | None = None
    """µm a pixel; None where it is not known."""
    mpp_source: str = ""
    """How that is known: a key of `scale.RANK`, such as "manifest"."""
    place: SlidePlace | None = None
    """Where it was cut out; None where it is not a field of a whole slide."""


@dataclass(frozen=True)
class Case:
    """One specimen with one report, and its images in the order they were added."""

    id: int
    key: str
    patient: str
    report: str
    site: str = ""
    system: str = ""
    category: str = ""
    source: str = ""
    license: str = ""
    phantom: bool = False
    """Rendered by this software: there is no patient."""
    images: tuple[Image, ...] = ()
    derived: tuple[str, ...] = ()
    """Which of "site", "system" and "category" were inferred from the report rather than given."""
    slides: tuple[CaseSlide, ...] = ()
    """The whole slides that some of the images are fields of."""

    @property
    def stain(self) -> str:
        """The images' stains, each once, joined by a comma."""
        return _each_once(image.stain for image in self.images)

    @property
    def preparation(self) -> str:
        """The images' preparations, each once, joined by a comma."""
        return _each_once(image.preparation for image in self.images)

    @property
    def kind(self) -> str:
        """The images' kinds, each once, joined by a comma."""
        return _each_once(image.kind for image in self.images)

    @property
    def attributes(self) -> dict[str, str]:
        """Those attributes that all images of the case share."""
        first, *others = (image.attributes for image in self.images) if self.images else ({},)
        return {name: value for name, value in first.items() if all(o.get(name) == value for o in others)}


class Hit(NamedTuple):
    """An image that a search found. A tuple, since a search makes thousands."""

    image_id: int
    score: float
    """Inner product of unit vectors: the cosine, between -1 and 1."""


@dataclass(frozen=True)
class StoredReport:
    """The report of one case, without its images."""

    case_id: int
    case_key: str
    patient: str
    text: str


@dataclass(frozen=True)
class CaseLabels:
    """The attributes of a stored case that its report may give: site, reporting system and category."""

    site: str
    system: str
    category: str
    derived: tuple[str, ...]
    """As of `Case`."""


@dataclass(frozen=True)
class EncoderInfo:
    """An encoder registered in an archive."""

    fingerprint: str
    name: str
    dim: int


@dataclass(frozen=True)
class EncoderCoverage:
    """How much of an archive an encoder has embedded."""

    encoder: EncoderInfo
    active: bool
    """Whether it compares images in searches: the encoder of the image role."""
    images: int
    vectors: int
    """Images that have a vector of it."""
    reports: int
    """Reports with any text."""
    report_vectors: int
    """Reports that have a vector of it, made of the text as it is now."""
    roles: tuple[Role, ...] = ()
    """The roles that it has; empty where it answers no searches."""


def _each_once(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(value for value in values if value))


@dataclass(frozen=True)
class NewImage:
    """An image ready to be embedded and added. Made by `PlannedImage.load`."""

    row: ManifestRow
    sha256: str
    """Of `source`."""
    source: bytes
    """The file as it was when decoded."""
    image: PIL.Image.Image
    """`source` decoded: RGB, upright, without metadata."""
    notes: tuple[str, ...] = ()
    """Notes on how it was read, such as "of its 5 pages, the first was read"."""
    mpp: float | None = None
    """µm a pixel, by the row, the file, or an option for all images; None where it is not known."""
    mpp_source: str = ""
    """How that is known, as of `Image`."""
    place: SlidePlace | None = None
    """As of `Image`; then `source` is not the slide but the field as it is stored, also where `row` stays in place."""


@dataclass(frozen=True)
class ManifestRow:
    """One image of a manifest with what is known of its case. The empty string means "not given"."""

    line: int
    image: str
    """The path as written."""
    path: Path
    """The path resolved; it lies within the images' folder."""
    case: str
    patient: str
    report: str
    slide: str = ""
    site: str = ""
    system: str = ""
    category: str = ""
    stain: str = ""
    preparation: str = ""
    kind: str = ""
    license: str = ""
    source: str = ""
    phantom: bool | None = None
    """Rendered by this software; None where the manifest does not say."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    mpp: float | None = None
    """µm a pixel; None where the manifest does not say."""
    mpp_source: str = ""
    """Where the manifest says it: "manifest" (the number itself) or "objective"; "option" where it was given for all
    rows at once."""
    derived: tuple[str, ...] | None = None
    """Which of `site`, `system` and `category` were inferred from the report. None where the report was not read:
    inferred values that are stored then stay, except for those that the row gives."""

    is_slide: bool = False
    """Whether `path` is a whole slide (`files/headers/slides.py`), of which fields are cut out. Without a
    name of its own it is called after its file."""

    @property
    def stands_alone(self) -> bool:
        """Whether the image is its own case, named after it."""
        return self.case == self.image

    @property
    def names_patient(self) -> bool:
        """Whether a patient is named (rather than taken from the case)."""
        return self.patient != self.case
