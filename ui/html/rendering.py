"""Pages from the templates beside this module, by Jinja2. No other module of `ui` writes HTML.

Every value that a template shows is cleaned of control characters and escaped: names come from archives that others
made. Only templates hold tags.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ui.text.layout import clean

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """A template filled with values, which may be functions for it to call. A name that it lacks raises
    `jinja2.UndefinedError`."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ui.html"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["pixels"] = _pixels
    return environment


def _cleaned(value: object) -> object:
    """Text without control characters; what a macro made (it has `__html__`) was cleaned within it."""
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _pixels(value: float) -> str:
    """A coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
