"""Refusing a matrix whose genes are unknown, or are those of another species than expected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from scvec.errors import GeneMatchError
from scvec.ingest.cells import Matrix
from scvec.ingest.genes.gene_table import GeneTable
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.ingest.genes.identifiers import EXACT, are_row_numbers
from scvec.ingest.matching import MIN_COVERAGE, GeneMatch

OTHER_SPECIES_MARGIN = 0.05
"""Genes are of another species if that one's symbols and ids cover this much more of the expression by exact match."""


SPECIES_OF: Mapping[str, tuple[str, ...]] = {"mouse or rat symbols": ("mouse", "rat"), "human symbols": ("human",)}
"""The species that the spelling of gene names suggests."""


def guard(match: GeneMatch, matrix: Matrix) -> None:
    """Refuse a matrix with too little expression on known genes.

    Raises
    ------
    GeneMatchError
        If less than `MIN_COVERAGE` of the expression is on known genes.
    """
    totals = matrix.sampled_totals
    if match.share(totals) >= MIN_COVERAGE and len(match.columns):
        return
    species = f"symbols, Ensembl or Entrez ids of {taxon_name((match.named_by or match.gene_table).taxon_id)}"
    raise GeneMatchError(
        f"{matrix.where}: {match.coverage(totals)} with the {match.gene_table}; {_looks(match)}",
        f"{species} with at least {MIN_COVERAGE:.0%} of the expression",
        "give the column of var that has them as `gene_key`, or the right species as `taxon`",
    )


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
    totals, own = matrix.sampled_totals, match.named_by or match.gene_table
    expected = match.share(totals, EXACT)
    for other in others:
        if other.taxon_id == own.taxon_id or expected + OTHER_SPECIES_MARGIN >= 1:  # no other can match so much better
            continue
        found = other.identifiers.resolve(match.names, exact=True).columns
        share = float(totals[found].sum()) / (float(totals.sum()) or 1.0)
        if share > expected + OTHER_SPECIES_MARGIN:
            species = taxon_name(other.taxon_id)
            fit = f"{share:.0%} of the expression by exact match, {expected:.0%} with {taxon_name(own.taxon_id)} genes"
            return species, f"{species} genes ({fit})"
    if match.share(totals, ["spelling"]) <= match.share(totals) / 2:
        return None
    shape = suspect(match.names.tolist())
    named = SPECIES_OF.get(shape, ())
    return (named[0], shape) if named and taxon_name(own.taxon_id) not in named else None


def _looks(match: GeneMatch) -> str:
    return f"its genes ({_examples(match)}) look like {suspect(match.names.tolist())}"


def _examples(match: GeneMatch) -> str:
    return ", ".join([*match.names[:3].tolist(), "..."])


def suspect(names: Sequence[str]) -> str:
    """Return the kind of identifier that most of `names` are, and the species that they suggest."""
    if are_row_numbers(names):
        return "row numbers"
    shapes = (
        (r"ENSG\d{11}(\.\d+)?", "human Ensembl ids"),
        (r"ENSMUSG\d{11}(\.\d+)?", "mouse Ensembl ids"),
        (r"ENSRNOG\d{11}(\.\d+)?", "rat Ensembl ids"),
        (r"ENS[A-Z]+G\d{11}(\.\d+)?", "Ensembl ids of another species"),
        (r"\d+", "Entrez ids"),
        (r"[A-Z][a-z0-9]+[A-Za-z0-9.-]*", "mouse or rat symbols"),
        (r"[A-Z0-9][A-Z0-9orf.-]*", "human symbols"),
        (r"[a-z0-9][a-z0-9.-]*", "symbols in lower case"),
    )
    counts = dict.fromkeys((what for _, what in shapes), 0)
    for name in names:
        counts[next((what for shape, what in shapes if re.fullmatch(shape, name)), "symbols in lower case")] += 1
    best = max(counts, key=lambda what: counts[what])
    return best if counts[best] * 2 > len(names) else "a mixture of kinds"
