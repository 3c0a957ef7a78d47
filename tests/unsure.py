"""Cells between two types, in clusters: a query that retrieval is unsure of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from anndata import AnnData

from tests import toy

N_CLUSTERS = 6


def cells(n: int = 41, seed: int = 1) -> AnnData:
    """Return n cells, each half its own type and half another's, with counts, and the column ``cluster``."""
    made = toy.cells(n, seed, form="dense")
    rng = np.random.default_rng(seed)
    other = np.asarray(made.X)[rng.permutation(n)]
    made.X = np.round((np.asarray(made.X) + other) / 2 + rng.poisson(0.5, other.shape)).astype(np.float32)
    made.obs["cluster"] = [f"c{i % N_CLUSTERS}" for i in range(n)]
    return made


def write(folder: Path) -> Path:
    path = folder / "unsure.h5ad"
    cells().write_h5ad(path)
    return path
