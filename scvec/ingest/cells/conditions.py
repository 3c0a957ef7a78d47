"""Conditions on the annotations of cells, in SQL: ``donor = 'human3' AND n_counts > 500``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.core.conditions import check_condition, wrong_condition
from scvec.core.reading import no_panic
from scvec.core.types import Bools
from scvec.errors import InputError
from scvec.ingest.cells.frames import Column

if TYPE_CHECKING:
    import polars as pl

QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`")

MOST_TERMS = 200
"""Words AND and OR of a condition: polars takes minutes for a thousand, and none for a long list after IN."""


def fulfilled(condition: str, keys: list[str], column: Callable[[str], Column]) -> Bools:
    """Return (n,) whether each cell fulfils a condition; where that is unknown, as for a missing value, it does not.

    Parameters
    ----------
    condition
        An expression of SQL. Names of columns with blanks are written in double quotes or backticks, values in single
        quotes. Values are compared as what they are in ``obs``: strings, numbers or booleans; blank strings are
        missing, as ``IS NULL`` says.
    keys, column
        The names of the columns, and what gives one of them.

    Raises
    ------
    InputError
        If the condition is invalid.
    """
    import polars as pl

    used = check_condition(condition, keys, "only", quote='"')
    _check_terms(condition)
    if not used:
        raise _wrong("it asks nothing of the cells: name a column", condition, keys)
    wrong = (pl.exceptions.PolarsError, RuntimeError, ValueError, TypeError, OverflowError)
    try:
        with no_panic():
            asked = pl.sql_expr(condition)
            names = dict.fromkeys(asked.meta.root_names())
    except wrong as error:
        raise _wrong(_said(error), condition, keys) from error
    by_fold = {key.lower(): key for key in keys}
    columns = {one: column(one if one in keys else by_fold[one.lower()]) for one in names}
    try:
        with no_panic():
            frame = pl.DataFrame({one: _series(values) for one, values in columns.items()})
            found = frame.select(asked).to_series()
    except wrong as error:
        raise _wrong(_said(error), condition, keys) from error
    if found.dtype != pl.Boolean or len(found) != len(frame):
        raise _wrong("it is neither true nor false of a cell", condition, keys)
    return np.asarray(found.fill_null(value=False).to_numpy(), bool)


def _check_terms(condition: str) -> None:
    n_terms = len(re.findall(r"\b(?:and|or)\b", QUOTED.sub("", condition), re.IGNORECASE))
    if n_terms > MOST_TERMS:
        seen = f"`only` has {n_terms:,} terms joined by AND or OR"
        raise InputError(seen, f"at most {MOST_TERMS:,}", "use IN with a list: donor IN ('a', 'b')")


def _series(column: Column) -> pl.Series:
    """Return the values of a column as polars has them: strings, if they are not all of one other kind."""
    import polars as pl

    values: list[Any] = list(column.values)
    booleans = [isinstance(one, (bool, np.bool_)) for one in values]
    numbers = [isinstance(one, (int, float, np.integer, np.floating)) for one in values]
    if not all(booleans) and (any(booleans) or not all(numbers)):
        values = [str(one) if str(one).strip() else None for one in values]
    distinct = pl.Series([*values, None], strict=False)
    codes = np.asarray(column.codes, np.int64)
    return distinct.gather(np.where(codes < 0, len(values), codes))


def _said(error: Exception) -> str:
    """Return why polars does not take a condition."""
    said = " ".join(str(error).split("This error occurred")[0].split())[:150]
    if "cannot compare" in said:
        said += "; compare numbers with numbers and text with 'text', and numbers of a text table by CAST(n AS DOUBLE)"
    return said


def _wrong(found: str, condition: str, keys: list[str]) -> InputError:
    return wrong_condition(condition, found, keys, "only", quote='"')
