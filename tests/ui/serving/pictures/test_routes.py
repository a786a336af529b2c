"""Pictures by URL: their pixels, the guard before them, and the sentences where there are none. No browser."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from index_store import Archive, Slide
from tests.small_slides import glass
from ui.service import Service
from ui.serving.addresses import Addresses
from ui.serving.guard import Guard, content_security_policy
from ui.serving.pictures import archive_pictures, routes
from ui.serving.pictures.addresses import image_url, kept_url, overview_url, slide_url
from ui.serving.pictures.deep_zoom import TILE, zoom_levels
from ui.serving.pictures.kept import KeptPicture
from ui.serving.pictures.routes import picture_routes
from ui.serving.pictures.slide_files import SlideFiles
from ui.settings import Settings

Client = Callable[..., TestClient]
HERE = "http://127.0.0.1:8501"


@pytest.fixture
def client() -> Iterator[Callable[..., TestClient]]:
    """Makes a client of the routes of an archive, behind the guard."""
    with contextlib.ExitStack() as stack:

        def made(archive: Path, folder: Path | None = None, base: str = "", **guarded: Any) -> TestClient:
            service = stack.enter_context(contextlib.closing(Service(Settings(archive=str(archive)))))
            slides = stack.enter_context(contextlib.closing(SlideFiles(folder and str(folder))))
            addresses = Addresses.of(8501, f"https://cases.example/{base}" if base else None)
            app: Any = Starlette(routes=picture_routes(service, slides, base))
            guard: Any = Guard(app, addresses, content_security_policy(()), **guarded)
            return TestClient(guard, base_url=HERE)

        yield made


@pytest.fixture
def copied(archive: Path, tmp_path: Path) -> Path:
    """A copy of the shared archive that may be changed."""
    return Path(shutil.copytree(archive, tmp_path / "archive"))


def pixels(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_an_image_comes_at_its_own_pixels_and_smaller(
    client: Client, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Archive.open(archive, read_only=True) as opened:
        image = opened.cases(limit=1)[0].images[0]
        own = np.asarray(opened.picture(image.id))
    answer = client(archive).get(image_url("", image))
    assert answer.headers["content-type"] == "image/png"
    assert "no-cache" in answer.headers["cache-control"]
    assert np.array_equal(pixels(answer.content), own)
    small = image_url("", image, side=32)
    assert pixels(client(archive).get(small).content).shape == (32, 32, 3)
    with monkeypatch.context() as patch:
        patch.setattr(routes, "image_file", lambda *_: pytest.fail("what did not change was read again"))
        again = client(archive).get(image_url("", image), headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert pixels(client(archive).get(small, headers={"If-None-Match": answer.headers["etag"]}).content).shape[0] == 32
    for side in ("0", "x", "-1", "99999"):
        assert client(archive).get(f"{image_url('', image)}?side={side}").status_code == 404


def test_a_card_is_made_once_for_all_readers(client: Client, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Archive.open(copied, read_only=True) as opened:
        first, second = (case.images[0] for case in opened.cases(limit=2))
    view = client(copied)
    made = view.get(image_url("", first, side=31)).content
    monkeypatch.setattr(archive_pictures, "KEPT", 1)
    with monkeypatch.context() as patch:
        patch.setattr(archive_pictures, "image_file", lambda *_: pytest.fail("it was made again"))
        assert view.get(image_url("", first, side=31)).content == made
    assert view.get(image_url("", second, side=31)).content != made
    assert len(archive_pictures._KEPT) == 1, "the oldest goes"


def test_the_guard_stands_before_pictures_and_sign_in_closes_them(client: Client, archive: Path) -> None:
    with Archive.open(archive, read_only=True) as opened:
        path = image_url("a", opened.cases(limit=1)[0].images[0])
    view = client(archive, base="a", admits=lambda cookies: "user=ada" in cookies)
    assert view.get(path).status_code == 401
    assert view.get(path, headers={"cookie": "user=ada"}).status_code == 200
    assert view.get(path, headers={"cookie": "user=ada", "host": "evil.example"}).status_code == 421
    assert view.get(path, headers={"cookie": "user=ada", "origin": "https://evil.example"}).status_code == 403
    for closed in (f"{slide_url('a', 'f')}/1/0_0.jpg", kept_url("a", KeptPicture(b"x", 1, 1))):
        assert view.get(closed).status_code == 401


def test_a_picture_that_was_exchanged_is_not_shown(client: Client, copied: Path) -> None:
    with Archive.open(copied, read_only=True) as opened:
        image = opened.cases(limit=1)[0].images[0]
    view = client(copied)
    known = view.get(image_url("", image))
    assert known.status_code == 200
    image.path.chmod(0o644)
    Image.new("RGB", (64, 64), "red").save(image.path, "PNG")
    answer = view.get(image_url("", image), headers={"If-None-Match": known.headers["etag"]})
    assert (answer.status_code, "altered" in answer.text) == (404, True)


def test_a_removed_cases_picture_is_gone(client: Client, copied: Path) -> None:
    view = client(copied)
    with Archive.open(copied) as opened:
        case = opened.cases(limit=1)[0]
        found = view.get(image_url("", case.images[0]))
        assert found.status_code == 200
        opened.remove(case.key)
    again = view.get(image_url("", case.images[0]), headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, "removed" in again.text) == (404, True)


def test_an_upload_is_served_while_a_session_holds_it(client: Client, archive: Path) -> None:
    picture = KeptPicture(b"a file", 4, 3)
    address = kept_url("", picture)
    assert client(archive).get(address).content == b"a file"
    del picture
    gone = client(archive).get(address)
    assert (gone.status_code, "choose its file again" in gone.text) == (404, True)


def test_tiles_show_the_slides_own_pixels_and_each_half(client: Client, slide_and_archive: Path) -> None:
    archive, folder = slide_and_archive / "archive", slide_and_archive
    with Slide(folder / "alpha.svs") as slide:
        info = slide.info
    first, last = zoom_levels(info)
    view = client(archive, folder)
    size = glass().shape[0]
    own = view.get(f"{slide_url('', info.fingerprint)}/{last}/1_0.jpg")
    assert own.headers["content-type"] == "image/jpeg"
    assert np.abs(pixels(own.content).astype(int) - glass()[:TILE, TILE : 2 * TILE]).mean() < 4
    half = pixels(view.get(f"{slide_url('', info.fingerprint)}/{last - 1}/0_0.jpg").content)
    assert half.shape == (size // 2, size // 2, 3)
    reduced = np.asarray(Image.fromarray(glass()).reduce(2))
    assert np.abs(half.astype(int) - reduced).mean() < 6
    for place in (f"{last + 1}/0_0", f"{first - 1}/0_0", f"{last}/9_0", f"{last}/0_-1"):
        assert view.get(f"{slide_url('', info.fingerprint)}/{place}.jpg").status_code == 404, place
    assert view.get(f"{slide_url('', info.fingerprint, plane=3)}/{last}/0_0.jpg").status_code == 404
    with contextlib.closing(SlideFiles(str(folder))) as files:
        part = files.region(info.fingerprint, 0, (256, 0, 128, 64))
    assert np.abs(pixels(part).astype(int) - glass()[:64, 256:384]).mean() < 4


def test_a_slide_that_is_not_there_is_answered_by_a_sentence(
    client: Client, slide_and_archive: Path, tmp_path: Path
) -> None:
    archive = slide_and_archive / "archive"
    with Archive.open(archive, read_only=True) as opened:
        case = opened.case("case-1")
    (slide,) = case.slides
    tile = f"{slide_url('', slide.fingerprint)}/10/0_0.jpg"
    moved = client(archive, tmp_path).get(tile)
    assert (moved.status_code, "not in the folder of slides any more" in moved.text) == (404, True)
    nowhere = client(archive).get(tile)
    assert (nowhere.status_code, "--slides" in nowhere.text) == (404, True)
    overview = client(archive).get(overview_url("", case.key, slide))
    assert pixels(overview.content).shape[2] == 3
    assert client(archive).get(overview_url("", "nobody", slide)).status_code == 404


@pytest.mark.slow
def test_slides_are_found_by_content_whatever_they_are_called(slide_and_archive: Path, tmp_path: Path) -> None:
    folder = slide_and_archive
    (tmp_path / "deep").mkdir()
    shutil.copy(folder / "alpha.svs", tmp_path / "deep" / "renamed.svs")
    (tmp_path / "notes.txt").write_text("no slide", encoding="utf-8")
    (tmp_path / "link.svs").symlink_to(folder / "alpha.svs")
    files = SlideFiles(str(tmp_path))
    assert list(files.names()) == ["deep/renamed.svs"], "links lead elsewhere"
    with Slide(folder / "alpha.svs") as slide:
        fingerprint = slide.info.fingerprint
    assert files.find(fingerprint, "alpha") == tmp_path / "deep" / "renamed.svs"
    assert files.described(fingerprint).width == glass().shape[0]
    files.close()
