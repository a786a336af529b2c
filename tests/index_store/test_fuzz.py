"""Whatever a manifest or an image holds: it is read, or refused by one of our own errors; nothing hangs, nothing
outside the folder is touched.

    make fuzz      10,000 inputs each (COIN_FUZZ says how many); `make test` tries a few
"""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import signal
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index_store import ImageProblem, ManifestError, decode_image, read_manifest
from index_store.files.headers.kinds import FORMATS
from index_store.files.image_store import encode_for_store
from index_store.files.source_file import content_hash
from tests.index_store.archive_builders import encoded, picture

EXAMPLES = int(os.environ.get("COIN_FUZZ", "60"))
SECONDS = 20
"""That one input may take, on a machine shared with others."""
FUZZ = settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck), print_blob=True)
SECRET = "kept-outside-the-folder"
CONTENT = "what-the-file-outside-says"


class Hang(BaseException):
    """Not an `Exception`: the decoder's own clause must not take it for damaged bytes."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang(f"more than {seconds} s of processor time")

    if not hasattr(signal, "SIGPROF"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # processor time: a busy machine is no hang
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def only_below(folder: Path) -> Iterator[None]:
    """Every file that Python opens meanwhile lies in `folder`."""
    strays: list[str] = []

    def watched(original):  # type: ignore[no-untyped-def]
        def opened(file, *arguments, **options):  # type: ignore[no-untyped-def]
            if isinstance(file, str | bytes | os.PathLike):
                path = Path(os.fsdecode(file)).resolve()
                # The null device is what the process of its own writes its errors to.
                if not path.is_relative_to(folder.resolve()) and path != Path(os.devnull):
                    strays.append(str(path))
            return original(file, *arguments, **options)

        return opened

    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
            patch.setattr(module, name, watched(getattr(module, name)))
        yield
    assert strays == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images' folder with everything in it that a manifest might misuse, and a picture outside."""
    outside = tmp_path_factory.mktemp("outside")
    picture(1).save(outside / f"{SECRET}.png")
    (outside / "table.csv").write_text(CONTENT)
    inside = tmp_path_factory.mktemp("incoming")
    picture(2).save(inside / "a.png")
    (inside / "sub").mkdir()
    picture(3).save(inside / "sub" / "b.png")
    (inside / "link.png").symlink_to(outside / f"{SECRET}.png")
    (inside / "away").symlink_to(outside)
    (inside / "round").symlink_to(inside / "round")
    os.mkfifo(inside / "pipe.png")
    openpyxl.Workbook()  # its own modules and templates are loaded from outside, once
    _workbook([["image", "report"]])
    read_manifest(_written(inside / "manifest.csv", _workbook([["image", "report"], ["a.png", "r"]])))
    for kind in FORMATS:
        decode_image(encoded(picture(), kind))
    return inside


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _workbook(rows: list[list[object]]) -> bytes:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    buffer, same = io.BytesIO(), io.BytesIO()
    workbook.save(buffer)
    # Without the hour of its making: the same rows are the same bytes, as hypothesis needs.
    with zipfile.ZipFile(buffer) as given, zipfile.ZipFile(same, "w") as packed:
        for name in given.namelist():
            content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", b"2000-01-01T00:00:00", given.read(name))
            packed.writestr(zipfile.ZipInfo(name), content)
    return same.getvalue()


# Manifests

HOSTILE_PATHS = (
    *(
        "a.png",
        "sub/b.png",
        "sub\\b.png",
        "./a.png",
        "link.png",
        "away",
        f"away/{SECRET}.png",
        "away/table.csv",
        "round",
        "round/x",
    ),
    *("pipe.png", f"../{SECRET}.png", "sub/../../a.png", "..", ".", "/", "/etc/passwd", "/dev/zero", "/dev/stdin"),
    *("/proc/self/mem", "//host/share/x.png", "\\\\host\\share\\x.png", "file:///etc/passwd", "C:\\x.png", "~/x.png"),
    *("a.png\0", "x" * 5000),
)
PATHS = st.one_of(
    st.sampled_from(HOSTILE_PATHS),
    st.text(max_size=30),
    st.lists(st.sampled_from(["..", ".", "sub", "away", "a.png", "~", ""]), max_size=9).map("/".join),
)
WORDS = st.one_of(st.text(max_size=20), st.sampled_from(["r", "=1+1", '"', "\ud800", "\0", "true", "NaN", "9" * 400]))
HEADERS = st.lists(
    st.sampled_from(["image", "report", "case", "patient", "phantom", "site", "Image", "x", "", "image "]) | WORDS,
    max_size=7,
)


