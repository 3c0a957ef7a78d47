"""The training data of a readout: labelled cells, their sentences, and the vectors of their genes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scvec.atlas.building.binding import drawn, match_reference, with_vectors
from scvec.core.types import Floats, Ints, Progress, Strings
from scvec.embed import ensure_genes
from scvec.embed.projection import aligner
from scvec.errors import LabelError
from scvec.ingest.cells import Matrix, open_cells
from scvec.ingest.cells.options import ReadOptions
from scvec.ingest.genes.gene_table import texts_of
from scvec.ingest.genes.gene_texts import GeneTexts
from scvec.ingest.matching import GeneMatch
from scvec.interpret.readout.sentences import Sentences, lengths, sentences
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.knn.folds import Fold, folds
from scvec.store import Store

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Genes:
    """The table of genes that sentences refer to.

    Attributes
    ----------
    texts
        The release of their texts.
    ids
        (g,) ids of the genes.
    vectors
        (g, d) their vectors.
    encoder, revision
        The encoder that the vectors are from.
    """

    texts: GeneTexts
    ids: Ints
    vectors: Floats
    encoder: str
    revision: str

    def to_dict(self) -> dict[str, Any]:
        """Return what identifies the table, as JSON types."""
        return {
            "taxon_id": self.texts.taxon_id,
            "release": self.texts.release,
            "gene_texts_digest": self.texts.manifest["digest"],
            "n_genes": len(self.ids),
            "gene_ids_sha256": hashlib.sha256(self.ids.astype("<i8").tobytes()).hexdigest(),
            "encoder": self.encoder,
            "encoder_revision": self.revision,
        }


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled cells to train a readout on.

    Attributes
    ----------
    genes
        The table of genes.
    rows
        (n, N) sentences of the cells that express any of these genes.
    codes, labels
        (n,) the label of each cell, as a position in `labels`, which are sorted.
    batches
        (n,) the batch of each cell; "" without a column of batches.
    source
        The file, as JSON types.
    """

    genes: Genes
    rows: Sentences
    codes: Ints
    labels: tuple[str, ...]
    batches: Strings
    source: Mapping[str, Any]

    def split(self, share: float, random_state: int) -> Fold:
        """Return which cells are trained on and which are held out.

        With several batches, whole ones are held out: of about 1 / `share` folds, the one whose size is nearest to
        `share`. Otherwise that share of each label's cells is drawn. Training keeps all cells of a label that occurs in
        no other batch, and at least one cell of every label.
        """
        n = len(self.codes)
        if len(set(self.batches.tolist())) > 1:
            parts = folds(self.codes, self.batches, max(2, round(1 / share)), random_state)
            # Nothing can be held out of a batch whose labels all occur in no other batch.
            useful = [fold for fold in parts if np.isin(self.codes[fold.held], self.codes[fold.seen]).any()]
            chosen = min(useful, key=lambda fold: abs(len(fold.held) / n - share), default=Fold(np.arange(n), _NONE))
            held = chosen.held[np.isin(self.codes[chosen.held], self.codes[chosen.seen])]
        else:
            held = self._drawn(share, np.random.default_rng(random_state))
        if not len(held):
            raise LabelError(
                f"{self.source['file']}: no label has two cells that express known genes",
                "one to train on and one to hold out",
                "add cells",
            )
        return Fold(np.setdiff1d(np.arange(n), held), held)

    def _drawn(self, share: float, draw: np.random.Generator) -> Ints:
        held = []
        for code in range(len(self.labels)):
            cells = draw.permutation(np.flatnonzero(self.codes == code))
            held.append(cells[: min(len(cells) - 1, max(1, round(share * len(cells))))])
        return np.sort(np.concatenate(held))

    def plan(self, spec: ReadoutSpec, llm_revision: str) -> str:
        """Return a hash of everything that training depends on."""
        asked = {key: value for key, value in spec.to_dict().items() if key != "model"}
        labelled = hashlib.sha256(self.codes.astype("<i8").tobytes() + "\0".join(self.batches).encode()).hexdigest()
        made_of = (asked, llm_revision, self.genes.to_dict(), dict(self.source), self.labels, labelled)
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def read_dataset(
    store: Store,
    cells: str | Path,
    spec: ReadoutSpec,
    *,
    label_key: str,
    batch_key: str | None,
    release: str | None,
    reading: ReadOptions,
    progress: Progress,
) -> Dataset:
    """Read a file of labelled cells; all sentences are kept in memory, 4 bytes per gene.

    Raises
    ------
    InputError
        If the file, a column, the matrix or its genes are invalid, or if there are fewer than two labels.
    NotInStoreError
        If the store lacks gene texts, which a readout needs, or their vectors.
    """
    with open_cells(cells, reading.obs, reading.labelled(label_key)) as file:
        given = file.labels(label_key, "label_key")
        batches = file.labels(batch_key, "batch_key") if batch_key else np.full(len(given), "", object)
        with file.matrix(reading.layer, reading.scale) as matrix:
            match = match_reference(store, matrix, None, reading.gene_key, reading.taxon, release)
            match, genes = _genes(store, spec, match, matrix, progress)
            columns = aligner(match, genes.ids)
            found = [
                sentences(batch, matrix.values, columns, spec, first)
                for first, batch in matrix.batches("reading the cells", progress)
            ]
            rows = np.concatenate(found)
            source = {
                "file": file.path.name,
                "fingerprint": file.fingerprint(),
                "n_cells": len(given),
                "matrix": matrix.to_dict(),
                "label_key": label_key,
                "batch_key": batch_key,
            }
    kept = lengths(rows) > 0
    labels, codes = np.unique(given[kept].astype(str), return_inverse=True)
    if len(labels) < 2:
        raise LabelError(
            f"{source['file']}: too few labels in obs[{label_key!r}] among cells that express known genes "
            f"({len(labels)})",
            "at least two",
            "name another column by `label_key`",
        )
    return Dataset(genes, rows[kept], codes.astype(np.int64), tuple(labels.tolist()), batches[kept], source)


def _genes(
    store: Store, spec: ReadoutSpec, match: GeneMatch, matrix: Matrix, progress: Progress
) -> tuple[GeneMatch, Genes]:
    texts = texts_of(store, match.gene_table)
    found = ensure_genes(
        store,
        texts,
        encoder=spec.encoder,
        gene_ids=match.genes,
        revision=spec.encoder_revision,
        progress=progress,
    )
    match = with_vectors(match, found, matrix.sampled_totals)
    ids = match.genes
    return match, genes_of(spec, texts, ids, found.of(ids), found.encoder, found.revision)


def genes_of(spec: ReadoutSpec, texts: GeneTexts, ids: Ints, vectors: Floats, encoder: str, revision: str) -> Genes:
    """Return a table of (g,) genes with their (g, d) vectors, or with random ones if the spec's ablation says so."""
    if spec.ablation == "random-vectors":
        vectors = drawn(len(ids), vectors.shape[1], spec.random_state)
    return Genes(texts, ids, vectors, encoder, revision)
