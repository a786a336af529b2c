from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generation.prompts import cues
from generation.prompts.cues import alternatives

USES = {"all", "condensing", "labels", "query"}
DOCUMENT = tomllib.loads(Path(cues.__file__).with_name("cues.toml").read_text(encoding="utf-8"))


def groups(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, list[str]]]]:
    for name, value in table.items():
        if isinstance(value, dict):
            inner = {key: entry for key, entry in value.items() if isinstance(entry, list)}
            yield from [(prefix + name, inner)] if inner else groups(value, f"{prefix}{name}.")


def test_a_use_reads_the_shared_cues_and_its_own() -> None:
    conclusion = DOCUMENT["conclusion"]
    assert alternatives("conclusion", "labels").split("|")[:2] == [r"consistent\s+with", r"compatible\s+with"]
    pattern = re.compile(alternatives("conclusion", "labels"))
    assert pattern.search("consistent\n with") and pattern.search("diagnosed as") and not pattern.search("suspected")
    assert alternatives("conclusion", "query") == "|".join(conclusion["all"]).replace(" ", r"\s+")
    assert alternatives("category.code", "query") == ""
    with pytest.raises(KeyError):
        alternatives("no.such", "labels")


@pytest.mark.parametrize(("group", "lists"), list(groups(DOCUMENT)))
def test_every_cue_is_an_expression_that_stands_once_in_its_group(group: str, lists: dict[str, list[str]]) -> None:
    assert set(lists) <= USES
    for use in USES - {"all"}:
        read = [*lists.get("all", []), *lists.get(use, [])]
        assert len(set(read)) == len(read)
        for cue in read:
            assert re.compile(cue).groups == 0, "a capturing group would shift those of the pattern it is put into"
            assert not re.compile(cue).match(""), "an empty match marks every text"
