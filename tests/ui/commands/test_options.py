"""The interface of every command: its arguments and options with their ranges and defaults, against a golden file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.ui.conftest import coin
from ui.cli import cli

GOLDEN = Path(__file__).with_name("options.txt")
"""After an intended change, write it anew with `python -m tests.ui.commands.test_options`, and read it."""


def commands(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, with the words that call it."""
    if not isinstance(command, click.Group):
        yield name.strip(), command
        return
    for word, each in command.commands.items():
        yield from commands(each, f"{name} {word}")


COMMANDS = dict(commands())
MAKERS = ("init", "demo", "models check", "queries", "reading list", "train clear")
"""Those that need nothing that is there."""


def described(parameter: click.Parameter) -> str:
    """A parameter in a line: what it takes, how often, and what it is where it is not given."""
    kind = parameter.type
    words = ["/".join((*parameter.opts, *parameter.secondary_opts)), kind.name]
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        words.append(f"{'(' if kind.min_open else '['}{kind.min}, {kind.max}{')' if kind.max_open else ']'}")
    if isinstance(kind, click.Choice):
        words.append("|".join(map(str, kind.choices)))
    if isinstance(kind, click.Path):
        allowed = {"file": kind.file_okay, "folder": kind.dir_okay, "existing": kind.exists, "writable": kind.writable}
        words.append("|".join(name for name, is_so in allowed.items() if is_so))
    flags = {"required": parameter.required, "repeated": parameter.multiple or parameter.nargs == -1}
    if isinstance(parameter, click.Option):
        flags |= {"flag": parameter.is_flag, "default shown": bool(parameter.show_default)}
    words += [name for name, is_so in flags.items() if is_so]
    default = parameter.default
    if isinstance(default, (str, int, float)) and default is not False:  # else none
        words.append(f"= {default}")
    return " ".join(words)


def golden() -> list[str]:
    return GOLDEN.read_text(encoding="utf-8").strip().split("\n\n")


def interface(name: str) -> str:
    return "\n".join([name, *(f"    {described(parameter)}" for parameter in COMMANDS[name].params)])


def test_the_golden_file_holds_every_command() -> None:
    assert [text.partition("\n")[0] for text in golden()] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_what_it_took_and_says_that_there_is_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interface(name) in golden()
    if name in MAKERS:
        return
    monkeypatch.chdir(tmp_path)
    given = name.split()
    for parameter in COMMANDS[name].params:
        if parameter.required:
            given += ["nowhere"] if isinstance(parameter, click.Argument) else [parameter.opts[0], "nowhere"]
            if isinstance(parameter.type, click.Path) and parameter.type.exists:
                (tmp_path / "nowhere").mkdir()
    for setting in ("ARCHIVE", "READINGS", "ENCODER", "CACHE"):
        monkeypatch.setenv(f"COIN_{setting}", "nowhere")
    result = coin(*given)
    assert (result.exit_code, result.stdout) in ((1, ""), (2, ""))
    assert "Error: " in result.stderr


if __name__ == "__main__":
    GOLDEN.write_text("\n\n".join(map(interface, COMMANDS)) + "\n", encoding="utf-8")
