"""`coin search`: the nearest cases to a report, an image, a slide or a case, or to a report with one of the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, as_json, with_filters_and_scale, with_settings
from ui.commands.output import echo
from ui.commands.progress import progress
from ui.commands.query_parameters import AreaType, ChannelNameType, RegionType, WeightType
from ui.commands.report_input import read_report
from ui.errors import user_message
from ui.service import Service
from ui.settings import Settings
from ui.text.gallery import gallery_text
from ui.text.layout import clean, wrapped
from ui.text.search import search_text, since_saved

if TYPE_CHECKING:
    from index_store import CaseFilter
    from retrieval import Query, SearchResult, SlideQuery


@click.command()
@click.option("--text", metavar="REPORT", help="Search by this report text.")
@click.option("--text-file", type=click.Path(path_type=Path), help="Search by the report in this file; - is stdin.")
@click.option("--image", type=click.Path(path_type=Path), help="Search by this image file.")
@click.option("--slide", type=click.Path(path_type=Path), help="Search by this whole slide, or DICOM series.")
@click.option("--at", type=AreaType(), help="With --slide: this part of it, in pixels of the finest level or in um.")
@click.option("--slide-fields", type=click.IntRange(1, 256), metavar="N", help="With --slide: fields. [default: 64]")
@click.option(
    "--match",
    type=click.Choice(["even", "mean", "median", "best"]),
    help="With --slide: a patient's score from the match of each field. [default: even]",
)
@click.option("--case", metavar="CASE", help="Search by this case of the archive.")
@click.option("--query", "saved", metavar="NAME", help="Run this saved query; the other options refine it.")
@click.option("--include-own-patient", is_flag=True, help="With --case: also return other cases of that patient.")
@click.option("--image-id", type=int, metavar="N", help="With --case: only this image of it.")
@click.option("--region", type=RegionType(), help="Only this part of the image, as fractions of width and height.")
@click.option(
    "--more-like", multiple=True, metavar="CASE", help="Relevance feedback: more like this case; may be repeated."
)
@click.option(
    "--less-like", multiple=True, metavar="CASE", help="Relevance feedback: less like this case; may be repeated."
)
@click.option("--unmark", multiple=True, metavar="CASE", help="With --query: without its feedback on this case.")
@click.option("--whole-image", is_flag=True, help="With --query: the whole image instead of its region.")
@click.option("--without-seed", type=int, multiple=True, metavar="N", help="Drop the generated image of this seed.")
@click.option(
    "--generate/--no-generate",
    default=None,
    help="Whether images are generated from the report. [default: yes, unless `coin evaluate --generate` saw no gain "
    "on this archive]",
)
@click.option("--asked-site", metavar="SITE", help="The site that generated images must show. [default: the report's]")
@click.option(
    "--channel",
    "channels",
    type=ChannelNameType(),
    multiple=True,
    help="Search only this channel; may be repeated.",
)
@click.option("--fusion", type=click.Choice(["rrf", "score"]), help="How channels are fused. [default: by the rules]")
@click.option(
    "--weight", "weights", type=WeightType(), multiple=True, help="Weight of a channel in the fusion; may be repeated."
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
    generate: bool | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the cases of the archive that are nearest to a report, an image, a whole slide, or a case.

    A report is compared as text, and as the synthetic images that are generated from it; it may be combined with an
    image, a slide or a case. Results are cases, at most one for each patient, nearest first, each with its report
    and its rank in every channel; of a slide, with the fields that met its images.
    """
    given = [name for name in ("text", "text_file", "image", "slide", "case") if options[name] is not None]
    if saved is None and not given:
        raise click.UsageError("give --text, --text-file, --image, --slide, --case or --query")
    for of_one_kind in (("text", "text_file"), ("image", "slide", "case")):
        if len(both := [name for name in of_one_kind if name in given]) > 1:
            raise click.UsageError(f"give only one of {' and '.join(f'--{name}' for name in both).replace('_', '-')}")
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
        result = service.search(query, progress=update, generate=generate)
    from retrieval import answer_of

    changes = _changes(service, saved, query, result)
    if save is not None and not unsaved:
        try:
            service.queries.keep_answer(save, answer_of(result, service.archive.revision))
        except OSError as error:  # the answer is printed all the same
            unsaved = f"the query was saved as '{save}', but its cases were not kept: {user_message(error)}"
    diagnostics = service.diagnose(result) if result.cases else None
    gallery = service.gallery(result, m=by_category) if by_category and result.cases else None
    if as_json:
        from retrieval import to_json

        echo(to_json(result, diagnostics, gallery))
    else:
        rows = gallery_text(gallery) if by_category and result.cases else ""
        echo(search_text(result, service.rules["report"], diagnostics, rows))
        if changes:
            echo(changes)
    if unsaved:
        raise click.ClickException(clean(unsaved))


