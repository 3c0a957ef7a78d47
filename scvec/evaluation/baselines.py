"""Baselines: classifiers without retrieval, which a recipe has to beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Strings
from scvec.embed.projection import normalise
from scvec.embed.recipe import TARGET_SUM
from scvec.ingest.cells import AskedScale, open_cells
from scvec.ingest.cells.selection import ALL_CELLS, Selection


def logistic_regression(
    reference: str | Path,
    query: str | Path,
    *,
    label_key: str,
    layer: str | None = None,
    scale: AskedScale = "auto",
    random_state: int = 0,
) -> Strings:
    """Return (n,) labels of the query's cells by multinomial logistic regression on log1p expression.

    It is trained on the reference, on the genes whose names are in both files, and holds both matrices in memory: it is
    for comparison, not for production. Linear models were the ones to beat in Abdelaal et al. 2019 (Genome Biology
    20:194).
    """
    from sklearn.linear_model import LogisticRegression

    labelled = Selection(label_key=label_key)
    features, names = _logged(reference, layer, scale, labelled)
    queried, queried_names = _logged(query, layer, scale)
    _, left, right = np.intersect1d(names.astype(str), queried_names.astype(str), return_indices=True)
    with open_cells(reference, None, labelled) as file:
        labels = file.labels(label_key, "label_key")
    model = LogisticRegression(max_iter=500, random_state=random_state).fit(features[:, left], labels.astype(str))
    return np.asarray(model.predict(queried[:, right]), dtype=object)


def _logged(
    path: str | Path, layer: str | None, scale: AskedScale, selection: Selection = ALL_CELLS
) -> tuple[sp.csr_matrix[np.float32], Strings]:
    with open_cells(path, None, selection) as file, file.matrix(layer, scale) as matrix:
        parts = [normalise(batch, matrix.values, TARGET_SUM) for _, batch in matrix.batches("reading")]
        return sp.csr_matrix(sp.vstack(parts, format="csr")), matrix.gene_names()
