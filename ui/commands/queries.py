"""`coin queries`: list and delete the saved queries of an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from retrieval import RESEARCH_USE
from ui.commands.options import as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.service import Service
from ui.settings import Settings
from ui.text.layout import clean

if TYPE_CHECKING:
    from retrieval import SavedQueries


@click.command()
@click.option("--delete", multiple=True, metavar="NAME", help="Delete this query; may be repeated.")
@as_json
@with_settings("archive", "queries")
def queries(settings: Settings, delete: tuple[str, ...], as_json: bool) -> None:
    """List the saved queries of an archive, or delete some.

    `coin search --save NAME …` saves one, `coin search --query NAME` runs it again.
    """
    service = Service(settings)
    click.get_current_context().call_on_close(service.close)
    saved = service.queries
    for name in delete:
        saved.delete(name)
    names = saved.names()
    if as_json:
        echo_json({"folder": saved.folder, "queries": names, "deleted": delete})
        return
    lines = [f"deleted {clean(name)}" for name in delete]
    lines += [f"  {clean(name)}  {_kind(saved, name)}" for name in names] or ["No query is saved."]
    echo("\n".join([*lines, "", RESEARCH_USE]))


def _kind(saved: SavedQueries, name: str) -> str:
    """By what a query searches; of one that cannot be read, why."""
    from retrieval import QueryError

    try:
        return f"by {saved.load(name).kind}"
    except QueryError as error:
        return clean(f"{error} `coin queries --delete` deletes it.")