def _changes(service: Service, saved: str | None, query: Query, result: SearchResult) -> str:
    """What came, went and moved since a query was saved, which is run again as it is; empty where nothing is known."""
    if saved is None or service.queries.load(saved) != query:
        return ""
    from retrieval import answer_of

    before, now = service.queries.answer(saved), answer_of(result, service.archive.revision)
    if before is None or set(before.channels) != set(now.channels):
        return ""
    words, lines = since_saved(before, now)
    return "\n".join([wrapped(words), *(clean(f"  {line}") for line in lines)])


def _query(
    service: Service, saved: str | None, explicit: set[str], where: CaseFilter | None, options: dict[str, Any]
) -> Query:
    """The query that the options make; those that were not given leave a saved query unchanged."""
    from index_store import is_slide, read_source
    from retrieval import Query

    settings = service.settings
    values: dict[str, Any] = {}
    if options["text"] is not None or options["text_file"] is not None:
        values["text"] = options["text"] if options["text"] is not None else read_report(options["text_file"])
    if any(options[name] is not None for name in ("image", "slide", "case")):  # in the place of a saved query's
        values |= {"image": b"", "label": "", "slide": None, "case": "", "image_id": None, "mpp": None}
    if options["image"] is not None:
        if is_slide(options["image"]):
            raise click.UsageError(f"'{options['image'].name}' is a whole slide: search by it with --slide")
        values |= {"image": read_source(options["image"], follow_links=True), "label": options["image"].name}
    if options["case"] is not None:
        values["case"] = options["case"]
    if saved is None or explicit & {"n_images", "seed"}:
        values["seeds"] = service.seeds
    values |= {name: getattr(settings, name) for name in ("k", "preset") if saved is None or name in explicit}
    values |= {name: options[name] for name in ("image_id", "region", "fusion") if options[name] is not None}
    values |= {name: options[name] for name in ("channels", "weights") if options[name]}
    if options["query_mpp"] is not None:
        values["mpp"] = options["query_mpp"]
    if options["asked_site"] is not None:
        values["site"] = options["asked_site"]
    if options["include_own_patient"]:
        values["include_own_patient"] = True
    if where is not None:
        values["where"] = where
    known = None if saved is None else service.queries.load(saved)
    if slide := _slide(options, None if known is None else known.slide):
        values["slide"] = slide
    query = Query(**values) if known is None else dataclasses.replace(known, **values)
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


def _slide(options: dict[str, Any], saved: SlideQuery | None) -> SlideQuery | None:
    """The slide that the options name, or a saved query's as they refine it; None where they say nothing of one."""
    from retrieval import SlideQuery

    refined = {"at": options["at"], "fields": options["slide_fields"], "match": options["match"]}
    refined = {name: value for name, value in refined.items() if value is not None}
    if options["slide"] is not None:
        return SlideQuery(str(options["slide"].absolute()), **refined)
    if not refined:
        return None
    if saved is None:
        raise click.UsageError("--at, --slide-fields and --match go with --slide, or with a saved query by a slide")
    return dataclasses.replace(saved, **refined)
