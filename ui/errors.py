"""What the `coin` command and the view can refuse by themselves.

    CoinCliError
    ├── NoArchiveError     there is no archive where one was expected
    ├── SettingError       a setting (an environment variable) holds a value that cannot be used
    ├── UnreadableInput    a report file or an uploaded picture cannot be read
    └── ViewError          the view's server cannot be started

What the rooms below refuse (`GenerationError`, `ArchiveError`, `RetrievalError`) passes through unchanged.
`user_message` turns all of them, and what the operating system says, into the one line that is shown;
it returns None for anything else: that is a defect, and is not dressed up as the user's mistake.
"""

from __future__ import annotations

import errno


class CoinCliError(Exception):
    """Base of everything this room raises on purpose."""


class NoArchiveError(CoinCliError):
    """There is no archive where one was expected."""


class SettingError(CoinCliError):
    """A setting holds a value that cannot be used."""


class UnreadableInput(CoinCliError):
    """A report file or an uploaded picture cannot be read."""


class ViewError(CoinCliError):
    """The view's server cannot be started."""


def user_message(error: BaseException) -> str | None:
    """The message for a user, or None where `error` is not one that a user can act on."""
    from generation import GenerationError
    from index_store import ArchiveError
    from retrieval import RetrievalError

    if isinstance(error, CoinCliError | GenerationError | ArchiveError | RetrievalError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _os_message(error)
    return None


def _os_message(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}: free some space and run the same command again; nothing stored was lost"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to read or write{where}: check the owner and the rights of that file or folder"
    return f"{error.strerror or type(error).__name__}{where}"
