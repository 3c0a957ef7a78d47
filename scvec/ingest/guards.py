"""Refusing a matrix whose genes are unknown, or are those of another species than expected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scvec.errors import GeneMatchError
from scvec.ingest.cells import Matrix
from scvec.ingest.genes.gene_table import GeneTable
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.ingest.genes.identifiers import EXACT, NUMBERED, are_row_numbers, are_unnamed
from scvec.ingest.matching import MIN_COVERAGE, GeneMatch, Second, match_names

OTHER_SPECIES_MARGIN = 0.05
"""Genes are of another species if that one's symbols and ids cover this much more of the expression by exact match."""


MIN_SECOND_NAMES, MIN_SECOND_SHARE = 0.05, 0.01
"""A second species is named if it has more than these shares of the names and of the expression to itself."""

SPECIES_OF: Mapping[str, tuple[str, ...]] = {"mouse or rat symbols": ("mouse", "rat"), "human symbols": ("human",)}
"""The species that the spelling of gene names suggests."""


SHAPES: Mapping[str, re.Pattern[str]] = {
    what: re.compile(shape)
    for what, shape in {
        "human Ensembl ids": r"ENSG\d{11}(\.\d+)?",
        "mouse Ensembl ids": r"ENSMUSG\d{11}(\.\d+)?",
        "rat Ensembl ids": r"ENSRNOG\d{11}(\.\d+)?",
        "macaque Ensembl ids": r"ENSM(MU|FA)G\d{11}(\.\d+)?",
        "zebrafish Ensembl ids": r"ENSDARG\d{11}(\.\d+)?",
        "pig Ensembl ids": r"ENSSSCG\d{11}(\.\d+)?",
        "Ensembl ids of transcripts": r"ENS[A-Z]*T\d{11}(\.\d+)?",
        "Ensembl ids of another species": r"ENS[A-Z]+G\d{11}(\.\d+)?",
        "ids of another species": r"FBgn\d{7}|WBGene\d{8}|AT[1-5MC]G\d{5}|Y[A-P][LR]\d{3}[WC](-[A-Z])?",
        "RefSeq ids of transcripts": r"[NX][MR]_\d{6,}(\.\d+)?",
        "probes of an array": r"ILMN_\d+|\d+(_[a-z])?_at|\d+_[a-z]+_at|A_\d+_P\d+",
        "intervals of a genome": r"(chr)?[\dXYMT]{1,2}[:_-]\d+[-_:]\d+",
        "numbered names": NUMBERED.pattern,
        "Entrez ids": r"\d+",
        "mouse or rat symbols": r"[A-Z][a-z0-9]+[A-Za-z0-9.-]*",
        "human symbols": r"[A-Z0-9][A-Z0-9orf.-]*",
        "symbols in lower case": r"[a-z0-9][a-z0-9.-]*",
    }.items()
}
"""Kinds of identifiers by their shape; the first that fits is taken."""

TAXON_OF_IDS: Mapping[str, int] = {
    "human Ensembl ids": 9606,
    "mouse Ensembl ids": 10090,
    "rat Ensembl ids": 10116,
    "macaque Ensembl ids": 9544,
    "zebrafish Ensembl ids": 7955,
    "pig Ensembl ids": 9823,
}

NEARLY_ALL = 0.8
"""The share of a matrix's names that is nearly all of them."""

TRANSCRIPTS = "add up the transcripts of each gene, and name the sums by their genes"
FIXES: Mapping[str, str] = {
    "row numbers": "name the genes in var_names, or in a column of var that you give as `gene_key`",
    "numbered names": "name the genes in var_names, or in a column of var that you give as `gene_key`",
    "Ensembl ids of transcripts": TRANSCRIPTS,
    "RefSeq ids of transcripts": TRANSCRIPTS,
    "probes of an array": "name the genes of the probes in a column of var, and give it as `gene_key`",
    "intervals of a genome": "choose a matrix of genes: these are peaks",
}
"""What to do about names that are those of no species' genes."""


def guard(match: GeneMatch, matrix: Matrix) -> None:
    """Refuse a matrix with too little expression on known genes.

    Raises
    ------
    GeneMatchError
        If less than `MIN_COVERAGE` of the expression is on known genes; half of that, if nearly all names are known:
        of few genes, a single one may have most of the expression.
    """
    totals = matrix.sampled_totals
    least = MIN_COVERAGE / 2 if match.n_columns >= NEARLY_ALL * int((~match.foreign).sum()) else MIN_COVERAGE
    if match.share(totals) >= least and len(match.columns):
        return
    own = match.named_by or match.gene_table
    coverage = match.coverage(totals)
    unknown = ", ".join(f"{name} {share:.1%}" for name, share in coverage.unmatched)
    apart = "; ".join(coverage.apart())
    raise GeneMatchError(
        f"{matrix.where}: {coverage} with the {match.gene_table}; {_looks(match)}"
        + (f"; most expressed unknown: {unknown}" if unknown else "")
        + (f"; {apart}" if apart else ""),
        f"symbols, Ensembl or Entrez ids of {taxon_name(own.taxon_id)} with at least {MIN_COVERAGE:.0%} of the "
        "expression",
        _fix(match, matrix, own),
    )


