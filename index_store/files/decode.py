"""Decode images of unknown origin: always to plain 8-bit RGB, or an `ImageProblem`.

Only the formats in `FORMATS` are tried: some that Pillow knows start other programs (EPS runs Ghostscript), and none of
those comes from a microscope.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from index_store.errors import ImageProblem

FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP", "WEBP", "GIF", "PPM")
MAX_PIXELS = 100_000_000
"""100 megapixels: 300 MB decoded. A 13 KB PNG can hold more."""
MAX_BYTES = 512 * 1024**2
MAX_SCANNED = 2_000_000_000
"""Pixels times scans of a progressive JPEG: each scan costs as much as a whole picture, and can be 10 bytes long."""

_SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_WITH_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})


def read_source(source: Path | bytes | BinaryIO, *, max_bytes: int = MAX_BYTES, follow_links: bool = False) -> bytes:
    """The bytes of an image file, read once and within a limit.

    Args:
        follow_links: whether `source` may be a symbolic link: yes where a person named it, no where a record names it.

    Raises:
        ImageProblem: empty, too large, not a regular file (a folder, a pipe, a device, a link), or unreadable.
    """
    name = _name(source)
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, Path):
        try:
            with _open_file(source, follow_links=follow_links) as file:
                data = file.read(max_bytes + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ImageProblem(f"{name} cannot be read ({reason}). Check that it is there.") from error
    else:
        data = source.read(max_bytes + 1)
    if not data:
        raise ImageProblem(f"{name} is empty (0 bytes). Export or copy it again.")
    if len(data) > max_bytes:
        raise ImageProblem(f"{name} is larger than {max_bytes / 1024**2:.0f} MB. Cut out fields and add those instead.")
    return data


def decode_image(
    source: Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Image.Image:
    """Decode to RGB with the EXIF orientation applied and no metadata left.

    Of several frames or pages the first is read. Transparency is laid on white (a slide's background);
    16-bit values are scaled from their full range; colour profiles are not applied.

    Returns:
        An RGB image, uint8[height, width, 3].

    Raises:
        ImageProblem: not an image, damaged, cut short, or beyond the limits.
    """
    name = _name(source)
    data = read_source(source, max_bytes=max_bytes)
    try:
        # Pillow only warns between 89 and 179 megapixels; our own limit decides. (`catch_warnings` is not thread-safe;
        # the worst result is that this one warning stays ignored.)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        with image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageProblem(
                    f"{name} has {width} × {height} pixels; the limit is {max_pixels / 1e6:.0f} megapixels. "
                    "Cut out fields and add those instead."
                )
            # Within coded data 0xFF is always followed by 0x00 or a restart marker: these two bytes start a scan.
            if image.format == "JPEG" and data.count(b"\xff\xda") * width * height > MAX_SCANNED:
                raise ImageProblem(f"{name} holds too many scans to be decoded. Export it again.")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _clean_rgb(image)
    except ImageProblem:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageProblem(
            f"{name} is not an image of a known format ({', '.join(FORMATS)}). Export it as PNG or JPEG."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageProblem(f"{name} has too many pixels. Cut out fields and add those instead.") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes: all of it means "unreadable"
        raise ImageProblem(f"{name} is damaged or cut short ({error}). Export or copy it again.") from error


def content_hash(source: Path | bytes, *, max_bytes: int = MAX_BYTES) -> str:
    """SHA-256 (hex) of a file's bytes, undecoded: by it an image is recognised as known.

    Raises:
        ImageProblem: larger than `max_bytes`, or not a regular file. OSError: it cannot be read.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with _open_file(source) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise ImageProblem(f"{source.name} is larger than {max_bytes / 1024**2:.0f} MB. Cut out fields instead.")
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_file(path: Path, *, follow_links: bool = False) -> io.BufferedReader:
    """Open a regular file for reading, and nothing else.

    Its type is checked before, since opening a device can have effects (and a named pipe would block for ever), and
    after, since the file may have been replaced in between.
    """
    refusal = ImageProblem(f"{path.name} is not a file (a folder or a device). Name an image file.")
    if not stat.S_ISREG((path.stat() if follow_links else path.lstat()).st_mode):
        if path.is_symlink() and not follow_links:
            raise ImageProblem(f"{path.name} is a link by now. Put the file itself in its place.")
        raise refusal
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow_links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refusal
    return os.fdopen(descriptor, "rb")


def _name(source: Path | bytes | BinaryIO) -> str:
    return source.name if isinstance(source, Path) else "The image"


def _clean_rgb(image: Image.Image) -> Image.Image:
    """The RGB pixels in a new image, so that no metadata is copied."""
    if image.mode in _SIXTEEN_BIT or image.mode in ("I", "F"):
        image = _eight_bit(image)
    elif image.mode in _WITH_ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, "white")
        image.alpha_composite(rgba)
    clean = Image.new("RGB", image.size, None)
    clean.paste(image if image.mode == "RGB" else image.convert("RGB"))
    return clean


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey values of 16 bits (or held as 32-bit numbers) as 8 bits: scaled from the full range, never from the values
    that occur, so that the same brightness stays the same across images."""
    values = np.asarray(image).astype(np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise ValueError(f"its grey values are not within 0 to {top:g}")
    return Image.fromarray(np.round(values * (255.0 / top)).astype(np.uint8))
