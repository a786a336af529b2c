"""The images of the train-on-synthetic test (`utility`): labelled real ones, and synthetic ones of their reports."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from generation import read_csv, text_sha256
from generation.model.files.weight_files import STARTER
from generation.model.lora.find import find_lora
from retrieval.encoder.embedding_cache import EmbeddingCache
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.thumbnails import Thumbnails
from retrieval.errors import EvaluationError, SyntheticSetError
from retrieval.evaluation.dataset import read_labelled
from retrieval.generated.batch_generation import GeneratedVectors, GenerationPlan
from retrieval.ingest.infer_labels import infer_labels
from retrieval.language.archive_labels import ArchiveLabels
from retrieval.synthetic.dataset import read_recipe
from retrieval.synthetic.patient_splits import NO_CATEGORY, LabelledImages
from retrieval.synthetic.plan import class_name, first_seed
from retrieval.synthetic.references import describe_images, manifest_references
from retrieval.synthetic.utility import SyntheticImages

if TYPE_CHECKING:
    from index_store import Archive

AT_ONCE: Final = 64
"""Images that are generated, and whose vectors are kept, at a time."""


def archive_images(
    archive: Archive, encoder: Encoder | Thumbnails, *, work: Path | None = None, progress: Progress | None = None
) -> LabelledImages:
    """An archive's images whose case has a category, with their stored vectors, or with thumbnails of the files.

    Args:
        work: folder that keeps thumbnails and hashes; None: they are computed again.
        progress: counts files that were read.

    Raises:
        EvaluationError: there are none, or some cannot be read.
        index_store.EncoderMismatchError: another encoder embedded the archive.
    """
    cases = read_labelled(archive)
    ids = cases.image_ids.tolist()
    if isinstance(encoder, Thumbnails):
        named = [
            (str(number), path, sha256) for number, path, sha256 in zip(ids, cases.paths, cases.hashes, strict=True)
        ]
        vectors, readable = describe_images(named, encoder, work, progress, checksums=cases.checksums)
        if not readable.all():
            raise EvaluationError(f"{(~readable).sum()} images of the archive cannot be read: run `coin doctor`.")
    else:
        archive.use_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)  # refuses another one
        vectors = archive.vectors_of(ids, encoder.fingerprint)
    table = archive.image_table()
    slide = table.columns["slide"]
    return LabelledImages(
        source=archive.path.name,
        vectors=vectors,
        classes=tuple(class_name(cases.labels[case].site, cases.labels[case].category) for case in cases.case_of),
        patients=tuple(cases.patient_names[case] for case in cases.case_of),
        slides=tuple(slide.values[code] for code in slide.codes[table.rows_of(ids)]),
        reports=tuple(cases.reports[case] for case in cases.case_of),
        left_out=Counter({NO_CATEGORY: len(table) - len(ids)}),
        derived=sum(cases.derived_cases[case] for case in cases.case_of),
        patients_named=cases.patients_named,
    )


def manifest_images(
    manifest: Path | str,
    encoder: Encoder | Thumbnails,
    *,
    images: Path | str | None = None,
    kinds: tuple[str, ...] = (),
    work: Path | None = None,
    progress: Progress | None = None,
) -> LabelledImages:
    """A manifest's images whose row or report has a category, read where they lie; of certain `kinds` (field, cell …)
    alone.

    Args and Raises are those of `references.manifest_references`; besides, `EvaluationError` where no row has a
    category.
    """
    from index_store import count_reasons

    read = manifest_references(manifest, encoder, images=images, work=work, progress=progress, prints=False)
    wanted = [index for index, row in enumerate(read.rows) if not kinds or row.kind in kinds]
    labelled = dict(zip(wanted, infer_labels(None, [read.rows[index] for index in wanted], work=work), strict=True))
    keep = [index for index in wanted if labelled[index].category]
    if not keep:
        raise EvaluationError(
            f"{read.source} gives no image a category, nor does a report state one: put a column `category` into it."
        )
    rows = [labelled[index] for index in keep]
    labels = ArchiveLabels(Counter((row.site, row.system, row.category) for row in rows))
    shown = [labels.shown(row.site, row.system, row.category) for row in rows]
    return LabelledImages(
        source=read.source,
        vectors=read.vectors[keep],
        classes=tuple(class_name(site, category) for site, _, category in shown),
        patients=tuple(row.patient for row in rows),
        slides=tuple(row.slide for row in rows),
        reports=tuple(row.report for row in rows),
        left_out=count_reasons(read.skipped) + Counter({NO_CATEGORY: len(wanted) - len(keep)}),
        derived=sum("category" in (row.derived or ()) for row in rows),
        patients_named=all(row.names_patient or row.phantom for row in rows),
    )


class GeneratedImages:
    """Synthetic images generated from the reports when they are needed; only their vectors are kept, in a cache.

    Each class gets `per_class` images: its reports take turns, each time with the report's next seed, as in a synthetic
    set (`plan.first_seed`). The same reports give the same images, so that folds share what they have in common and an
    interrupted check can be resumed.
    """

    def __init__(
        self, plan: GenerationPlan, encoder: Encoder | Thumbnails, *, per_class: int, work: Path | None = None
    ) -> None:
        folder = None if work is None else work / "augment" / encoder.fingerprint[:16]
        self._generated = GeneratedVectors(plan, encoder, EmbeddingCache(folder, encoder.dim))
        self._nothing = np.empty((0, encoder.dim), dtype=np.float32)
        self._plan = plan
        self._per_class = per_class

    @property
    def words(self) -> str:
        """How many images of a class, and by which settings."""
        plan = self._plan
        return f"{self._per_class} images a class, preset {plan.preset}, weights {plan.generator.fingerprint[:12]}"

    def images(self, texts: Mapping[str, int], progress: Progress | None) -> SyntheticImages:
        """Raises as `CoinGenerator.generate_queue` and `Encoder.encode_images` do; finished vectors are kept."""
        hashes = {text: text_sha256(text) for text in texts}
        of_class: dict[int, list[str]] = {}
        for text in sorted(texts, key=lambda text: hashes[text]):
            of_class.setdefault(texts[text], []).append(text)
        requests = []
        for own in of_class.values():
            for turn, text in enumerate(own[: self._per_class]):
                seed, count = first_seed(hashes[text]), -(-(self._per_class - turn) // len(own))
                requests.append((text, list(range(seed, seed + count))))
        wanted = ((text, seed) for text, seeds in requests for seed in seeds)
        self._generate(
            [(text, seed) for text, seed in wanted if not self._generated.are_cached(text, [seed])], progress
        )
        index = {text: i for i, text in enumerate(sorted(texts))}
        return SyntheticImages(
            np.concatenate([self._nothing, *(self._generated.vectors(text, seeds) for text, seeds in requests)]),
            np.array([texts[text] for text, seeds in requests for _ in seeds], dtype=np.int64),
            np.array([index[text] for text, seeds in requests for _ in seeds], dtype=np.int64),
        )

    def _generate(self, missing: list[tuple[str, int]], progress: Progress | None) -> None:
        """A portion at a time, each kept before the next: batches are full, and little is lost with a killed run."""
        if missing and progress is not None:
            progress(0, len(missing))
        for start in range(0, len(missing), AT_ONCE):
            portion: dict[str, list[int]] = {}
            for text, seed in missing[start : start + AT_ONCE]:
                portion.setdefault(text, []).append(seed)
            done = start
            for seeds, _ in zip(portion.values(), self._generated.generate(list(portion.items())), strict=True):
                done += len(seeds)
                if progress is not None:
                    progress(done, len(missing))


def require_maker(folder: Path, lora: str | None) -> None:
    """Check that it is known which patients the LoRA of a set was trained on: it is the starter's, or `lora`, where
    `coin train` leaves the held-out ones.

    Raises:
        SyntheticSetError: the set was made with another LoRA.
        generation.GenerationError: as `find_lora` raises.
    """
    recipe = read_recipe(folder)
    known = [find_lora(source).fingerprint for source in (STARTER / "lora", lora) if source is not None]
    if recipe["lora"] and recipe["lora_fingerprint"].split(" + ")[0] not in known:
        raise SyntheticSetError(
            f"The set in {folder.name} was made with the LoRA {recipe['lora']}: name its folder with --lora, so that "
            "no patient is tested that it was trained on."
        )


class SetImages:
    """Images of a set made by `coin generate --manifest`, selected by the hashes of the requested reports.

    Images of other reports, for example of test patients, are not used.

    Raises:
        SyntheticSetError: the folder holds no finished set.
        EvaluationError: its images cannot be read.
    """

    def __init__(
        self, folder: Path, encoder: Encoder | Thumbnails, *, work: Path | None = None, progress: Progress | None = None
    ):
        from index_store import ImageProblem, content_hash

        recipe = read_recipe(folder)
        try:
            with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
                rows = [(row["image"], row["report_sha256"]) for row in read_csv(file)]
            named = [(image, folder / image, content_hash(folder / image)) for image, _ in rows]
        except (OSError, KeyError, csv.Error, ImageProblem) as error:
            raise SyntheticSetError(
                f"The set in {folder} is not finished or not whole. Run `coin generate --manifest` once more, without "
                "--shard."
            ) from error
        self._vectors, readable = describe_images(named, encoder, work, progress)
        self._hashes = [sha256 for (_, sha256), whole in zip(rows, readable, strict=True) if whole]
        self._words = (
            f"the set in {folder.name}, preset {recipe['sampling'][0]}, base {recipe['base_fingerprint'][:12]}"
        )

    @property
    def words(self) -> str:
        """The set's folder, preset and weights."""
        return self._words

    def images(self, texts: Mapping[str, int], progress: Progress | None) -> SyntheticImages:
        """The set's images of these texts."""
        hashed = {text_sha256(text): text for text in texts}
        index = {text: i for i, text in enumerate(sorted(texts))}
        keep = [i for i, sha256 in enumerate(self._hashes) if sha256 in hashed]
        text_of = [hashed[self._hashes[i]] for i in keep]
        return SyntheticImages(
            self._vectors[keep],
            np.array([texts[text] for text in text_of], dtype=np.int64),
            np.array([index[text] for text in text_of], dtype=np.int64),
        )
