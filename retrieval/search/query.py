"""A query as data: all that decides an answer, so that it can be changed step by step, named, kept and run again."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from index_store.scale import MAX_MPP, MIN_MPP, is_plausible
from retrieval.errors import QueryError
from retrieval.search.channels.channel import Need
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import Method
from retrieval.search.region import Region
from retrieval.search.slides.slide_query import SlideQuery, slide_query_from_dict

if TYPE_CHECKING:
    import PIL.Image

    from index_store import CaseFilter

VERSION: Final = 1
"""Of the JSON layout. A reader refuses a newer one."""
DEFAULT_SEEDS: Final = (0, 1, 2, 3)


@dataclass(frozen=True)
class Query:
    """A query: text, an image, a whole slide, a case of the archive, or a text together with one of the others."""

    text: str = ""
    """Report text."""
    image: bytes = b""
    """An image file, unchanged. It is decoded under the archive's limits."""
    label: str = ""
    """What to call the image: its file's name."""
    mpp: float | None = None
    """The scale of the image or of the slide's level 0 (not of a case's) in µm a pixel; None: what its file says, or
    unknown."""
    slide: SlideQuery | None = None
    """A whole slide, or a part of it, in the place of the image."""
    case: str = ""
    """The key of a case of the archive, which queries by its images."""
    image_id: int | None = None
    """One image of that case, instead of all of them."""
    region: Region | None = None
    """A part of the image (of `image`, or of `image_id`), instead of all of it."""
    more: tuple[str, ...] = ()
    """Cases that the results should resemble more (Rocchio)."""
    less: tuple[str, ...] = ()
    """Cases that they should resemble less."""
    seeds: tuple[int, ...] = DEFAULT_SEEDS
    """Of the images generated from the text, one each."""
    preset: str = "draft"
    """How they are sampled."""
    site: str = ""
    """The site that generated images must show; empty: the site that the text names."""
    channels: tuple[str, ...] = ()
    """The channels to search; empty: all that the query allows and the search has."""
    fusion: Method | None = None
    """How to fuse them; None: by the search's rules."""
    weights: tuple[tuple[str, float], ...] = ()
    """Weights by channel, which replace those of the search's rules."""
    include_own_patient: bool = False
    """Whether the results of a query by case may include other cases of its patient."""
    k: int = 10
    where: CaseFilter | None = None

    def __post_init__(self) -> None:
        shown = [
            name for name, value in (("an image", self.image), ("a slide", self.slide), ("a case", self.case)) if value
        ]
        if len(shown) > 1:
            raise QueryError(f"The query has {shown[0]} and {shown[1]}: use one of the two.")
        if not (self.text.strip() or shown):
            raise QueryError("The query is empty: the report is empty, and there is no image, no slide and no case.")
        if self.mpp is not None and not (self.image or self.slide):
            raise QueryError("A scale is given, but no image that it is the scale of.")
        if self.mpp is not None and not is_plausible(self.mpp):
            raise QueryError(f"{self.mpp:g} µm a pixel is no scale of a microscope's image ({MIN_MPP} to {MAX_MPP:g}).")
        if self.k < 1:
            raise QueryError(f"{self.k} cases are too few: choose at least 1.")
        if self.image_id is not None and not self.case:
            raise QueryError("An image of a case is named without the case: give both.")
        if self.region is not None and not self.image and self.image_id is None:
            raise QueryError("A region needs one image: give an image, or name one of the case's.")
        for channel in self.channels:
            if channel not in CHANNELS:
                raise QueryError(f"There is no channel '{channel}': choose among {', '.join(CHANNELS)}.")
            if missing := CHANNELS[channel].query_needs - self._held:
                (needed, *_) = missing
                raise QueryError(f"The channel '{channel}' needs {needed.value}, and the query holds none.")
        if not self.seeds and any(Need.GENERATOR in CHANNELS[name].needs for name in self.possible_channels):
            raise QueryError("No generated image is left: keep at least one seed.")

    @property
    def kind(self) -> str:
        """ "report", "image", "slide", "case", or two of them joined by " and "."""
        held = [
            name
            for name, value in (
                ("report", self.text.strip()),
                ("image", self.image),
                ("slide", self.slide),
                ("case", self.case),
            )
            if value
        ]
        return " and ".join(held)

    @property
    def possible_channels(self) -> tuple[str, ...]:
        """The names of the channels that the query has what they need for."""
        return tuple(name for name, channel in CHANNELS.items() if channel.query_needs <= self._held)

    @property
    def _held(self) -> set[Need]:
        held = ((Need.TEXT, self.text.strip()), (Need.PICTURE, self.image or self.slide or self.case))
        return {need for need, value in held if value}

    @property
    def rule(self) -> str:
        """Which of the fusion rules applies: "text", "image" or "text and image"."""
        picture = self.image or self.slide or self.case
        parts = [name for name, value in (("text", self.text.strip()), ("image", picture)) if value]
        return " and ".join(parts)

    # Refinements: each is a new query

    def more_like(self, case: str) -> Query:
        """The answer should resemble this case more."""
        return self._marked(case, more=True)

    def less_like(self, case: str) -> Query:
        """The answer should resemble this case less."""
        return self._marked(case, more=False)

    def unmarked(self, case: str) -> Query:
        """Without a mark that was set on this case."""
        return dataclasses.replace(
            self,
            more=tuple(key for key in self.more if key != case),
            less=tuple(key for key in self.less if key != case),
        )

    def without_seed(self, seed: int) -> Query:
        """Without the generated image of that seed. Raises QueryError where it is the last."""
        if seed not in self.seeds:
            raise QueryError(
                f"The query has no generated image of seed {seed}: it has {', '.join(map(str, self.seeds))}."
            )
        return dataclasses.replace(self, seeds=tuple(other for other in self.seeds if other != seed))

    def with_text(self, text: str) -> Query:
        """Another report text; the generated images keep their seeds."""
        return dataclasses.replace(self, text=text)

    def within(self, region: Region | None, *, image_id: int | None = None) -> Query:
        """Only this region of the image (of the case's image `image_id`); None: all of it again."""
        return dataclasses.replace(self, region=region, image_id=self.image_id if image_id is None else image_id)

    def _marked(self, case: str, *, more: bool) -> Query:
        plain = self.unmarked(case)
        if more:
            return dataclasses.replace(plain, more=(*plain.more, case))
        return dataclasses.replace(plain, less=(*plain.less, case))