def _separated(rows: list[list[str]], mark: str, quoted: bool) -> bytes:
    cells = [[f'"{cell}"' if quoted else cell for cell in row] for row in rows]
    return "\n".join(mark.join(row) for row in cells).encode("utf-8", "surrogatepass")


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A table of hostile cells in one of the formats, perhaps with broken bytes in it."""
    header = draw(st.just(["image", "report", "case"]) | HEADERS)
    body = draw(st.lists(st.tuples(PATHS, WORDS, WORDS).map(list) | st.lists(WORDS | PATHS, max_size=8), max_size=6))
    form = draw(st.sampled_from(["separated", "json", "workbook"]))
    if form == "json":
        rows = [dict(zip(header, row, strict=False)) for row in body]
        data = "\n".join(json.dumps(row) for row in rows).encode()
    elif form == "workbook":
        clean = [[openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", cell) for cell in row] for row in [header, *body]]
        data = _workbook([[cell.encode("utf-8", "replace").decode()[:900] for cell in row] for row in clean])
    else:
        data = _separated([header, *body], draw(st.sampled_from(",;\t|")), draw(st.booleans()))
    if draw(st.booleans()):
        data = data.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "utf-32"])))
    return _broken(draw, data)


def _broken(draw: st.DrawFn, data: bytes, most: int = 4) -> bytes:
    whole = bytearray(data)
    for _ in range(draw(st.integers(0, most)) if whole else 0):
        at = draw(st.integers(0, len(whole) - 1))
        action = draw(st.sampled_from(["set", "cut", "double", "insert"]))
        if action == "set":
            whole[at] = draw(st.integers(0, 255))
        elif action == "cut":
            del whole[at : at + draw(st.integers(1, 30))]
        elif action == "double":
            whole[at:at] = whole[at : at + 40]
        else:
            whole[at:at] = draw(st.binary(max_size=12))
        if not whole:
            break
    return bytes(whole)


@pytest.mark.slow
@FUZZ
@given(data=tables() | st.binary(max_size=600) | st.binary(max_size=300).map(lambda data: b"PK\x03\x04" + data))
def test_a_manifest_is_read_or_refused(folder: Path, data: bytes) -> None:
    path = _written(folder / "manifest.csv", data)
    with within(SECONDS), only_below(folder):
        try:
            manifest = read_manifest(path)
        except ManifestError as error:
            assert CONTENT not in str(error)
            return
    assert CONTENT not in str(manifest)
    for row in manifest.rows:
        assert row.path.is_relative_to(folder.resolve())
        assert row.path.is_file()
        assert SECRET not in str(row.path)
        row.report.encode("utf-8")


def _sheet_of(xml: str) -> bytes:
    """A workbook whose worksheet's rows are `xml`."""
    given = zipfile.ZipFile(io.BytesIO(_workbook([["image", "report"]])))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in given.namelist():
            data = given.read(name)
            if name.endswith("sheet1.xml"):
                text = data.decode()
                start, end = text.index("<row"), text.index("</sheetData>")
                data = (text[:start] + text[start : text.index("</row>") + 6] + xml + text[end:]).encode()
            archive.writestr(name, data)
    return buffer.getvalue()


ENTITIES = '<!DOCTYPE x [<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)
) + '<!ENTITY out SYSTEM "file:///etc/hostname">]>'  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_sheet_of('<row r="2000000000"><c r="A2000000000"><v>1</v></c></row>'), "row beyond 1048576"),
        pytest.param(
            _sheet_of("".join(f'<row r="{i}"><c r="XFD{i}"><v>1</v></c></row>' for i in range(2, 2000))),
            "10000000 cells, empty",
            marks=pytest.mark.slow,
        ),
        (b"image,report\n" + b"\n" * 10_000_001, "more than 10000000 lines"),
        (b"image,report\n" + b"," * 5_000_000, "a line of more than"),
        (b'{"image": "a.png", "report": "' + b"x" * 5_000_000 + b'"}', "a line of more than"),
    ],
    ids=["row far out", "columns far out", "newlines", "separators", "one long line"],
)
def test_a_small_manifest_cannot_cost_much(folder: Path, data: bytes, message: str) -> None:
    with within(60), pytest.raises(ManifestError, match=message):
        read_manifest(_written(folder / "manifest.csv", data))


