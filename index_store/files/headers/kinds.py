"""What a file is by its content: the formats that are read, and names for what is not.

A file that is called a picture and is none (a PDF, a movie, a slide scanner's own format) is named in the message, so
that whoever exported it knows what to export instead.
"""

from __future__ import annotations

import re

FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP", "WEBP", "GIF", "PPM")
"""Pillow's names of the formats that are read. Others start programs (EPS) or are no pictures (SVG, PDF)."""

_READ: tuple[tuple[str, bytes], ...] = (
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("JPEG", b"\xff\xd8\xff"),
    ("JPEG2000", b"\xff\x4f\xff\x51"),
    ("JPEG2000", b"\x00\x00\x00\x0cjP  \r\n\x87\n"),
    ("BMP", b"BM"),
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
    *(("TIFF", mark) for mark in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")),
)
_PPM = re.compile(rb"P[1-6][\s#]")

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file (EPS)"),
    (b"8BPS", "a Photoshop file"),
    (b"gimp xcf", "a GIMP file"),
    (b"II\xbc\x01", "a JPEG XR picture"),
    (b"II\x1a\x00\x00\x00HEAPCCDR", "a camera's raw file (CRW)"),
    (b"IIRO", "a camera's raw file (ORF)"),
    (b"IIRS", "a camera's raw file (ORF)"),
    (b"IIU\x00", "a camera's raw file (RW2)"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
    (b"FOVb", "a camera's raw file (X3F)"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"DDS ", "a DDS texture"),
    *((b"\x0a" + bytes((version, 1)), "a PCX picture") for version in (0, 2, 3, 4, 5)),
    (b"\x01\xda\x00", "an SGI picture"),
    (b"\x01\xda\x01", "an SGI picture"),
    (b"\x59\xa6\x6a\x95", "a Sun raster picture"),
    (b"qoif", "a QOI picture"),
    (b"FLIF", "a FLIF picture"),
    (b"BPG\xfb", "a BPG picture"),
    (b"P7\n", "a PAM picture"),
    (b"PF\n", "a floating-point map (PFM)"),
    (b"Pf\n", "a floating-point map (PFM)"),
    (b"\x00\x00\x01\x00", "an icon (ICO)"),
    (b"icns", "an icon (ICNS)"),
    (b"AT&TFORM", "a DjVu document"),
    (b"SIMPLE  =", "a FITS file"),
    (b"NRRD0", "a NRRD volume"),
    (b"\x5c\x01\x00\x00", "a NIfTI volume"),
    (b"ZISRAWFILE", "a whole slide (CZI)"),
    (b"\xda\xce\xbe\x0a", "a Nikon microscope file (ND2)"),
    (b"\x70\x00\x00\x00", "a Leica microscope file (LIF)"),
    (b"SIS\x00", "a whole slide (Olympus ETS)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office or microscope file (OLE)"),
    (b"PK\x03\x04", "a ZIP archive or an Office file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1aE\xdf\xa3", "a movie (Matroska or WebM)"),
    (b"\x00\x00\x01\xba", "a movie (MPEG)"),
    (b"\x00\x00\x01\xb3", "a movie (MPEG)"),
    (b"FLV\x01", "a movie (FLV)"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a movie (WMV)"),
    (b"OggS", "an Ogg recording"),
    (b"ID3", "a sound recording"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x00\x05\x16\x07", "a companion file of macOS (its name begins with ._)"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"SQLite format 3\x00", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"{\\rtf", "an RTF document"),
)
_BRANDS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"avif", b"avis"), "an AVIF picture"),
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC picture"),
    ((b"crx ",), "a camera's raw file (CR3)"),
    ((b"jpx ", b"jpm ", b"mjp2"), "a JPEG 2000 document or movie"),
)
_RIFF = {b"AVI ": "a movie (AVI)", b"WAVE": "a sound recording", b"ACON": "an animated cursor"}
_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def format_of(data: bytes) -> str | None:
    """Pillow's name of the format, one of `FORMATS`, by the first bytes; None where it is none of them."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if _PPM.match(data):
        return "PPM"
    return next((name for name, mark in _READ if data.startswith(mark)), None)


def kind_of(data: bytes) -> str:
    """What a file in no format that is read is: "a PDF"; empty where that is not known."""
    if is_dicom(data):
        return "a DICOM file"
    if data[4:8] == b"ftyp":
        brands = data[8:12], *(data[at : at + 4] for at in range(16, min(len(data), 64), 4))
        for known, name in _BRANDS:
            if brands[0] in known or (brands[0] in (b"mif1", b"msf1") and any(brand in known for brand in brands)):
                return name
        return "a movie (MP4 or QuickTime)"
    if data[4:8] in _ATOMS:
        return "a movie (QuickTime)"
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12], "")
    if data[:1] == b"\x47" and data[188:189] == b"\x47":
        return "a movie (MPEG transport stream)"
    for mark, name in _STARTS:
        if data.startswith(mark):
            return name
    if data.endswith(b"TRUEVISION-XFILE.\x00") or _looks_like_targa(data):
        return "a Targa picture (TGA)"
    return _text_kind(data)


def _looks_like_targa(data: bytes) -> bool:
    """Of the first version, which has no mark: 24 or 32 bits a pixel, without a palette, no larger than its length."""
    if len(data) < 18 or data[1:2] != b"\0" or data[2] not in (2, 10) or data[3:8] != bytes(5):
        return False
    width, height = int.from_bytes(data[12:14], "little"), int.from_bytes(data[14:16], "little")
    whole = data[2] == 10 or len(data) >= 18 + data[0] + width * height * data[16] // 8
    return width > 0 and height > 0 and data[16] in (24, 32) and whole


def is_dicom(data: bytes) -> bool:
    """Whether it is a DICOM file, of whatever kind."""
    return data[128:132] == b"DICM" or _looks_like_dicom(data)


def _looks_like_dicom(data: bytes) -> bool:
    """Without its preamble: the first element is of group 2 or 8, in little-endian order, with a plausible length."""
    group, element = data[:2], data[2:4]
    if group not in (b"\x02\x00", b"\x08\x00") or len(data) < 16:
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    return explicit or (element == b"\x00\x00" and data[4:8] == b"\x04\x00\x00\x00")


def _text_kind(data: bytes) -> str:
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page"
    if b"<svg" in head and head.startswith(b"<"):
        return "a drawing (SVG)"
    if b"<dataobject" in head:
        return "a whole slide (iSyntax)"
    if head.startswith(b"<"):
        return "an XML file"
    if head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head) and _is_utf8(data[:4096]):
        return "a text file"
    return ""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start > len(data) - 4
    return True
