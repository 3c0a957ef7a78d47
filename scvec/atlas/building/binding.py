"""What an atlas is built with: the genes of its reference, a release of their texts, their vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scvec.core.types import Floats, Progress
from scvec.embed import GeneVectors, ensure_genes, open_genes
from scvec.embed.encoders import Address
from scvec.embed.recipe import DEFAULT_ENCODER, RECIPES, Recipe
from scvec.embed.recipe import recipe as named
from scvec.embed.sentences import Sentences, bound_sentences
from scvec.errors import GeneMatchError, InputError, MismatchError, NotInStoreError
from scvec.ingest.cells import CellFile, Cells, Matrix, open_cells
from scvec.ingest.cells.scale import Totals
from scvec.ingest.genes.gene_table import offered_tables, open_table, texts_of
from scvec.ingest.genes.gene_texts import taxon_id
from scvec.ingest.genes.orthologs import weighted_orthologs
from scvec.ingest.guards import guard, guard_species
from scvec.ingest.matching import MIN_COVERAGE, GeneMatch, match_genes
from scvec.store import Store
from scvec.views import check_names


def recipe_for(recipe: Recipe | str | None, genes: GeneVectors | None, encoder: str | None = None) -> Recipe:
    """Return the recipe with its encoder, or the default one for None; raise `InputError` if `genes` are of another.

    A recipe of auto weights stays so if neither `encoder` nor `genes` are given: `bind` decides.
    """
    recipe = RECIPES["refined"] if recipe is None else named(recipe) if isinstance(recipe, str) else recipe
    recipe = recipe.with_encoder(encoder)
    check_names(recipe.views)
    if recipe.weights == "auto" and genes is not None:
        recipe = recipe.with_encoder(genes.encoder)
    if recipe.weights == "given":
        seen = f"recipe {recipe.name!r} takes vectors that come with the cells"
        raise InputError(seen, "the array of obsm that has them", f"`use_rep` {recipe.name!r}, without a recipe")
    if genes is not None and recipe.encoder and Address.parse(recipe.encoder).canonical() != genes.encoder:
        raise InputError(
            f"`genes` are vectors of encoder {genes.encoder!r}",
            f"{recipe.encoder!r}, the encoder of the recipe",
            "use recipe.with_encoder(...)",
        )
    return recipe


def match_reference(
    store: Store,
    matrix: Matrix,
    genes: GeneVectors | None,
    gene_key: str | None,
    taxon: str | int | None,
    release: str | None,
) -> GeneMatch:
    """Match the reference's genes to the texts that fit best, judged by a sample of its cells."""
    offered = [genes.texts] if genes is not None else offered_tables(store, taxon, release)
    match = match_genes(matrix, offered, gene_key=gene_key)
    guard(match, matrix)
    if genes is None and taxon is None:
        guard_species(match, [], matrix, is_query=False)
    return match


def on_panel(store: Store, match: GeneMatch, matrix: Matrix, panel: Cells, taxon: str | int | None) -> GeneMatch:
    """Return the match restricted to genes that another file has too, through orthologs if `taxon` is another species.

    Raises
    ------
    GeneMatchError
        If the file has none of the genes.
    """
    table = match.gene_table
    own = table if taxon is None or taxon_id(taxon) == table.taxon_id else open_table(store, taxon)
    with open_cells(panel) as file, file.matrix(_readable(file)) as other:
        found = match_genes(other, [own])
    if own is not table:
        found = found.through(weighted_orthologs(store, own, table), table)
    match = match.only(found.gene_ids)
    if not len(match.genes):
        raise GeneMatchError(
            f"{file.path} and {matrix.path} have no gene in common", fix="check `panel`, or leave it out"
        )
    return match


def _readable(file: CellFile) -> str | None:
    """Return the first readable matrix of a file: all of them have the same gene names."""
    for layer in file.layers:
        try:
            with file.matrix(layer):
                return layer
        except InputError:
            continue
    return None


