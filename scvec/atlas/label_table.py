"""The table of an atlas's labels: what each is, expresses and how many cells have it, to be searched as a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from scvec.atlas.fitted import load_profiles
from scvec.atlas.paths import labels_path
from scvec.core.arrow import coded, vectors_from_arrow
from scvec.core.types import Floats, Ints, Strings
from scvec.embed.recipe import Recipe
from scvec.errors import KeyNotFoundError, NotInStoreError, StoreError
from scvec.ingest.genes.gene_table import open_table
from scvec.ontology import Ontology, Term, open_ontology
from scvec.store import ColumnIndex, Snapshot, Store

ENTRY = "label_table"
"""The table's entry in the manifest of an atlas's version."""

N_MARKERS = 20
"""Genes of a label: those that it expresses farthest above the other labels."""

INDEXES = (
    ColumnIndex("text", "text"),
    ColumnIndex("label", "value"),
    ColumnIndex("label_id", "value"),
)
"""The indexes of every version. Labels are too few for an index of their vectors."""

COLUMNS = {
    "label": "the label",
    "label_id": "its id, such as that of a term of the Cell Ontology; null if it has none",
    "n_cells": "the number of its cells",
    "name": "the term's name in the store's ontology; null without one, as are the next two",
    "synonyms": "the term's exact synonyms",
    "definition": "the term's definition",
    "text": "all words of the label, with an index for full-text search",
    "markers": "the genes that it expresses farthest above the other labels, the first the farthest; null for a label "
    "that was added after the atlas was fitted",
    "vector": "the mean of its cells' vectors, of length 1; null if all of its cells are empty",
}
"""The columns of every atlas's table of labels."""

MARKER = pa.struct({"gene_id": pa.int64(), "symbol": pa.string(), "weight": pa.float32()})


def label_schema(dimension: int) -> pa.Schema:
    """Return the types of `COLUMNS`; weights of markers are those of `scvec.embed.profiles.Profiles.excess`."""
    types = {
        "label": pa.string(),
        "label_id": pa.string(),
        "n_cells": pa.int64(),
        "name": pa.string(),
        "synonyms": pa.list_(pa.string()),
        "definition": pa.string(),
        "text": pa.string(),
        "markers": pa.list_(MARKER),
        "vector": pa.list_(pa.float32(), dimension),
    }
    return pa.schema(list(types.items()))


