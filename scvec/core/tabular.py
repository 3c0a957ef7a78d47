"""Results that become a frame: of polars, or of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class Tabular:
    """A result that `to_polars` makes a frame of; the same as a pandas frame comes from that."""

    __slots__ = ()

    INDEX: ClassVar[str | None] = None
    """The column that is the index in pandas."""

    def to_polars(self) -> pl.DataFrame:
        """Return the result as a polars frame."""
        raise NotImplementedError

    def to_frame(self, *arguments: Any, **options: Any) -> pl.DataFrame:
        """Earlier name of `to_polars`."""
        return self.to_polars(*arguments, **options)

    def to_pandas(self, *arguments: Any, **options: Any) -> pd.DataFrame:
        """Return what `to_polars` returns for the same arguments as a pandas frame; lists become arrays."""
        frame = self.to_polars(*arguments, **options).to_pandas()
        return frame if self.INDEX is None else frame.set_index(self.INDEX)
