"""Tables of plain text, compared with what a person would set by hand."""

from __future__ import annotations

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
