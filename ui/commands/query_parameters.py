"""Parts of a query as options of the command line take them: channels, regions of images and slides, weights."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import click


class ChannelNameType(click.Choice[str]):
    """A channel of the registry, which is loaded when it is needed: `coin --help` answers at once."""

    def __init__(self) -> None:
        self.case_sensitive = True

    @cached_property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the channels."""
        from retrieval import CHANNELS

        return tuple(CHANNELS)


class RegionType(click.ParamType):
    """ "0.2,0.1,0.8,0.5": left, top, right, bottom."""

    name = "L,T,R,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value as the query holds it; fails with a whole sentence."""
        from retrieval import QueryError, Region

        if isinstance(value, Region):
            return value
        try:
            sides = [float(side) for side in str(value).split(",")]
            if len(sides) != 4:
                raise ValueError
            return Region(*sides)
        except ValueError:
            self.fail(f"'{value}' is not four numbers from 0 to 1, such as 0.2,0.1,0.8,0.5", param, ctx)
        except QueryError as error:
            self.fail(str(error), param, ctx)


class AreaType(click.ParamType):
    """ "12000,8000,512,512" in pixels of level 0, or "1200um,800um,128um,128um"."""

    name = "X,Y,W,H"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value as the query holds it; fails with a whole sentence."""
        from retrieval import QueryError, SlideArea

        if isinstance(value, SlideArea):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        numbers = [part.removesuffix("um").removesuffix("µm").removesuffix("μm") for part in parts]
        in_um = {number != part for number, part in zip(numbers, parts, strict=True)}
        try:
            sides = [float(number) for number in numbers]
            if len(sides) != 4 or len(in_um) != 1:
                raise ValueError
            x, y, width, height = sides
            return SlideArea(x, y, width, height, in_um.pop())
        except ValueError:
            self.fail(
                f"'{value}' is not x, y, width and height: four numbers in pixels of the finest level, such as "
                "12000,8000,512,512, or all four in µm, such as 1200um,800um,128um,128um",
                param,
                ctx,
            )
        except QueryError as error:
            self.fail(str(error), param, ctx)


class WeightType(click.ParamType):
    """ "report=2": a channel and its weight."""

    name = "CHANNEL=NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value as the query holds it; fails with a whole sentence."""
        from retrieval import CHANNELS

        channel, _, number = str(value).partition("=")
        wrong = f"'{value}' is not one of {', '.join(CHANNELS)} with a number, such as report=2"
        if channel not in CHANNELS:
            self.fail(wrong, param, ctx)
        try:
            return channel, float(number)
        except ValueError:
            self.fail(wrong, param, ctx)
