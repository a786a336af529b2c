"""Words that two texts share."""

from __future__ import annotations

from retrieval import shared_words


def test_words_of_both_are_marked_in_any_case_and_number() -> None:
    parts = shared_words("No CLUE CELL, of the cervix (pH 4.5).", "clue cells of the vagina; no pH")
    assert [text for text, shared in parts if shared] == ["No", "CLUE", "CELL", "pH"]
    assert "".join(text for text, _ in parts) == "No CLUE CELL, of the cervix (pH 4.5)."


def test_nothing_is_shared_with_an_empty_text() -> None:
    assert shared_words("<b>HSIL</b>", "") == (("<b>HSIL</b>", False),)
    assert shared_words("", "HSIL") == ()
