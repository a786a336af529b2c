"""Every `coin` command line of README and docs is understood; what can run here runs, page by page, in order."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from openpyxl import Workbook
from PIL import Image

from generation import CoinGenerator, save_png
from generation.phantom import PROFILES, Phantom, phantom_cases
from index_store import Archive
from retrieval import Encoder, add_manifest, open_reader_study
from tests.docs.commands import PAGES, Printed, inline_commands, printed_commands
from tests.few_steps import few_steps
from ui.cli import cli

CLASSES = {
    ("serous effusion", "Malignant"),
    ("serous effusion", "NFM"),
    ("thyroid", "Benign"),
    ("thyroid", "Malignant"),
}
NOT_RUN_COMMANDS = {
    "slides": "needs a slide: tests/ui/commands/test_slides.py looks at drawn and real ones",
    "ui": "serves until it is stopped: tests/ui/view drives it",
    "encoder": "a download: tests/ui/commands/test_encoder.py imports tiny ones",
    "lora": "a download: tests/ui/commands/test_imports.py imports tiny ones",
    "base": "a download: tests/ui/commands/test_imports.py imports tiny ones",
    "train": "a whole training: tests/ui/commands/test_train.py runs a short one",
}
"""Commands that are not run here, and why. Their lines are checked for their words all the same."""
NOT_RUN_WITH = {
    "my-base": "a download",
    "my-lora": "made by a whole training",
    "my-encoder": "made by a whole training",
    "path/to/COIN": "COIN's weights are gated",
    "hf-hub:": "a download",
    "dinov2": "imported from a download: tests/ui/commands/test_role_commands.py has tiny ones",
    "biomedclip": "the same",
    "mynet:": "an adapter of one's own: tests/retrieval/encoder/formats/test_adapters.py runs one",
    "postgresql:": "needs a PostgreSQL server: tests/index_store/test_postgres.py has one",
    "/shared/": "an archive on PostgreSQL and Milvus",
    "--ray": "needs a Ray cluster: make test-cluster",
    "slides.csv": "needs slides: tests/ui/commands/test_add_slides.py adds drawn ones",
    "--slide": "needs a slide: tests/ui/commands/test_search_slides.py draws small ones",
    "sheet seminar": "a review is made in the view: tests/ui/review/test_sheet.py makes one",
    "judgements.json": "the same",
    "3fa9": "stands for a fingerprint",
    "3f0a": "stands for an event's hash",
}
"""What a command line holds that keeps it from being run here, and why."""
HASH = re.compile(r"([0-9a-f]{4})…")
"""The beginning of a SHA-256."""
SMALL = {"COIN_N_IMAGES": "3", "COIN_K": "5"}


def understood(words: tuple[str, ...]) -> None:
    """Raises click's UsageError where a command or an option is none, or an argument is lacking."""
    rest = [word for word in words if word != "--debug"]
    command: click.Command = cli
    if rest == ["--version"]:
        return
    while isinstance(command, click.Group):
        if not rest:
            return
        name = rest.pop(0)
        found = command.commands.get(name)
        if found is None:
            raise click.UsageError(f"there is no command {name}")
        command = found
    command.make_context(command.name, [HASH.sub(r"\g<1>" + 60 * "0", word.replace("$i", "1")) for word in rest])


def named(printed: Printed) -> None:
    """As `understood`, of a command line within a sentence: values and arguments may be left out."""
    command: click.Command = cli
    for word in printed.words:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
        elif word.startswith("-"):
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            assert word in options | {"--help"}, f"{printed}: {word}"
        elif isinstance(command, click.Group):
            assert word.isupper(), f"{printed}: {word} is no command"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_line_is_understood(page: Path) -> None:
    for printed in printed_commands(page):
        try:
            understood(printed.words)
        except click.ClickException as error:
            pytest.fail(f"{printed}: {error.format_message()}")
    for printed in inline_commands(page):
        named(printed)


def test_what_is_not_run_is_printed_somewhere() -> None:
    texts = [f" {printed.text} " for page in PAGES for printed in printed_commands(page)]
    assert len(texts) > 50
    assert [part for part in NOT_RUN_WITH if not any(part in text for text in texts)] == []
    assert [name for name in NOT_RUN_COMMANDS if not any(text.startswith(f" {name} ") for text in texts)] == []
    assert sum(reason_not_to_run(printed) == "" for page in PAGES for printed in printed_commands(page)) > 35


