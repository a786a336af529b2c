"""Which reader opens a slide."""

from __future__ import annotations

from pathlib import Path

from index_store.slides.readers.reader import Reader


def open_reader(path: Path) -> Reader:
    """Open a file, or a folder of one DICOM series.

    Raises:
        SlideRefused: it is no slide, or one that cannot be opened.
    """
    if path.is_dir() or _is_dicom(path):
        from index_store.slides.readers.dicom_reader import DicomReader

        return DicomReader(path)
    from index_store.slides.readers.focal_planes import PlanesReader, page_sizes

    sizes = page_sizes(path)
    if len(sizes) > 1 and len(set(sizes)) == 1:
        return PlanesReader(path)
    from index_store.slides.readers.openslide_reader import OpenSlideReader

    return OpenSlideReader(path)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(132)[128:] == b"DICM"
