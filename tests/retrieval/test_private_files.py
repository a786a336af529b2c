"""Reader studies, synthetic sets, saved queries, audit logs, caches: for their owner alone, whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation import GenerationCache
from retrieval import AuditLog, Query, SavedQueries
from retrieval.encoder.embedding_cache import EmbeddingCache
from tests.generation.test_provenance import PROVENANCE
from tests.permissions import open_to_others, watched
from tests.retrieval.reading_parts import made_study
from ui.commands.output import write_file
from ui.pictures.contact_sheet import contact_sheet, save_sheet

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="POSIX permissions"),
    pytest.mark.usefixtures("no_umask"),
]


def test_a_reader_study(tmp_path: Path) -> None:
    with watched(tmp_path / "readings") as seen:
        study = made_study(tmp_path, n=2)
        study.ratings.begin("Ada", pseudonym=True)
    assert open_to_others(tmp_path / "readings") == {}
    assert seen == {}


def test_queries_logs_and_caches(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with watched(home) as seen:
        SavedQueries(home / "queries" / "archive").save("mine", Query(text="clue cells"))
        log = AuditLog(home / "audit" / "logs", "archive")
        log.record("query", user="Ada")
        log.prune(log._clock(), user="Ada")
        GenerationCache(home / "cache" / "generated").put("0" * 64, Image.new("RGB", (8, 8)), PROVENANCE)
        EmbeddingCache(home / "cache" / "evaluation", 2).put(["0" * 64], np.eye(1, 2, dtype=np.float32))
        write_file(home / "results.csv", "a,b")
        save_sheet(contact_sheet("title", []), home / "sheet.png")
    assert len(list(home.rglob("*"))) >= 10
    assert open_to_others(home) == {}
    assert seen == {}