def _fix(match: GeneMatch, matrix: Matrix, own: GeneTable) -> str:
    """Return what to do about names that are unknown, by what they look like."""
    others = [key for key in [*matrix.gene_keys, *matrix.name_like_keys] if key != match.key]
    known = {key: match_names(matrix.gene_names(key), key, own) for key in others}
    shares = {key: one.share(matrix.sampled_totals) for key, one in known.items()}
    best = max(shares, key=lambda key: shares[key], default=None)
    if best is not None and shares[best] >= MIN_COVERAGE:
        return f"set `gene_key` to {best}, whose names have {shares[best]:.0%} of the expression"
    if _most_are_known(match):
        return "leave those columns out, if they are not genes: adata[:, ~adata.var_names.isin([...])]"
    looks = suspect(match.plain.tolist())
    if looks in FIXES:
        return FIXES[looks]
    taxon = TAXON_OF_IDS.get(looks)
    if taxon is not None and taxon != own.taxon_id:
        return f"set `taxon` to {taxon_name(taxon)}"
    return "give the column of var that has them as `gene_key`, or the right species as `taxon`"


def guard_species(match: GeneMatch, others: Sequence[GeneTable], matrix: Matrix, *, is_query: bool) -> None:
    """Refuse a matrix whose genes look like those of another species.

    Parameters
    ----------
    match, others, matrix
        As in `other_species`.
    is_query
        Whether it may be matched to the expected genes through orthologs, as a reference may not.

    Raises
    ------
    GeneMatchError
        If they do.
    """
    found = other_species(match, others, matrix)
    if found is None:
        return
    own = taxon_name(match.gene_table.taxon_id)
    species, looks = found
    fix = f"scvec genes pull --taxon {species}"
    if is_query:
        fix = f"set `taxon` to {species} to match {own} genes through orthologs"
    raise GeneMatchError(
        f"{matrix.where}: its genes ({_examples(match)}) look like {looks}",
        f"{own} genes",
        f"{fix}, or set `taxon` to {own} if they are {own} genes",
    )


def other_species(match: GeneMatch, others: Sequence[GeneTable], matrix: Matrix) -> tuple[str, str] | None:
    """Return another species that the genes of a matrix look like, with the reason; None if there is none.

    They do if its symbols or ids match exactly where the expected ones do not, or if the expected ones match but for
    case and the names are spelt as in another species.

    Parameters
    ----------
    match
        The match of the matrix's columns to the expected genes.
    others
        Gene texts or packaged identifiers of other taxa.
    matrix
        The matrix.
    """
    if are_unnamed(match.names.tolist()):  # which fit any species by chance
        return None
    totals, own = matrix.sampled_totals, match.named_by or match.gene_table
    ours = np.where(match.foreign, 0.0, totals)
    expected = match.share(totals, EXACT)
    for other in others:
        if other.taxon_id == own.taxon_id or expected + OTHER_SPECIES_MARGIN >= 1:  # no other can match so much better
            continue
        found = other.identifiers.resolve(match.plain, exact=True).columns
        share = float(ours[found].sum()) / (float(ours.sum()) or 1.0)
        if share > expected + OTHER_SPECIES_MARGIN:
            species = taxon_name(other.taxon_id)
            fit = f"{share:.0%} of the expression by exact match, {expected:.0%} with {taxon_name(own.taxon_id)} genes"
            return species, f"{species} genes ({fit})"
    if match.share(totals, ["spelling"]) <= match.share(totals) / 2:
        return None
    shape = suspect(match.plain[~match.foreign].tolist())
    named = SPECIES_OF.get(shape, ())
    return (named[0], shape) if named and taxon_name(own.taxon_id) not in named else None


def with_second_species(match: GeneMatch, others: Sequence[GeneTable], matrix: Matrix) -> GeneMatch:
    """Return the match with the second species whose genes many names are, where nothing tells genomes apart.

    Parameters
    ----------
    match, others, matrix
        As in `other_species`.
    """
    totals, own = matrix.sampled_totals, match.named_by or match.gene_table
    if match.foreign.any() or match.share(totals, EXACT) > 1 - MIN_SECOND_SHARE or are_unnamed(match.names.tolist()):
        return match
    exact = match.columns[np.isin(match.routes.astype(str), list(EXACT))]
    for other in others:
        if other.taxon_id == own.taxon_id:
            continue
        found = np.setdiff1d(other.identifiers.resolve(match.plain, exact=True).columns, exact)
        share = float(totals[found].sum()) / (float(totals.sum()) or 1.0)
        if len(found) > MIN_SECOND_NAMES * len(match.names) and share > MIN_SECOND_SHARE:
            mask = np.zeros(len(match.names), bool)
            mask[found] = True
            return replace(match, second=Second(taxon_name(other.taxon_id), mask, share))
    return match


def _looks(match: GeneMatch) -> str:
    if _most_are_known(match):
        return "most names are known, and most of the expression is on those that are not"
    return f"its genes ({_examples(match)}) look like {suspect(match.plain.tolist())}"


def _most_are_known(match: GeneMatch) -> bool:
    return match.n_columns * 2 > int((~match.foreign).sum())


def _examples(match: GeneMatch) -> str:
    return ", ".join([*match.names[:3].tolist(), "..."])


def suspect(names: Sequence[str]) -> str:
    """Return the kind of identifier that most of `names` are, and the species that they suggest."""
    if are_row_numbers(names):
        return "row numbers"
    counts = dict.fromkeys((*SHAPES, "symbols in lower case"), 0)
    for name in names:
        counts[next((what for what, shape in SHAPES.items() if shape.fullmatch(name)), "symbols in lower case")] += 1
    best = max(counts, key=lambda what: counts[what])
    return best if counts[best] * 2 > len(names) else "a mixture of kinds"
