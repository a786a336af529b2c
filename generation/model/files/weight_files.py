"""What holds for every file of weights: whether it may be opened and is whole, its hash, its name for people."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from generation.errors import UnsafeWeightsError, WeightsError

PICKLED_SUFFIXES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
_LFS = b"version https://git-lfs.github.com/spec/"
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""PyTorch's files are zip archives since 1.6, and were plain pickles before."""
_SHOWN = 40
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
STARTER = Path(__file__).parents[2] / "starter"


def is_pickled(name: str | PurePath) -> bool:
    """Whether a file is a pickle, by its name."""
    return PurePath(name).suffix.lower() in PICKLED_SUFFIXES


def pickled_among(paths: Iterable[Path]) -> Path | None:
    """The first pickled file by name, or None."""
    return next((path for path in sorted(paths) if is_pickled(path)), None)


def refusal(path: Path, command: str = "") -> UnsafeWeightsError:
    """The error for pickled weights; `command` brings them in, where there is one."""
    how = f", or convert it once, in a process of its own: {command}" if command else "."
    return UnsafeWeightsError(
        f"{path} holds pickled weights, which can run any code when opened: refused. Ask for a .safetensors file{how}"
    )


def pointer_refusal(path: Path) -> str:
    """Why a file cannot be read that Git LFS has not fetched yet; empty for every other file."""
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(_LFS)) == _LFS
    except OSError:
        return ""
    if not is_pointer:
        return ""
    return f"{path} is a Git LFS pointer and not the file itself: run `git lfs pull` in its repository."


def missing_shards(names: Iterable[str]) -> list[str]:
    """Of weights that were published in numbered parts, the parts that are not among the names."""
    held, wanted = set(names), []
    for name in sorted(held):
        if match := _SHARD.fullmatch(name):
            count = min(int(match[3]), 10_000)
            wanted += [f"{match[1]}-{number:05}-of-{match[3]}{match[4]}" for number in range(1, count + 1)]
    return [name for name in dict.fromkeys(wanted) if name not in held]


def check_index(path: Path, files: Iterable[Path]) -> None:
    """Raise `WeightsError` for an index of parts that names other files: libraries load what it names, unchecked."""
    named = read_json(path).get("weight_map")
    known = {file.name for file in files}
    if not isinstance(named, dict) or not all(isinstance(name, str) and name in known for name in named.values()):
        raise WeightsError(
            f"{path} is no index of the weights beside it: it names other files, or none. Copy or download the base "
            "anew."
        )


def check_safetensors(path: Path) -> None:
    """Header and length only: a truncated or disguised file shows there.

    Raises `UnsafeWeightsError` for a pickle under another name, `WeightsError` for what is no whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if pointer := pointer_refusal(path):
        raise WeightsError(pointer)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        beginning = _beginning(path)
        if beginning.startswith(_PICKLE_STARTS) and any(beginning[4:8]):  # else the length of a safetensors header
            raise UnsafeWeightsError(
                f"{path} is a pickled file, though its name ends with {path.suffix}: refused, since it can run any "
                "code when opened. Ask for a safetensors file, or rename it to .bin for an import, which reads it in "
                "a process of its own."
            ) from error
        if text := _as_text(beginning):
            raise WeightsError(
                f"{path} is a text and no weights (it begins with {text!r}), as a hub sends where you are not signed "
                "in or have not accepted a model's terms. Do that, and download it anew."
            ) from error
        raise WeightsError(f"{path} is not a whole safetensors file ({error}). Copy or download it anew.") from error


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_SHOWN)
    except OSError:
        return b""


def _as_text(beginning: bytes) -> str:
    """The beginning of a file that is a text; "" of others, such as one that begins with the length of a header."""
    first = beginning[:8]
    if (
        len(first) < 8
        or not first.isascii()
        or not all(chr(byte).isprintable() or chr(byte).isspace() for byte in first)
    ):
        return ""
    return " ".join(beginning.decode("utf-8", errors="replace").split())


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a base. Raises `WeightsError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if pointer := pointer_refusal(path):
            raise WeightsError(pointer) from error
        raise WeightsError(f"{path} cannot be read ({error}). Copy or download the base anew.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object. Copy or download the base anew.")
    return content


def display_name(source: str | Path) -> str:
    """The last folder for a local path (a full path would tell others about this machine), a hub id as it is."""
    path = Path(source).expanduser()
    if not path.exists():
        return str(source)
    return "starter" if STARTER in path.parents else path.resolve().name


def fingerprint(files: Mapping[str, Path]) -> str:
    """SHA-256, in hex, over the names and contents of files; each is hashed once a process."""
    digest = hashlib.sha256()
    for name in sorted(files):
        status = files[name].stat()
        digest.update(f"{name}\0{_sha256(files[name], status.st_mtime_ns, status.st_size)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Cached in the process only: 7 GB of SDXL take seconds to hash, and a cache on disk could be wrong."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
