"""Queries for genes whose right answers are known from other data than the texts that are searched."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

import scvec as sv
from benchmarks.common import DATA
from scvec.atlas import Atlas
from scvec.core.types import Ints
from scvec.ingest.genes.template import SUMMARY

GENE_SETS = DATA / "genesets" / "c5.go.bp.v2023.2.Hs.symbols.gmt.gz"
FEWEST, MOST = 10, 150
"""Genes of the GO processes that are searched for."""


@dataclass(frozen=True)
class GeneQuery:
    """Words, and the genes that they describe or name."""

    words: str
    right: frozenset[int]


def query_sets(
    atlas: Atlas, other: sv.ingest.GeneTexts, human: sv.ingest.GeneTexts, n: int
) -> dict[str, list[GeneQuery]]:
    """Return n queries of each kind for the genes of an atlas.

    Parameters
    ----------
    atlas
        The reference.
    other
        Gene texts of the other species, whose summaries describe orthologs in other words.
    human
        Human gene texts, for the symbols in gene sets.
    n
        Queries of each kind, drawn with a fixed seed.
    """
    known = pl.col("gene_id").is_in(atlas.profiles.gene_ids.tolist()) & (pl.col("gene_type") == "protein-coding")
    genes = atlas.texts.frame.filter(known)
    own = genes.filter(pl.col("source") == SUMMARY)
    return {
        "symbol": [_query(row["symbol"], row) for row in _drawn(genes, n)],
        "alias": [_query(row["aliases"][0], row) for row in _drawn(genes.filter(pl.col("aliases").list.len() > 0), n)],
        "Ensembl id": [
            _query(row["ensembl_ids"][0], row) for row in _drawn(genes.filter(pl.col("ensembl_ids").list.len() > 0), n)
        ],
        "other name": list(_other_names(own, n)),
        "ortholog's summary": list(_orthologs(own, other, atlas.texts.taxon_id == human.taxon_id, n)),
        "GO process": _processes(genes, human, atlas.texts.taxon_id == human.taxon_id, n),
    }


def _drawn(frame: pl.DataFrame, n: int) -> Iterator[dict[str, Any]]:
    """Yield n rows, or all if there are fewer."""
    return frame.sample(min(n, len(frame)), seed=1, shuffle=True).iter_rows(named=True)


def _query(words: str, row: dict[str, Any]) -> GeneQuery:
    return GeneQuery(words, frozenset({row["gene_id"]}))


def _other_names(own: pl.DataFrame, n: int) -> Iterator[GeneQuery]:
    """Yield designations of several words that are not in the text of their gene: a text with a summary has none."""
    for row in _drawn(own, n):
        text = row["text"].lower()
        found = [one for one in row["designations"] if " " in one and one.lower() not in text]
        if found:
            yield _query(found[0], row)


def _orthologs(own: pl.DataFrame, other: sv.ingest.GeneTexts, is_human: bool, n: int) -> Iterator[GeneQuery]:
    """Yield the first sentence of what NCBI says of the ortholog, without the names of both genes."""
    theirs = other.frame.filter(pl.col("source") == SUMMARY)
    columns = {f"their_{name}": pl.col(name) for name in ("symbol", "full_name", "aliases", "summary")}
    key = "human_ortholog" if is_human else "gene_id"
    pairs = own.join(
        theirs.select(ortholog=pl.col(key), **columns),
        left_on="gene_id" if is_human else "human_ortholog",
        right_on="ortholog",
    )
    for row in _drawn(pairs, n):
        said = _sentence(row["their_summary"])
        if said == _sentence(row["summary"]):
            continue
        names = [row[f"{whose}{name}"] for whose in ("", "their_") for name in ("symbol", "full_name")]
        yield _query(_without(said, [*names, *row["aliases"], *row["their_aliases"]]), row)


def _sentence(text: str) -> str:
    return re.split(r"(?<=[.])\s", text)[0]


def _without(text: str, names: list[str]) -> str:
    for name in sorted({one for one in names if one}, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}s?\b", "", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def _processes(genes: pl.DataFrame, human: sv.ingest.GeneTexts, is_human: bool, n: int) -> list[GeneQuery]:
    """Return names of GO processes, with their genes."""
    of_human = genes.select(human="gene_id" if is_human else "human_ortholog", own="gene_id").drop_nulls()
    own = dict(of_human.iter_rows())
    ids = {symbol: own[gene] for symbol, gene in human.frame.select("symbol", "gene_id").iter_rows() if gene in own}
    found = []
    with gzip.open(GENE_SETS, "rt", encoding="utf-8") as lines:
        for line in lines:
            name, _, *symbols = line.rstrip("\n").split("\t")
            right = frozenset(ids[one] for one in symbols if one in ids)
            if FEWEST <= len(right) <= MOST:
                found.append(GeneQuery(name.removeprefix("GOBP_").replace("_", " ").lower(), right))
    chosen = np.random.default_rng(0).permutation(len(found))[:n]
    return [found[i] for i in chosen]


def judged(ordered: Ints, right: frozenset[int]) -> tuple[float, float]:
    """Return 1 / rank of the first right gene (0 if none is found), and whether it is among the first ten."""
    hits = np.flatnonzero(np.isin(ordered, list(right)))
    return (1 / (1 + float(hits[0])), float(hits[0] < 10)) if len(hits) else (0.0, 0.0)
