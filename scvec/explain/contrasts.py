"""How two groups of cells differ, gene by gene: in an atlas's embedding and in expression."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from scvec._version import __version__
from scvec.annotation.result import Annotation
from scvec.atlas.query_cells import QueryCells
from scvec.core.html import table
from scvec.core.progress import shown
from scvec.core.tabular import Tabular
from scvec.core.text import counted
from scvec.core.types import Doubles, Ints, Progress, Strings
from scvec.errors import InputError, LabelError, unknown
from scvec.explain.streaming import GroupedCells, compared, contributed, require_genes
from scvec.ingest.cells import CellFile
from scvec.ingest.cells.options import ReadOptions

if TYPE_CHECKING:
    import polars as pl

By: TypeAlias = Literal["attribution", "expression"]
Side: TypeAlias = Literal["a", "b"]

FEWEST = 2
"""Cells that a group needs, to have a variance."""

N_SHOWN = 10
"""Genes of a side that a notebook shows."""


@dataclass(frozen=True, slots=True)
class Contrast(Tabular):
    """What g genes contribute to the difference between two groups of cells, A and B.

    The direction is from the mean vector of B's cells to that of A's. A gene's contribution is what it adds to how far
    A's cells lie beyond B's in that direction; contributions of all genes and `baseline` add up to `distance`. A
    contribution is positive for a gene that A has more of and that points to A, and also for a gene that B has more of
    and that points to B; it is negative for a gene whose difference makes the groups more alike. Swapping A and B keeps
    every contribution, and changes the sign of every `attribution`, `t` and `log2_fold_change`.

    Attributes
    ----------
    a, b
        The groups' names.
    n_cells
        Number of cells of each; cells that express none of the atlas's genes are left out.
    distance
        Distance between the groups' mean vectors.
    baseline
        The part of the distance that no gene contributes: 0, up to rounding.
    gene_ids, symbols
        (g,) the atlas's genes that the file measures.
    contribution
        (g,) what each gene adds to `distance`.
    more
        (g,) how much more of the gene A has, in units of a cell's length or sum, as the atlas's recipe scales it.
    means, shares
        (2, g) of A and B: mean log-normalised expression, and the share of cells that express the gene.
    log2_fold_change
        (g,) log2 of (mean + 1) of A over B, of expression normalised to the recipe's total, as in Seurat.
    t, p_value
        (g,) Welch's t-test of log-normalised expression, positive where A has more. It treats cells as independent, and
        cells of one donor are not: p-values rank genes, and overstate the evidence.
    fdr
        (g,) the p-values adjusted by Benjamini and Hochberg.
    notes
        What a reader should know, one line each.
    provenance
        What was compared, and how, as JSON types.
    """

    a: str
    b: str
    n_cells: tuple[int, int]
    distance: float
    baseline: float
    gene_ids: Ints
    symbols: Strings
    contribution: Doubles
    more: Doubles
    means: Doubles
    shares: Doubles
    log2_fold_change: Doubles
    t: Doubles
    p_value: Doubles
    fdr: Doubles
    notes: tuple[str, ...]
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.gene_ids)

    def __repr__(self) -> str:
        a, b = (f"{name} ({counted(n, 'cell')})" for name, n in zip((self.a, self.b), self.n_cells, strict=True))
        return f"Contrast: {a} and {b}, {counted(len(self), 'gene')}, distance {self.distance:.4f}"

    def _repr_html_(self) -> str:
        rows = [
            (self.name(side), str(self.symbols[i]), float(self.attribution[i]), float(self.log2_fold_change[i]))
            for side in ("a", "b")
            for i in self.top("attribution", side, N_SHOWN)
        ]
        return table(repr(self), ("more in", "gene", "attribution", "log2 fold change"), rows)

    @property
    def attribution(self) -> Doubles:
        """(g,) the contribution with the sign of `more`; 0 for a gene that makes the groups more alike."""
        return np.asarray(np.sign(self.more) * np.maximum(self.contribution, 0))

    def statistic(self, by: By) -> Doubles:
        """Return (g,) the values that genes are ranked by, highest for A: `attribution`, or `t`."""
        return self.attribution if by == "attribution" else self.t

    def order(self, by: By) -> Ints:
        """Return (g,) positions of the genes, A's first and B's last; ties by `more` and the gene's id."""
        return np.lexsort((self.gene_ids, -self.more, -self.statistic(by)))

    def top(self, by: By, side: Side, n: int) -> Ints:
        """Return positions of the first n genes of a side, in order; fewer, if fewer speak for it."""
        order = self.order(by) if side == "a" else self.order(by)[::-1]
        statistic = self.statistic(by)[order]
        return order[(statistic > 0) if side == "a" else (statistic < 0)][:n]

    def name(self, side: Side) -> str:
        """Return the name of a side's group."""
        return self.a if side == "a" else self.b

    def to_polars(self) -> pl.DataFrame:
        """Return one row for each gene, in the order of attribution."""
        import polars as pl

        order = self.order("attribution")
        columns = {
            "gene_id": self.gene_ids,
            "symbol": self.symbols,
            "attribution": self.attribution,
            "contribution": self.contribution,
            "t": self.t,
            "p_value": self.p_value,
            "fdr": self.fdr,
            "log2_fold_change": self.log2_fold_change,
            "mean_a": self.means[0],
            "mean_b": self.means[1],
            "share_a": self.shares[0],
            "share_b": self.shares[1],
        }
        return pl.DataFrame({name: values[order].tolist() for name, values in columns.items()})


