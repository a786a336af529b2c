"""Many files decoded and looked at by worker processes, in batches and in order.

Decoding, hashing and finding keypoints cost some 50 to 100 ms an image, most of it under Python's lock: threads would
not share it out. Few images stay in this process: starting others takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from generation.worker_pool import workers
from retrieval.encoder.encoder import Progress

if TYPE_CHECKING:
    import PIL.Image

Look = Callable[["PIL.Image.Image"], Any]
Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH: Final = 64
"""Images at a time; the next batch is read meanwhile."""


def read_images(
    files: Sequence[tuple[int, Path]],
    keep: Callable[[list[int], list[PIL.Image.Image], list[Any]], None],
    progress: Progress | None,
    *,
    look: Look | None = None,
    checksums: Sequence[str] = (),
    pool: Executor | None = None,
) -> None:
    """Decode numbered files a batch at a time, and call `keep` with the numbers and images of those that can be, and
    what `look` (a function of a module) made of each image there; None without it.

    Args:
        checksums: of the files in their order; one that differs counts as unreadable. Empty: they are not compared.
        pool: workers to use; by default new ones.
    """
    if pool is None:
        with workers(len(files)) as own:
            read_images(files, keep, progress, look=look, checksums=checksums, pool=own)
        return
    expected = checksums or [""] * len(files)
    batches = [range(start, min(start + BATCH, len(files))) for start in range(0, len(files), BATCH)]

    def submit(batch: range) -> Iterator[tuple[PIL.Image.Image, Any] | None]:
        return pool.map(
            partial(_looked_at, look), [files[at][1] for at in batch], [expected[at] for at in batch], chunksize=4
        )

    ahead = submit(batches[0]) if batches else iter(())
    for number, batch in enumerate(batches):
        now, ahead = ahead, submit(batches[number + 1]) if number + 1 < len(batches) else iter(())
        good = [(files[at][0], *found) for at, found in zip(batch, now, strict=True) if found is not None]
        if good:
            numbers, images, looked = (list(column) for column in zip(*good, strict=True))
            keep(numbers, images, looked)
        if progress is not None:
            progress(batch.stop, len(files))


def _looked_at(look: Look | None, path: Path, expected: str) -> tuple[PIL.Image.Image, Any] | None:
    from index_store import ImageProblem, decode_image

    try:
        image = decode_image(path, expected=expected)
    except ImageProblem:
        return None
    return image, None if look is None else look(image)
