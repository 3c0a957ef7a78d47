"""What the reader of a format of cells provides."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from scvec.ingest.cells.frames import Frame
from scvec.ingest.cells.matrix import Rows


class Source(Protocol):
    """What the reader of a format provides."""

    @property
    def obs(self) -> Frame:
        """The annotations of the cells."""
        ...

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on the file."""
        ...

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells: embeddings."""
        ...

    def obsm(self, key: str) -> Any:
        """Return (n_obs, d) one of these arrays, or a data frame."""
        ...

    def var(self, layer: str) -> Frame:
        """Return the annotations of a matrix's genes."""
        ...

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of the values of a column of ``obs``, where the file has them."""
        ...

    def log_base(self) -> float | None:
        """Return the base of the logarithm that the file says was taken; None if it says none."""
        ...

    def rows(self, layer: str) -> AbstractContextManager[Rows]:
        """Yield the cells of a matrix."""
        ...


class MatrixOnly:
    """What sources have in common whose format has neither further arrays, nor colours, nor the base of a logarithm."""

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells: none."""
        return []

    def obsm(self, key: str) -> Any:
        """Raise `KeyError`: there are no such arrays."""
        raise KeyError(key)

    def colors(self, key: str) -> dict[str, str]:
        """Return no colours."""
        del key
        return {}

    def log_base(self) -> float | None:
        """Return None: the file does not say it."""
        return None
