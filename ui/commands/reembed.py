"""`coin reembed`, `coin encoders`: embed an archive with another encoder, and switch searches to it when complete."""

from __future__ import annotations

import click

from ui.commands.options import as_json, with_settings, with_wait
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import open_archive
from ui.settings import Settings
from ui.text.maintenance import encoders_text, reembed_text


@click.command()
@click.option("--batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Images a batch.")
@click.option(
    "--switch/--no-switch",
    default=True,
    show_default=True,
    help="Use this encoder for searches once it has embedded everything.",
)
@click.option("--drop-old", is_flag=True, help="Then delete the vectors of the previous encoder.")
@with_wait
@as_json
@with_settings("archive", "encoder", "device")
def reembed(settings: Settings, batch_size: int, switch: bool, drop_old: bool, wait: float, as_json: bool) -> None:
    """Embed the archive's images and reports with another encoder (--encoder).

    Searches use the previous encoder until the new one has embedded everything, and then the new one at once. The same
    command resumes an interrupted run; with the archive's own encoder it embeds what lacks a vector. Other commands may
    change the archive meanwhile. The exit code is 1 where something could not be embedded, so that searches were not
    switched.
    """
    from retrieval import Encoder
    from retrieval import reembed as embed_anew

    if drop_old and not switch:
        raise click.UsageError("--drop-old goes with --switch")
    encoder = Encoder(settings.encoder, device=settings.device)
    with open_archive(settings.archive) as archive:
        before = archive.encoder
        with (
            progress("Embedding", unit="images") as update,
            progress("Embedding reports", unit="reports") as update_reports,
        ):
            summary = embed_anew(
                archive,
                encoder,
                batch_size=batch_size,
                switch=switch,
                wait=wait,
                progress=update,
                embedding=update_reports,
            )
        dropped = None
        if drop_old and summary.switched and before is not None and before.fingerprint != encoder.fingerprint:
            with archive.writer(timeout=wait):
                dropped = archive.drop_encoder(before.fingerprint)
    if as_json:
        from dataclasses import asdict

        echo_json({**asdict(summary), "dropped": dropped})
    else:
        echo(reembed_text(summary, dropped))
    if summary.waiting or (switch and not summary.switched):
        click.get_current_context().exit(1)


@click.command()
@click.option("--switch", metavar="PRINT", help="Use the encoder whose fingerprint begins with this for searches.")
@click.option("--drop", metavar="PRINT", help="Delete the vectors of the encoder whose fingerprint begins with this.")
@with_wait
@as_json
@with_settings("archive")
def encoders(settings: Settings, switch: str | None, drop: str | None, wait: float, as_json: bool) -> None:
    """List the encoders of the archive and how much each has embedded; switch between them, or drop one's vectors.

    Searches can use only an encoder that has embedded everything (`coin reembed` does that), and only one that searches
    do not use can be dropped.
    """
    dropped = None
    with open_archive(settings.archive, read_only=switch is None and drop is None) as archive:
        if switch is not None or drop is not None:
            with archive.writer(timeout=wait):
                if switch is not None:
                    archive.switch_encoder(archive.find_encoder(switch).fingerprint)
                if drop is not None:
                    dropped = archive.drop_encoder(archive.find_encoder(drop).fingerprint)
        known = archive.encoders()
    if as_json:
        echo_json({"encoders": known, "dropped": dropped})
    else:
        echo(encoders_text(known, dropped))
