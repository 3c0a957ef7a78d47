"""What a readout is trained on: a file of labelled cells, their sentences, the vectors of their genes."""

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
from scvec.embed import open_genes
from scvec.embed.projection import aligner
from scvec.errors import LabelError
from scvec.ingest.cells import AskedScale, Matrix, open_cells
from scvec.ingest.genes.gene_texts import GeneTexts
from scvec.ingest.matching import GeneMatch
from scvec.interpret.readout.sentences import Sentences, lengths, sentences
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.knn.folds import Fold, folds
from scvec.store import Store

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Genes:
    """The table of genes that sentences are made of.

    Attributes
    ----------
    texts
        The release of their texts.
    ids
        (g,) the genes.
    vectors
        (g, d) their vectors.
    encoder, revision
        Whose they are.
    """

    texts: GeneTexts
    ids: Ints
    vectors: Floats
    encoder: str
    revision: str

    def to_dict(self) -> dict[str, Any]:
        """Return what they are known by, as JSON types."""
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
class Lesson:
    """Labelled cells, as a readout is trained on them.

    Attributes
    ----------
    genes
        The table of genes.
    rows
        (n, N) sentences of the cells that express any of them.
    codes, labels
        (n,) the label of each, as a place in `labels`, which are sorted.
    batches
        (n,) the batch of each; "" where there is no column of them.
    source
        The file, as JSON types.
    """

    genes: Genes
    rows: Sentences
    codes: Ints
    labels: tuple[str, ...]
    batches: Strings
    source: Mapping[str, Any]

    def parted(self, share: float, random_state: int) -> Fold:
        """Return which cells are learnt from and which are held out.

        Whole batches are held out where there are several, of as many folds as the share says the one whose share is
        nearest to it; else that share of each label's cells is drawn. All cells of a label that no other batch has are
        learnt from, and so is at least one of any other's.
        """
        n = len(self.codes)
        if len(set(self.batches.tolist())) > 1:
            parts = folds(self.codes, self.batches, max(2, round(1 / share)), random_state)
            # Of a batch of nothing but labels that no other has, nothing can be held out.
            useful = [fold for fold in parts if np.isin(self.codes[fold.held], self.codes[fold.seen]).any()]
            parted = min(useful, key=lambda fold: abs(len(fold.held) / n - share), default=Fold(np.arange(n), _NONE))
            held = parted.held[np.isin(self.codes[parted.held], self.codes[parted.seen])]
        else:
            held = self._drawn(share, np.random.default_rng(random_state))
        if not len(held):
            raise LabelError(
                f"{self.source['file']}: no label has two cells that express known genes",
                "one to learn from and one to hold out",
                "give more cells",
            )
        return Fold(np.setdiff1d(np.arange(n), held), held)

    def _drawn(self, share: float, draw: np.random.Generator) -> Ints:
        held = []
        for code in range(len(self.labels)):
            cells = draw.permutation(np.flatnonzero(self.codes == code))
            held.append(cells[: min(len(cells) - 1, max(1, round(share * len(cells))))])
        return np.sort(np.concatenate(held))

    def plan(self, spec: ReadoutSpec, llm_revision: str) -> str:
        """Return a hash of all that training depends on."""
        asked = {key: value for key, value in spec.to_dict().items() if key != "model"}
        labelled = hashlib.sha256(self.codes.astype("<i8").tobytes() + "\0".join(self.batches).encode()).hexdigest()
        made_of = (asked, llm_revision, self.genes.to_dict(), dict(self.source), self.labels, labelled)
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def read_lesson(
    store: Store,
    cells: str | Path,
    spec: ReadoutSpec,
    *,
    label_key: str,
    batch_key: str | None,
    taxon: str | int | None,
    release: str | None,
    layer: str | None,
    scale: AskedScale,
    gene_key: str | None,
    obs: str | Path | None,
    progress: Progress,
) -> Lesson:
    """Read a file of labelled cells; the sentences of all of them are kept, 4 bytes a gene.

    Raises
    ------
    InputError
        If the file, a column, the matrix or its genes are of no use, or if there is one label.
    NotInStoreError
        If gene texts or vectors are missing.
    """
    with open_cells(cells, obs) as file:
        given = file.labels(label_key, "--label-key")
        batches = file.labels(batch_key, "--batch-key") if batch_key else np.full(len(given), "", object)
        with file.matrix(layer, scale) as matrix:
            match = match_reference(store, matrix, None, gene_key, taxon, release)
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
            f"{source['file']}: {len(labels)} label in obs[{label_key!r}] of cells that express known genes",
            "two labels or more",
            "name another column with --label-key",
        )
    return Lesson(genes, rows[kept], codes.astype(np.int64), tuple(labels.tolist()), batches[kept], source)


def _genes(
    store: Store, spec: ReadoutSpec, match: GeneMatch, matrix: Matrix, progress: Progress
) -> tuple[GeneMatch, Genes]:
    found = open_genes(store, match.texts, encoder=spec.encoder, revision=spec.encoder_revision, progress=progress)
    match = with_vectors(match, found, matrix.sampled_totals)
    ids = match.genes
    return match, genes_of(spec, match.texts, ids, found.of(ids), found.encoder, found.revision)


def genes_of(spec: ReadoutSpec, texts: GeneTexts, ids: Ints, vectors: Floats, encoder: str, revision: str) -> Genes:
    """Return a table of (g,) genes with their (g, d) vectors, or with such as the spec has drawn in their place."""
    if spec.ablation == "random-vectors":
        vectors = drawn(len(ids), vectors.shape[1], spec.random_state)
    return Genes(texts, ids, vectors, encoder, revision)
