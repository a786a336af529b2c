"""The settings and the outcome of an import, and the parts that imports share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from generation.atomic_write import fresh_folder
from generation.errors import WeightsError
from generation.model.files.weight_files import display_name
from generation.model.import_card import (
    ImportCard,
    Licence,
    file_sha256,
    hub_revision,
    published_licence,
    write_import_card,
)


@dataclass(frozen=True)
class Imported:
    """A finished import."""

    folder: Path
    kind: str
    source: str
    revision: str
    """The hub's commit; "" for local files."""
    licence: str
    """As the source states it; "" where it states none."""
    changes: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass
class Importing:
    """An import under way: the folder that is being filled, and what the card will say."""

    folder: Path
    read: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def reads(self, path: Path, name: str) -> None:
        """Note that `path` was read, which the source calls `name`."""
        self.read[name] = file_sha256(path)

    def changed(self, sentence: str) -> None:
        """Note a change, once."""
        if sentence not in self.changes:
            self.changes.append(sentence)


@contextlib.contextmanager
def importing(out: str | Path) -> Iterator[Importing]:
    """An import to `out`, which appears when the block ends without an error. Raises `WeightsError` if it is there."""
    out = Path(out).expanduser()
    try:
        with fresh_folder(out) as folder:
            yield Importing(folder)
    except FileExistsError as error:
        raise WeightsError(f"There is something at {out} already. Name a new folder, or move that one away.") from error


def finish(work: Importing, out: str | Path, *, kind: str, source: str | Path, found: Path, use: str) -> Imported:
    """Write the card of an import. `found` is the file or folder that `source` was; its own card is there or above."""
    folder = found if found.is_dir() else found.parent
    revision = hub_revision(folder)
    # Of a local file, what lies beside it may be another's; on the hub, the card is at the top of the repository.
    if Path(source).expanduser().exists():
        places = [folder] if found.is_dir() else []
    else:
        places = [folder, *folder.parents][:3]
    licence = next((stated for place in places if (stated := published_licence(place)) != Licence()), Licence())
    card = ImportCard(
        kind,
        display_name(source),
        revision=revision,
        licence=licence,
        read=work.read,
        changes=tuple(work.changes),
        left_out=tuple(work.left_out),
        use=use,
    )
    write_import_card(work.folder, card)
    name = licence.stated.get("license_name") or licence.stated.get("license", "")
    return Imported(Path(out), kind, card.source, revision, name, card.changes, card.left_out)
