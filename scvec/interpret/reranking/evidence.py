"""What a judge is shown of a case: its labels, their definitions, and the genes for and against each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.atlas.query_cells import QueryCells
from scvec.core.types import Floats, Ints, Progress, Strings, silent
from scvec.core.vectors import unit_rows
from scvec.embed.projection import Mask
from scvec.errors import KeyNotFoundError, NotInStoreError
from scvec.interpret.reranking.cases import Cases
from scvec.ontology import Ontology, open_ontology

N_GENES = 6
"""Genes shown for a label, and against it."""

DEFINITION_CHARACTERS, TEXT_CHARACTERS = 300, 150


@dataclass(frozen=True, slots=True)
class Case:
    """A cluster or a cell that a judge is asked about.

    Attributes
    ----------
    name
        Name of the cluster or the cell; not shown to the judge.
    labels
        The candidates in the order of retrieval; the first is the call.
    symbols
        Symbols of the genes in the evidence.
    evidence
        Everything that is shown, as JSON types.
    """

    name: str
    labels: tuple[str, ...]
    symbols: tuple[str, ...]
    evidence: Mapping[str, Any]


def evidence_of(
    cases: Cases,
    asked: Ints,
    calls: Annotation,
    *,
    tissue: str | None = None,
    progress: Progress = silent,
) -> list[Case]:
    """Return the cases at the positions `asked` with their evidence; this reads the query once more.

    Genes are those whose expression in the case's mean cell is farthest above, and farthest below, the label's mean
    cell, on the scale of `scvec.embed.profiles.Profiles.odd`. A label added after the atlas was fitted has none.

    Raises
    ------
    InputError
        If the query was changed since it was annotated.
    """
    if not len(asked):
        return []
    atlas = calls.query.atlas
    means, has = _means(cases, asked, calls.query, progress)
    symbols = atlas.gene_symbols
    usable = np.flatnonzero(has & (symbols != ""))
    above, below = _genes(cases.codes[asked], means, atlas.profiles.labels, usable)
    shown = np.unique(np.concatenate([above.ravel(), below.ravel()]))
    line_of = _lines(atlas, atlas.profiles.gene_ids[shown[shown >= 0]])
    ontology = _ontology(atlas)
    return [
        _case(cases, int(one), atlas, tissue, ontology, (symbols, above[i], below[i], line_of))
        for i, one in enumerate(asked)
    ]


def _case(
    cases: Cases,
    one: int,
    atlas: Atlas,
    tissue: str | None,
    ontology: Ontology | None,
    genes: tuple[Strings, Ints, Ints, Mapping[int, str]],
) -> Case:
    symbols, above, below, line_of = genes
    candidates: list[dict[str, Any]] = []
    cited: dict[str, str] = {}
    for rank, code in enumerate(cases.codes[one][cases.codes[one] >= 0].tolist()):
        label = str(atlas.label_names[code])
        label_id = atlas.label_ids.get(label, "")
        said: dict[str, Any] = {"label": label, "id": label_id, "definition": _definition(ontology, label_id)}
        said = {key: value for key, value in said.items() if value}
        said |= {
            "votes": round(float(cases.votes[one, rank]), 3),
            "distance": round(float(cases.distance[one, rank]), 3),
        }
        for key, rows in (("expressed_beyond_it", above), ("expected_but_lacking", below)):
            found = rows[rank][rows[rank] >= 0].tolist()
            said[key] = [symbols[gene] for gene in found]
            cited |= {symbols[gene]: line_of.get(int(atlas.profiles.gene_ids[gene]), "") for gene in found}
        candidates.append(said)
    evidence: dict[str, Any] = {"n_cells": int(cases.n_cells[one])}
    evidence |= {"tissue": tissue} if tissue else {}
    evidence |= {"candidates": candidates, "genes": dict(sorted(cited.items()))}
    labels = tuple(one["label"] for one in candidates)
    return Case(str(cases.names[one]), labels, tuple(evidence["genes"]), evidence)


def _means(cases: Cases, asked: Ints, query: QueryCells, progress: Progress) -> tuple[sp.csr_matrix[np.float32], Mask]:
    """Return (a, g) the mean cell of each case asked, and (g,) which genes the query measures."""
    place = np.full(len(cases) + 1, -1, np.int64)  # The last entry is for cells in no case.
    place[asked] = np.arange(len(asked))
    row_of = place[cases.member]
    profiles = query.atlas.profiles
    nothing: tuple[Floats, tuple[Ints, Ints]] = np.zeros(0, np.float32), (np.zeros(0, np.int64), np.zeros(0, np.int64))
    sums = sp.csr_matrix(nothing, shape=(len(asked), len(profiles.gene_ids)))
    with query.opened() as cells:
        seen = float(np.sqrt(profiles.power[cells.measured].sum(dtype=np.float64)))
        for first, _, known in cells.batches("reading the cells to judge", progress):
            rows = row_of[first : first + known.shape[0]]
            here = np.flatnonzero(rows >= 0)
            if not len(here):
                continue
            scale = np.asarray(seen / cases.n_cells[asked[rows[here]]], np.float32)
            indicator = sp.csr_matrix((scale, (rows[here], here)), shape=(len(asked), len(rows)))
            sums = sp.csr_matrix(sums + indicator @ unit_rows(known))
        return sums, cells.measured


def _genes(codes: Ints, means: sp.csr_matrix[np.float32], profiles: Floats, usable: Ints) -> tuple[Ints, Ints]:
    """Return (a, c, `N_GENES`) positions of the genes farthest above and farthest below each label; -1 for none."""
    above = np.full((*codes.shape, N_GENES), -1, np.int64)
    below = above.copy()
    for i, row in enumerate(codes):
        mean = means[i].toarray().ravel()[usable]
        for rank, code in enumerate(row.tolist()):
            if 0 <= code < len(profiles):
                beyond = mean - profiles[code, usable]
                for out, difference in ((above, beyond), (below, -beyond)):
                    order = _largest(difference)
                    out[i, rank, : len(order)] = usable[order]
    return above, below


def _largest(values: Floats) -> Ints:
    """Return the positions of the `N_GENES` largest values above 0, the largest first; ties by position."""
    least = np.partition(values, -N_GENES)[-N_GENES] if len(values) > N_GENES else 0
    found = np.flatnonzero((values >= least) & (values > 0))
    return np.asarray(found[np.argsort(-values[found], kind="stable")][:N_GENES], np.int64)


def _lines(atlas: Atlas, gene_ids: Ints) -> dict[int, str]:
    """Return one line of each gene's text, by its id: its full name, and the beginning of its summary."""
    found = atlas.texts.frame.filter(pl.col("gene_id").is_in(gene_ids.tolist()))
    lines: dict[int, str] = {}
    for gene, name, own, lent in found.select("gene_id", "full_name", "summary", "ortholog_summary").iter_rows():
        text = ". ".join(filter(None, (name, own or lent)))
        lines[gene] = shorten(text, TEXT_CHARACTERS, placeholder="...")
    return lines


def _ontology(atlas: Atlas) -> Ontology | None:
    """Return the Cell Ontology imported last; None if the store has none."""
    try:
        return open_ontology(atlas.store)
    except NotInStoreError:
        return None


def _definition(ontology: Ontology | None, label_id: str) -> str:
    """Return the beginning of a term's definition; "" if there is none."""
    if ontology is None or not label_id:
        return ""
    try:
        term = ontology[ontology.resolve(label_id)]
    except KeyNotFoundError:
        return ""
    return shorten(term.description, DEFINITION_CHARACTERS, placeholder="...")
