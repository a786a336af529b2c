"""What `benchmarks.starter` says beside its means: paired differences, and the classes that fall behind."""

from __future__ import annotations

import dataclasses

from benchmarks.starter import GENERATED, IMAGE, JOINED, JOINT, REPORT, RESTORED, Row, _classes, _differences
from retrieval import Label, precision_at_k

WELL, ILL = Label("cervix", "NILM"), Label("lung", "Malignant")
ASKED = [WELL, WELL, ILL]
ROW = Row("", precision_at_k(ASKED, [[label] for label in ASKED], ASKED), 0.0, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0])


def rows(generated: list[float]) -> list[Row]:
    same = [dataclasses.replace(ROW, name=name) for name in (IMAGE, RESTORED, JOINT, REPORT, JOINED)]
    return [*same, dataclasses.replace(ROW, name=GENERATED, both=generated)]


def test_differences_are_of_the_same_query() -> None:
    lines = {line.split("|")[1].strip(): line.split("|")[2:4] for line in _differences(rows([1.0, 1.0, 0.4]))}
    assert [cell.split()[0] for cell in lines[f"{GENERATED} − {JOINT}"]] == ["0.000", "-0.200"]
    assert [cell.split()[0] for cell in lines[f"{JOINED} − {GENERATED}"]] == ["0.000", "0.200"]


def test_the_class_that_falls_behind_comes_first_and_all_are_counted() -> None:
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in _classes(rows([1.0, 0.9, 0.4]), ASKED)[2:]]
    assert cells == [["lung: Malignant", "1", "0.400"], ["cervix: NILM", "2", "0.950"]]
    many = [Label("cervix", str(number)) for number in range(8)]
    generated = [dataclasses.replace(row, both=[number / 10 for number in range(8)]) for row in rows([])[-1:]]
    others = [dataclasses.replace(row, both=[1.0] * 8) for row in rows([])[:-1]]
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in _classes([*others, *generated], many)[2:]]
    assert [name for name, *_ in cells] == [*(f"cervix: {number}" for number in range(6)), "all other classes"]
    assert cells[-1][1:] == ["2", "0.650"]
