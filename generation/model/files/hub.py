"""Files fetched from the Hugging Face hub, or found in its cache when there is no network."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from generation.errors import WeightsNotFoundError

_PART = r"[A-Za-z0-9_][\w.-]*"
_HUB_ID = re.compile(rf"({_PART}/{_PART})((?:/{_PART})*)")


def split_hub_id(source: str | Path) -> tuple[str, str] | None:
    """The repository `org/name` and the path within it ("" for all of it) of `org/name/…`; None for anything else."""
    match = None if isinstance(source, Path) else _HUB_ID.fullmatch(source)
    return (match[1], match[2].lstrip("/")) if match else None


def is_hub_id(source: str | Path) -> bool:
    """Whether `source` names a whole repository, and nothing on this machine."""
    split = split_hub_id(source)
    return split is not None and not split[1] and not Path(source).expanduser().exists()


def fetch(hub_id: str, what: str, wanted: Callable[[list[str]], Iterable[str]]) -> Path:
    """The folder of a repository's newest commit in the cache, with at least the wanted files in it.

    Args:
        what: what is fetched, for the message.
        wanted: chooses from the names of all files. It is not called offline: then what is in the cache is all.

    Raises:
        WeightsNotFoundError: the repository can be neither reached nor found in the cache.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(hub_id)
    except Exception as error:  # noqa: BLE001  # the hub's client has changed its HTTP library, and so its errors
        try:
            return Path(snapshot_download(hub_id, local_files_only=True))
        except Exception:  # noqa: BLE001
            raise WeightsNotFoundError(_not_fetched(what, hub_id, error)) from error
    names = [file.rfilename for file in info.siblings or ()]
    patterns = [glob.escape(name) for name in wanted(names)]
    try:
        return Path(snapshot_download(hub_id, revision=info.sha, allow_patterns=patterns))
    except Exception as error:
        raise WeightsNotFoundError(_not_fetched(what, hub_id, error)) from error


def _not_fetched(what: str, hub_id: str, error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0]
    return (
        f"There is no local folder {hub_id}, and the {what} {hub_id} could not be fetched from the hub ({first_line}). "
        "Check the id and the network; for gated weights accept their terms on the hub and run `hf auth login`; "
        "or give a local path."
    )
