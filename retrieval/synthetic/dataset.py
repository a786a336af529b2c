"""A synthetic data set: images generated from a table of reports, several a report, as COIN's authors made theirs.

    table ─► images of each row, by seed ─► those that are missing ─► one queue, full batches ─► PNG files
                                                                                                    │
                metadata.jsonl, manifest.csv, README.md ◄─ duplicates marked ◄─ set complete ◄───────┘

    FOLDER/train/CLASS/REPORTHASH-SEED.png     torchvision's ImageFolder reads FOLDER/train, a class a folder
    FOLDER/train/metadata.jsonl                `load_dataset("imagefolder", data_dir=FOLDER)` reads the whole
    FOLDER/manifest.csv, README.md, set.json   every column of the table; the dataset card; the recipe and the counts
    FOLDER/dropped/REPORTHASH-SEED.png         images that repeat another, or whose row the table no longer has
    FOLDER/hashes/                             hashes of the images, labels of the reports: no run reads them again

A large set has folders by the first digits of the hash below those of its classes.

An image is named after its report's hash and its seed, and its file is the only record of it: a killed run resumes
where it stopped, and a table that grew costs only what is new. Each report has seeds of its own, which follow from its
hash (`first_seed`): a seed fixes the noise, and the same noise gives images of different reports the same layout (with
the seeds 0 and 1 for all, 199 of 264 images of the starter counted as near duplicates). Rows with the same report take
successive `per_report` seeds each, so that every row has images of its own. Weights, sampling and size belong to the
set: a folder that was begun with others is refused.

Several processes, on one machine or many, share the work without communicating: each generates for the reports whose
hash falls into its share. A run without a share generates what is still missing and writes the tables and the card.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock

from generation.atomic_write import foreign_files, private_folder, remove_if_abandoned, unfinished_target, write_atomic
from generation.worker_pool import workers
from retrieval.encoder.encoder import Progress
from retrieval.errors import SyntheticSetError
from retrieval.generated.kept_hashes import FOLDER as HASHES
from retrieval.generated.kept_hashes import KeptHashes, write_image
from retrieval.generated.near_duplicate import ImageHashes
from retrieval.synthetic.plan import SPLIT, SetImage, Share, plan_images, with_labels

if TYPE_CHECKING:
    from generation import CoinGenerator, Preset, Provenance
    from index_store import Problem, ReportRow, ReportTable

DROPPED: Final = "dropped"
RECIPE: Final = "set.json"
_LOCK: Final = "set.lock"
_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9]+\.png")
_OURS: Final = frozenset({SPLIT, DROPPED, RECIPE, _LOCK, HASHES, "manifest.csv", "README.md"})
_UNWRITTEN: Final = 64
"""Images that wait for a worker to write them, at most."""


class SyntheticSet:
    """The set of a table in a folder. Opening it makes the folder and checks what it holds; nothing is generated.

    Args:
        per_report: images a row.
        seed: added to every seed: another one gives other images.
        size: edge in pixels; by default the base's own.

    Raises:
        SyntheticSetError: the folder holds something else, or a set of other weights, sampling or size, or the table
            has no report with words.
        generation.GenerationError: as the generator raises of its weights and settings.
    """

    def __init__(
        self,
        folder: Path | str,
        table: ReportTable,
        generator: CoinGenerator,
        *,
        preset: str = "reference",
        per_report: int = 4,
        seed: int = 0,
        size: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.per_report = per_report
        self._generator = generator
        self._preset: Preset = generator.sampling(preset)
        self._size = size if size is not None else int(generator.describe()["size"])
        # Settings that cannot be used are refused here, before the folder is made or bound to it.
        generator.generate_queue([], preset=self._preset, size=self._size)
        self._prompts: dict[str, str] = {}
        rows, blank = _readable(table.rows, self._prompts, generator)
        self.problems: tuple[Problem, ...] = (*table.problems, *(_blank(table, row) for row in blank))
        if not rows:
            raise SyntheticSetError(f"{table.path.name} holds no report with words. Check its column `report`.")
        plan_images([], per_report=per_report, seed=seed)
        self.recipe = _recipe(generator, self._preset, self._size)
        self._open()
        self.table = with_labels(table, self.folder / HASHES)
        labelled = [row for row in self.table.rows if row.report in self._prompts]
        self.images = plan_images(labelled, per_report=per_report, seed=seed)

    @property
    def lock(self) -> FileLock:
        """Held by whoever moves images between folders or writes the tables."""
        return FileLock(self.folder / _LOCK, mode=0o600)

    def prompt(self, image: SetImage) -> str:
        """The prompt that its report becomes."""
        return self._prompts[image.row.report]

    def generate(self, *, share: Share | None = None, batch_size: int = 4, progress: Progress | None = None) -> int:
        """Generate what is missing, of one share or of all. Returns how many images that were.

        Args:
            progress: counts images.

        Raises:
            generation.GenerationError: as `CoinGenerator.generate_queue` raises; finished images stay.
            OSError: a file cannot be written.
        """
        existing = self.existing()
        missing = [
            image
            for image in self.images
            if image.name not in existing and (share is None or share.holds(image.report_sha256))
        ]
        for folder in {image.folder for image in missing}:
            private_folder(self.folder / SPLIT / folder)
        if progress is not None:
            progress(0, len(missing))
        # In the order of reports, so that their prompts are encoded once; a batch at a time, since a report's images
        # are handed over together, and one that a thousand rows share must be neither held nor lost as a whole.
        in_order = sorted(missing, key=lambda image: image.report_sha256)
        groups = list(_batches(in_order, batch_size))
        queue = self._generator.generate_queue(
            [(group[0].row.report, [image.seed for image in group]) for group in groups],
            preset=self._preset,
            size=self._size,
            batch_size=batch_size,
        )
        # Workers write while the next images are generated; few wait to be written, so that memory holds few.
        written: deque[tuple[Path, Future[ImageHashes]]] = deque()
        done, hashes = 0, self.hashes()

        def finish(waiting: int) -> None:
            nonlocal done
            while len(written) > waiting:
                path, future = written.popleft()
                hashes.add({path: future.result()})
                done += 1
                if progress is not None:
                    progress(done, len(missing))

        with workers(len(missing)) as pool:
            try:
                for group, made in zip(groups, queue, strict=True):
                    for image, generated in zip(group, made.images, strict=True):
                        path = self.folder / image.path
                        written.append((path, pool.submit(write_image, generated.image, path, generated.provenance)))
                    finish(_UNWRITTEN)
            finally:  # what was generated before an error or an interruption stays
                finish(0)
        return done

    def hashes(self) -> KeptHashes:
        """The hashes of the set's images that are known."""
        return KeptHashes(self.folder)

    def existing(self) -> dict[str, Path]:
        """The set's images that have been generated, by name, wherever in the folder they lie.

        Only the files' headers are read: a file appears whole or not at all. One with another prompt than this version
        makes of the report, or without provenance, does not count and is generated again.
        """
        from generation import ProvenanceError, read_provenance

        wanted = {image.name: image for image in self.images}
        found = {}
        for path in self.files():
            image = wanted.get(path.name)
            if image is None or path.name in found:
                continue
            try:
                provenance = read_provenance(path)
            except (ProvenanceError, OSError):
                continue
            if provenance is not None and self._is(image, provenance):
                found[path.name] = path
        return found

    def files(self) -> list[Path]:
        """Every image file of the set's naming in the folder: those in class folders first."""
        inside = sorted((self.folder / SPLIT).rglob("*.png")) + sorted((self.folder / DROPPED).glob("*.png"))
        return [path for path in inside if _NAME.fullmatch(path.name)]

    def clear_unfinished(self) -> None:
        """Remove what killed processes left half-written."""
        for path in (self.folder / SPLIT).rglob("*.tmp"):
            if _NAME.fullmatch(unfinished_target(path.name) or ""):
                remove_if_abandoned(path)

    def _is(self, image: SetImage, provenance: Provenance) -> bool:
        recipe = self.recipe
        return (
            provenance.report_sha256 == image.report_sha256
            and provenance.seed == image.seed
            and provenance.prompt == self.prompt(image)
            and provenance.model_fingerprint == recipe["base_fingerprint"]
            and provenance.lora_fingerprint == recipe["lora_fingerprint"]
            and [provenance.preset, provenance.steps, provenance.guidance] == recipe["sampling"][:3]
            and provenance.negative_prompt == recipe["negative_prompt"]
            and (provenance.width, provenance.height) == (self._size, self._size)
        )

    def _open(self) -> None:
        ours = not self.folder.is_dir() or (self.folder / RECIPE).exists()
        if not ours and (foreign := foreign_files(self.folder, _OURS)):
            raise SyntheticSetError(
                f"{self.folder} holds other files ({len(foreign)}, no {RECIPE} among them) and no set of generated "
                "images. Name a new or an empty folder."
            )
        private_folder(self.folder / SPLIT)
        with self.lock:  # two shares may begin together
            path = self.folder / RECIPE
            if not path.exists() or not self.files():  # no image binds the folder to a recipe yet
                write_atomic(path, f"{json.dumps({'recipe': self.recipe}, indent=2)}\n".encode())
                return
            begun = read_recipe(self.folder)
            # Names are for people: the same weights in another folder are the same.
            deciding = [name for name in self.recipe if name not in ("base", "lora")]
            if differing := [name for name in deciding if begun.get(name) != self.recipe[name]]:
                raise SyntheticSetError(
                    f"The set in {self.folder} was generated with other settings ({', '.join(sorted(differing))}). "
                    "Name another folder for these, or use the weights, sampling and size it was begun with "
                    f"(preset {begun.get('sampling', ['?'])[0]}, {begun.get('size')} px)."
                )


