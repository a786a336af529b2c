"""Labels read from many reports: by processes, kept for the next run, read anew by other rules."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from generation.phantom import phantom_cases
from retrieval.errors import EvaluationError
from retrieval.language import label_reader
from retrieval.language.label_reader import FILE, LabelReader, missing_labels

NOTHING = {"site": "", "system": "", "category": ""}


def reports(count: int) -> list[tuple[str, dict[str, str]]]:
    """Each with nothing given, and the first with its site."""
    made = [phantom.report for phantom in phantom_cases(count, seed=8)]
    return [*((report, NOTHING) for report in made), (made[0], {**NOTHING, "site": "urine"})]


def read(reader: LabelReader, given: list[tuple[str, dict[str, str]]]) -> list[dict[str, str]]:
    reader.read_all(given)
    return [reader.missing(report, **labels) for report, labels in given]


def test_what_was_read_is_kept_without_a_word_of_it(tmp_path: Path) -> None:
    given = reports(12)
    alone = [missing_labels(report, **labels) for report, labels in given]
    assert sum("category" in labels for labels in alone) > 5
    assert read(LabelReader(tmp_path), given[:5]) == alone[:5]
    with mock.patch.object(label_reader, "_read", side_effect=label_reader._read) as reads:
        assert read(LabelReader(tmp_path), given) == alone
        again = reads.call_count
        assert read(LabelReader(tmp_path), given) == alone
        assert 0 < again == reads.call_count < len(given), "what is kept is not read"
    held = (tmp_path / FILE).read_bytes()
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert not [report for report, _ in given if report[:40].encode() in held]


def test_other_rules_read_it_anew(tmp_path: Path) -> None:
    given = reports(2)
    read(LabelReader(tmp_path), given)
    with (
        mock.patch.object(label_reader, "_rules", lambda: "other rules"),
        mock.patch.object(label_reader, "_read", return_value=("urine", None, None)),
    ):
        assert read(LabelReader(tmp_path), given[:1]) == [{"site": "urine"}]


def test_processes_read_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(label_reader, "MANY", 3)
    given = reports(6)
    alone = [missing_labels(report, **labels) for report, labels in given]
    with mock.patch("generation.worker_pool.FEW", 2):
        assert read(LabelReader(tmp_path), given) == alone


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(EvaluationError, match=r"cannot be used .*: make room, or name another"):
        LabelReader(tmp_path).read_all(reports(1))
