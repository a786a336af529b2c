"""Both themes can be read: their colours have the contrast of WCAG 2, level AA."""

from __future__ import annotations

import pytest

from ui.serving.theme import theme_options, tokens

READ_ON = [
    *(
        (text, ground)
        for text in ("ink", "ink-soft", "primary", "draft", "phantom")
        for ground in ("ground", "surface", "stage")
    ),
    ("ink", "shared"),
    ("ground", "primary"),
]


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("text", "ground"), READ_ON)
def test_text_stands_out_from_its_ground(text: str, ground: str, dark: bool) -> None:
    found = tokens(dark=dark)
    lower, higher = sorted((luminance(found[text]), luminance(found[ground])))
    assert (higher + 0.05) / (lower + 0.05) >= 4.5


def test_the_dark_theme_is_dark_and_marks_on_pictures_are_the_same_in_both() -> None:
    assert luminance(tokens(dark=True)["ground"]) < 0.05 < 0.9 < luminance(tokens()["ground"])
    assert tokens(dark=True)["mark"] == tokens()["mark"] == "#d6336c"
    assert theme_options()["theme.dark.backgroundColor"] == tokens(dark=True)["ground"]
    assert theme_options()["theme.light.backgroundColor"] == tokens()["ground"]
