"""Errors of the `coin` command and the view, and the message that each error is shown as.

    CoinCliError
    ├── NoArchiveError     there is no archive where one was expected
    ├── ReviewError        a review cannot be read or changed
    ├── SettingError       a setting (an environment variable) has a value that cannot be used
    ├── UnreadableInput    a report file or an uploaded picture cannot be read
    └── ViewError          the view's server cannot be started

Errors of the packages below (`GenerationError`, `ArchiveError`, `RetrievalError`) pass through unchanged.
`user_message` turns all of them, and errors of the operating system, into the line that is shown; it returns None for
anything else, which is a defect and is reported as one.
"""

from __future__ import annotations

import errno
import shutil


class CoinCliError(Exception):
    """Base of all errors of this package."""


class NoArchiveError(CoinCliError):
    """There is no archive where one was expected."""


class ReviewError(CoinCliError):
    """A review cannot be read or changed."""


class SettingError(CoinCliError):
    """A setting has a value that cannot be used."""


class UnreadableInput(CoinCliError):
    """A report file or an uploaded picture cannot be read."""


class ViewError(CoinCliError):
    """The view's server cannot be started."""


def user_message(error: BaseException) -> str | None:
    """The message for a user, or None where the user can do nothing about `error`."""
    from generation import GenerationError
    from index_store import ArchiveError
    from retrieval import RetrievalError

    if isinstance(error, CoinCliError | GenerationError | ArchiveError | RetrievalError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _os_message(error)
    if isinstance(error, shutil.SpecialFileError):
        return f"{error}: give a plain file"
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return "a value holds bytes that are no text in UTF-8: give it in UTF-8"
    if isinstance(error, ValueError) and "null byte" in str(error):  # a file's name; no shell can give one
        return "a file's name holds a NUL character: give it without"
    return None


def _os_message(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        if error.filename2:  # of a copy, what could not be written
            where = f" ({error.filename2})"
        return f"the disk is full{where}: free some space and run the same command again; nothing stored was lost"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to read or write{where}: check the owner and the rights of that file or folder"
    return f"{error.strerror or type(error).__name__}{where}"
