"""What a channel is: one way to compare a query with the archive. `registry` lists them all.

A new channel is a module of this package with a subclass of `Channel`, and a line of the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from retrieval.arrays import Vectors
from retrieval.errors import EvaluationError
from retrieval.search.channels.own_runs import ChannelRun, EvaluationMaterials
from retrieval.search.fusion import FusionRule
from retrieval.search.group_by_patient import Ranking, rank_images
from retrieval.search.understood_query import UnderstoodQuery

if TYPE_CHECKING:
    from generation import CoinGenerator
    from index_store import Archive, CaseFilter, Role
    from retrieval.encoder.encoder import Encoder, Progress
    from retrieval.encoder.roles import RoleEncoders
    from retrieval.generated.batch_generation import GenerationPlan
    from retrieval.generated.checked_generation import GeneratedQuery
    from retrieval.search.reports.report_index import ReportIndex
    from retrieval.search.slides.read_slide import QueriedSlide


class Need(Enum):
    """What a channel cannot do without. The values are the words of messages."""

    TEXT = "report text"
    PICTURE = "an image, a slide or a case"
    GENERATOR = "a generator"
    TEXT_TOWER = "the encoder's text tower"


@dataclass(frozen=True, eq=False)
class SearchMaterials:
    """What a search hands to its channels."""

    archive: Archive
    encoders: RoleEncoders
    generated: GeneratedQuery | None
    """The images that the text became; None where no channel needs them."""
    slide: QueriedSlide | None
    """The query's slide as it was read; None where there is none, or no channel compares it."""
    text_vector: Vectors | None
    """float32[1, d], the text by the text tower of the role's encoder; None where no channel uses it, or there is
    none."""
    reports: Callable[[], ReportIndex]
    """The index of the archive's reports, read when it is first used."""
    uncompared: Callable[[Role], int]
    """How many of the archive's images a role's encoder has not embedded, so that it does not compare them."""
    rules: Mapping[str, FusionRule]
    """By name: for a channel that joins several ways to compare."""
    at_least: int
    """Patients that every ranking must hold, exactly in order."""
    pool: int
    """Patients that a ranking should hold, for the fusion."""
    noted: list[str] = field(default_factory=list)
    """What channels find out while they encode, for the result's notes: how the query's picture was read."""

    @property
    def encoder(self) -> Encoder:
        """The encoder that compares images."""
        return self.encoders.image


@dataclass(frozen=True)
class ChannelRanking:
    """A channel's patients, and what a reader should know about them."""

    ranking: Ranking
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CalibrationMaterials:
    """What a channel calibrates with: how similar the archive's own cases are to those of other patients."""

    archive: Archive
    encoder: Encoder
    """Of the channel's role."""
    generator: CoinGenerator | None
    work: Path | None
    """The folder that keeps what was generated from the archive's own reports; None: there is none."""
    where: CaseFilter | None
    """The filter that the sample and its candidates pass."""
    query_type: str
    """One of the channel's."""
    n_images: int
    """Images generated a report."""
    preset: str
    """How they are sampled."""
    generation: GenerationPlan | None = None
    """Generate by it what `work` lacks, which takes minutes. None: what is there is used."""
    progress: Progress | None = None
    """Of what takes minutes."""


class Channel(ABC):
    """One way to compare a query with the archive. Has no state: one object serves all searches."""

    name: ClassVar[str]
    """In queries, fusion rules, options and JSON."""
    label: ClassVar[str]
    """For readers."""
    role: ClassVar[Role] = "image"
    """Whose encoder it compares by."""
    needs: ClassVar[frozenset[Need]]
    """Without one of these it cannot answer."""
    uses: ClassVar[frozenset[Need]] = frozenset()
    """What it uses where it is there."""
    compares_images: ClassVar[bool] = True
    """Whether it compares with the archive's images, for which the encoder must read images."""
    opt_in: ClassVar[bool] = False
    """Whether it answers only where the query names it or the rule gives it a weight; others weigh 1 where a rule does
    not name them."""
    colours: ClassVar[Mapping[str, str]] = {}
    """By run of an evaluation (`own_run`), its colour in charts, "#rrggbb". Others share the colour of the ink."""
    not_judged: ClassVar[str] = "The similarities of this channel are not calibrated."
    """Why the novelty of a query is not judged by this channel; empty where it is."""

    @property
    def query_needs(self) -> frozenset[Need]:
        """What the query itself must hold."""
        return self.needs & {Need.TEXT, Need.PICTURE}

    @property
    def query_types(self) -> Mapping[str, str]:
        """The kinds of query that have a scale of similarities of their own, and a calibration each: by name, what
        readers call them."""
        return {self.name: self.label}

    def query_type(self, query: UnderstoodQuery) -> str:
        """Which of `query_types` this query is."""
        return self.name

    @abstractmethod
    def encode(self, query: UnderstoodQuery, materials: SearchMaterials) -> Vectors | None:
        """The vector float32[1, d] that is compared with images, before relevance feedback; of a slide's fields
        float32[n, d]. None: no image is compared.
        """

    def rank(self, query: UnderstoodQuery, vector: Vectors | None, materials: SearchMaterials) -> ChannelRanking | None:
        """Rank the archive's patients; None where the channel has nothing to compare by.

        Args:
            vector: float32[1, d] or, of a slide's fields, float32[n, d], what `encode` returned, moved by relevance
                feedback.
        """
        if vector is None:
            return None
        ranking = rank_images(
            materials.archive,
            vector,
            materials.at_least,
            pool=materials.pool,
            where=query.competing,
            fingerprint=materials.encoders.fingerprint(self.role),
        )
        return ChannelRanking(ranking)

    def calibration_key(self, materials: CalibrationMaterials) -> tuple[Hashable, ...]:
        """All that decides a calibration beside the archive's state and the filter."""
        return ()

    def own_similarities(self, materials: CalibrationMaterials) -> Mapping[str, tuple[float, ...]]:
        """What the archive's own cases find of other patients, for the query type of the materials; ascending.

        Raises:
            EvaluationError: there are too few cases to calibrate on, or the channel is not calibrated.
        """
        raise EvaluationError(self.not_judged)

    def own_run(self, materials: EvaluationMaterials) -> ChannelRun | None:
        """How it ranks the archive's own cases, for `coin evaluate`; None where the material lacks what it needs, or
        where the channel is not measured."""
        return None
