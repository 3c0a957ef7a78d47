"""What a view is: fitted on labelled cells, it maps a cell to a few numbers, and these to a share of each label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools, Doubles, Floats, Ints

Cells: TypeAlias = "sp.csr_matrix[np.float32]"
Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled cells of a reference, on which views are fitted.

    Attributes
    ----------
    logged
        (n, g) log-normalised expression.
    codes
        (n,) the label of each cell, from 0; some labels may have no cell.
    n_labels
        L, the number of labels.
    batches
        (n,) the donor of each cell, as a number.
    measured
        (g,) the genes that views may use.
    """

    logged: Cells
    codes: Ints
    n_labels: int
    batches: Ints
    measured: Bools

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, cells: Ints) -> Labelled:
        """Return the cells at these positions."""
        return replace(
            self, logged=sp.csr_matrix(self.logged[cells]), codes=self.codes[cells], batches=self.batches[cells]
        )

    def balanced(self, n: int, random_state: int) -> Labelled:
        """Return at most n cells, as evenly over the labels as their numbers of cells allow."""
        if len(self) <= n:
            return self
        rng, kept, left = np.random.default_rng(random_state), [], n
        groups = sorted((np.flatnonzero(self.codes == code) for code in np.unique(self.codes)), key=len)
        for i, cells in enumerate(groups):
            share = min(len(cells), left // (len(groups) - i))
            kept.append(rng.permutation(cells)[:share])
            left -= share
        return self.at(np.sort(np.concatenate(kept)))


class View(Protocol):
    """A view of cells, fitted on a reference. A cell's points and shares depend on that cell alone."""

    name: ClassVar[str]

    @property
    def genes(self) -> Ints:
        """(m,) ascending positions of the genes that it reads."""
        ...

    def project(self, known: Cells) -> Floats:
        """Return (n, d) points: what is kept of each of (n, g) cells."""
        ...

    def shares(self, points: Floats) -> Doubles:
        """Return (n, L) the share of each label, which sum to one, by (n, d) points."""
        ...

    def contributions(self, known: Cells, code: Ints, other: Ints) -> Cells:
        """Return (n, g) by how much each gene speaks for label `code` of each cell, against label `other`."""
        ...

    def arrays(self) -> Arrays:
        """Return what is saved."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return the view of which `arrays` was saved."""
        ...
