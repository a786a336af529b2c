"""`coin search`: the nearest cases to a report, an image, a case, or to a report with one of the two."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, as_json, with_filters, with_settings
from ui.commands.output import echo
from ui.commands.progress import progress
from ui.commands.report_input import read_report
from ui.service import Service
from ui.settings import Settings
from ui.text.gallery import gallery_text
from ui.text.search import search_text

if TYPE_CHECKING:
    from index_store import CaseFilter
    from retrieval import Query


class _ChannelName(click.Choice[str]):
    """A channel of the registry, which is loaded when it is needed: `coin --help` answers at once."""

    def __init__(self) -> None:
        self.case_sensitive = True

    @cached_property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        from retrieval import CHANNELS

        return tuple(CHANNELS)


class _Region(click.ParamType):
    """ "0.2,0.1,0.8,0.5": left, top, right, bottom."""

    name = "L,T,R,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
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


class _Weight(click.ParamType):
    """ "report=2": a channel and its weight."""

    name = "CHANNEL=NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from retrieval import CHANNELS

        channel, _, number = str(value).partition("=")
        wrong = f"'{value}' is not one of {', '.join(CHANNELS)} with a number, such as report=2"
        if channel not in CHANNELS:
            self.fail(wrong, param, ctx)
        try:
            return channel, float(number)
        except ValueError:
            self.fail(wrong, param, ctx)


@click.command()
@click.option("--text", metavar="REPORT", help="Search by this report text.")
@click.option("--text-file", type=click.Path(path_type=Path), help="Search by the report in this file; - is stdin.")
@click.option("--image", type=click.Path(path_type=Path), help="Search by this image file.")
@click.option("--case", metavar="CASE", help="Search by this case of the archive.")
@click.option("--query", "saved", metavar="NAME", help="Search by this saved query; the other options refine it.")
@click.option("--include-own-patient", is_flag=True, help="With --case: other cases of that patient, too.")
@click.option("--image-id", type=int, metavar="N", help="With --case: only this image of it.")
@click.option("--region", type=_Region(), help="Only this part of the image, as fractions of width and height.")
@click.option("--more-like", multiple=True, metavar="CASE", help="The answer should resemble this case more.")
@click.option("--less-like", multiple=True, metavar="CASE", help="The answer should resemble this case less.")
@click.option("--unmark", multiple=True, metavar="CASE", help="With --query: without its mark on this case.")
@click.option("--whole-image", is_flag=True, help="With --query: all of the image, and not its region.")
@click.option("--without-seed", type=int, multiple=True, metavar="N", help="Drop the generated image of this seed.")
@click.option("--asked-site", metavar="SITE", help="The site that generated images must show. [default: the report's]")
@click.option("--channel", "channels", type=_ChannelName(), multiple=True, help="Ask only this channel.")
@click.option("--fusion", type=click.Choice(["rrf", "score"]), help="How channels are joined. [default: as measured]")
@click.option("--weight", "weights", type=_Weight(), multiple=True, help="Weight of a channel in the fusion.")
@click.option(
    "--by-category",
    type=click.IntRange(1),
    metavar="M",
    help="Also the nearest M cases of each category.",
)
@click.option("--save", metavar="NAME", help="Keep the query under this name.")
@click.option("--replace", is_flag=True, help="With --save: replace the query of that name.")
@with_settings(
    *("k", "n_images", "seed", "preset", "archive", "rules", "queries", "audit", "audit_days"),
    *(*MODEL_SETTINGS, *GENERATOR_SETTINGS, "site_hint"),
)
@with_filters
@as_json
@click.pass_context
def search(
    context: click.Context,
    settings: Settings,
    where: CaseFilter | None,
    saved: str | None,
    save: str | None,
    replace: bool,
    by_category: int | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Find the cases of the archive that are nearest to a report, an image, or a case.

    A report is compared as text, and as the synthetic images that it becomes; it may be given together with an image
    or a case. Results are cases, at most one a patient, nearest first, each with its report and with the channels
    that put it there.
    """
    given = [name for name in ("text", "text_file", "image", "case") if asked[name] is not None]
    if saved is None and not given:
        raise click.UsageError("give --text, --text-file, --image, --case or --query")
    for pair in (("text", "text_file"), ("image", "case")):
        if set(pair) <= set(given):
            raise click.UsageError(f"give only one of {' and '.join(f'--{name}' for name in pair).replace('_', '-')}")
    if asked["include_own_patient"] and saved is None and asked["case"] is None:
        raise click.UsageError("--include-own-patient goes with --case")
    service = Service(settings)
    context.call_on_close(service.close)
    explicit = {
        name
        for name in ("k", "n_images", "seed", "preset")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    query = _query(service, saved, explicit, where, asked)
    if save is not None:
        service.queries.save(save, query, replace=replace)
    with progress("Generating", unit="steps") as draw:
        result = service.search(query, progress=draw)
    diagnostics = service.diagnose(result) if result.cases else None
    gallery = service.gallery(result, m=by_category) if by_category and result.cases else None
    if as_json:
        from retrieval import to_json

        echo(to_json(result, diagnostics, gallery))
    else:
        rows = gallery_text(gallery) if by_category and result.cases else ""
        echo(search_text(result, diagnostics, rows))


def _query(
    service: Service, saved: str | None, explicit: set[str], where: CaseFilter | None, asked: dict[str, Any]
) -> Query:
    """The query of the options; those that were not given leave a saved query as it was."""
    from index_store import read_source
    from retrieval import Query

    settings = service.settings
    values: dict[str, Any] = {}
    if asked["text"] is not None or asked["text_file"] is not None:
        values["text"] = asked["text"] if asked["text"] is not None else read_report(asked["text_file"])
    if asked["image"] is not None:
        values |= {
            "image": read_source(asked["image"], follow_links=True),
            "label": asked["image"].name,
            "case": "",
            "image_id": None,
        }
    if asked["case"] is not None:
        values |= {"case": asked["case"], "image": b"", "label": "", "image_id": None}
    if saved is None or explicit & {"n_images", "seed"}:
        values["seeds"] = service.seeds
    values |= {name: getattr(settings, name) for name in ("k", "preset") if saved is None or name in explicit}
    values |= {name: asked[name] for name in ("image_id", "region", "fusion") if asked[name] is not None}
    values |= {name: asked[name] for name in ("channels", "weights") if asked[name]}
    if asked["asked_site"] is not None:
        values["site"] = asked["asked_site"]
    if asked["include_own_patient"]:
        values["include_own_patient"] = True
    if where is not None:
        values["where"] = where
    query = Query(**values) if saved is None else dataclasses.replace(service.queries.load(saved), **values)
    for case in asked["unmark"]:
        query = query.unmarked(case)
    if asked["whole_image"]:
        query = query.within(None)
    for case in asked["more_like"]:
        query = query.more_like(case)
    for case in asked["less_like"]:
        query = query.less_like(case)
    for seed in asked["without_seed"]:
        query = query.without_seed(seed)
    return query
