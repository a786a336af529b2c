"""`coin ui`: the view in the browser, served on this machine only."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

import click

from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, with_settings
from ui.commands.output import echo
from ui.errors import ViewError
from ui.service import open_archive
from ui.settings import Settings

APP: Final = Path(__file__).resolve().parents[1] / "view" / "app.py"
ADDRESS: Final = "127.0.0.1"


def streamlit_options(settings: Settings, *, browser: bool) -> list[str]:
    """Options of the Streamlit server: this machine only, no telemetry, no error details on screen, a light theme."""
    options = {
        "server.address": ADDRESS,
        "server.port": settings.port,
        "server.headless": not browser,
        # Else the first start on a machine waits in the terminal for an e-mail address, and where Streamlit finds the
        # tools of a developer the page offers to install something.
        "server.showEmailPrompt": False,
        "logger.hideWelcomeMessage": True,
        "server.fileWatcherType": "none",
        "server.maxUploadSize": settings.max_upload_mb,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        "theme.base": "light",
        "theme.primaryColor": "#0b5394",
        "theme.backgroundColor": "#ffffff",
        "theme.secondaryBackgroundColor": "#f3f5f8",
        "theme.textColor": "#1c2733",
        "theme.borderColor": "#c3ccd6",
        "theme.showWidgetBorder": True,
        "theme.baseFontSize": 14,
    }
    # Against DNS rebinding: a web page elsewhere must not reach this server under a name of its own.
    hosts = [f"--server.allowedHosts={host}" for host in (ADDRESS, "localhost")]
    return hosts + [f"--{name}={str(value).lower()}" for name, value in options.items()]


@click.command("ui")
@click.option("--browser/--no-browser", default=True, help="Open the browser. [default: --browser]")
@with_settings(
    *("archive", "port", "max_upload_mb", "k", "n_images", "seed", "preset", "rules", "queries"),
    *("audit", "audit_days", "user_header", "readings", "reading_only"),
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
    _check_port(settings.port)
    from streamlit.web.cli import main as streamlit

    echo(f"The view is on http://{ADDRESS}:{settings.port}. Stop it with Ctrl-C.")
    os.environ.update(settings.to_env())
    options = streamlit_options(settings, browser=browser)
    streamlit(["run", str(APP), *options], prog_name="streamlit", standalone_mode=False)


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