def bind(
    store: Store, recipe: Recipe, genes: GeneVectors | None, match: GeneMatch, sampled: Totals, progress: Progress
) -> tuple[Recipe, Floats | None, GeneMatch]:
    """Bind the recipe to release and encoder; return it, the genes' vectors if it uses any, and the match to them.

    `sampled` is (n_vars,) the expression of the matched columns in a sample of cells.
    """
    if recipe.weights == "auto":
        recipe = _with_or_without_text(store, recipe, match)
    if recipe.weights == "sentence":
        return bound_sentences(recipe, match.gene_table.release), None, match
    if not recipe.reads_text:
        n, dimension = len(match.genes), recipe.dimension or 0  # free weights: vectors without dimensions
        vectors_of = None if recipe.weights in ("svd", "given") else drawn(n, dimension, recipe.random_state)
        return recipe.bind(match.gene_table.release, None), vectors_of, match
    # Vectors are of texts, whatever identifiers the names were matched by.
    texts = genes.texts if genes else texts_of(store, match.gene_table)
    match = replace(match, gene_table=texts)
    vectors = genes or ensure_genes(
        store,
        texts,
        encoder=recipe.encoder or "",
        gene_ids=match.genes,
        revision=recipe.encoder_revision,
        progress=progress,
    )
    if recipe.encoder_revision not in (None, vectors.revision):
        raise MismatchError(
            f"`genes` are vectors of {vectors.encoder!r} at revision {vectors.revision}",
            f"revision {recipe.encoder_revision}, that of the recipe",
            "use vectors of that revision, or change the recipe",
        )
    match = with_vectors(match, vectors, sampled)
    bound = recipe.with_encoder(vectors.encoder).bind(texts.release, vectors.revision)
    found = vectors.of(match.genes)
    if recipe.weights == "shuffled":
        found = found[np.random.default_rng(recipe.random_state).permutation(len(found))]
    return bound, found, match


def sentences_on(store: Store, recipe: Recipe, match: GeneMatch) -> Sentences:
    """Return what makes texts of cells with the matched genes, not yet fitted."""
    symbol_of = dict(match.gene_table.genes.select("gene_id", "symbol").iter_rows())
    symbols = np.array([symbol_of.get(gene) or "" for gene in match.genes.tolist()], object)
    return Sentences(recipe, match.genes, symbols, np.zeros(0, np.float32), store.address)


def _with_or_without_text(store: Store, recipe: Recipe, match: GeneMatch) -> Recipe:
    """Return a recipe of auto weights with the default encoder if the store has its vectors of the genes, else without.

    It does not encode texts: that takes minutes, and calls do not get better by it.
    """
    try:
        texts = texts_of(store, match.gene_table)
        open_genes(store, texts, encoder=DEFAULT_ENCODER, gene_ids=match.genes)
    except NotInStoreError:
        return recipe.without_text()
    return recipe.with_encoder(DEFAULT_ENCODER)


def with_vectors(match: GeneMatch, vectors: GeneVectors, sampled: Totals) -> GeneMatch:
    """Return the match restricted to genes that have a vector.

    Raises
    ------
    GeneMatchError
        If these have too small a share of the matched genes' expression in a sample of cells.
    """
    whole = match.share(sampled)
    match = match.only(vectors.gene_ids)
    share = match.share(sampled) / (whole or 1.0)
    if share < MIN_COVERAGE:
        raise GeneMatchError(
            f"encoder {vectors.encoder!r} has vectors of {len(match.genes):,} of the reference's genes, "
            f"with {share:.1%} of their expression",
            f"at least {MIN_COVERAGE:.0%}",
            "use an encoder with more genes",
        )
    return match


def drawn(n: int, dimension: int, random_state: int) -> Floats:
    """Return (n, dimension) Gaussian vectors whose expected length is one: the baseline without text."""
    values = np.random.default_rng(random_state).standard_normal((n, dimension))
    return np.asarray(values / np.sqrt(max(1, dimension)), np.float32)
