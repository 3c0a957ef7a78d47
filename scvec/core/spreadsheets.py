"""Text in CSV that a spreadsheet would take for a formula, and reading it back.

A cell or a label called ``=HYPERLINK(...)`` is a name to scvec and a command to a spreadsheet. In CSV it gets an
apostrophe before it, which spreadsheets take for "this is text" [1]_; scvec takes it off again where it reads CSV.
Numbers, also negative ones, and single characters such as ``-`` stay as they are. Parquet, h5ad and zarr hold the plain
text.

References
----------
.. [1] OWASP, CSV Injection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
GUARDED = r"^'*[=+@\t\r-](?s:.)"
"""What gets an apostrophe, unless it is a number. Apostrophes before it get one more, so that it can be taken off."""


def guarded(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose text, and names of columns, no spreadsheet runs."""
    import polars as pl

    one = pl.col(pl.String)
    found = frame.with_columns(
        pl.when(one.str.contains(GUARDED) & ~one.str.contains(NUMBER)).then("'" + one).otherwise(one).name.keep()
    )
    names = pl.Series(frame.columns, dtype=pl.String)
    commands = (names.str.contains(GUARDED) & ~names.str.contains(NUMBER)).to_list()
    return found.rename({name: f"'{name}" for name, is_one in zip(names, commands, strict=True) if is_one})


def unguarded(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame read from CSV as it was before `guarded`."""
    import polars as pl

    one, quoted = pl.col(pl.String), rf"^'{GUARDED[1:]}"
    found = frame.with_columns(
        pl.when(one.str.contains(quoted) & ~one.str.contains(f"^'{NUMBER[1:]}"))
        .then(one.str.slice(1))
        .otherwise(one)
        .name.keep()
    )
    names = pl.Series(frame.columns, dtype=pl.String)
    return found.rename({name: name[1:] for name in names.filter(names.str.contains(quoted))})
