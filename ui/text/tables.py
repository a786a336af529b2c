"""Tables in plain text: the one way in which columns are lined up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ui.text.layout import clean


def table(
    rows: Sequence[Sequence[str]],
    *,
    align: str = "",
    widths: Sequence[int] = (),
    indent: str = "  ",
    gap: str = "  ",
) -> list[str]:
    """The lines of a table, each column as wide as its widest cell.

    Args:
        rows: The cells, all rows of equal length; a heading is a row like any other.
        align: A character a column, `<` or `>`; columns beyond its end are aligned to the left.
        widths: The least width of each column, in characters; columns beyond its end have none.
        indent: Text before the first column.
        gap: Text between two columns.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    columns = range(len(cells[0]) if cells else 0)
    least = [*widths, *([0] * len(columns))]
    wide = [max(least[column], *(len(row[column]) for row in cells)) for column in columns]
    sides = align.ljust(len(columns), "<")
    return [
        (indent + gap.join(f"{row[column]:{sides[column]}{wide[column]}}" for column in columns)).rstrip()
        for row in cells
    ]


def name_value_table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values in two columns; what has no value is left out."""
    return "\n".join(table([(name, value) for name, value in rows if value]))
