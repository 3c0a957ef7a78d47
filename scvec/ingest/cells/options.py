"""How cells are read, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from scvec.ingest.cells.deciding import AskedScale


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How cells are read.

    Attributes
    ----------
    obs
        A table of further annotations of the cells: see `scvec.ingest.open_cells`.
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


class ReadChanges(TypedDict, total=False):
    """The fields of `ReadOptions`, as keywords."""

    obs: str | Path | None
    layer: str | None
    scale: AskedScale
    gene_key: str | None
    taxon: str | int | None
    use_rep: str | None