def read_recipe(folder: Path) -> dict[str, Any]:
    """How a set was generated. Raises `SyntheticSetError` where the folder holds no set."""
    try:
        stored = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
        recipe = stored["recipe"]
    except FileNotFoundError:
        raise SyntheticSetError(f"{folder} holds no set of generated images: it has no {RECIPE}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SyntheticSetError(
            f"{folder / RECIPE} cannot be read. Name another folder; the images in this one carry in their files how "
            "they were generated."
        ) from error
    if not isinstance(recipe, dict):
        raise SyntheticSetError(f"{folder / RECIPE} is damaged. Name another folder.")
    return recipe


def _recipe(generator: CoinGenerator, preset: Preset, size: int) -> dict[str, Any]:
    about = generator.describe()
    options = sorted([name, value] for name, value in preset.scheduler_options.items())
    return {
        "base": about["base"],
        "base_fingerprint": about["base_fingerprint"],
        "lora": about["lora"],
        "lora_fingerprint": about["lora_fingerprint"],
        "sampling": [preset.name, preset.steps, preset.guidance, preset.scheduler, options],
        "size": size,
        "negative_prompt": generator.negative_prompt,
        "long_reports": generator.long_reports,
        "glossary": generator.uses_glossary,
    }


def _readable(
    rows: Sequence[ReportRow], prompts: dict[str, str], generator: CoinGenerator
) -> tuple[list[ReportRow], list[ReportRow]]:
    """The rows with and those without words in their report; `prompts` receives the prompt of each report."""
    from generation import EmptyReportError

    good, blank = [], []
    for row in rows:
        try:
            if row.report not in prompts:
                prompts[row.report] = generator.prompt(row.report).text
            good.append(row)
        except EmptyReportError:
            blank.append(row)
    return good, blank


def _blank(table: ReportTable, row: ReportRow) -> Problem:
    from index_store import Problem

    return Problem(f"{table.path.name}, line {row.line}", "has a report without words", "Write the report.")


def _batches(images: Sequence[SetImage], size: int) -> Iterator[list[SetImage]]:
    """The images in their order, in groups of one report and of at most `size` images."""
    group: list[SetImage] = []
    for image in images:
        if group and (len(group) == max(1, size) or image.report_sha256 != group[0].report_sha256):
            yield group
            group = []
        group.append(image)
    if group:
        yield group