def write_labels(store: Store, cells: Snapshot, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Commit the labels of a version of an atlas's cells, and return their entry in its manifest.

    Parameters
    ----------
    store, cells
        The store, and the version of the table of cells.
    manifest
        The manifest of that version, as far as it is made.
    """
    ontology = _newest(store)
    counted = _counted(cells, manifest["dimension"])
    terms = [_term(ontology, label_id) for label_id in counted.label_ids.tolist()]
    columns: dict[str, Any] = {
        "label": counted.labels.tolist(),
        "label_id": [one or None for one in counted.label_ids.tolist()],
        "n_cells": counted.n_cells,
        "name": [one and one.name for one in terms],
        "synonyms": [one and list(one.synonyms) for one in terms],
        "definition": [(one and one.description) or None for one in terms],
        "text": [_text(*one) for one in zip(counted.labels.tolist(), terms, strict=True)],
        "markers": _markers(store, manifest, counted.labels),
        "vector": counted.vectors,
    }
    schema = label_schema(manifest["dimension"])
    rows = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    release = None if ontology is None else ontology.release
    about = {"kind": "labels", "atlas": manifest["name"], "cells_version": cells.version, "ontology": release}
    table = store.table(labels_path(manifest["name"]))
    version = table.index_columns(table.write(rows.to_batches(), schema, about), INDEXES)
    return {"version": version, "ontology": release, "n_labels": len(rows)}


def without_labels(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest without its table of labels, for a version with other cells."""
    return {key: value for key, value in manifest.items() if key != ENTRY}


def label_rows(store: Store, name: str, manifest: Mapping[str, Any]) -> Snapshot | None:
    """Return the table of labels that a manifest names; None for an atlas of an earlier version, which has none.

    Raises
    ------
    StoreError
        If it is lost.
    """
    entry = manifest.get(ENTRY)
    if entry is None:
        return None
    try:
        rows = store.table(labels_path(name)).at(entry["version"])
        # A table that was lost and made again begins at version 1.
        is_own = rows.manifest["cells_version"] <= manifest["version"]
    except NotInStoreError:
        is_own = False
    if not is_own:
        raise StoreError(
            f"the table of labels of version {manifest['version']} of atlas {name!r} is lost",
            "the one that was written with it",
            f"scvec atlas verify {name} --repair; of an older version: scvec atlas checkout {name} "
            f"{manifest['version']}, which makes it again",
        )
    return rows


@dataclass(frozen=True, slots=True)
class _Counted:
    """(L,) the labels of some cells, sorted, their ids and numbers of cells, and the unit vectors of their means."""

    labels: Strings
    label_ids: Strings
    n_cells: Ints
    vectors: list[Floats | None]


def _counted(cells: Snapshot, dimension: int) -> _Counted:
    about = cells.read(["label", "label_id"])
    labels, codes = coded(about["label"])
    pairs = about.group_by(["label", "label_id"]).aggregate([])
    id_of = dict(zip(pairs["label"].to_pylist(), pairs["label_id"].to_pylist(), strict=True))
    sums, start = np.zeros((len(labels), dimension)), 0
    for batch in cells.batches(["empty", "vector"]):
        own = codes[start : start + batch.num_rows]
        start += batch.num_rows
        filled = ~np.asarray(batch["empty"])
        member = sp.csr_matrix((filled.astype(np.float64), (own, np.arange(len(own)))), (len(labels), len(own)))
        sums += member @ vectors_from_arrow(batch["vector"])
    lengths = np.linalg.norm(sums, axis=1)
    units = [
        np.asarray(one / length, np.float32) if length > 0 else None for one, length in zip(sums, lengths, strict=True)
    ]
    ids = np.array([id_of[label] for label in labels.tolist()], object)
    return _Counted(labels, ids, np.bincount(codes, minlength=len(labels)), units)


def _newest(store: Store) -> Ontology | None:
    try:
        return open_ontology(store)
    except NotInStoreError:
        return None


def _term(ontology: Ontology | None, label_id: str) -> Term | None:
    """Return the term of an id; None if there is no ontology, or it does not have the id."""
    if ontology is None or not label_id:
        return None
    try:
        return ontology[ontology.resolve(label_id)]
    except KeyNotFoundError:
        return None


def _text(label: str, term: Term | None) -> str:
    """Return all words of a label."""
    if term is None:
        return label
    names = dict.fromkeys([label, term.name, *term.synonyms])
    return f"{'; '.join(names)}. {term.description}".strip()


def _markers(store: Store, manifest: Mapping[str, Any], labels: Strings) -> list[list[dict[str, Any]] | None]:
    """Return the markers of each label; None for one that was added after the fit."""
    profiles = load_profiles(store, manifest["fitted"])
    excess = profiles.excess()
    try:
        table = open_table(store, manifest["taxon_id"], Recipe.from_dict(manifest["recipe"]).release)
        symbols = dict(table.genes.select("gene_id", "symbol").iter_rows())
    except NotInStoreError:  # an atlas that was copied without its texts can be changed all the same
        symbols = {}
    fitted = {name: i for i, name in enumerate(manifest["labels"])}
    made: list[list[dict[str, Any]] | None] = []
    for label in labels.tolist():
        if label not in fitted or not profiles.labels[fitted[label]].any():
            made.append(None)
            continue
        own = excess[fitted[label]]
        order = [i for i in np.argsort(-own, kind="stable")[:N_MARKERS].tolist() if own[i] > 0]
        genes = profiles.gene_ids[order].tolist()
        made.append(
            [
                {"gene_id": gene, "symbol": symbols.get(gene), "weight": float(own[i])}
                for gene, i in zip(genes, order, strict=True)
            ]
        )
    return made
