"""`coin ui`: the view in the browser, served on this machine only."""

from __future__ import annotations

import contextlib
import socket

import click

from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, with_settings
from ui.commands.output import echo
from ui.errors import ViewError
from ui.service import open_archive
from ui.serving.addresses import ADDRESS, Addresses
from ui.serving.server import serve
from ui.serving.sign_in import SignIn, check_installed, read_sign_in
from ui.settings import Settings


@click.command("ui")
@click.option("--browser/--no-browser", default=True, help="Open the browser. [default: --browser]")
@with_settings(
    *("archive", "port", "max_upload_mb", "k", "n_images", "seed", "preset", "rules", "queries"),
    *("audit", "audit_days", "public_url", "sign_in", "user_header", "readings", "reading_only", "slides"),
    *MODEL_SETTINGS,
    "text_encoder",
    *GENERATOR_SETTINGS,
    "site_hint",
)
def view(settings: Settings, browser: bool) -> None:
    """Open the view in the browser. It is served on 127.0.0.1 only."""
    # An error of the archive, or of the studies, is shown here and not first in the browser.
    if settings.reading_only == "yes":
        _check_studies(settings)
    else:
        with open_archive(settings.archive, read_only=True):
            pass
    addresses = Addresses.of(settings.port, settings.public_url)
    sign_in = _sign_in(settings)
    _check_port(settings.port)
    echo(f"The view is on {addresses.url}. Stop it with Ctrl-C.")
    if addresses.public_origin:
        echo(f"Its proxy finds it on {addresses.local_url}.")
    serve(settings, addresses, sign_in, browser=browser)


def _sign_in(settings: Settings) -> SignIn | None:
    if settings.sign_in is None:
        return None
    if settings.user_header is not None:
        raise ViewError("users either sign in (--sign-in) or are named by the proxy (--user-header): choose one")
    check_installed()
    return read_sign_in(settings.sign_in)


def _check_studies(settings: Settings) -> None:
    from retrieval import reader_study_names

    if not reader_study_names(settings.readings_folder):
        raise ViewError(
            f"there is no reader study in '{settings.readings_folder}': make one with `coin reading new NAME`, or "
            "name the folder with --readings or COIN_READINGS"
        )


def _check_port(port: int) -> None:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise ViewError(
                f"port {port} on {ADDRESS} is not free ({error.strerror}): is another view running? "
                "Choose another with --port or COIN_PORT"
            ) from error
