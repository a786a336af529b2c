"""What is to be imported: a hub repository, a folder or a file, and the files of it that matter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from generation import PICKLED_SUFFIXES
from retrieval.encoder.formats.open_clip_folder import HUB_PREFIX
from retrieval.encoder.model_files import LOCAL_PREFIX, choose_weights, fetch
from retrieval.errors import EncoderLoadError


@dataclass(frozen=True)
class EncoderSource:
    """A source on this machine's disk."""

    name: str
    """A hub id, or the last name of a local path."""
    folder: Path
    weights: tuple[Path, ...]
    """Safetensors files where there are any, else pickled ones."""

    @property
    def pickled(self) -> bool:
        """Whether the weights are pickled."""
        return self.weights[0].suffix.lower() in PICKLED_SUFFIXES


def find_source(source: str | Path) -> EncoderSource:
    """A local folder or file, or a hub id (with or without `hf-hub:`), which is fetched.

    Raises EncoderLoadError where it cannot be found or holds no weights.
    """
    text = str(source).removeprefix(LOCAL_PREFIX)
    path = Path(text).expanduser()
    if path.is_file():
        return EncoderSource(path.resolve().name, path.parent, (path,))
    if path.is_dir():
        return EncoderSource(path.resolve().name, path, _weights(path, text))
    hub_id = text.removeprefix(HUB_PREFIX)
    if hub_id.count("/") != 1 or text.startswith((".", "/", "~")):
        raise EncoderLoadError(f"There is no file or folder {text}, and it is no hub id of the form org/name.")
    folder = fetch(hub_id, pickled=True)
    return EncoderSource(hub_id, folder, _weights(folder, hub_id))


def _weights(folder: Path, name: str) -> tuple[Path, ...]:
    files = choose_weights([path.name for path in folder.iterdir()], pickled=True)
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if not files and len(others) == 1:
        files = others
    if len(files) > 1 and not all("-of-" in file for file in files):
        raise EncoderLoadError(f"{name} holds several files of weights ({', '.join(files)}): name the one to import.")
    if not files:
        held = f" ({', '.join(others)}: name the one to import)" if others else ""
        raise EncoderLoadError(f"{name} holds no weights of an encoder in a place that is known{held}.")
    return tuple(folder / file for file in files)
