"""One mechanism by which whatever a reader raises becomes one error that names the file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile

from scvec.errors import FileError, ScvecError, as_disk_full

MAX_SAID = 160
"""Characters of a library's words that an error repeats."""


@contextmanager
def reading(
    what: str, expected: str = "a complete file", fix: str = "", *, raised: type[ScvecError] = FileError
) -> Iterator[None]:
    """Raise one error that names `what` in place of anything that reading it raises.

    Errors of scvec pass through. All others count, not those of a list: which types a library raises for a damaged file
    is not known in advance, and has changed between releases.

    Parameters
    ----------
    what
        The file or part of it, at the beginning of the message.
    expected, fix
        What would have been right, and what to do.
    raised
        The type of the error.

    Raises
    ------
    DiskFullError
        If no space was left for what reading wrote.
    """
    try:
        with no_panic():
            yield
    except ScvecError:
        raise
    except Exception as error:  # a file can make its reader raise anything
        raise as_disk_full(error, what) or raised(f"{what} {reason(error)}", expected, fix) from error


@contextmanager
def no_panic() -> Iterator[None]:
    """Raise `RuntimeError` where a library in Rust (polars, Lance) panics; its own error is not an `Exception`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(str(error)) from error


def reason(error: BaseException) -> str:
    """Return why a file could not be read, to follow its name: in the words of the library, or for what has none."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    if isinstance(error, PermissionError):
        return "cannot be accessed (permission denied)"
    if isinstance(error, UnicodeDecodeError):
        return "cannot be read (it is not text in UTF-8)"
    if isinstance(error, MemoryError):
        return "cannot be read (it asks for more memory than there is)"
    if isinstance(error, RecursionError):
        return "cannot be read (it is nested too deeply)"
    said = " ".join(str(error).split())[:MAX_SAID]
    if isinstance(error, (EOFError, zlib.error, BadGzipFile)) or "runcated" in said:
        return f"is cut short or damaged ({said})"
    return f"cannot be read ({said or type(error).__name__})"
