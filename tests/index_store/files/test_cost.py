"""Hostile pictures cost what docs/security.md says, in memory and in time, measured in a process of their own."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index_store import ImageProblem, decode_picture
from index_store.files import decode_process
from index_store.files.headers.structure import MAX_MEMORY, read_structure
from tests.index_store.archive_builders import encoded, picture
from tests.index_store.files.hostile_pictures import (
    blank_png,
    exif_bomb,
    many_scans,
    png,
    png_chunk,
    smear,
    tiff,
    tiff_page,
)

FAULTS = Path(__file__).parents[4] / "shared/data/faults"
SECONDS = 20.0
BEYOND = 64 * 1024**2
"""Python's own memory, the file's bytes and what a band of pixels takes, beside the decoded picture."""

_MEASURE = """
import json, os, resource, signal, sys, time
from pathlib import Path
from index_store import ImageProblem, decode_picture
import numpy, PIL.Image, PIL.PngImagePlugin
from index_store.files import decode
def peak():
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return 1024 * max(own, children)
def measured(path, small):
    decode_picture(small)  # a fork has none of the libraries' pages in memory that an idle process has
    before, started = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        decoded = decode_picture(path)
        outcome = str(decoded.image.size)
    except ImageProblem as problem:
        outcome = str(problem)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() - started + spent.ru_utime + spent.ru_stime
    return outcome, peak() - before, seconds
for line in sys.stdin:
    if os.fork() == 0:
        signal.alarm(600)
        print(json.dumps(measured(Path(line.rstrip()), Path(sys.argv[1]))), flush=True)
        os._exit(0)
    _, status = os.wait()
    if status:
        print(json.dumps([f"ended with {status}", 1 << 60, 1e9]), flush=True)
