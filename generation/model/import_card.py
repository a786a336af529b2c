"""The model card of imported weights: where they come from, under which licence, and what was changed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CARD = "README.md"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LICENCE_FILE = re.compile(r"(?:licen[cs]e|notice|copying|use_policy)[\w.-]*", re.IGNORECASE)
_LICENCE_KEYS = ("license", "license_name", "license_link")
_LONGEST = 300


@dataclass(frozen=True)
class Licence:
    """A licence as published: the values of the source's own card, and its licence files."""

    stated: Mapping[str, str] = field(default_factory=dict)
    """`license`, `license_name` and `license_link` of the source's README.md, those that are there."""
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ImportCard:
    """What a card says. It holds no date and no path, so that two imports of one source have the same card."""

    kind: str
    """What was imported: "LoRA", "SDXL base", "encoder"."""
    source: str
    """A hub id, or the last name of a local path."""
    revision: str = ""
    """The hub's commit; "" for local files."""
    licence: Licence = field(default_factory=Licence)
    read: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file that was read, by its name in the source."""
    changes: tuple[str, ...] = ()
    """What was changed, a sentence each: none means that the files are the source's own."""
    left_out: tuple[str, ...] = ()
    """Names of what was in the source and is not in this folder."""
    use: str = ""
    """How the folder is used: a command line."""


def write_import_card(folder: Path, card: ImportCard) -> Path:
    """Write README.md, with the SHA-256 of every other file of `folder`, and copy the licence's files; returns it."""
    for path in card.licence.files:
        shutil.copyfile(path, folder / path.name)
    written = {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / CARD
    }
    front = {**card.licence.stated, "tags": ["imported"]}
    if card.revision or "/" in card.source:
        front = {"base_model": card.source, **front}
    lines = ["---", *(f"{name}: {json.dumps(value)}" for name, value in front.items()), "---"]
    licence = ", ".join(f"{name}: {_plain(value)}" for name, value in card.licence.stated.items())
    texts = ", ".join(path.name for path in card.licence.files)
    sections = {
        "Source": [
            f"- Source: {_plain(card.source)}",
            f"- Revision: {card.revision or 'none: local files'}",
            f"- Licence as published: {licence or 'none stated; ask the authors'}{f' ({texts})' if texts else ''}",
        ],
        "How to use it": [f"    {card.use}"] if card.use else [],
        "What was changed": [f"- {_plain(change)}" for change in card.changes] or ["- Nothing."],
        "What was left out": [f"- {_plain(name)}" for name in card.left_out],
        "Files read": _table(card.read),
        "Files written": _table(written),
    }
    parts = ["\n".join(lines), f"# {card.kind} imported from {_plain(card.source)}"]
    for heading, paragraph in sections.items():
        if paragraph:
            parts += [f"## {heading}", "\n".join(paragraph)]
    path = folder / CARD
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(files: Iterable[Path], folder: Path) -> dict[str, str]:
    """SHA-256 of each file by its name below `folder`, in the order of names."""
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(files)}


def published_licence(folder: Path) -> Licence:
    """The licence that a folder states in its README.md's front matter, and its licence files."""
    files = tuple(sorted(path for path in folder.iterdir() if path.is_file() and _LICENCE_FILE.fullmatch(path.name)))
    card = folder / CARD
    if not card.is_file():
        return Licence(files=files)
    text = card.read_text(encoding="utf-8", errors="replace")
    match = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    found = re.findall(r"^(\w+):[ \t]*(\S.*?)[ \t]*$", match[1] if match else "", re.MULTILINE)
    stated = {name: value.strip("\"'") for name, value in found if name in _LICENCE_KEYS}
    return Licence(stated, files)


def hub_revision(folder: Path) -> str:
    """The commit that a folder of the hub's cache holds (…/snapshots/COMMIT); "" for any other folder."""
    for path in (folder, *folder.parents):
        if path.parent.name == "snapshots" and _COMMIT.fullmatch(path.name):
            return path.name
    return ""


def _table(sums: Mapping[str, str]) -> list[str]:
    rows = [f"| {_plain(name)} | {value} |" for name, value in sums.items()]
    return ["| file | SHA-256 |", "|---|---|", *rows] if rows else []


def _plain(text: str) -> str:
    """Escape `text` for Markdown and HTML, in one line: names come from files of others."""
    line = "".join(" " if unicodedata.category(character).startswith("C") else character for character in text)
    line = " ".join(line.split())[:_LONGEST]
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;")):
        line = line.replace(sign, instead)
    return line
