"""Tables of plain text, compared with what a person would set by hand."""

from __future__ import annotations

from retrieval import Estimate
from ui.text.evaluation.tables import signed
from ui.text.tables import name_value_table, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([["site", "n"], ["cervix", "12"], ["", "7"]]) == ["  site    n", "  cervix  12", "          7"]


def test_columns_are_aligned_as_told_and_never_narrower() -> None:
    rows = [["class", "images", "share"], ["HSIL", "3", "50 %"]]
    assert table(rows, align="<>", widths=(8, 9), indent="", gap="|") == [
        "class   |   images|share",
        "HSIL    |        3|50 %",
    ]
    assert table(rows, align=">>>", widths=(2,), indent="> ", gap=" ") == [
        "> class images share",
        ">  HSIL      3  50 %",
    ]


def test_no_row_is_no_line_and_no_control_character_passes() -> None:
    assert table([]) == []
    assert table([["a\x1b[2Jb", "c"], ["d", "e"]]) == ["  a[2Jb  c", "  d      e"]


def test_names_without_value_are_left_out() -> None:
    assert (
        name_value_table([("site", "cervix"), ("a long name left out", ""), ("n", "3")]) == "  site  cervix\n  n     3"
    )


def test_a_star_stands_where_the_shown_interval_excludes_zero() -> None:
    assert signed(Estimate(0.0123, 0.0006, 0.02)) == "+0.012 [+0.001, +0.020] *"
    assert signed(Estimate(0.0002, 0.0001, 0.0004)) == "+0.000 [+0.000, +0.000]"
    assert signed(Estimate(-0.0002, -0.002, -0.0001)) == "+0.000 [-0.002, +0.000]"
    assert signed(Estimate(-0.2, -0.3, -0.1), star=False) == "-0.200 [-0.300, -0.100]"