def contrast(
    cells: Annotation | QueryCells,
    a: str,
    b: str,
    *,
    group_key: str | None = None,
    progress: Progress | None = None,
) -> Contrast:
    """Compare two groups of cells, gene by gene, in two passes over them. Memory grows with genes only.

    Parameters
    ----------
    cells
        The calls, whose query is read again; or cells that were not called, from `scvec.query_cells`. They need not be
        of types that their atlas has: it gives the embedding that attributions refer to, and its cells are not used.
    a, b
        The groups' names.
    group_key
        The column of the cells' ``obs`` with the groups; None: the groups are labels called.
    progress
        Shows how many cells are done.

    Raises
    ------
    KeyNotFoundError
        If there is no such column or group.
    LabelError
        If a group has fewer than two cells that express the atlas's genes.
    InputError
        If `a` and `b` are the same, the cells were changed since they were annotated, or there are neither calls nor
        `group_key`.
    """
    calls, query = (cells, cells.query) if isinstance(cells, Annotation) else (None, cells)
    atlas, progress = query.atlas, shown(progress)
    require_genes(atlas)
    if a == b:
        raise InputError(f"both groups are {a!r}", "two different groups", "name another group")
    with query.opened() as opened:
        codes = _codes(opened.file, (a, b), group_key, calls)
        _enough(opened.file, codes, (a, b))
        grouped = GroupedCells(opened, codes)
        moments, way = compared(grouped, progress)
        _enough(opened.file, codes, (a, b))
        made = contributed(grouped, np.stack([way, way]), "attributing", progress)
    has, added = opened.measured, made.genes[0] - made.genes[1]
    t, p_value = moments.welch()
    return Contrast(
        a=a,
        b=b,
        n_cells=(int(moments.n_cells[0]), int(moments.n_cells[1])),
        distance=float(made.total[0] - made.total[1]),
        baseline=float(made.baseline[0] - made.baseline[1]),
        gene_ids=atlas.embedding.gene_ids[has],
        symbols=atlas.gene_symbols[has],
        contribution=added[has],
        more=(made.excess[0] - made.excess[1])[has],
        means=moments.means[:, has],
        shares=moments.shares[:, has],
        log2_fold_change=moments.log2_fold_change[has],
        t=t[has],
        p_value=p_value[has],
        fdr=false_discovery(p_value[has]),
        notes=(*query.notes, *_notes(added)),
        provenance=_about(query, group_key),
    )


def false_discovery(p_values: Doubles) -> Doubles:
    """Return p-values adjusted by Benjamini and Hochberg (10.1111/j.2517-6161.1995.tb02031.x)."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p_values), np.float64)


def _codes(file: CellFile, names: tuple[str, str], group_key: str | None, calls: Annotation | None) -> Ints:
    """Return (n,) 0 for a cell of the first group, 1 for one of the second, -1 for others."""
    if group_key is not None:
        groups = file.groups(group_key, "group_key")
    elif calls is not None:
        groups = calls.label
    else:
        raise InputError("cells without calls have no groups", "calls, or `group_key`", "annotate the cells")
    there = set(groups.tolist()) - {""}
    codes = np.full(len(groups), -1, np.int64)
    for i, name in enumerate(names):
        if name not in there:
            kind = "label called" if group_key is None else f"group in obs[{group_key!r}]"
            raise unknown(kind, name, sorted(there), file.path)
        codes[groups == name] = i
    return codes


def _enough(file: CellFile, codes: Ints, names: tuple[str, str]) -> None:
    for name, n in zip(names, np.bincount(codes[codes >= 0], minlength=2).tolist(), strict=True):
        if n < FEWEST:
            seen = f"{file.path}: {counted(n, 'cell')} in {name!r} with expression on the atlas's genes"
            raise LabelError(seen, f"at least {FEWEST}", "name a larger group")


def _notes(contribution: Doubles) -> list[str]:
    """Return a note on the genes that make the groups more alike, and by how much."""
    whole, back = float(contribution.sum()), -float(np.minimum(contribution, 0).sum())
    if not whole > 0:
        return ["the groups lie in the same place in the atlas's embedding: attributions are meaningless"]
    n_back = int((contribution < 0).sum())
    make = "makes" if n_back == 1 else "make"
    return [f"{counted(n_back, 'gene')} {make} the groups more alike, by {back / whole:.0%} of the distance"]


def _about(query: QueryCells, group_key: str | None) -> dict[str, Any]:
    made = query.atlas.manifest
    read = {one.name: getattr(query.read, one.name) for one in fields(ReadOptions)}
    read = {name: None if value is None else str(value) for name, value in read.items() if value not in (False, ())}
    return {
        "scvec": __version__,
        "atlas": {key: made[key] for key in ("name", "version", "recipe", "recipe_sha256")},
        "query": {"file": query.name, "group": group_key or "labels called", **read},
    }
