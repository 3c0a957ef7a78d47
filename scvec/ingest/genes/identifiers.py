"""From names to genes: each name is resolved by the first route that knows it, or by none.

| route | a name | example |
| --- | --- | --- |
| ensembl | is an Ensembl gene id, without its version | ENSG00000254647.7 |
| entrez | is a number: an Entrez id | 3630 |
| symbol | is exactly a symbol | INS |
| spelling | is a symbol but for case, or for ``-`` and ``_`` as R and Seurat rewrite them | ins, HLA.A |
| alias | is an alias or a previous symbol of one gene only, exactly or as in "spelling" | H3F3A |

A name of several genes is ambiguous. If they share a symbol or an id, it resolves to the only protein-coding gene among
them; if they share an alias or a spelling, to none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np
import polars as pl

from scvec.core.types import Ints, Strings, freeze

Route: TypeAlias = Literal["ensembl", "entrez", "symbol", "spelling", "alias"]
ROUTES: tuple[Route, ...] = get_args(Route)
EXACT: frozenset[Route] = frozenset({"ensembl", "entrez", "symbol"})
"""Routes that tell the species of a gene."""

Names: TypeAlias = Mapping[str, int | None]
"""Gene by name; None for an ambiguous name."""

MAX_DIGITS = 18
DENSE = 0.6
"""Numbers are row numbers if they are more than this share of all numbers up to the largest."""

NUMBERED = re.compile(r"(?:gene|Gene|feature|Feature|V|X|var|g)[-_. ]?\d+")
ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{11})(?:\.\d+)?(?:_PAR_Y)?")


@dataclass(frozen=True, slots=True)
class Resolved:
    """Names resolved to genes.

    Attributes
    ----------
    columns
        (m,) positions of the resolved names, ascending.
    gene_ids
        (m,) the gene of each.
    routes
        (m,) the `Route` of each.
    ambiguous
        Positions of the ambiguous names, ascending.
    """

    columns: Ints
    gene_ids: Ints
    routes: Strings
    ambiguous: Ints

    def __post_init__(self) -> None:
        for name in ("columns", "gene_ids", "routes", "ambiguous"):
            object.__setattr__(self, name, freeze(getattr(self, name)))


class Identifiers:
    """The names of the genes of a release.

    Parameters
    ----------
    genes
        Table with `gene_id`, `symbol`, `aliases`, `ensembl_ids` and `gene_type`.
    """

    def __init__(self, genes: pl.DataFrame) -> None:
        self._genes = genes

    def resolve(self, names: Strings, *, exact: bool = False) -> Resolved:
        """Resolve (n,) names by the table at the top of this file; with `exact`, by the routes in `EXACT` only."""
        found: list[tuple[int, int, Route]] = []
        ambiguous = []
        for column, name in enumerate(names.tolist()):
            gene, route = self._resolve(name, exact)
            if route is None:
                continue
            if gene is None:
                ambiguous.append(column)
            else:
                found.append((column, gene, route))
        columns, gene_ids, routes = zip(*found, strict=True) if found else ((), (), ())
        return Resolved(
            np.array(columns, np.int64),
            np.array(gene_ids, np.int64),
            np.array(routes, dtype=object),
            np.array(ambiguous, np.int64),
        )

    def meant(self, name: str) -> tuple[list[int], Route | None]:
        """Return the genes that a name may mean, ascending, and the route: of an ambiguous name, several genes."""
        gene, route = self._resolve(name, exact=False)
        if gene is not None or route is None:
            return ([] if gene is None else [gene]), route
        column = {"ensembl": "ensembl_ids", "alias": "aliases"}.get(route, "symbol")
        pairs = self._genes.select("gene_id", pl.col(column).alias("name"))
        if pairs.schema["name"] == pl.List:
            pairs = pairs.explode("name")
        ensembl = ENSEMBL.fullmatch(name.upper())
        as_spelt = route == "spelling" or (route == "alias" and name not in self._by_alias)
        wanted = ensembl[1] if route == "ensembl" and ensembl else spelt(name) if as_spelt else name
        match = (SPELT if as_spelt else pl.col("name")).eq(wanted)
        return pairs.filter(match)["gene_id"].unique().sort().to_list(), route

    def has_alias(self, name: str) -> bool:
        """Whether a name is exactly an alias, of one gene or of several."""
        return name in self._by_alias

    def _resolve(self, name: str, exact: bool) -> tuple[int | None, Route | None]:
        """Return gene and route; no gene and a route for an ambiguous name; neither for an unknown one."""
        if name.isascii() and name.isdigit() and len(name) <= MAX_DIGITS:
            return (int(name), "entrez") if int(name) in self._ids else (None, None)
        if name[:3].upper() == "ENS":
            ensembl = ENSEMBL.fullmatch(name.upper())
            if ensembl:
                return self._by_ensembl.get(ensembl[1]), "ensembl" if ensembl[1] in self._by_ensembl else None
        if name in self._by_symbol:
            return self._by_symbol[name], "symbol"
        if exact:
            return None, None
        bare = spelt(name)
        if bare in self._by_spelling:
            return self._by_spelling[bare], "spelling"
        if name in self._by_alias:
            return self._by_alias[name], "alias"
        if bare in self._by_alias_spelling:
            return self._by_alias_spelling[bare], "alias"
        return None, None

    @cached_property
    def _ids(self) -> frozenset[int]:
        return frozenset(self._genes["gene_id"].to_list())

    @cached_property
    def _by_symbol(self) -> Names:
        return self._index("symbol", prefer_coding=True)

    @cached_property
    def _by_ensembl(self) -> Names:
        return self._index("ensembl_ids", prefer_coding=True)

    @cached_property
    def _by_spelling(self) -> Names:
        return self._index("symbol", as_spelt=True)

    @cached_property
    def _by_alias(self) -> Names:
        return self._index("aliases")

    @cached_property
    def _by_alias_spelling(self) -> Names:
        return self._index("aliases", as_spelt=True)

    def _index(self, column: str, *, as_spelt: bool = False, prefer_coding: bool = False) -> Names:
        """Return gene by name; None for a name of several genes, unless exactly one of them is preferred."""
        coding = pl.col("gene_type") == "protein-coding"
        pairs = self._genes.select(pl.col(column).alias("name"), "gene_id", coding=coding)
        if pairs.schema["name"] == pl.List:
            pairs = pairs.explode("name")
        if as_spelt:
            pairs = pairs.with_columns(SPELT)
        first = pl.when(pl.len() == 1).then(pl.col("gene_id").first())
        only = first.when(pl.lit(prefer_coding) & (pl.col("coding").sum() == 1)).then(
            pl.col("gene_id").filter("coding").first()
        )
        return dict(pairs.drop_nulls("name").unique(["name", "gene_id"]).group_by("name").agg(only).iter_rows())


def are_row_numbers(names: Sequence[str]) -> bool:
    """Whether the names are row numbers, which pandas uses where there are no names; some may have been removed.

    Row numbers ascend from a small one to some ten thousands at most, or are most numbers up to the largest, in any
    order; gene ids, even if sorted, go further.
    """
    if not names or not all(name.isascii() and name.isdigit() and len(name) <= MAX_DIGITS for name in names):
        return False
    numbers = [int(name) for name in names]
    if len(set(numbers)) > DENSE * (max(numbers) + 1):
        return True
    return numbers[0] < 1000 and numbers[-1] < 100_000 and all(one < other for one, other in pairwise(numbers))


def are_unnamed(names: Sequence[str]) -> bool:
    """Whether the names are row numbers, or a word with a number: ``gene_1``."""
    return are_row_numbers(names) or (bool(names) and all(map(NUMBERED.fullmatch, names)))


def spelt(name: str) -> str:
    """Return the form of a name in which symbols are compared if they are not exactly equal."""
    return name.lower().replace(".", "-").replace("_", "-")


SPELT = pl.col("name").str.to_lowercase().str.replace_all(r"[._]", "-")
"""`spelt`, of a column."""