def reason_not_to_run(printed: Printed) -> str:
    """Why a command line is not run here; empty where it is."""
    if printed.words[0] in NOT_RUN_COMMANDS:
        return NOT_RUN_COMMANDS[printed.words[0]]
    return next((reason for part, reason in NOT_RUN_WITH.items() if part in printed.text), "")


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """The commands run as they are printed, on few cases; what they sample and train takes few steps."""
    with few_steps():
        yield


@pytest.fixture(scope="module")
def prepared(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages' commands find: an archive `cases`, manifests, reports, an image, generated images."""
    folder = tmp_path_factory.mktemp("prepared")
    phantoms = phantom_cases(20 * len(CLASSES), profiles=[p for p in PROFILES if (p.site, p.category) in CLASSES])
    _manifest(folder / "manifest.csv", phantoms)
    _manifest(folder / "training" / "manifest.csv", phantoms[:8])
    phantoms[0].render(256).save(folder / "field.png")
    (folder / "report.txt").write_text(phantoms[1].report, encoding="utf-8")
    (folder / "test.txt").write_text("\n".join(f"patient-{n:04}" for n in range(0, len(phantoms), 3)), "utf-8")
    _coin_table(folder / "reports.xlsx", phantoms[2:5])
    _coin_table(folder / "coin.xlsx", phantoms)
    (folder / "photographs").mkdir()
    for number in range(len(phantoms)):
        with Image.open(folder / f"{number}.png") as image:
            image.save(folder / "photographs" / f"{number}.jpg")
    requests = [(one.report, [seed]) for seed, one in enumerate(phantoms[:60])]
    (folder / "generated").mkdir()
    for seed, made in enumerate(CoinGenerator().generate_queue(requests, preset="draft")):
        save_png(made.images[0].image, folder / "generated" / f"{seed}.png", made.images[0].provenance)
    with Archive.create(folder / "cases") as archive:
        add_manifest(archive, folder / "manifest.csv", Encoder())
    return folder


def _coin_table(path: Path, phantoms: list[Phantom]) -> None:
    """COIN's layout: the name of an image, and its report."""
    workbook = Workbook()
    for row in [("image", "report"), *((f"{i}.jpg", one.report) for i, one in enumerate(phantoms))]:
        workbook.active.append(row)
    workbook.save(path)


def _manifest(path: Path, phantoms: list[Phantom]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("image", "case", "patient", "site", "system", "category", "kind", "report", "phantom"))
        for number, phantom in enumerate(phantoms):
            known = phantom.morphology
            phantom.render(128).save(path.parent / f"{number}.png")
            keys = (f"{number}.png", f"case-{number:04}", f"patient-{number:04}")
            writer.writerow((*keys, known.site, known.system, known.category, "cell", phantom.report, "true"))


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it as the working folder, and an archive that commands without `--archive` use."""
    work = tmp_path / "work"
    shutil.copytree(prepared, work)
    shutil.copytree(prepared / "cases", tmp_path / "library")
    monkeypatch.chdir(work)
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COIN_ARCHIVE", str(tmp_path / "library"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield work


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if printed_commands(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, folder: Path) -> None:
    commands = [printed for printed in printed_commands(page) if not reason_not_to_run(printed)]
    if any(printed.words[0] == "init" for printed in commands):
        shutil.rmtree(folder / "cases")  # the page makes it
    for printed in commands:
        words = [_here(word, folder) for word in printed.words]
        if words[:2] == ["reading", "results"]:
            _read_to_the_end(folder.parent / "data" / "coin" / "readings", words[2])
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, f"{printed}\n{result.output}\n{result.exception!r}"
        assert result.stdout.strip() or "--out" in words, f"{printed} printed nothing"


def _here(word: str, folder: Path) -> str:
    """Absolute paths of the pages in the test's folder, and the first of a loop's turns."""
    for start in ("/backups/", "/var/log/"):
        if word.startswith(start):
            (folder / start.strip("/")).mkdir(parents=True, exist_ok=True)
            return f"{folder}{word}"
    return word.replace("$i", "1")


def _read_to_the_end(readings: Path, name: str) -> None:
    """A reader who rates every picture of a study and closes."""
    study = open_reader_study(readings, name)
    study.ratings.begin("Reader", pseudonym=True)
    for number, picture in enumerate(study.pictures):
        answers = {"anatomic": 1 + number % 5, "diagnostic": 1 + number % 3, "guess": ("real", "generated")[number % 2]}
        for question, answer in answers.items():
            study.ratings.rate("Reader", picture.id, question, answer)
    study.ratings.close_reader("Reader")
    study.close()