def query_to_dict(query: Query) -> dict[str, Any]:
    """The query as plain JSON values, whole: `query_from_dict` gives it back. The image is base64."""
    values = dataclasses.asdict(query)
    if values["where"] is not None and not values["where"]["labels"]:
        del values["where"]["labels"]  # no query of the command line or the view has any
    if values["where"] is not None and values["where"]["mpp"] is None:
        del values["where"]["mpp"]  # so that a version before can read it
    for name in ("mpp", "slide"):  # likewise
        if values[name] is None:
            del values[name]
    return {
        "version": VERSION,
        **values,
        "image": base64.b64encode(query.image).decode("ascii"),
        "weights": dict(query.weights),
    }


def query_from_dict(document: object) -> Query:
    """The query that `query_to_dict` wrote, also after a way through JSON. Raises QueryError where it is none."""
    from index_store import CaseFilter

    try:
        if not isinstance(document, dict):
            raise TypeError("it is no object")
        values = dict(document)
        version = values.pop("version")
        if not isinstance(version, int) or version > VERSION:
            raise QueryError(f"The query was kept by a newer version ({version}): update coin-retrieval to run it.")
        values["image"] = base64.b64decode(values["image"], validate=True)
        values["region"] = Region(**values["region"]) if values["region"] else None
        values["weights"] = tuple((str(name), float(weight)) for name, weight in values["weights"].items())
        if values.get("slide") is not None:
            values["slide"] = slide_query_from_dict(values["slide"])
        where = values["where"]
        values["where"] = CaseFilter(**_tuples(where)) if where else None
        for name in ("more", "less", "seeds", "channels"):
            values[name] = tuple(values[name])
        query = Query(**values)
        _check_types(query)
        return query
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise QueryError(f"This is no query that was kept by this software ({error}).") from error


def query_from_json(text: str) -> Query:
    """The query of a JSON text. Raises QueryError where it is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise QueryError(f"This is no JSON ({error}).") from error
    return query_from_dict(document)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in values.items()}


def _check_types(query: Query) -> None:
    """What JSON cannot promise: that a word is a word and a number a number."""
    words = (query.text, query.label, query.case, query.preset, query.site, *query.more, *query.less)
    if query.mpp is not None and type(query.mpp) not in (int, float):
        raise TypeError("a value is of the wrong type")
    numbers = (query.k, *query.seeds, *(() if query.image_id is None else (query.image_id,)))
    if not all(isinstance(word, str) for word in words) or not all(type(number) is int for number in numbers):
        raise TypeError("a value is of the wrong type")


def png_bytes(image: PIL.Image.Image) -> bytes:
    """An image as a query holds it: RGB, in a PNG file."""
    import io

    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()
