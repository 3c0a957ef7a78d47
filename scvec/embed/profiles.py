"""What each label expresses on average, and what a cell expresses beyond that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.core.files import save_arrays
from scvec.core.types import Doubles, Floats, Ints, freeze
from scvec.embed.kernel import farthest
from scvec.embed.moments import Moments
from scvec.embed.projection import Mask
from scvec.embed.sample import Sample

ARRAYS = ("gene_ids", "labels", "power", "composition")
N_ODD = 10
"""Number of unexpected genes per cell: those that it expresses farthest above its label."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """The mean cell of each label, over cells scaled to unit length.

    Attributes
    ----------
    gene_ids
        (g,) genes.
    labels
        (L, g) mean cells, in the order of the sorted labels.
    power
        (g,) mean square over all cells; sums to one.
    composition
        (g,) mean share of each gene in a cell's expression over all genes of the reference's matrix.
    """

    gene_ids: Ints
    labels: Floats
    power: Floats
    composition: Floats

    def __post_init__(self) -> None:
        for name in ARRAYS:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @classmethod
    def of(cls, gene_ids: Ints, sample: Sample, target_sum: float) -> Profiles:
        """Return the profiles of a sample scaled to `target_sum`; zeros for a label without cells in it."""
        moments = Moments.of(sample)
        composition = np.asarray(sample.logged.expm1().mean(axis=0, dtype=np.float64)).ravel() / target_sum
        return cls(gene_ids, moments.labels, moments.power, composition.astype(np.float32))

    def share(self, measured: Mask) -> float:
        """Return the mean share of a cell's expression that is on the measured genes."""
        return float(self.composition[measured].sum(dtype=np.float64))

    def excess(self) -> Doubles:
        """Return (L, g) how far each label expresses each gene above the mean of the labels that have a profile.

        In units of the gene's spread between labels plus the median gene's, so that genes with hardly any expression
        count little.
        """
        known = self.labels[self.labels.any(axis=1)]
        spread = known.std(axis=0, dtype=np.float64) if len(known) else np.zeros(self.labels.shape[1])
        spread += np.median(spread[spread > 0]) if spread.any() else 1
        mean = known.mean(axis=0, dtype=np.float64) if len(known) else 0.0
        return np.asarray((self.labels - mean) / spread, np.float64)

    def odd(self, known: sp.csr_matrix[np.float32], measured: Mask, codes: Ints) -> tuple[Floats, Ints]:
        """Return what cells express beyond the label that they are called.

        Parameters
        ----------
        known
            (n, g) log-normalised cells.
        measured
            (g,) True for the genes that their matrix has.
        codes
            (n,) the label of each cell; -1 for none.

        Returns
        -------
        excess
            (n,) total excess of the `N_ODD` genes farthest above the label's mean cell, in units of the cell's length;
            0 for a cell without a label.
        genes
            (n, N_ODD) positions of these genes, the farthest first (ties: in the order of the matrix); -1 if there are
            fewer.
        """
        seen = np.float32(np.sqrt(self.power[measured].sum(dtype=np.float64)))
        return farthest(known, self.labels, codes, seen, N_ODD)

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors."""
        save_arrays(path, {name: getattr(self, name) for name in ARRAYS})

    @classmethod
    def load(cls, path: Path) -> Profiles:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        return cls(**load_file(path))
