"""Conditions on the annotations of cells, in SQL: ``donor = 'human3' AND n_counts > 500``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.core.types import Bools
from scvec.errors import InputError, unknown
from scvec.ingest.cells.frames import Column

if TYPE_CHECKING:
    import polars as pl

LONGEST, MOST_TERMS = 10_000, 200
"""Characters, and words AND and OR, of a condition: polars takes minutes for a thousand terms; IN takes a long list."""

VOLATILE = re.compile(r"\b(now|current_\w+|localtime\w*|rand\w*|uuid\w*)\b", re.IGNORECASE)
QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`")

EXAMPLE = "a condition on columns of obs, such as \"donor = 'human3'\""


def fulfilled(condition: str, keys: list[str], column: Callable[[str], Column], path: object) -> Bools:
    """Return (n,) whether each cell fulfils a condition; where that is unknown, as for a missing value, it does not.

    Parameters
    ----------
    condition
        An expression of SQL. Names of columns with blanks are written in backticks or double quotes, values in single
        quotes. Values are compared as what they are in ``obs``: strings, numbers or booleans; blank strings are
        missing, as ``IS NULL`` says.
    keys, column
        The names of the columns, and what gives one of them.
    path
        The file, for messages.

    Raises
    ------
    InputError
        If the condition is invalid.
    """
    import polars as pl

    _check_size(condition)
    try:
        asked = pl.sql_expr(condition)
        used = list(dict.fromkeys(asked.meta.root_names()))
    except Exception as error:  # of the parser, which has several
        raise _invalid(condition, error) from error
    for key in used:
        if key not in keys:
            raise _no_column(key, keys, condition, path)
    if not used or VOLATILE.search(QUOTED.sub("", condition)):
        raise InputError(f"`only` {short(condition)} asks nothing of the cells themselves", EXAMPLE, "name a column")
    frame = pl.DataFrame({key: _series(column(key)) for key in used})
    try:
        found = frame.select(asked).to_series()
    except Exception as error:
        raise _invalid(condition, error) from error
    if found.dtype != pl.Boolean or len(found) != len(frame):
        raise InputError(f"`only` {short(condition)} is neither true nor false of a cell", EXAMPLE, "compare a column")
    return np.asarray(found.fill_null(value=False).to_numpy(), bool)


def _check_size(condition: str) -> None:
    if len(condition) > LONGEST:
        seen = f"`only` has {len(condition):,} characters"
        raise InputError(seen, f"at most {LONGEST:,}", "put the cells in a column of a table for `obs`")
    n_terms = len(re.findall(r"\b(?:and|or)\b", QUOTED.sub("", condition), re.IGNORECASE))
    if n_terms > MOST_TERMS:
        seen = f"`only` has {n_terms:,} terms joined by AND or OR"
        raise InputError(seen, f"at most {MOST_TERMS:,}", "use IN with a list: donor IN ('a', 'b')")


def _series(column: Column) -> pl.Series:
    """Return the values of a column as polars has them: strings, if they are not all of one other kind."""
    import polars as pl

    values: list[Any] = list(column.values)
    kinds = {type(one) for one in values}
    if not (kinds <= {bool, np.bool_} or kinds <= {int, float, np.int64, np.float64}):
        values = [str(one) if str(one).strip() else None for one in values]
    distinct = pl.Series([*values, None], strict=False)
    codes = np.asarray(column.codes, np.int64)
    return distinct.gather(np.where(codes < 0, len(values), codes))


def _no_column(key: str, keys: list[str], condition: str, path: object) -> InputError:
    error = unknown("obs column for `only`", key, keys, path)
    if f'"{key}"' in condition:
        error = type(error)(error.seen, error.expected, f"write a value in single quotes, '{key}'; a column as it is")
    return error


def _invalid(condition: str, error: Exception) -> InputError:
    said = " ".join(str(error).split("This error occurred")[0].split())[:150]
    fix = "write values in single quotes, and names with blanks in backticks"
    if "cannot compare" in said:
        fix = "compare numbers with numbers and text with 'text'; numbers of a text table: CAST(n AS DOUBLE) > 5"
    return InputError(f"`only` {short(condition)} is invalid ({said})", EXAMPLE, fix)


def short(condition: str) -> str:
    """Return a condition for a message."""
    return repr(condition if len(condition) <= 100 else f"{condition[:97]}...")