"""
Measured = Callable[[bytes, Path], tuple[str, int, float]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """What came of decoding these bytes, the peak of memory beyond an idle process, and the processor's seconds. One
    process imports what is needed, and is forked for each picture."""
    small = tmp_path_factory.mktemp("small") / "picture"
    small.write_bytes(encoded(picture(), "PNG"))
    command = [sys.executable, "-c", _MEASURE, str(small)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, told = process.stdin, process.stdout
        assert asked is not None
        assert told is not None

        def measure(data: bytes, folder: Path) -> tuple[str, int, float]:
            (folder / "picture").write_bytes(data)
            asked.write(f"{folder / 'picture'}\n")
            asked.flush()
            outcome, peak, seconds = json.loads(told.readline())
            return outcome, peak, seconds

        yield measure


def jpeg2000(width: int, height: int) -> bytes:
    """A small picture whose headers claim this size, in one tile."""
    data = bytearray(encoded(picture(), "JPEG2000"))
    at = data.index(b"\xff\x4f\xff\x51")
    struct.pack_into(">6I", data, at + 8, width, height, 0, 0, width, height)
    struct.pack_into(">II", data, data.index(b"ihdr") + 4, height, width)
    return bytes(data)


def ppm_of_comments() -> bytes:
    return b"P6\n" + b"#\n" * 2_000_000 + b"16 16 255\n" + bytes(768)


def ppm_of_words() -> bytes:
    return b"P3 1000 1000 255\n" + b"#\n" * 2_000_000


def slow_ppm() -> bytes:
    return b"P6 3000 3000 100\n" + bytes(27_000_000)


def run_lengths() -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 10_000, 9_000, 1, 8, 1, 0, 0, 0, 256, 0)
    data = b"\1\0" * 3_000_000
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(data), 0, 0, 54 + 1024) + head + bytes(1024) + data


def gif_of_comments() -> bytes:
    small = encoded(picture(), "GIF")
    at = 13 + 3 * 2 ** ((small[10] & 7) + 1)
    return small[:at] + b"\x21\xfe" + b"\1x" * 4_000_000 + b"\0" + small[at:]


def jpeg_of_comments() -> bytes:
    small = encoded(picture(), "JPEG")
    return small[:2] + b"\xff\xfe\0\2" * 1_000_000 + small[2:]


def jpeg_of_junk() -> bytes:
    small = encoded(picture(), "JPEG")
    at = small.index(b"\xff\xdb")
    return small[:at] + bytes(8_000_000) + small[at:]


def png_of_chunks() -> bytes:
    return png(smear(), further=png_chunk(b"tEXt", b"a\0b") * 300_000)


def png_of_exif() -> bytes:
    return png(smear(), further=png_chunk(b"eXIf", exif_bomb(900, 4_000_000)))


def jpeg_of_exif() -> bytes:
    small = encoded(picture(), "JPEG")
    body = b"Exif\0\0" + exif_bomb(4_000, 60_000)
    return small[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + small[2:]


def tiff_of_tags() -> bytes:
    return tiff(tiff_page(smear(), tags={40_000 + n: ("B", tuple(range(256)) * 8) for n in range(2_000)}))


def tiff_of_strips() -> bytes:
    return tiff(tiff_page(smear(), tags={324: ("I", tuple(range(200_000)))}))


def progressive() -> bytes:
    return encoded(Image.new("RGB", (8_000, 8_000), "white"), "JPEG", progressive=True, subsampling=0)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a JPEG 2000 of 99 megapixels in one tile": (lambda: jpeg2000(9_990, 9_990), "MB to decode"),
    "a JPEG 2000 that claims more than it holds": (
        lambda: jpeg2000(4_000, 4_000),
        "damaged|MB to decode|broke its decoder",
    ),
    "a PPM of comments": (ppm_of_comments, "PPM header"),
    "a PPM of words": (ppm_of_words, "written in words"),
    "a BMP of run lengths": (run_lengths, "run lengths"),
    "a GIF of comments": (gif_of_comments, "blocks"),
    "a JPEG of comments": (jpeg_of_comments, "segments"),
    "a JPEG of junk": (jpeg_of_junk, "segments"),
    "a PNG of chunks": (png_of_chunks, "parts of a PNG"),
    "a PNG of EXIF tags": (png_of_exif, "EXIF"),
    "a JPEG of EXIF tags": (jpeg_of_exif, "EXIF"),
    "a TIFF of tags": (tiff_of_tags, "TIFF directory"),
    "a TIFF of strips": (tiff_of_strips, "strips"),
    "a progressive JPEG of 64 megapixels": (progressive, "MB to decode"),
    "a phone's JPEG of scans": (lambda: many_scans(3_000, 400, phone=True), "too many scans"),
}


@pytest.mark.parametrize(
    "name",  # the picture of 64 megapixels takes seconds to make
    [pytest.param(name, marks=pytest.mark.slow if "64 megapixels" in name else ()) for name in REFUSED],
)
def test_what_costs_too_much_is_refused_by_its_headers(name: str, measured: Measured, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    data = make()
    outcome, peak, seconds = measured(data, tmp_path)
    assert any(word in outcome for word in words.split("|")), outcome
    assert peak < 2 * len(data) + 300 * 1024**2
    assert seconds < 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: blank_png(9_990, 9_990, depth=8, colour=2),
        lambda: blank_png(9_990, 9_990, depth=16, colour=0),
        lambda: blank_png(8_900, 8_900, depth=16, colour=0),
        lambda: blank_png(8_900, 8_900, depth=1, colour=0),
        lambda: blank_png(8_900, 8_900, depth=8, colour=3),
        lambda: blank_png(7_000, 7_000, depth=16, colour=2),
        lambda: blank_png(6_600, 6_600, depth=8, colour=6),
        lambda: encoded(Image.new("RGB", (4_470, 4_470), "white"), "WEBP", lossless=True),
        lambda: encoded(Image.new("RGB", (4_300, 4_300), "white"), "JPEG2000"),
        lambda: encoded(Image.new("CMYK", (6_600, 6_600)), "TIFF", compression="tiff_lzw"),
        lambda: encoded(Image.new("RGB", (7_500, 7_500)), "JPEG", progressive=True),
        slow_ppm,
        lambda: many_scans(3_000, 200),
    ],
)
def test_the_worst_that_is_decoded_stays_within_the_limits(
    make: Callable[[], bytes], measured: Measured, tmp_path: Path
) -> None:
    data = make()
    outcome, peak, seconds = measured(data, tmp_path)
    assert peak < MAX_MEMORY + BEYOND + 2 * len(data), outcome
    assert seconds < SECONDS, outcome


@pytest.mark.parametrize("name", ["grey16_99Mpx.png", "rgb_99Mpx.jp2"])
def test_the_shared_inputs_cost_no_more(name: str, measured: Measured, tmp_path: Path) -> None:
    path = FAULTS / "cost" / name
    if not path.is_file():
        pytest.skip(f"the shared data are not here: {name}")
    outcome, peak, seconds = measured(path.read_bytes(), tmp_path)
    assert "MB to decode" in outcome
    assert peak < BEYOND
    assert seconds < 5


def test_the_estimate_of_memory_is_from_the_headers() -> None:
    for data, each in (
        (encoded(picture(), "JPEG", progressive=False), 4),
        (encoded(picture(), "PNG"), 4),
        (encoded(picture().convert("L"), "PNG"), 5),
        (encoded(picture().convert("RGBA"), "PNG"), 9),
        (encoded(picture(), "BMP"), 4),
        (encoded(picture(), "PPM"), 5),
    ):
        kind = Image.open(io.BytesIO(data)).format
        found = read_structure(data, kind or "")
        assert (found.width, found.height, found.memory) == (24, 20, 480 * each), kind
    progressive = read_structure(encoded(picture(), "JPEG", progressive=True, subsampling=0), "JPEG")
    assert progressive.memory == 480 * 4 + 2 * 3 * 480


def test_jpeg_2000_is_decoded_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Image.fromarray(smear())
    data = encoded(field, "JPEG2000")
    assert np.array_equal(decode_picture(data).image, field)
    with pytest.raises(ImageProblem, match="damaged"):
        decode_picture(data[:-200])
    monkeypatch.setattr(decode_process, "SECONDS", 0.01)
    with pytest.raises(ImageProblem, match="s to decode"):
        decode_picture(data)


@pytest.mark.parametrize(
    ("interpreter", "words"), [("/nowhere/python", "No such file or directory"), ("/bin/false", "ended with status 1")]
)
def test_a_process_that_cannot_start_is_not_blamed_on_the_picture(
    interpreter: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter)
    with pytest.raises(ImageProblem, match=f"no process could be started for it .*{words}.*Free processes"):
        decode_picture(encoded(picture(), "JPEG2000"))


def test_a_thread_that_cannot_start_is_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ImageProblem, match=r"no process could be started for it .*can't start new thread"):
        decode_picture(encoded(picture(), "JPEG2000"))
