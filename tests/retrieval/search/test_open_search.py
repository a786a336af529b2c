"""One call from settings to a search; and nothing is loaded that the query does not need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import retrieval
from index_store import Archive, ArchiveError, EncoderMismatchError
from retrieval import Encoder, FusionRule, QueryError, open_search
from retrieval.encoder.formats.open_clip_folder import OpenClipFiles
from tests.clip_model import tiny_clip
from tests.retrieval.conftest import speckled


@pytest.fixture(scope="module")
def folder(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of three cases."""
    folder = tmp_path_factory.mktemp("open")
    rows = ["image,case,report"]
    for number in range(3):
        speckled(number).save(folder / f"{number}.png")
        rows.append(f"{number}.png,case {number},Report {number} of cells.")
    (folder / "manifest.csv").write_text("\n".join(rows))
    with Archive.create(folder / "archive") as archive:
        retrieval.add_manifest(archive, folder / "manifest.csv", encoder)
    return folder / "archive"


def test_an_image_query_loads_no_generator(folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    """The base is a folder that is not there, which generating would notice."""
    with open_search(folder, encoder=clip_folder, base=tmp_path / "none", device="cpu") as search:
        assert search.by_image(speckled(1), k=2).cases[0].case.key == "case 1"


def test_a_case_query_loads_no_model(folder: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenClipFiles, "load", lambda *_: pytest.fail("the encoder was loaded"))
    with open_search(folder, encoder=clip_folder) as search:
        assert {entry.case.key for entry in search.by_case("case 0").cases} == {"case 1", "case 2"}


@pytest.mark.slow
def test_a_report_is_generated_and_the_images_are_kept(
    folder: Path, clip_folder: Path, sdxl_base: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[text]\nmethod = "rrf"\nweights = { generated = 1, joint = 0, report = 0 }\n')
    with open_search(
        folder, encoder=clip_folder, base=sdxl_base, device="cpu", rules=rules, cache=tmp_path / "cache", guidance=1.5
    ) as search:
        result = search.by_report("Clusters of cells.", n_images=1)
    assert [answer.channel for answer in result.channels] == ["generated"]
    assert result.generation is not None
    assert result.generation.images[0].provenance.guidance == 1.5
    assert list((tmp_path / "cache").rglob("*.png"))


def test_the_archive_is_closed_afterwards_and_read_only_meanwhile(
    folder: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Archive] = []
    close = Archive.close
    monkeypatch.setattr(Archive, "close", lambda archive: (closed.append(archive), close(archive)))
    opened: list[Archive] = []
    open_archive = Archive.open

    def noted(*arguments: Any, **options: Any) -> Archive:
        opened.append(open_archive(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(Archive, "open", noted)
    with open_search(folder, encoder=clip_folder, rules={"image": FusionRule("rrf")}) as search:
        assert search.by_case("case 0").cases
        with pytest.raises(ArchiveError):
            opened[0].remove("case 0")
        assert closed == []
    assert closed == opened[:1] == opened


def test_what_cannot_be_opened_is_named(folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError), open_search(tmp_path / "nothing"):
        pass
    with pytest.raises(QueryError, match=r"rules\.toml"), open_search(folder, rules=tmp_path / "rules.toml"):
        pass
    other = tiny_clip(tmp_path / "other", seed=3)
    with pytest.raises(EncoderMismatchError), open_search(folder, encoder=other):
        pass
