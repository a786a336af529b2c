"""The layout of a synthetic set's folder: where each image lies, and the tables and the dataset card beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from generation.atomic_write import private_folder, write_atomic
from generation.csv_text import csv_text
from retrieval.encoder.encoder import Progress
from retrieval.errors import SyntheticSetError
from retrieval.generated.kept_hashes import KeptHashes
from retrieval.generated.near_duplicate import Duplicates, ImageHashes, find_duplicates, hash_image
from retrieval.synthetic.dataset import DROPPED, RECIPE, SyntheticSet
from retrieval.synthetic.dataset_card import card_text
from retrieval.synthetic.picture_reader import read_images
from retrieval.synthetic.plan import SPLIT, SetSummary, class_of

if TYPE_CHECKING:
    import PIL.Image

MANIFEST: Final = "manifest.csv"
OURS: Final = ("image", "report", "class", "seed", "report_sha256", "prompt", "synthetic", "near_duplicate_of")
"""Columns of the manifest that this module writes; an input's column of such a name is carried as `source_NAME`."""


def finish_set(made: SyntheticSet, *, generated: int, seconds: float, progress: Progress | None = None) -> SetSummary:
    """Find duplicates, move every image into its class's folder, and write the tables and the dataset card.

    All images must be generated. If the process is killed, the next run does it again: the images themselves are never
    rewritten.

    Args:
        generated: images that this run generated, for the summary.
        seconds: how long that took.
        progress: counts images that were hashed.

    Raises:
        SyntheticSetError: images are missing or damaged. Damaged ones are removed, so that running again generates
            them.
    """
    with made.lock:
        existing = made.existing()
        if missing := sum(image.name not in existing for image in made.images):
            raise SyntheticSetError(f"{missing} images of the set are not generated yet. Run the same command again.")
        hashes = _hash_all([existing[image.name] for image in made.images], made.hashes(), progress)
        duplicates = find_duplicates(hashes)
        set_aside = _arrange(made, duplicates, existing)
        made.clear_unfinished()
        kept = [position for position in range(len(made.images)) if position not in duplicates.exact]
        _write_tables(made, kept, duplicates)
        summary = SetSummary(
            folder=made.folder,
            images=len(kept),
            drawn=generated,
            reports=len({image.row.line for image in made.images}),
            distinct_reports=len({image.report_sha256 for image in made.images}),
            classes=dict(sorted(Counter(made.images[position].folder.partition("/")[0] for position in kept).items())),
            exact_duplicates=len(duplicates.exact),
            near_duplicates=len(duplicates.near),
            set_aside=set_aside,
            seconds=seconds,
            skipped=made.problems,
        )
        counts = {
            name: getattr(summary, name)
            for name in ("images", "reports", "distinct_reports", "classes", "exact_duplicates", "near_duplicates")
        }
        write_atomic(
            made.folder / RECIPE, f"{json.dumps({'recipe': made.recipe, 'counts': counts}, indent=2)}\n".encode()
        )
        write_atomic(made.folder / "README.md", card_text(made, summary).encode())
    return summary


def _hash_all(paths: Sequence[Path], kept: KeptHashes, progress: Progress | None) -> list[ImageHashes]:
    """The hashes of all files, of which those that are not known are decoded."""
    known = {path: hashes for path in paths if (hashes := kept.get(path)) is not None}
    missing = [path for path in paths if path not in known]

    def keep(positions: list[int], _: list[PIL.Image.Image], made: list[ImageHashes]) -> None:
        new = {missing[position]: hashes for position, hashes in zip(positions, made, strict=True)}
        kept.add(new)
        known.update(new)

    read_images(list(enumerate(missing)), keep, progress, look=hash_image)
    damaged = [path for path in missing if path not in known]
    for path in damaged:
        path.unlink(missing_ok=True)
    if damaged:
        raise SyntheticSetError(
            f"{len(damaged)} images of the set were damaged and have been removed. Run the same command again to "
            "generate them anew, and check the disk."
        )
    return [known[path] for path in paths]


def _arrange(made: SyntheticSet, duplicates: Duplicates, existing: Mapping[str, Path]) -> int:
    """Move each image into its folder. Returns how many were set aside because the table has no such row any more."""
    wanted = {}
    for position, image in enumerate(made.images):
        at = f"{DROPPED}/{image.name}" if position in duplicates.exact else image.path
        wanted[image.name] = made.folder / at
    set_aside = 0
    for path in made.files():
        home = wanted.get(path.name)
        if home is None:
            home = made.folder / DROPPED / path.name
            set_aside += 1
        elif path != existing[path.name]:  # the same image twice: two runs generated it at the same time
            path.unlink()
            continue
        if path != home:
            private_folder(home.parent)
            path.replace(home)
    for folder in sorted((made.folder / SPLIT).rglob("*/"), reverse=True):  # those below before those above
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # torchvision's ImageFolder refuses a class without images
    return set_aside


def _write_tables(made: SyntheticSet, kept: Sequence[int], duplicates: Duplicates) -> None:
    columns = carried_columns(column for column in made.table.columns if column != "report")
    records = []
    for position in kept:
        image = made.images[position]
        like = duplicates.near.get(position)
        records.append(
            {
                "image": image.path,
                "report": image.row.report,
                "class": class_of(image.row),
                **{name: image.row.cells.get(column, "") for column, name in columns.items()},
                "seed": image.seed,
                "report_sha256": image.report_sha256,
                "prompt": made.prompt(image),
                "synthetic": "true",
                "near_duplicate_of": "" if like is None else made.images[like].path,
            }
        )
    lines = [json.dumps(_hugging_face(record), ensure_ascii=False) for record in records]
    write_atomic(made.folder / SPLIT / "metadata.jsonl", ("\n".join(lines) + "\n").encode())
    write_atomic(made.folder / MANIFEST, csv_text(list(records[0]), records).encode())


def carried_columns(columns: Iterable[str]) -> dict[str, str]:
    """The input's columns, each with the name under which the manifest carries it."""
    named: dict[str, str] = {}
    taken = {*OURS, *(columns := list(columns))}
    for column in columns:
        name = column
        while name in OURS or (name != column and name in taken):
            name = f"source_{name}"
        taken.add(name)
        named[column] = name
    return named


def _hugging_face(record: Mapping[str, object]) -> dict[str, object]:
    """A row as `datasets` reads it: `file_name` names its image, relative to metadata.jsonl."""
    shown = {name: value for name, value in record.items() if name != "image"}
    # Such a name would be taken for another image.
    renamed = {f"{name}_" if name.endswith(("file_name", "file_names")) else name: v for name, v in shown.items()}
    return {"file_name": str(record["image"]).removeprefix(f"{SPLIT}/"), **renamed}
