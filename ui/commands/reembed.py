"""`coin reembed`, `coin encoders`: embed an archive with another encoder, and switch searches to it when complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ui.archive_encoders import embedding_encoder, note_encoder
from ui.commands.options import as_json, with_settings, with_wait
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import open_archive
from ui.settings import Settings
from ui.text.maintenance import colours_text, encoders_text, reembed_text

if TYPE_CHECKING:
    from index_store import Archive, Role

ROLES = ("image", "text")


class _RoleOf(click.ParamType):
    """ "text=3fa9": a role, and the beginning of a fingerprint."""

    name = "ROLE=PRINT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        role, _, beginning = str(value).partition("=")
        if role not in ROLES or not beginning:
            self.fail(f"'{value}' is not one of {', '.join(ROLES)} with a fingerprint, such as text=3fa9", param, ctx)
        return role, beginning


@click.command()
@click.option("--batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Images a batch.")
@click.option(
    "--switch/--no-switch",
    default=True,
    show_default=True,
    help="Use this encoder for searches once it has embedded everything.",
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    help="What it is to do: compare images with images (image), or texts with images and with reports (text). The "
    "other role stays with its encoder. [default: both]",
)
@click.option(
    "--colours",
    is_flag=True,
    help="Instead: read the colours of all images, so that searches by image can compare them, too (channel `colour`); "
    "`coin add` reads those of later images.",
)
@click.option("--drop-old", is_flag=True, help="Then delete the vectors of the previous encoder.")
@with_wait
@as_json
@with_settings("archive", "encoder", "device")
def reembed(
    settings: Settings,
    batch_size: int,
    switch: bool,
    role: Role | None,
    colours: bool,
    drop_old: bool,
    wait: float,
    as_json: bool,
) -> None:
    """Embed the archive's images and reports with another encoder (--encoder; by default the archive's own).

    Searches use the previous encoder until the new one has embedded everything, and then the new one at once. The same
    command resumes an interrupted run; with the archive's own encoder it embeds what lacks a vector. Other commands may
    change the archive meanwhile. The exit code is 1 where something could not be embedded, so that searches were not
    switched.
    """
    from retrieval import reembed as embed_anew

    if drop_old and not switch:
        raise click.UsageError("--drop-old goes with --switch")
    if colours:
        if role is not None or drop_old or not switch:
            raise click.UsageError("--colours goes without --role, --no-switch and --drop-old")
        _read_colours(settings, batch_size, wait, as_json=as_json)
        return
    with open_archive(settings.archive) as archive:
        encoder, before = embedding_encoder(archive, settings, role), _serving(archive)
        with (
            progress("Embedding", unit="images") as update,
            progress("Embedding reports", unit="reports") as update_reports,
        ):
            summary = embed_anew(
                archive,
                encoder,
                role=role,
                batch_size=batch_size,
                switch=switch,
                wait=wait,
                progress=update,
                embedding=update_reports,
            )
        note_encoder(archive, encoder)
        dropped, unused = None, []
        old = sorted(before - _serving(archive)) if drop_old and summary.switched else []
        if old:
            with archive.writer(timeout=wait):
                dropped = sum(archive.drop_encoder(fingerprint) for fingerprint in old)
        elif drop_old:  # a run that was stopped after it had switched: which of them it was to drop is not known
            unused = [known.encoder for known in archive.encoders() if known.vectors and not known.roles]
    if as_json:
        from dataclasses import asdict

        echo_json({**asdict(summary), "dropped": dropped})
    else:
        echo(reembed_text(summary, dropped, role, unused))
    if summary.waiting or (switch and not summary.switched):
        click.get_current_context().exit(1)


def _read_colours(settings: Settings, batch_size: int, wait: float, *, as_json: bool) -> None:
    from retrieval import read_colours

    with open_archive(settings.archive) as archive, progress("Reading colours", unit="images") as update:
        stored, skipped = read_colours(archive, batch_size, wait=wait, progress=update)
    if as_json:
        echo_json({"colours": stored, "skipped": skipped})
    else:
        echo(colours_text(stored, skipped))
    if skipped:
        click.get_current_context().exit(1)


@click.command()
@click.option("--switch", metavar="PRINT", help="Use the encoder whose fingerprint begins with this for searches.")
@click.option(
    "--role",
    "roles",
    type=_RoleOf(),
    multiple=True,
    help="Use that encoder for this role: image (images with images) or text (texts with images and with reports). May "
    "be given once for each.",
)
@click.option("--drop", metavar="PRINT", help="Delete the vectors of the encoder whose fingerprint begins with this.")
@with_wait
@as_json
@with_settings("archive")
def encoders(
    settings: Settings,
    switch: str | None,
    roles: tuple[tuple[Role, str], ...],
    drop: str | None,
    wait: float,
    as_json: bool,
) -> None:
    """List the encoders of the archive and how much each has embedded; switch between them, or drop one's vectors.

    Searches can use only an encoder that has embedded everything (`coin reembed` does that), and only one that searches
    do not use can be dropped. One encoder may compare images, and another texts (--role).
    """
    if len(dict(roles)) < len(roles) or (roles and switch is not None):
        raise click.UsageError("give --role once for each role, and not together with --switch")
    dropped = None
    changes = switch is not None or drop is not None or bool(roles)
    with open_archive(settings.archive, read_only=not changes) as archive:
        if changes:
            with archive.writer(timeout=wait):
                if switch is not None:
                    archive.switch_encoder(archive.find_encoder(switch).fingerprint)
                archive.switch_roles({role: archive.find_encoder(beginning).fingerprint for role, beginning in roles})
                if drop is not None:
                    dropped = archive.drop_encoder(archive.find_encoder(drop).fingerprint)
        known = archive.encoders()
    if as_json:
        echo_json({"encoders": known, "dropped": dropped})
    else:
        echo(encoders_text(known, dropped))


def _serving(archive: Archive) -> set[str]:
    """The fingerprints of the encoders that searches use."""
    found = [archive.encoder_of("image"), archive.encoder_of("text")]
    return {encoder.fingerprint for encoder in found if encoder is not None}
