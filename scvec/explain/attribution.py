"""Which genes make a call: what each adds to the similarity with the label called, against the runner-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.core.types import Doubles, Floats, Ints, Strings
from scvec.errors import InputError, unknown

if TYPE_CHECKING:
    import polars as pl
    from anndata import AnnData


@dataclass(frozen=True, slots=True)
class Attribution:
    """What genes contribute to the calls of G groups of cells, or of single ones.

    The similarity of a cell with a label is the mean cosine with the label's cells in the atlas. Contributions of all g
    genes and `baseline` add up to `similarity` - `similarity_against`, to rounding.

    Attributes
    ----------
    groups
        (G,) their names; a single cell's own.
    n_cells
        (G,) how many cells each has; those without expression on the atlas's genes are left out.
    label, against
        (G,) the label that is explained: that with most of the cells' votes; and the one it is compared with.
    similarity, similarity_against
        (G,) mean over the cells.
    baseline
        (G,) of the difference, what no gene makes: that of a cell which expresses all genes as the labels' mean does; 0
        for a recipe without a head.
    gene_ids, symbols, var_names
        (g,) the atlas's genes; "" where one has no symbol, or the query does not measure it.
    contributions
        (G, g) mean over the cells.
    excess
        (G, g) mean over the cells of how much of a gene there is above what it is counted from (for a head, the mean
        cell; else nothing), in units of the cell's length or sum.
    """

    groups: Strings
    n_cells: Ints
    label: Strings
    against: Strings
    similarity: Doubles
    similarity_against: Doubles
    baseline: Doubles
    gene_ids: Ints
    symbols: Strings
    var_names: Strings
    contributions: Floats
    excess: Floats

    def __len__(self) -> int:
        return len(self.groups)

    def to_frame(self, n_genes: int = 20) -> pl.DataFrame:
        """Return the genes that contribute most for and against each call, 2 `n_genes` rows a group at most.

        ``expressed`` is ``"above"`` or ``"below"`` what the gene is counted from: a gene that a cell lacks can speak
        for its label too.

        Raises
        ------
        InputError
            If `n_genes` is below 1.
        """
        import polars as pl

        if n_genes < 1:
            raise InputError(f"n_genes {n_genes}", "at least 1", "give a larger number")
        groups, genes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for i, values in enumerate(self.contributions):
            order = np.argsort(-values, kind="stable")
            ends = np.concatenate([order[:n_genes], order[-n_genes:]]) if 2 * n_genes < len(order) else order
            genes.append(ends[values[ends] != 0])
            groups.append(np.full(len(genes[-1]), i))
        group, gene = np.concatenate(groups), np.concatenate(genes)
        return pl.DataFrame(
            {
                "group": self.groups[group].tolist(),
                "label": self.label[group].tolist(),
                "against": self.against[group].tolist(),
                "gene_id": self.gene_ids[gene],
                "symbol": self.symbols[gene].tolist(),
                "contribution": self.contributions[group, gene],
                "expressed": np.where(self.excess[group, gene] > 0, "above", "below").tolist(),
            },
            schema_overrides=dict.fromkeys(("group", "label", "against", "symbol", "expressed"), pl.String),
        )

    def to_dict(self, n_genes: int = 20) -> list[dict[str, Any]]:
        """Return each group with the genes of `to_frame`, as JSON types."""
        import polars as pl

        frame = self.to_frame(n_genes)
        return [
            {
                "group": str(name),
                "n_cells": int(self.n_cells[i]),
                "label": str(self.label[i]),
                "against": str(self.against[i]),
                "similarity": round(float(self.similarity[i]), 6),
                "similarity_against": round(float(self.similarity_against[i]), 6),
                "baseline": round(float(self.baseline[i]), 6),
                "genes": frame.filter(pl.col("group") == name).drop("group", "label", "against").to_dicts(),
            }
            for i, name in enumerate(self.groups.tolist())
        ]

    def to_adata(self, adata: AnnData, groupby: str = "scvec_label", n_genes: int = 100) -> AnnData:
        """Return a copy of `adata` with ``uns["scvec_genes"]``, in the form of scanpy's ranked genes.

        ``sc.pl.rank_genes_groups_dotplot(adata, key="scvec_genes")`` and its like show them at once. Genes that speak
        for a group's label come first, by contribution; those that `adata` does not name are left out.

        Parameters
        ----------
        adata
            The query; not changed.
        groupby
            The column of ``obs`` whose groups were explained.
        n_genes
            For each group.

        Raises
        ------
        InputError
            If `adata` has no such column, or this one has not the groups that were explained.
        """
        if groupby not in adata.obs:
            raise unknown("column for groupby", groupby, adata.obs.columns.tolist(), "obs")
        missing = sorted(set(self.groups.tolist()) - set(adata.obs[groupby].astype(str)))
        if missing:
            raise InputError(f"obs[{groupby!r}] has no group {missing[0]}", "the groups explained", "name their column")
        here = np.flatnonzero(np.isin(self.var_names.astype(str), adata.var_names.astype(str)))
        order = here[np.argsort(-self.contributions[:, here], axis=1, kind="stable")[:, :n_genes]]
        names = [str(one) for one in self.groups]
        result = adata.copy()
        result.uns["scvec_genes"] = {
            # "logreg" is what tells scanpy that scores come without p-values.
            "params": {"groupby": groupby, "reference": "rest", "method": "logreg", "use_raw": False, "layer": None},
            "names": _record({name: self.var_names[one] for name, one in zip(names, order, strict=True)}),
            "scores": _record({name: self.contributions[i, order[i]] for i, name in enumerate(names)}),
        }
        return result


def _record(columns: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    """Return an array with a field for each column."""
    made = np.empty(len(next(iter(columns.values()))), [(name, one.dtype) for name, one in columns.items()])
    for name, one in columns.items():
        made[name] = one
    return made.view(np.recarray)
