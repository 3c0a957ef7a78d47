"""How two groups of cells differ, gene by gene: in an atlas's embedding, and in what they express."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from scvec._version import __version__
from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.atlas.query_cells import match_to_atlas, placed
from scvec.core.types import Doubles, Ints, Progress, Strings, silent
from scvec.errors import InputError, LabelError, unknown
from scvec.explain.streaming import TwoGroups, attributed, compared
from scvec.ingest.cells import CellFile, open_cells
from scvec.ingest.cells.options import ReadOptions

if TYPE_CHECKING:
    import polars as pl

By: TypeAlias = Literal["attribution", "expression"]
Side: TypeAlias = Literal["a", "b"]

FEWEST = 2
"""Cells of a group; of fewer there is no variance."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """What g genes have to do with the difference of two groups of cells, A and B.

    The direction is from the mean vector of B's cells to that of A's. A gene's contribution is what it adds to how far
    A's cells lie in that direction beyond B's; those of all genes and `baseline` add up to `distance`. It is above zero
    for a gene that A has more of and that points to A, and as well for one that B has more of and that points to B; it
    is below zero for a gene whose difference makes the groups more alike. Swapping A and B changes no contribution,
    and the sign of every `attribution`, `t` and `log2_fold_change`.

    Attributes
    ----------
    a, b
        The groups.
    n_cells
        How many cells each has; those without expression on the atlas's genes are left out.
    distance
        Between the groups' mean vectors.
    baseline
        The part of it that no gene makes: 0, but for rounding.
    gene_ids, symbols
        (g,) the atlas's genes that the file measures.
    contribution
        (g,) what each adds to `distance`.
    more
        (g,) how much more of it A has, in units of a cell's length or sum, as the atlas's recipe has it.
    means, shares
        (2, g) of A and B: mean log-normalised expression, and the share of the cells that express it.
    log2_fold_change
        (g,) log2 of (mean + 1) of A over B, of expression normalised to the recipe's total, as in Seurat.
    t, p_value
        (g,) Welch's t-test of log-normalised expression, above 0 where A has more. It takes cells for independent, and
        those of one donor are not: p-values order genes and overstate how sure one can be.
    fdr
        (g,) the p-values adjusted by Benjamini and Hochberg.
    notes
        What a reader should know, a line each.
    provenance
        What was compared, and by what, as JSON types.
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

    @property
    def attribution(self) -> Doubles:
        """(g,) the contribution, negative where B has more; 0 for a gene that makes the groups more alike."""
        return np.asarray(np.sign(self.more) * np.maximum(self.contribution, 0))

    def statistic(self, by: By) -> Doubles:
        """Return (g,) what genes are ranked by, highest for A: `attribution`, or `t`."""
        return self.attribution if by == "attribution" else self.t

    def order(self, by: By) -> Ints:
        """Return (g,) positions of the genes, A's first and B's last; ties by `more` and the gene's id."""
        return np.lexsort((self.gene_ids, -self.more, -self.statistic(by)))

    def top(self, by: By, side: Side, n: int) -> Ints:
        """Return positions of the first n genes of a side, the first one first; fewer, if fewer speak for it."""
        order = self.order(by) if side == "a" else self.order(by)[::-1]
        statistic = self.statistic(by)[order]
        return order[(statistic > 0) if side == "a" else (statistic < 0)][:n]

    def name(self, side: Side) -> str:
        """Return the name of a side's group."""
        return self.a if side == "a" else self.b

    def to_frame(self) -> pl.DataFrame:
        """Return one row a gene, in the order of attribution."""
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
    query: str | Path,
    atlas: Atlas,
    a: str,
    b: str,
    *,
    group_key: str | None = None,
    calls: Annotation | None = None,
    reading: ReadOptions | None = None,
    progress: Progress = silent,
) -> Contrast:
    """Compare two groups of a file's cells, gene by gene, in two passes over the file; memory goes by genes.

    Parameters
    ----------
    query, reading
        The file, and how it is read. Its cells need not be of the atlas's labels.
    atlas
        Its embedding is what attribution is taken in; none of its cells is looked at.
    a, b
        The groups.
    group_key
        The column of the file's ``obs`` that has them.
    calls
        In its place: calls of the file's cells; the groups are labels called.

    Raises
    ------
    KeyNotFoundError
        If there is no such column or group.
    LabelError
        If a group has fewer than two cells with expression on the atlas's genes.
    InputError
        If both groups are one, or the file's cells are not those of `calls`.
    """
    reading = reading or ReadOptions()
    if a == b:
        raise InputError(f"both groups are {a!r}", "two groups", "name another one")
    with open_cells(query, reading.obs) as file:
        codes = _codes(file, (a, b), group_key, calls)
        _enough(file, codes, (a, b))
        with file.matrix(reading.layer, reading.scale) as matrix:
            match, said = match_to_atlas(matrix, atlas, reading.gene_key, reading.taxon)
            cells = TwoGroups(matrix, atlas, *placed(match, atlas), codes)
            moments, towards = compared(cells, progress)
            _enough(file, codes, (a, b))
            added, more, along, baseline = attributed(cells, towards, progress)
        about = _about(file, atlas, group_key, reading)
    has = cells.measured
    t, p_value = moments.welch()
    return Contrast(
        a=a,
        b=b,
        n_cells=(int(moments.n_cells[0]), int(moments.n_cells[1])),
        distance=float(along[0] - along[1]),
        baseline=float(baseline[0] - baseline[1]),
        gene_ids=atlas.embedding.gene_ids[has],
        symbols=atlas.gene_symbols[has],
        contribution=(added[0] - added[1])[has],
        more=(more[0] - more[1])[has],
        means=moments.means[:, has],
        shares=moments.shares[:, has],
        log2_fold_change=moments.log2_fold_change[has],
        t=t[has],
        p_value=p_value[has],
        fdr=false_discovery(p_value[has]),
        notes=(*file.notes, *said, *_notes(added[0] - added[1])),
        provenance=about,
    )


