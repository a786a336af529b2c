"""The service that the sessions of a view share: an archive that was replaced is opened anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from index_store import Archive
from retrieval import Query
from tests.ui.conftest import coin
from ui.service import Service
from ui.settings import Settings


@pytest.fixture
def settings(archive: Path, models: dict[str, str], tmp_path: Path) -> Settings:
    shutil.copytree(archive, tmp_path / "cases")
    environ = {**models, "COIN_ARCHIVE": str(tmp_path / "cases"), "COIN_AUDIT": str(tmp_path / "audit")}
    return Settings.from_env(environ)


def test_another_archive_in_its_place_is_read_by_the_next_call(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(settings)
    key = service.archive.cases(limit=1)[0].key
    before = service.search(Query(case=key))
    assert before.cases
    first, log = service.archive, service.audit_log
    (tmp_path / "cases").rename(tmp_path / "away")
    assert coin("init", "--archive", tmp_path / "cases").exit_code == 0
    assert service.archive is not first
    assert service.archive.cases() == []
    assert service.audit_log is not None
    assert log is not None
    assert service.audit_log.path != log.path
    with Archive.open(tmp_path / "away", read_only=True) as away:
        assert away.uuid == log.path.stem
    with pytest.raises(Exception, match=f"{key}|no case|encoder|empty"):
        service.search(Query(case=key))
    service.close()
