"""What a shell sees of `coin`: the exit codes that its help lists, and completion."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.ui.conftest import coin
from ui.cli import cli
from ui.commands import archive as archive_commands
from ui.commands.options import CACHE_SETTINGS
from ui.settings import BY_NAME


def test_the_help_lists_them() -> None:
    shown = " ".join(coin("--help").stdout.split())
    assert "Exit codes: 0 done; 1 an error, or a problem that needs a person; 2 wrong usage; 130 interrupted." in shown


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ("--help",)),
        (0, ("search", "--help")),
        (1, ("status", "--archive", "nowhere")),
        (2, ("no-such-command",)),
        (2, ("status", "--no-such-option")),
        (2, ("search",)),
        (2, ("search", "-k", "0", "--case", "x")),
        (2, ("search", "--text", "a", "--text-file", "b")),
        (2, ("generate", "--text", "a", "--shard", "1/2")),
        (2, ("reembed", "--drop-old", "--no-switch")),
    ],
)
def test_each_code_in_its_place(code: int, arguments: tuple[str, ...]) -> None:
    result = coin(*arguments)
    assert result.exit_code == code, result.output
    assert ("Error: " in result.stderr) == (code != 0)
    assert not (code and result.stdout)


@pytest.mark.parametrize("variable", ["COIN_K", "COIN_PORT"])
def test_a_variable_is_wrong_usage_whether_the_command_has_its_option_or_not(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "many")
    result = coin("search", "--case", "x", "--archive", "nowhere")
    assert result.exit_code == 2
    assert "many" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (KeyboardInterrupt(), 130, "Interrupted."),
        (ZeroDivisionError("x / 0"), 1, "This is a defect: please report it with what `coin --debug status …` prints"),
        (PermissionError(13, "denied", "a\x1b[2J file"), 1, "no permission to read or write (a[2J file)"),
    ],
)
def test_what_ends_a_command(
    error: BaseException, code: int, part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(archive_commands, "open_archive", fail)
    result = coin("status")
    assert result.exit_code == code
    assert part in result.stderr
    assert not result.stdout


def test_debug_shows_the_error_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(archive_commands, "open_archive", fail)
    assert isinstance(CliRunner().invoke(cli, ["--debug", "status"]).exception, ZeroDivisionError)


def test_bash_completes_commands_options_and_choices(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_COIN_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as ended:
            cli(prog_name="coin")
        assert ended.value.code == 0
        return [choice.partition(",")[2] for choice in capfd.readouterr().out.split()]

    assert complete("coin re") == ["reading", "reembed", "remove", "reports", "restore"]
    assert {"--text", "--text-file"} <= set(complete("coin search --te"))
    assert complete("coin generate --preset l") == ["lcm", "lightning"]
    monkeypatch.setenv("_COIN_COMPLETE", "bash_source")
    with pytest.raises(SystemExit):
        cli(prog_name="coin")
    assert "complete -o nosort -F _coin_completion coin" in capfd.readouterr().out


def test_every_command_that_generates_for_a_search_takes_the_cache_options() -> None:
    """The images come from the cache, and what `coin calibrate` measured is looked for beside it."""
    commands = {name: {option for p in each.params for option in p.opts} for name, each in cli.commands.items()}
    cache = {BY_NAME[name].option for name in CACHE_SETTINGS}
    assert cache == {"--cache", "--cache-mb"}
    generating = {name for name, options in commands.items() if "--preset" in options}
    assert generating == {"augment-check", "calibrate", "demo", "evaluate", "generate", "search", "ui"}
    assert {name: cache - commands[name] for name in generating if cache - commands[name]} == {}
