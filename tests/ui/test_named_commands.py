"""Every command line and option that the messages, help and docstrings of the product name is one that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from ui.cli import cli

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("ui", "retrieval", "index_store", "generation") for path in (ROOT / name).rglob("*.py")]
COMMAND_LINE = re.compile(r"(?:`|^ *|: )coin ((?:--debug )?[a-z][^`\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
OF_OTHER_PROGRAMS = {
    "--multi_gpu",  # accelerate
    *("--head", "--address"),  # ray
    "--server",  # streamlit
    "--parts",  # benchmarks.starter
}


@cache
def texts(path: Path) -> tuple[tuple[str, str], ...]:
    return tuple(_texts(path))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Each string of a module with its place; VALUE stands for what an f-string fills in."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.JoinedStr):
            yield where, "".join(v.value if isinstance(v, ast.Constant) else "VALUE" for v in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield where, node.value


def options(command: click.Command) -> set[str]:
    return {"-h", "--help"} | {name for each in command.params for name in (*each.opts, *each.secondary_opts)}


def unknown(line: str) -> list[str]:
    """The words of a command line, without its `coin`, that click does not know."""
    command: click.Command = cli
    known = options(cli)
    for word in line.split():
        name = word.strip(",.;:()")
        if isinstance(command, click.Group) and not name.startswith("-"):
            if name not in command.commands:
                return [name]
            command = command.commands[name]
            known |= options(command)
    return [name for name in OPTION.findall(line) if name not in known]


def all_options(command: click.Command) -> set[str]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return options(command).union(*(all_options(each) for each in below))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("search --case KEY -k 3", []),
        ("reading new NAME --generated cache", []),
        ("cases", ["cases"]),
        ("reading open NAME", ["open"]),
        ("status --case KEY", ["--case"]),
    ],
)
def test_an_unknown_word_is_seen(line: str, words: list[str]) -> None:
    assert unknown(line) == words


@pytest.mark.slow
def test_command_lines_are_ones_that_click_knows() -> None:
    named = [(where, line) for path in SOURCES for where, text in texts(path) for line in COMMAND_LINE.findall(text)]
    assert len(named) > 50
    assert [(where, line, words) for where, line in named if (words := unknown(line))] == []


@pytest.mark.slow
def test_options_are_ones_that_some_command_has() -> None:
    known = all_options(cli) | OF_OTHER_PROGRAMS
    named = [
        (where, option)
        for path in SOURCES
        if "starter" not in path.parts  # scripts of their own, with options of their own
        and "--" in path.read_text(encoding="utf-8")  # most modules name none, and need no parsing
        for where, text in texts(path)
        for option in OPTION.findall(text)
        if option.startswith("--") and not option.endswith("-") and "VALUE" not in option
    ]
    assert len(named) > 100
    assert [(where, option) for where, option in named if option not in known] == []
