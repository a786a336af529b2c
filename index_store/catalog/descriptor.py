"""`archive.json`: where the parts of an archive are that are not in its folder. None where all are.

    {"format": 1, "archive": "<uuid>", "catalog": "postgresql+psycopg://coin@db/cytology",
     "vectors": "http://milvus:19530"}

The uuid ties the folder to its catalog: a folder that meets another archive's database is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from index_store.atomic_write import sync_folder, temporary_name, write_durably
from index_store.errors import NotAnArchiveError

FORMAT = 1
DESCRIPTOR_FILE = "archive.json"


@dataclass(frozen=True)
class ArchiveDescriptor:
    """What the file says. Holds no password."""

    archive: str
    """The archive's uuid."""
    catalog: str = ""
    """A PostgreSQL server's URL; '' for the SQLite file in the folder."""
    vectors: str = ""
    """A Milvus server's address, or a milvus-lite file in the folder; '' for FAISS within the process."""

    @classmethod
    def read(cls, path: Path) -> ArchiveDescriptor | None:
        """What `path` says; None where there is no such file.

        Raises:
            NotAnArchiveError: it says something else, or something newer.
        """
        try:
            said = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            said = None
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise NotAnArchiveError(f"{path} is damaged or of a newer version. Restore it, or update coin-retrieval.")
        del said["format"]
        unknown = sorted(said.keys() - cls.__dataclass_fields__.keys())
        if unknown or not all(isinstance(value, str) for value in said.values()) or not said.get("archive"):
            raise NotAnArchiveError(f"{path} cannot be understood ({', '.join(unknown) or 'no uuid'}). Restore it.")
        return cls(**said)


def announced(folder: Path) -> Path:
    """Where the descriptor lies until the catalog is made."""
    return folder / f"{DESCRIPTOR_FILE}.new"


def announce(folder: Path, descriptor: ArchiveDescriptor) -> None:
    """Write the descriptor durably, under the name by which nobody takes the folder for an archive yet."""
    said = {"format": FORMAT, **{name: value for name, value in asdict(descriptor).items() if value}}
    write_durably(announced(folder), lambda file: file.write((json.dumps(said, indent=1) + "\n").encode()))
    sync_folder(folder)


def leftovers(folder: Path) -> set[str]:
    """The names of what a creation that was cut short may leave of it."""
    return {announced(folder).name, temporary_name(announced(folder)).name}


def publish(folder: Path) -> None:
    """Make the announced descriptor the folder's. From here on there is an archive."""
    announced(folder).replace(folder / DESCRIPTOR_FILE)
    sync_folder(folder)
