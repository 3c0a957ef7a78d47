"""`name`: from cells, through what their clusters express and what texts say, to ranked names."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias, Unpack

import numpy as np

from scvec._version import __version__
from scvec.annotation.clusters import Leiden
from scvec.annotation.result import Annotation
from scvec.core.logs import log_notes
from scvec.core.options import merged, spells_out
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Bools, Progress
from scvec.errors import FileError, InputError
from scvec.ingest.cells import Cells
from scvec.ingest.cells.options import ReadOptions
from scvec.ingest.genes.gene_table import open_table, texts_of
from scvec.ingest.genes.gene_texts import offered_texts, taxon_name
from scvec.naming.background import Background
from scvec.naming.background_files import read_background
from scvec.naming.candidates import candidates_of
from scvec.naming.cell_batches import cell_batches
from scvec.naming.cell_calls import Among, call_cells
from scvec.naming.evidence import nearest_sentences
from scvec.naming.groups import Groups, groups_of, groups_of_calls
from scvec.naming.marker_sets import read_markers
from scvec.naming.options import NamingChanges, NamingOptions
from scvec.naming.own_vectors import DEFAULT
from scvec.naming.result import N_GENES, CellCalls, Names, Suggestion
from scvec.naming.scoring import Ranking, rank_terms
from scvec.naming.term_texts import term_texts
from scvec.naming.text_reader import TextReader, reader_for, require_words
from scvec.naming.tissue import is_known
from scvec.ontology import Ontology, open_ontology
from scvec.store import Store, as_store

PATTERN = "*?["
"""A path with one of these may stand for several files."""

Nameable: TypeAlias = "Cells | Annotation"


@spells_out(NamingOptions)
def name(
    cells: Nameable,
    store: Store | str | Path | None = None,
    options: NamingOptions | None = None,
    *,
    progress: Progress | None = None,
    **changes: Unpack[NamingChanges],
) -> Names:
    """Rank names for clusters: the terms of the Cell Ontology whose texts fit what the cells express.

    With `candidates`, only these types are ranked, and single cells are called among them too (`Names.cells`).

    No reference is needed. What a cluster expresses more than the others is compared with the texts of genes, and these
    with the texts of terms. Where no term stands out, the cluster is left unnamed. The terms' texts are encoded when
    they are first needed; their vectors are kept in the store, as are those of sentences.

    Parameters
    ----------
    cells
        A path, a URI, or an AnnData; or calls, whose unknown cells are named, by the calls' clusters if they have any.
    store
        Where the gene texts and the Cell Ontology are. Calls have that of their atlas.
    options, changes
        How the cells are read and named: a `NamingOptions`, or its fields as keywords. Calls know how their cells are
        read.
    progress
        Shows how many cells are read, and how many texts are encoded.

    Returns
    -------
    Names
        Ranked names for each cluster.

    Raises
    ------
    NotInStoreError
        If the store lacks the Cell Ontology, the species' gene texts, or the encoder's vectors; says what brings them.
    InputError
        If the cells cannot be read, an option is invalid, or `cluster_key` cannot be used.
    """
    asked, progress = merged(NamingOptions, options, dict(changes)), shown(progress)
    asked.check()
    where = _store_of(cells, store)
    ontology = require_texts(where, asked)
    terms = term_texts(ontology)
    # Of words that no term has, nothing follows about which terms are of another organ.
    tissue = asked.tissue if asked.tissue is not None and is_known(asked.tissue, terms) else None
    given = None if asked.candidates is None else candidates_of(asked.candidates, terms, asked.tissue)
    groups = _groups(cells, where, asked, progress)
    texts = reader_for(where, terms, texts_of(where, groups.table), groups.gene_ids, asked.encoder, progress)
    if not len(groups):
        nothing = ("no cell with expression is unknown: there is nothing to name",)
        made = _names(groups, (), np.zeros(0, np.bool_), nothing, _provenance(cells, groups, texts, asked))
        return made if given is None else replace(made, cells=CellCalls.none(len(groups.member)))
    background = _background(asked, where, groups)
    markers = read_markers(asked.markers, terms, groups.table, groups.gene_ids) if asked.markers else None
    ranking = rank_terms(groups, texts, tissue=tissue, background=background, markers=markers)
    calls = None
    if given is not None:
        others = groups.contrast
        if background is not None:
            others = np.concatenate([others, background.on(groups.gene_ids)])
        ranking = Among.of(ranking, given, terms, groups.expressing)
        batches = cell_batches(cells, where, asked, groups.gene_ids, progress)
        calls = call_cells(ranking, groups, texts, others, batches, tissue)
    sure = ranking.stands_out & groups.expressing
    found = _suggestions(groups, texts, ranking, asked)
    notes = (
        *_encoder_note(texts, asked),
        *_tissue_note(asked.tissue, tissue),
        *(() if background is None else background.notes),
        *(() if markers is None else markers.notes),
        *_notes(groups, sure),
    )
    provenance = _provenance(cells, groups, texts, asked)
    if given is not None:
        provenance["candidates"] = dict(zip(given.labels, given.ids, strict=True))
    return replace(_names(groups, found, sure, notes, provenance), cells=calls)


def _names(
    groups: Groups,
    found: tuple[tuple[Suggestion, ...], ...],
    stands_out: Bools,
    notes: tuple[str, ...],
    provenance: dict[str, Any],
) -> Names:
    notes = (*groups.notes, *notes)
    log_notes(notes, "name")
    return Names(
        clusters=groups.clusters,
        n_cells=groups.n_cells,
        suggestions=found,
        stands_out=stands_out,
        member=groups.member,
        obs_names=groups.obs_names,
        notes=notes,
        provenance=provenance,
    )


def _store_of(cells: Nameable, store: Store | str | Path | None) -> Store:
    if isinstance(cells, Annotation):
        own = cells.query.atlas.store
        if store is not None and as_store(store).uri != own.uri:
            raise InputError(f"calls by an atlas in {own.uri} are named by that store", fix="leave out `store`")
        return own
    if store is None:
        raise InputError("no `store`", "the one with the gene texts and the Cell Ontology", 'store="my-store"')
    return as_store(store)


def require_texts(store: Store, asked: NamingOptions) -> Ontology:
    """Return the ontology of the store.

    Whoever calls cells first calls this before, so that nothing is computed in vain.

    Raises
    ------
    NotInStoreError
        If the store has no Cell Ontology, or no gene texts.
    InputError
        If there is no such encoder, or it cannot read words.
    """
    ontology = open_ontology(store)
    offered_texts(store, asked.taxon)
    if asked.encoder is not None:
        require_words(asked.encoder)
    given = asked.background
    if isinstance(given, str | Path) and not Path(given).exists() and not set(PATTERN) & set(str(given)):
        wanted = "a Parquet file of mean profiles, or a folder of them"
        raise FileError(f"`background` {given} does not exist", wanted, "check the path")
    return ontology


def _groups(cells: Nameable, store: Store, asked: NamingOptions, progress: Progress) -> Groups:
    how = None if asked.cluster is None else Leiden.parse(asked.cluster, DEFAULT.resolution)
    alone = asked.background is not None
    if not isinstance(cells, Annotation):
        return groups_of(
            cells, store, cluster_key=asked.cluster_key, clusters=how, read=asked, alone=alone, progress=progress
        )
    given = [one.name for one in fields(ReadOptions) if getattr(asked, one.name) != one.default]
    if asked.cluster_key is not None or given:
        option = "cluster_key" if asked.cluster_key is not None else given[0]
        raise InputError(
            f"`{option}` has no effect on calls", fix=f"sv.annotate(..., {option}=...), then name the calls"
        )
    return groups_of_calls(cells, by=how, alone=alone, progress=progress)


def _background(asked: NamingOptions, store: Store, groups: Groups) -> Background | None:
    if asked.background is None:
        return None
    if isinstance(asked.background, Background):
        given = asked.background
        return given.in_genes_of(groups.table, open_table(store, given.taxon_id))
    return read_background(asked.background, store, groups.taxon_id)


def _suggestions(
    groups: Groups, texts: TextReader, ranking: Ranking, asked: NamingOptions
) -> tuple[tuple[Suggestion, ...], ...]:
    best = ranking.best(asked.n)
    chosen = [(c, int(t)) for c in np.flatnonzero(groups.expressing).tolist() for t in best[c]]
    behind = {pair: ranking.genes_behind(*pair, N_GENES).tolist() for pair in chosen}
    wanted = [(int(groups.gene_ids[gene]), term) for (_, term), genes in behind.items() for gene in genes]
    said = iter(nearest_sentences(texts, wanted) if asked.evidence else [])
    found: list[list[Suggestion]] = [[] for _ in range(len(groups))]
    for (cluster, term), genes in behind.items():
        one = texts.terms.terms[term]
        symbols = tuple(str(groups.symbols[gene]) for gene in genes)
        sentences = tuple(next(said) for _ in genes) if asked.evidence else ()
        found[cluster].append(Suggestion(one.id, one.name, float(ranking.scores[cluster, term]), symbols, sentences))
    return tuple(map(tuple, found))


def _notes(groups: Groups, stands_out: Bools) -> tuple[str, ...]:
    out = int((~stands_out[groups.expressing]).sum())
    return (f"no name stands out for {out} of {counted(len(groups), 'cluster')}",) if out else ()


def _encoder_note(texts: TextReader, asked: NamingOptions) -> list[str]:
    """Return a note where tfidf stood in for a model: a store may have a model's vectors of other genes only."""
    if asked.encoder is not None or asked.markers or texts.encoder != "tfidf":  # with markers, none is asked
        return []
    command = f"scvec embed --taxon {taxon_name(texts.genes.texts.taxon_id)} --encoder minilm"
    return [f"texts are compared by their words, as the store has no model's vectors of all these genes ({command})"]


def _tissue_note(given: str | None, known: str | None) -> list[str]:
    if given is None or known is not None:
        return []
    return [f"no term of the ontology has the words of `tissue` {given!r}: it has no effect"]


def _said(background: str | Path | Background | None) -> str | None:
    """Return a file's name without its folder, which is nobody's business, or what a value holds."""
    if isinstance(background, str | Path):
        return Path(background).name
    return None if background is None else repr(background)


def _provenance(cells: Nameable, groups: Groups, texts: TextReader, asked: NamingOptions) -> dict[str, Any]:
    genes = texts.genes
    return {
        "scvec": __version__,
        "file": groups.name,
        "atlas": cells.query.atlas.name if isinstance(cells, Annotation) else None,
        "clusters_by": asked.cluster_key or asked.cluster or "leiden",
        "tissue": asked.tissue,
        "background": _said(asked.background),
        "markers": [Path(one).name for one in asked.markers],
        "ontology": texts.terms.ontology.release,
        "gene_texts": {"taxon_id": genes.texts.taxon_id, "release": genes.texts.release},
        "encoder": genes.encoder,
        "encoder_revision": genes.revision,
    }