@pytest.mark.slow
def test_a_zip_bomb_is_refused_unopened(folder: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (129 * 1024**2))
    assert len(buffer.getvalue()) < 1024**2
    with pytest.raises(ManifestError, match="unpacks to more than 128 MB"):
        read_manifest(_written(folder / "manifest.csv", buffer.getvalue()))


@pytest.mark.slow
@pytest.mark.parametrize("entity", ["&a9;", "&out;"], ids=["billion laughs", "a file outside"])
def test_entities_of_a_workbook_are_not_followed(folder: Path, entity: str) -> None:
    data = _sheet_of(f'<row r="2"><c r="A2" t="inlineStr"><is><t>{entity}</t></is></c></row>')
    with zipfile.ZipFile(io.BytesIO(data)) as given:
        files = {name: given.read(name) for name in given.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, ENTITIES.encode() + content if name.endswith("sheet1.xml") else content)
    with within(30), only_below(folder), pytest.raises(ManifestError, match=r"not a readable \.xlsx"):
        read_manifest(_written(folder / "manifest.csv", buffer.getvalue()))


# Images


def _animated(kind: str) -> bytes:
    frames = [picture(seed) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


SEEDS = (
    *(encoded(picture(seed), kind) for seed, kind in enumerate(FORMATS)),
    encoded(picture(), "JPEG", progressive=True),
    encoded(picture(), "TIFF", compression="tiff_lzw"),
    encoded(picture().convert("P"), "PNG"),
    *(_animated(kind) for kind in ("GIF", "WEBP", "PNG", "TIFF")),
    b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
)


@st.composite
def image_files(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        size = st.integers(0, 2**31 - 1)
        return _broken(draw, _png(draw(size), draw(size)), most=1)
    return _broken(draw, draw(st.sampled_from(SEEDS)), most=6)


@FUZZ
@given(data=image_files() | st.binary(max_size=300))
def test_an_image_is_decoded_or_refused(folder: Path, data: bytes) -> None:
    path = _written(folder / "fuzzed.png", data)
    with within(SECONDS), only_below(folder):
        try:
            image = decode_image(path)
        except ImageProblem:
            return
        kept = encode_for_store(image, data, content_hash(data))
    assert (image.mode, image.info) == ("RGB", {})
    assert np.array_equal(decode_image(kept.data), image)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    first = decode_image(_animated(kind))
    assert first.size == picture().size
    if kind in ("PNG", "TIFF"):  # the others are lossy
        assert np.array_equal(first, picture(0))


@pytest.mark.slow
def test_a_jpeg_of_endless_scans_is_refused(folder: Path) -> None:
    # A scan of a progressive JPEG can be ten bytes and costs a pass over the picture: here 20 megapixels, 1,000 times.
    data = encoded(picture(size=(5000, 4000)), "JPEG", progressive=True, quality=5)
    scan = data.rindex(b"\xff\xda")
    data = data[:-2] + data[scan:-2] * 1000 + data[-2:]
    with within(SECONDS), pytest.raises(ImageProblem, match="too many scans"):
        decode_image(data)


@pytest.mark.parametrize("name", ["link.png", "pipe.png", "sub", "round"])
def test_only_regular_files_are_opened(folder: Path, name: str) -> None:
    with within(SECONDS), pytest.raises(ImageProblem):
        decode_image(folder / name)
    with within(SECONDS), pytest.raises((ImageProblem, OSError)):
        content_hash(folder / name)


def test_a_file_that_became_a_link_after_the_manifest_was_read_is_not_followed(folder: Path) -> None:
    picture(5).save(folder / "later.png")
    (row,) = read_manifest(_written(folder / "manifest.csv", b"image,report\nlater.png,r\n")).rows
    (folder / "later.png").unlink()
    (folder / "later.png").symlink_to(next((folder / "away").glob("*.png")))
    with pytest.raises(ImageProblem, match="is a link by now"):
        content_hash(row.path)
