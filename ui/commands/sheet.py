"""`coin sheet`: the evidence sheet of a review, as a page, as JSON or as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval import RESEARCH_USE
from ui.commands.options import with_settings
from ui.commands.output import echo, write_file
from ui.service import Service, account
from ui.settings import Settings
from ui.text.layout import clean

if TYPE_CHECKING:
    from ui.review.sheet import EvidenceSheet

_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@click.argument("name", required=False)
@click.option("--user", metavar="USER", help="Whose review. [default: this account's]")
@click.option("--html", "html_file", type=_FILE, help="Write a page that opens anywhere and prints well.")
@click.option("--json", "json_file", type=_FILE, help="Write JSON, pictures by their checksums.")
@click.option("--csv", "csv_file", type=_FILE, help="Write a table, a row a case.")
@click.option(
    "--judgements",
    "judgements_file",
    type=_FILE,
    help="Write what was ticked, with the queries, for `coin evaluate --judgements`.",
)
@with_settings("archive", "queries", "audit", "audit_days")
def sheet(
    settings: Settings,
    name: str | None,
    user: str | None,
    html_file: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
    judgements_file: Path | None,
) -> None:
    """Write the evidence sheet of the review NAME, or what was ticked in it; without a name, list the reviews.

    Reviews are made in the view (`coin ui`): pinned cases with notes. The sheet has the queries, the cases with
    pictures, reports, notes, scales, similarities, and the versions of archive and models.
    """
    from retrieval import judgements_text
    from ui.html.sheet_page import sheet_page
    from ui.review.judgements import judged_queries
    from ui.review.sheet import make_sheet, sheet_csv, sheet_json
    from ui.review.store import Reviews

    service = Service(settings)
    click.get_current_context().call_on_close(service.close)
    reviews = Reviews(service.reviews_folder, user or account())
    if name is None:
        lines = [f"  {clean(each)}  {len(reviews.load(each).pins)} cases" for each in reviews.names()]
        echo("\n".join([*(lines or [clean(f"{reviews.user} has no review.")]), "", RESEARCH_USE]))
        return
    wanted: list[tuple[Path | None, Callable[[EvidenceSheet], str]]] = [
        (html_file, sheet_page),
        (json_file, sheet_json),
        (csv_file, sheet_csv),
    ]
    if all(path is None for path in (html_file, json_file, csv_file, judgements_file)):
        raise click.UsageError("name a file to write: --html, --json, --csv or --judgements")
    review = reviews.load(name)
    if judgements_file is not None:
        judged = judged_queries(service.archive, reviews, review)
        write_file(judgements_file, judgements_text(service.archive.uuid, judged))
        echo(f"Wrote {judgements_file}")
    if all(path is None for path, _ in wanted):
        return
    made = make_sheet(service.archive, reviews, review, service.case)
    for path, write in wanted:
        if path is not None:
            write_file(path, write(made))
            echo(f"Wrote {path}")
    echo(RESEARCH_USE)
