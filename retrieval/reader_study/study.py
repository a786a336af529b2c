"""A blinded reader study: a fixed set of real and generated images that readers rate without knowing which is which.

    <folder>/<name>/study.json       what readers may know: pictures, sizes, scale, seed
                    truth.json       the origin of each picture; used for readers who have closed, and for the owner
                    pictures/        <SHA-256 of the file>.jpg, all of one size and compression (`standardise_images`)
                    ratings.sqlite   the answers (`ratings`)

The files of generated images carry no label, since that would break the blinding: labels and provenance are kept in
`truth.json` and shown once a reader closes. Whoever can read the folder can read the origins: only the page is
blinded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from retrieval.errors import ReaderStudyError
from retrieval.reader_study.ratings import Ratings
from retrieval.search.saved_queries import NAME

FORMAT: Final = 1
CARD: Final = "study.json"
TRUTH: Final = "truth.json"
PICTURES: Final = "pictures"
RATINGS: Final = "ratings.sqlite"


@dataclass(frozen=True)
class Axis:
    """One question with its steps, from 1 upwards."""

    name: str
    title: str
    question: str
    without_labels: str
    """The question where a study does not show what is stated."""
    steps: tuple[str, ...]


SCALE: Final = (
    Axis(
        "anatomic",
        "Anatomic authenticity",
        "Could this be a real specimen?",
        "Could this be a real specimen?",
        ("impossible", "unlikely", "undecided", "plausible", "convincing"),
    ),
    Axis(
        "diagnostic",
        "Diagnostic authenticity",
        "Does it show what is stated?",
        "Does it show a recognisable diagnosis?",
        ("not at all", "hardly", "partly", "mostly", "fully"),
    ),
)
"""COIN's two axes, five steps each. COIN's authors had experts rate generated images for anatomic and for diagnostic
authenticity (abstract of "A Generative Foundation Model for Scalable Cytology Image Synthesis in AI-Powered
Diagnostics", Clinical Cancer Research). The scale that they used was not available: the steps and their words are ours,
and figures are not to be compared with theirs."""


@dataclass(frozen=True)
class Picture:
    """One picture of a study, as a reader may know it."""

    id: str
    """SHA-256 of the file."""
    site: str = ""
    """The site and category that its report states; empty where the study hides them."""
    category: str = ""


@dataclass(frozen=True)
class Origin:
    """The origin of a picture."""

    generated: bool
    phantom: bool
    """Rendered by this software, and shown instead of a real one."""
    source_sha256: str
    site: str = ""
    category: str = ""
    case: str = ""
    """The archive's case that a real one belongs to."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How a generated one was made. Its prompt is the report's text, or an extract of it."""
    patient: str = ""
    """The patient of a real one; empty in studies of earlier versions."""

    @property
    def cluster(self) -> str:
        """What it shares with others that are not independent of it: the patient, or the report it was generated from.
        Empty: nothing is known of it."""
        if self.generated:
            return f"report {report}" if (report := self.provenance.get("report_sha256")) else ""
        return f"patient {self.patient}" if self.patient else f"case {self.case}" if self.case else ""

    @property
    def kind(self) -> str:
        """generated, phantom or real."""
        return "generated" if self.generated else "phantom" if self.phantom else "real"


@dataclass(frozen=True)
class Truth:
    """What is hidden until a reader closes: the pictures' origins, and how they were selected."""

    origins: Mapping[str, Origin]
    by_category: int
    """Pairs of a real and a generated picture of one site and category."""
    by_site: int
    """Further pairs, of one site alone."""
    left_out: Mapping[str, int]
    """Images that could not be selected, by reason."""
    archive: str

    def count(self, kind: str) -> int:
        """How many pictures are generated, phantom or real."""
        return sum(origin.kind == kind for origin in self.origins.values())


class ReaderStudy:
    """A study in its folder. Opened by any number of processes at once; only ratings ever change.

    `phantoms`: whether "none", "some" or "all" of the images in the role of real ones are phantoms; readers see it.
    """

    def __init__(self, folder: Path | str) -> None:
        """Raises ReaderStudyError where the folder holds no study, one of a later version, or an altered one."""
        self.folder = Path(folder)
        card = _read_json(self.folder / CARD)
        if card.get("format") != FORMAT:
            raise ReaderStudyError(
                f"The reading in {self.folder} is of format {card.get('format')}, and this version reads {FORMAT}. "
                "Use the version that it was made with."
            )
        try:
            self.name, self.uuid, self.created = str(card["name"]), str(card["uuid"]), str(card["created"])
            self.seed, self.side = int(card["seed"]), int(card["side"])
            self.fit, self.compression = str(card["fit"]), str(card["compression"])
            self.shows_labels, self.phantoms = bool(card["shows_labels"]), str(card["phantoms"])
            self.scale = tuple(Axis(**{**axis, "steps": tuple(axis["steps"])}) for axis in card["scale"])
            self.pictures = tuple(Picture(**picture) for picture in card["pictures"])
            self._truth_sha256 = str(card["truth_sha256"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(self.folder / CARD) from error

    def order(self, reader: str) -> tuple[Picture, ...]:
        """The pictures in the order in which this reader sees them: random, and the same each time."""
        return tuple(sorted(self.pictures, key=lambda picture: _digest(self.uuid, str(self.seed), reader, picture.id)))

    def picture(self, picture_id: str) -> bytes:
        """The JPEG file of a picture. Raises ReaderStudyError where it is gone or was altered."""
        path = self.folder / PICTURES / f"{self._known(picture_id)}.jpg"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ReaderStudyError(
                f"The picture {path} cannot be read ({error.strerror}). Restore the folder."
            ) from error
        if hashlib.sha256(data).hexdigest() != picture_id:
            raise ReaderStudyError(f"The picture {path} was altered since the study was made. Restore the folder.")
        return data

    def truth(self) -> Truth:
        """The origins. Not to be shown to somebody who still rates.

        Raises:
            ReaderStudyError: they were altered since the study was made.
        """
        path = self.folder / TRUTH
        stored = _read_json(path, sha256=self._truth_sha256)
        try:
            origins = {key: Origin(**origin) for key, origin in stored.pop("origins").items()}
            truth = Truth(origins=origins, **stored)
        except (KeyError, TypeError) as error:
            raise _damaged(path) from error
        if set(origins) != {picture.id for picture in self.pictures}:
            raise _damaged(path)
        return truth

    @cached_property
    def ratings(self) -> Ratings:
        """The readers' answers."""
        return Ratings(self.folder / RATINGS, [picture.id for picture in self.pictures])

    def close(self) -> None:
        """Release the ratings' file. Every rating is on disk already."""
        ratings = self.__dict__.pop("ratings", None)
        if ratings is not None:
            ratings.close()

    def _known(self, picture_id: str) -> str:
        if all(picture_id != picture.id for picture in self.pictures):
            raise ReaderStudyError(f"The reading '{self.name}' has no picture '{picture_id}'.")
        return picture_id


def reader_study_names(folder: Path | str) -> tuple[str, ...]:
    """The names of the studies in a folder, in alphabetical order; none where there is no such folder."""
    return tuple(
        sorted(path.parent.name for path in Path(folder).glob(f"*/{CARD}") if NAME.fullmatch(path.parent.name))
    )


def open_reader_study(folder: Path | str, name: str) -> ReaderStudy:
    """The study of that name in a folder. Raises ReaderStudyError where there is none; the message names the others."""
    path = study_path(folder, name)
    if not (path / CARD).is_file():
        known = ", ".join(reader_study_names(folder)) or "none yet"
        raise ReaderStudyError(
            f"There is no reading '{name}' in {folder} (there: {known}). Make one with `coin reading new {name}`, or "
            "name the folder with --readings or COIN_READINGS."
        )
    return ReaderStudy(path)


def reader_study_created_ns(folder: Path | str, name: str) -> int:
    """When the study of that name was made, in nanoseconds; 0 where there is none. One that was deleted and made anew
    under its name differs."""
    card = Path(folder) / name / CARD
    return card.stat().st_mtime_ns if card.exists() else 0


def study_path(folder: Path | str, name: str) -> Path:
    """The folder of the study of that name, existing or not. Raises ReaderStudyError for an invalid name."""
    if not NAME.fullmatch(name):
        raise ReaderStudyError(
            f"'{name}' cannot name a reading: use up to 80 letters, digits, spaces and . ( ) + - _, beginning with a "
            "letter or digit."
        )
    return Path(folder) / name


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _read_json(path: Path, *, sha256: str = "") -> dict[str, Any]:
    try:
        data = path.read_bytes()
        stored = json.loads(data)
    except OSError as error:
        raise ReaderStudyError(f"{path} cannot be read ({error.strerror}). Restore the folder from a copy.") from error
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(stored, dict) or (sha256 and hashlib.sha256(data).hexdigest() != sha256):
        raise _damaged(path)
    stored.pop("notice", None)
    return stored


def _damaged(path: Path) -> ReaderStudyError:
    return ReaderStudyError(f"{path} is damaged, or was altered since the study was made. Restore it from a copy.")
