"""`coin init`, `coin show`, `coin remove`, `coin status`: the archive as a whole and its single cases."""

from __future__ import annotations

import click

from ui.commands.options import as_json, with_settings, with_wait
from ui.commands.output import echo, echo_json
from ui.errors import user_message
from ui.service import Service, open_archive
from ui.settings import Settings
from ui.text.archive import status_text
from ui.text.case import case_text
from ui.text.layout import clean


@click.command()
@click.option("--name", default="", metavar="TEXT", help="Name of the archive in listings.")
@click.option(
    "--catalog",
    default="",
    metavar="URL",
    help="PostgreSQL database that keeps the records, as postgresql://USER@HOST/DATABASE. "
    "[default: SQLite, in the archive's folder]",
)
@click.option(
    "--vectors",
    default="",
    metavar="URI",
    help="Milvus server that searches the vectors, as http://HOST:19530. [default: FAISS, within the process]",
)
@with_settings("archive")
def init(settings: Settings, name: str, catalog: str, vectors: str) -> None:
    """Create a new, empty archive.

    With --catalog, several machines can read the archive; its folder must be readable by all of them. Give no password
    in the two addresses: PostgreSQL's comes from PGPASSWORD or ~/.pgpass, Milvus's from COIN_MILVUS_TOKEN.
    """
    from index_store import Archive

    with Archive.create(settings.archive, name=name, catalog=catalog, vectors=vectors):
        pass
    echo(f"Created an empty archive at '{settings.archive}'. Fill it with `coin add MANIFEST`.")


@click.command()
@click.argument("case")
@as_json
@with_settings("archive", "audit", "audit_days")
def show(settings: Settings, case: str, as_json: bool) -> None:
    """Show CASE: its report, its images and its metadata."""
    service = Service(settings)
    with service.archive:
        found = service.case(case)
    if as_json:
        echo_json(found)
    else:
        echo(case_text(found))


@click.command()
@click.argument("cases", nargs=-1, required=True, metavar="CASE...")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_wait
@as_json
@with_settings("archive", "cache")
def remove(settings: Settings, cases: tuple[str, ...], yes: bool, wait: float, as_json: bool) -> None:
    """Remove every CASE from the archive: its records, its vectors, and its stored images.

    Images that were generated from its report leave the cache, too (--cache), for whichever archive they were made.
    """
    from generation import GenerationCache
    from retrieval import forget_generated

    with open_archive(settings.archive) as archive:
        # All are looked up first: a mistyped key must not leave the removal half done.
        found = [archive.case(case) for case in cases]
        images = sum(len(case.images) for case in found)
        if not yes:
            question = f"Remove {len(cases)} case(s) with {images} image(s) from '{settings.archive}' for good?"
            click.confirm(clean(question), abort=True, err=True)
        with archive.writer(timeout=wait):
            for case in cases:
                archive.remove(case)
    try:
        generated = forget_generated(GenerationCache(settings.cache_folder), found)
    except OSError as error:
        raise click.ClickException(
            f"{len(cases)} case(s) were removed, but the images that were generated from their reports could not be "
            f"deleted from the cache: {clean(str(user_message(error)))}"
        ) from error
    if as_json:
        echo_json({"removed": list(cases), "images": images, "generated": generated})
    else:
        also = f" {generated} image(s) generated from their reports left the cache." if generated else ""
        echo(f"Removed {len(cases)} case(s) with {images} image(s).{also}")


@click.command()
@as_json
@with_settings("archive")
def status(settings: Settings, as_json: bool) -> None:
    """Show the contents of the archive and the state of its index."""
    from retrieval import archive_labels

    with open_archive(settings.archive, read_only=True) as archive:
        found, labels = archive.status(), archive_labels(archive).facets()
    if as_json:
        echo_json(found)
    else:
        echo(status_text(found, labels))
