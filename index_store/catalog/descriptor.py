"""`archive.json`: where the parts of an archive are that are not in its folder. Without such parts there is no file.

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
    """The content of the file. It holds no password."""

    archive: str
    """The archive's uuid."""
    catalog: str = ""
    """A PostgreSQL server's URL; '' for the SQLite file in the folder."""
    vectors: str = ""
    """A Milvus server's address, or a milvus-lite file in the folder; '' for FAISS within the process."""

    @classmethod
    def read(cls, path: Path) -> ArchiveDescriptor | None:
        """Read the file `path`; None where there is none.

        Raises:
            NotAnArchiveError: it is damaged, or of a newer version.
        """
        try:
            values = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise NotAnArchiveError(f"{path.parent} is a file, and an archive is a folder. Give the folder.") from None
        except ValueError:
            values = None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise NotAnArchiveError(f"{path} is damaged or of a newer version. Restore it, or update coin-retrieval.")
        del values["format"]
        unknown = sorted(values.keys() - cls.__dataclass_fields__.keys())
        if unknown or not all(isinstance(value, str) for value in values.values()) or not values.get("archive"):
            raise NotAnArchiveError(f"{path} cannot be understood ({', '.join(unknown) or 'no uuid'}). Restore it.")
        return cls(**values)


def announced(folder: Path) -> Path:
    """The path of the descriptor until the catalog is made."""
    return folder / f"{DESCRIPTOR_FILE}.new"


def announce(folder: Path, descriptor: ArchiveDescriptor) -> None:
    """Write the descriptor durably, under a name by which the folder does not count as an archive yet."""
    values = {"format": FORMAT, **{name: value for name, value in asdict(descriptor).items() if value}}
    write_durably(announced(folder), lambda file: file.write((json.dumps(values, indent=1) + "\n").encode()))
    sync_folder(folder)


def leftovers(folder: Path) -> set[str]:
    """The names of the files that an interrupted creation may leave."""
    return {announced(folder).name, temporary_name(announced(folder)).name}


def publish(folder: Path) -> None:
    """Give the announced descriptor its name. From here on the folder is an archive."""
    announced(folder).replace(folder / DESCRIPTOR_FILE)
    sync_folder(folder)