def false_discovery(p_values: Doubles) -> Doubles:
    """Return p-values adjusted by Benjamini and Hochberg (10.1111/j.2517-6161.1995.tb02031.x)."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p_values), np.float64)


def _codes(file: CellFile, names: tuple[str, str], group_key: str | None, calls: Annotation | None) -> Ints:
    """Return (n,) 0 for a cell of the first group, 1 for one of the second, -1 for others."""
    if (group_key is None) == (calls is None):
        raise InputError("a column of groups and calls, or neither", "one of the two", "give group_key or calls")
    if calls is not None and file.obs_names.tolist() != calls.obs_names.tolist():
        raise InputError(f"{file.path} has other cells than the calls", "those that were annotated", "annotate them")
    groups = calls.label if calls is not None else file.labels(str(group_key), "--group")
    there = set(groups.tolist())
    codes = np.full(len(groups), -1, np.int64)
    for i, name in enumerate(names):
        if name not in there:
            kind = "label called" if group_key is None else f"obs[{group_key!r}]"
            raise unknown(f"{kind} for --contrast", name, sorted(there), file.path)
        codes[groups == name] = i
    return codes


def _enough(file: CellFile, codes: Ints, names: tuple[str, str]) -> None:
    for name, n in zip(names, np.bincount(codes[codes >= 0], minlength=2).tolist(), strict=True):
        if n < FEWEST:
            seen = f"{file.path}: {n} cell{'s' * (n != 1)} in {name!r} with expression on the atlas's genes"
            raise LabelError(seen, f"at least {FEWEST}", "name a larger group")


def _notes(contribution: Doubles) -> list[str]:
    """Say how much of the difference genes take back that make the groups more alike."""
    whole, back = float(contribution.sum()), -float(np.minimum(contribution, 0).sum())
    if not whole > 0:
        return ["the groups lie in the same place in the atlas's embedding: no gene is attributed anything of use"]
    return [
        f"{int((contribution < 0).sum()):,} genes make the groups more alike, by {back / whole:.0%} of the distance"
    ]


def _about(file: CellFile, atlas: Atlas, group_key: str | None, reading: ReadOptions) -> dict[str, Any]:
    made = atlas.manifest
    read = {name: None if value is None else str(value) for name, value in asdict(reading).items()}
    return {
        "scvec": __version__,
        "atlas": {key: made[key] for key in ("name", "version", "recipe", "recipe_sha256")},
        "query": {"file": file.path.name, "group": group_key or "labels called", **read},
    }
