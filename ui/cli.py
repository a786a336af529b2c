"""`coin`: the command line of the retrieval system.

Exit codes: 0 done; 1 an error, or a problem that needs a person (the message describes it); 2 wrong usage: an
unknown command or option, or a value that an option or variable cannot take; 130 interrupted (Ctrl-C). Results go
to stdout; progress and errors go to stderr.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from retrieval import RESEARCH_USE
from ui.commands.add import add
from ui.commands.archive import init, remove, show, status
from ui.commands.audit import audit
from ui.commands.augment_check import augment_check
from ui.commands.backup import backup, restore
from ui.commands.calibrate import calibrate
from ui.commands.copy_check import copy_check
from ui.commands.demo import demo
from ui.commands.doctor import doctor
from ui.commands.encoder import encoder
from ui.commands.evaluate import evaluate
from ui.commands.generate import generate
from ui.commands.imports import base, lora
from ui.commands.migrate import migrate
from ui.commands.models import models
from ui.commands.queries import queries
from ui.commands.reading import reading
from ui.commands.reembed import encoders, reembed
from ui.commands.reports import reports
from ui.commands.search import search
from ui.commands.sheet import sheet
from ui.commands.slides import slides
from ui.commands.train import train
from ui.commands.view import view
from ui.errors import SettingError, user_message
from ui.text.layout import clean

INTERRUPTED = 130  # what a shell reports for a process ended by SIGINT


def _version() -> str:
    try:
        return version("coin-retrieval")
    except PackageNotFoundError:  # run from a checkout
        return "of a checkout that is not installed"


class CoinGroup(click.Group):
    """A group whose commands end with one line on stderr, without a traceback (unless --debug is given)."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn its errors into messages with exit codes."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own ways to end
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if ctx.params["debug"]:
                raise
            message = user_message(error)
            if message is None:
                message = (
                    f"an unexpected error ({type(error).__name__}: {error}). This is a defect: please report it "
                    f"with what `coin --debug {ctx.invoked_subcommand} …` prints"
                )
            if isinstance(error, SettingError):  # as for an option that cannot take its value
                raise click.UsageError(clean(message)) from error
            raise click.ClickException(clean(message)) from error


@click.group(
    cls=CoinGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 an error, or a problem that needs a person; 2 wrong usage; 130 interrupted. "
    "Options can also be set by environment variables, which each command's help names.",
)
@click.version_option(_version(), prog_name="coin")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Do nothing: the help text is set below, where the notice can be inserted."""


cli.help = f"""Which cases of a cytology archive look like this one, and what did their reports say?

Search by report text (COIN generates images from it), by image, or by a case of the archive. {RESEARCH_USE}"""

for command in (
    init,
    add,
    search,
    queries,
    sheet,
    show,
    reports,
    slides,
    remove,
    generate,
    copy_check,
    augment_check,
    evaluate,
    calibrate,
    reading,
    train,
    encoder,
    models,
    lora,
    base,
    reembed,
    encoders,
    status,
    doctor,
    migrate,
    audit,
    backup,
    restore,
    demo,
    view,
):
    cli.add_command(command)


def main() -> None:
    """The entry point of the `coin` command."""
    cli(prog_name="coin")
