"""`coin reports`: what was read from the reports of an archive, and from which words."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ui.commands.options import as_json, with_filters, with_settings
from ui.commands.output import echo, echo_json
from ui.service import open_archive
from ui.settings import Settings
from ui.text.reports import reports_text

if TYPE_CHECKING:
    from index_store import CaseFilter


@click.command()
@click.option("--derived", is_flag=True, help="Only cases whose site, system or category was read from the report.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Cases listed at most.")
@click.option("--after", default=0, type=click.IntRange(0), show_default=True, help="Cases passed over first.")
@with_filters
@as_json
@with_settings("archive")
def reports(settings: Settings, derived: bool, limit: int, after: int, where: CaseFilter | None, as_json: bool) -> None:
    """List cases with the labels that were read from their reports, and the words that they were read from.

    A label that was given in a manifest stands without words. A case without a category says why none was read, where
    there is more to say than that its report names none.
    """
    from retrieval import label_sources

    with open_archive(settings.archive, read_only=True) as archive:
        found = label_sources(archive, where=where, derived=derived, limit=limit, offset=after)
    if as_json:
        echo_json({"reports": [asdict(source) for source in found]})
    else:
        echo(reports_text(found))
