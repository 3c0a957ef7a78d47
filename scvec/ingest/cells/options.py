"""How cells are read, as a frozen value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from scvec.ingest.cells.deciding import AskedScale
from scvec.ingest.cells.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How cells are read.

    Attributes
    ----------
    obs
        A table of further annotations of the cells: see `scvec.ingest.open_cells`.
    only
        Read only cells that fulfil this condition on their annotations, in SQL: ``"donor = 'human3'"``. Values go into
        single quotes, names of columns with blanks into backticks; a missing or blank value is NULL.
    only_annotated
        Read only cells that the table `obs` has.
    unlabelled
        Labels that mean that a cell has none, in addition to the usual ones (``"nan"``, ``"Unknown"``,
        ``"unassigned"``, ...). Case is ignored. Such cells, and those whose label is missing, are left out of an atlas,
        a training and an evaluation.
    layer, scale
        The matrix to read (``"X"``, the default; ``"raw"``; or a layer's name), and the scale of its
        values: ``"counts"`` (also with fractions), ``"linear"`` (TPM, CPM: any values without a logarithm),
        ``"log1p"``, ``"log2"`` or ``"log10"`` (of x + 1), ``"log1p_twice"``, ``"sqrt"``, or ``"auto"``, which finds it.
    gene_key
        Column of ``var`` with the genes' names; None: ``var_names``, or, where these match too little, the usual column
        that matches most.
    taxon
        Species of the cells: ``"human"``, ``"mouse"``, ``"rat"`` or an NCBI taxon id. None: for a reference, the
        species whose genes fit best; for a query, the atlas's.
    use_rep
        An array of ``obsm``, such as ``"X_scVI"``, whose rows are the cells' vectors, in place of vectors that scvec
        makes of expression. The query's must be made by the same model as the reference's. None: for a query, the
        array with which the atlas was built, if it was built with one.
    """

    obs: str | Path | None = None
    layer: str | None = None
    scale: AskedScale = "auto"
    gene_key: str | None = None
    taxon: str | int | None = None
    use_rep: str | None = None
    only: str | None = None
    only_annotated: bool = False
    unlabelled: Sequence[str] = ()

    @property
    def selection(self) -> Selection:
        """Which cells are read."""
        return Selection(only=self.only, only_annotated=self.only_annotated)

    def labelled(self, label_key: str) -> Selection:
        """Which cells are read where they need a label in this column."""
        return replace(self.selection, label_key=label_key, unlabelled=tuple(self.unlabelled))


class ReadChanges(TypedDict, total=False):
    """The fields of `ReadOptions`, as keywords."""

    obs: str | Path | None
    layer: str | None
    scale: AskedScale
    gene_key: str | None
    taxon: str | int | None
    use_rep: str | None
    only: str | None
    only_annotated: bool
    unlabelled: Sequence[str]
