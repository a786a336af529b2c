"""`coin search`: the nearest cases to a report, an image or a case, or to a report with one of the other two."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, as_json, with_filters_and_scale, with_settings
from ui.commands.output import echo
from ui.commands.progress import progress
from ui.commands.report_input import read_report
from ui.errors import user_message
from ui.service import Service
from ui.settings import Settings
from ui.text.gallery import gallery_text
from ui.text.layout import clean
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
@click.option("--query", "saved", metavar="NAME", help="Run this saved query; the other options refine it.")
@click.option("--include-own-patient", is_flag=True, help="With --case: also return other cases of that patient.")
@click.option("--image-id", type=int, metavar="N", help="With --case: only this image of it.")
@click.option("--region", type=_Region(), help="Only this part of the image, as fractions of width and height.")
@click.option(
    "--more-like", multiple=True, metavar="CASE", help="Relevance feedback: more like this case; may be repeated."
)
@click.option(
    "--less-like", multiple=True, metavar="CASE", help="Relevance feedback: less like this case; may be repeated."
)
@click.option("--unmark", multiple=True, metavar="CASE", help="With --query: without its feedback on this case.")
@click.option("--whole-image", is_flag=True, help="With --query: the whole image instead of its region.")
@click.option("--without-seed", type=int, multiple=True, metavar="N", help="Drop the generated image of this seed.")
@click.option("--asked-site", metavar="SITE", help="The site that generated images must show. [default: the report's]")
@click.option(
    "--channel",
    "channels",
    type=_ChannelName(),
    multiple=True,
    help="Search only this channel; may be repeated.",
)
@click.option("--fusion", type=click.Choice(["rrf", "score"]), help="How channels are fused. [default: by the rules]")
@click.option(
    "--weight", "weights", type=_Weight(), multiple=True, help="Weight of a channel in the fusion; may be repeated."
)
@click.option(
    "--by-category",
    type=click.IntRange(1),
    metavar="M",
    help="Also the nearest M cases of each category.",
)
@click.option("--save", metavar="NAME", help="Save the query under this name.")
@click.option("--replace", is_flag=True, help="With --save: replace the query of that name.")
@with_settings(
    *("k", "n_images", "seed", "preset", "archive", "rules", "queries", "audit", "audit_days"),
    *(*MODEL_SETTINGS, "text_encoder", *GENERATOR_SETTINGS, "site_hint"),
)
@with_filters_and_scale
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
    **options: Any,
) -> None:
    """Find the cases of the archive that are nearest to a report, an image, or a case.

    A report is compared as text, and as the synthetic images that are generated from it; it may be combined with an
    image or a case. Results are cases, at most one for each patient, nearest first, each with its report and its
    rank in every channel.
    """
    given = [name for name in ("text", "text_file", "image", "case") if options[name] is not None]
    if saved is None and not given:
        raise click.UsageError("give --text, --text-file, --image, --case or --query")
    for pair in (("text", "text_file"), ("image", "case")):
        if set(pair) <= set(given):
            raise click.UsageError(f"give only one of {' and '.join(f'--{name}' for name in pair).replace('_', '-')}")
    if options["include_own_patient"] and saved is None and options["case"] is None:
        raise click.UsageError("--include-own-patient goes with --case")
    service = Service(settings)
    context.call_on_close(service.close)
    explicit = {
        name
        for name in ("k", "n_images", "seed", "preset")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    query = _query(service, saved, explicit, where, options)
    unsaved = ""
    if save is not None:
        try:
            service.queries.save(save, query, replace=replace)
        except OSError as error:  # an unwritable home must not cost the answer
            unsaved = f"the query was not saved as '{save}': {user_message(error)}"
    with progress("Generating", unit="steps") as update:
        result = service.search(query, progress=update)
    diagnostics = service.diagnose(result) if result.cases else None
    gallery = service.gallery(result, m=by_category) if by_category and result.cases else None
    if as_json:
        from retrieval import to_json

        echo(to_json(result, diagnostics, gallery))
    else:
        rows = gallery_text(gallery) if by_category and result.cases else ""
        echo(search_text(result, diagnostics, rows))
    if unsaved:
        raise click.ClickException(clean(unsaved))


def _query(
    service: Service, saved: str | None, explicit: set[str], where: CaseFilter | None, options: dict[str, Any]
) -> Query:
    """The query that the options make; those that were not given leave a saved query unchanged."""
    from index_store import read_source
    from retrieval import Query

    settings = service.settings
    values: dict[str, Any] = {}
    if options["text"] is not None or options["text_file"] is not None:
        values["text"] = options["text"] if options["text"] is not None else read_report(options["text_file"])
    if options["image"] is not None:
        values |= {
            "image": read_source(options["image"], follow_links=True),
            "label": options["image"].name,
            "case": "",
            "image_id": None,
        }
    if options["case"] is not None:
        values |= {"case": options["case"], "image": b"", "label": "", "image_id": None}
    if saved is None or explicit & {"n_images", "seed"}:
        values["seeds"] = service.seeds
    values |= {name: getattr(settings, name) for name in ("k", "preset") if saved is None or name in explicit}
    values |= {name: options[name] for name in ("image_id", "region", "fusion") if options[name] is not None}
    values |= {name: options[name] for name in ("channels", "weights") if options[name]}
    if options["query_mpp"] is not None:
        values["mpp"] = options["query_mpp"]
    elif options["image"] is not None or options["case"] is not None:
        values["mpp"] = None  # that of a saved query's image was of another
    if options["asked_site"] is not None:
        values["site"] = options["asked_site"]
    if options["include_own_patient"]:
        values["include_own_patient"] = True
    if where is not None:
        values["where"] = where
    query = Query(**values) if saved is None else dataclasses.replace(service.queries.load(saved), **values)
    for case in options["unmark"]:
        query = query.unmarked(case)
    if options["whole_image"]:
        query = query.within(None)
    for case in options["more_like"]:
        query = query.more_like(case)
    for case in options["less_like"]:
        query = query.less_like(case)
    for seed in options["without_seed"]:
        query = query.without_seed(seed)
    return query
