"""The main job: a report, an image or a case of the archive becomes the nearest reference cases."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from retrieval.encoder import Encoder, Progress, Vectors
from retrieval.errors import QueryError
from retrieval.ranking import rank_by_fused_ranks, rank_by_mean
from retrieval.results import Query, RankedCase, SearchResult, Timing

if TYPE_CHECKING:
    import PIL.Image

    from generation import CoinGenerator, Generation, Preset
    from index_store import Archive, CaseFilter

Fusion = Literal["mean", "rrf"]
Rank = Callable[..., tuple[RankedCase, ...]]

DEFAULT_FUSION: Final[Fusion] = "mean"
_RANK: Final[dict[str, Rank]] = {"mean": rank_by_mean, "rrf": rank_by_fused_ranks}


class CaseSearch:
    """Search an archive by report text, by image, or by one of its cases.

    Results are cases, at most one a patient, exactly k of them where the archive has as many that the filter
    lets through. Whoever asks by a case is not shown that case's own patient, unless they ask for it.
    Generated images are queries only: nothing here writes to the archive.

    Raises `index_store.EncoderMismatchError` where the archive's vectors were made by another encoder.
    """

    def __init__(self, archive: Archive, encoder: Encoder, generator: CoinGenerator | None = None) -> None:
        self._archive = archive
        self._encoder = encoder
        self._generator = generator
        self._check_encoder()

    def by_report(
        self,
        report: str,
        *,
        k: int = 10,
        where: CaseFilter | None = None,
        n_images: int = 4,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        preset: str | Preset = "draft",
        fusion: Fusion = DEFAULT_FUSION,
        progress: Progress | None = None,
    ) -> SearchResult:
        """A report becomes n synthetic images, and these become one query.

        `fusion` "mean" searches by the images' mean vector, "rrf" adds the reciprocal ranks each image gives.
        `progress` counts the generator's steps. Raises QueryError for an empty report, or where this search
        has no generator.
        """
        self._check(k=k, fusion=fusion)
        if self._generator is None:
            raise QueryError("This search has no generator, so a report cannot become images. Search by image or case.")
        started = time.perf_counter()
        generation = self._generator.generate(
            report, n=n_images, seed=seed, seeds=seeds, preset=preset, progress=progress
        )
        generated = time.perf_counter()
        vectors = self._encoder.encode_images([drawn.image for drawn in generation.images])
        return self._search(
            Query("report", text=report, label=""),
            vectors,
            k=k,
            where=where,
            fusion=fusion,
            generation=generation,
            generate_s=generated - started,
            embed_s=time.perf_counter() - generated,
        )

    def by_image(
        self, image: PIL.Image.Image | Path, *, k: int = 10, where: CaseFilter | None = None, label: str = ""
    ) -> SearchResult:
        """The cases nearest to one image: a file (decoded under the archive's limits) or a decoded RGB image.

        Raises `index_store.ImageProblem` where the file is no image that can be read.
        """
        self._check(k=k)
        started = time.perf_counter()
        if isinstance(image, Path):
            from index_store import decode_image

            label = label or image.name
            image = decode_image(image)
        vectors = self._encoder.encode_images([image.convert("RGB")])
        embed_s = time.perf_counter() - started
        return self._search(Query("image", text="", label=label), vectors, k=k, where=where, embed_s=embed_s)

    def by_case(
        self,
        case_key: str,
        *,
        k: int = 10,
        where: CaseFilter | None = None,
        include_own_patient: bool = False,
    ) -> SearchResult:
        """The cases nearest to a case of the archive, by the mean of its images' stored vectors.

        The case itself is never a result; the other cases of its patient are only with `include_own_patient`.
        Raises `index_store.CaseNotFoundError`.
        """
        from index_store import CaseFilter

        self._check(k=k)
        started = time.perf_counter()
        case = self._archive.case(case_key)
        vectors = self._archive.vectors_of([image.id for image in case.images], self._encoder.fingerprint)
        others = where or CaseFilter()
        others = dataclasses.replace(others, exclude_cases=(*others.exclude_cases, case.key))
        if not include_own_patient:
            others = dataclasses.replace(others, exclude_patients=(*others.exclude_patients, case.patient))
        return self._search(
            Query("case", text=case.report, label=case.key),
            vectors,
            k=k,
            where=where,
            within=others,
            embed_s=time.perf_counter() - started,
        )

    def _search(
        self,
        query: Query,
        vectors: Vectors,
        *,
        k: int,
        where: CaseFilter | None,
        within: CaseFilter | None = None,
        fusion: Fusion = "mean",
        generation: Generation | None = None,
        generate_s: float = 0.0,
        embed_s: float,
    ) -> SearchResult:
        """`within` narrows what was asked for (`where`) by what goes without saying: a case's own patient."""
        started = time.perf_counter()
        cases: tuple[RankedCase, ...] = ()
        if self._archive.encoder is not None:  # None: nothing was ever embedded
            fingerprint = self._encoder.fingerprint
            cases = _RANK[fusion](self._archive, vectors, k, where=within or where, fingerprint=fingerprint)
        return SearchResult(
            query=query,
            cases=cases,
            generation=generation,
            timing=Timing(generate_s, embed_s, time.perf_counter() - started),
            encoder=self._encoder.name,
            fingerprint=self._encoder.fingerprint,
            where=where,
            notes=self._notes(len(cases), k, where),
        )

    def _notes(self, found: int, k: int, where: CaseFilter | None) -> tuple[str, ...]:
        if found == k:
            return ()
        if not self._archive.cases(limit=1):
            return ("The archive is empty: add reference cases with `coin add`.",)
        if found:
            return (f"Only {found} of the {k} cases asked for: the archive has no more patients that match.",)
        if where is not None:
            return ("No case matches the filters: remove one of them.",)
        return ("The archive holds no case of another patient.",)

    def _check(self, *, k: int, fusion: str = "mean") -> None:
        if k < 1:
            raise QueryError(f"{k} cases were asked for: ask for at least 1.")
        if fusion not in get_args(Fusion):
            raise QueryError(f"There is no fusion '{fusion}': choose one of {', '.join(get_args(Fusion))}.")
        self._check_encoder()

    def _check_encoder(self) -> None:
        # At every search, not only the first: another process may have embedded the archive anew meanwhile.
        if self._archive.encoder is not None:
            self._archive.use_encoder(self._encoder.fingerprint, name=self._encoder.name, dim=self._encoder.dim)
