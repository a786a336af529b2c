"""Every table of measured figures names the command that prints it, and every such command exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
FIGURE = re.compile(r"(?<![\w/])(?<!License )(?<!BY )[+−-]?\d*\.\d+(?!\w)|\d %")
"""A figure as measurements print it: a decimal, or a percentage."""
COMMAND = re.compile(r"`[^`]*(?:python -m (?P<module>[\w.]+)|coin \w|du -sh)[^`]*`")
BENCHMARK = re.compile(r"python\s+-m\s+benchmarks\.(?P<name>\w+)(?P<options>[^`\n]*)")
FEWEST = 4
"""Figures from which on a table is one of measurements."""


def tables(text: str) -> list[tuple[str, str]]:
    """Each table of measurements, and the text of its section from the heading to the table's end."""
    found, section, table = [], "", ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table += line + "\n"
        elif table:
            if len(FIGURE.findall(table)) >= FEWEST:
                found.append((table, section + table))
            section, table = section + table, ""
        if line.startswith("#"):
            section = ""
        if not line.startswith("|"):
            section += line + "\n"
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_table_of_figures_names_its_command(page: Path) -> None:
    without = [table.partition("\n")[0] for table, section in tables(page.read_text("utf-8")) if not sources(section)]
    assert without == []


def sources(section: str) -> list[re.Match[str]]:
    return list(COMMAND.finditer(section.replace("\n", " ")))


def test_there_are_tables_to_check() -> None:
    assert sum(len(tables(page.read_text("utf-8"))) for page in PAGES) > 25


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_benchmark_that_is_named_exists_with_its_options(page: Path) -> None:
    text = page.read_text("utf-8")
    for match in BENCHMARK.finditer(text):
        program = ROOT / "benchmarks" / f"{match['name']}.py"
        assert program.is_file(), match[0]
        source = program.read_text("utf-8")
        for option in re.findall(r"--[a-z][\w-]*", match["options"]):
            assert f'"{option}"' in source, match[0]
    for name in re.findall(r"`benchmarks[./](\w+)(?:\.py)?`", text):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name


def test_every_module_that_is_named_exists() -> None:
    """`retrieval.language.query_text`, `index_store/archive.py`: as names of modules, files or public names."""
    folders = ("generation", "index_store", "retrieval", "ui", "tests", "benchmarks")
    files = {path.name for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".toml")}
    files |= {path.name for path in ROOT.glob("*.toml")}
    for page in [page for page in PAGES if page.stem != "CHANGELOG"]:
        text = page.read_text("utf-8")
        for path in re.findall(r"`((?:generation|index_store|retrieval|ui|tests)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for name in re.findall(r"`(\w+\.(?:py|toml))`", text):
            assert name in files, f"{page.name}: {name}"
        for name in re.findall(r"`((?:generation|index_store|retrieval|ui)(?:\.\w+)+)(?:\(.*?\))?`", text):
            assert resolves(name), f"{page.name}: {name}"


def resolves(name: str) -> bool:
    """Whether a dotted name is a module or package of the tree, or a public name of one's `__init__.pyi`."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    package, _, last = name.rpartition(".")
    stub = ROOT.joinpath(*package.split(".")) / "__init__.pyi"
    module = ROOT.joinpath(*package.split(".")).with_suffix(".py")
    holders = [file for file in (stub, module) if file.is_file()]
    return any(re.search(rf"\b{last}\b", file.read_text("utf-8")) for file in holders)
