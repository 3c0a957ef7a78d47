"""What can go wrong, as one tree; every error is one line: what was seen, what is expected, the fix.

ScvecError
├── InputError              a file or an argument of the caller's
│   ├── FileError           missing, truncated, of another format
│   ├── KeyNotFoundError    no such column, layer, release, encoder, recipe
│   ├── LabelError          labels missing or invalid
│   ├── MatrixError         values that are neither counts nor log1p, or not what was declared
│   ├── DuplicateNameError  two cells or two genes of one name
│   └── GeneMatchError      too little of the expression is on known genes
├── StoreError              the store, not the caller's file
│   ├── NotInStoreError     no such atlas, table, version
│   ├── ExistsError         would overwrite
│   ├── ConflictError       another process writes there, or was there first
│   ├── MismatchError       derived data that was not made from what it is used with
│   ├── StoreFormatError    written by a scvec of another format
│   └── DiskFullError       nothing was committed
├── ServiceError            a server did not answer, or not as it should
└── MissingDependencyError  an extra is not installed
"""

from __future__ import annotations

import errno
import re
import unicodedata
from collections.abc import Iterable


class ScvecError(Exception):
    """Root of the tree.

    A message names the parameters of the function that was called, in backticks: ``"`max_error` must be between 0 and 1
    (got 2)"``. The command line shows each as its option (``--max-error``), and exits with code 2.

    Parameters
    ----------
    seen
        What was found, with the name of the thing at fault; or the whole sentence, if nothing else is given.
    expected
        What would have been right.
    fix
        What to do about it, a command where there is one.
    """

    def __init__(self, seen: str, expected: str = "", fix: str = "") -> None:
        line = f"{seen}: expected {expected}" if expected else seen
        super().__init__(printable(" ".join((f"{line}. Fix: {fix}." if fix else f"{line}.").split()), kept=""))
        self.seen, self.expected, self.fix = seen, expected, fix

    def __reduce__(self) -> tuple[type[ScvecError], tuple[str, str, str]]:
        # An exception is made anew in another process from its arguments, which are not those given here.
        return type(self), (self.seen, self.expected, self.fix)


def printable(text: str, kept: str = "\n\t") -> str:
    r"""Return text with escapes, as ``\x1b``, for what is not printable, but for the characters in `kept`.

    Names come from files. A terminal obeys control characters (C0 and C1) in them, and shows others in an order that
    deceives (bidirectional marks); no encoding takes half a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in kept or unicodedata.category(one) == "Zs" else _escaped(one) for one in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class InputError(ScvecError):
    """A file or an argument of the caller's is not usable."""

    @property
    def parameter(self) -> str | None:
        """The parameter at fault, the first that the message names; None where it names none."""
        found = re.search(r"`(\w+)`", self.seen)
        return None if found is None else found[1]


class FileError(InputError):
    """A file is missing, truncated or of another format."""


class KeyNotFoundError(InputError):
    """A name was asked for that is not there; the message lists those that are."""


class LabelError(InputError):
    """Labels are missing or cannot be used."""


class MatrixError(InputError):
    """A matrix holds neither counts nor log1p values, or not those declared."""


class DuplicateNameError(InputError):
    """Two cells, or two genes, have one name."""


class GeneMatchError(InputError):
    """Too little of a matrix's expression lies on genes that are known."""


class StoreError(ScvecError):
    """The store cannot do what was asked."""


class NotInStoreError(StoreError):
    """No such atlas, table or version."""


class ExistsError(StoreError):
    """The name is taken and nothing said to replace it."""


class ConflictError(StoreError):
    """Another process writes the same, or has written it since this one began."""


class MismatchError(StoreError):
    """Derived data was not made from what it is about to be used with."""


class StoreFormatError(StoreError):
    """The store was written by a scvec of another format."""


class DiskFullError(StoreError):
    """No space was left; nothing was committed."""


class ServiceError(ScvecError):
    """A server did not answer, or its answer cannot be used."""


class MissingDependencyError(ScvecError):
    """A package of one of the extras is not installed."""


def missing(package: str, extra: str, purpose: str) -> MissingDependencyError:
    """Return the error for a `package` of `extra` that `purpose` needs: ``"Leiden clustering needs igraph"``."""
    return MissingDependencyError(f"{purpose} needs {package}", fix=f"pip install 'scvec[{extra}]'")


def must_be(parameter: str, allowed: str, value: object) -> InputError:
    """Return the error for a parameter that is out of its range: ``"`k` must be at least 1 (got 0)"``."""
    return InputError(f"`{parameter}` must be {allowed} (got {value!r})")


def unknown(kind: str, name: str, known: Iterable[str], where: object = None) -> KeyNotFoundError:
    """Return the error for a `name` that is not among the `known` ones of its `kind` (in the file `where`)."""
    names = list(known)
    shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    place = "" if where is None else f"{where}: "
    if not names:
        return KeyNotFoundError(f"{place}no {kind} {name!r} (there is none)")
    return KeyNotFoundError(f"{place}no {kind} {name!r}", f"one of: {shown}", f"choose another {kind}")


def as_disk_full(error: BaseException, where: str) -> DiskFullError | None:
    """Return a `DiskFullError` if that is what `error` means; Lance, HDF5 and polars say it only in their text."""
    number, said = getattr(error, "errno", None), str(error)
    if number == errno.ENOSPC or "os error 28" in said or "No space left" in said:
        return DiskFullError(
            f"no space left on the device of {where}", "room for the result", "free space and run again"
        )
    return None
