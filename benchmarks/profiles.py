"""Mean profiles of one study, and cells of another, as two files with the same labels: `suites/profiles.toml`."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.common import DATA, HERE

TABLE = HERE / "suites" / "profiles.toml"
LABEL = "label"


def write_profiles(folder: Path) -> None:
    """Write the files of each pair into a folder, unless those there were made from the same table and code."""
    pairs = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    made_from = hashlib.sha256(TABLE.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    about = folder / "made_from.json"
    if about.is_file() and json.loads(about.read_text(encoding="utf-8")) == made_from:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, pair in pairs.items():
        _profiles(pair).write_h5ad(folder / f"{name}-profiles.h5ad", compression="lzf")
        _cells(pair).write_h5ad(folder / f"{name}-cells.h5ad", compression="lzf")
    about.write_text(json.dumps(made_from), encoding="utf-8")


def _profiles(pair: Mapping[str, Any]) -> ad.AnnData:
    """Return the profiles as cells, without those to skip."""
    table = pd.read_parquet(DATA / "reference" / f"{pair['profiles']}.parquet").drop(columns=pair.get("skip", []))
    name_of = {one: label for label, row in pair["labels"].items() for one in row["profiles"]}
    lacking = sorted(name_of.keys() - set(table.columns))
    if lacking:
        raise ValueError(f"{pair['profiles']} has no profile {lacking}")
    names = table.columns.astype(str).tolist()
    obs = pd.DataFrame({LABEL: pd.Categorical([name_of.get(one, one) for one in names])}, index=names)
    values = sp.csr_matrix(table.to_numpy(np.float32).T)
    return ad.AnnData(values, obs=obs, var=pd.DataFrame(index=table.index.astype(str).tolist()))


def _cells(pair: Mapping[str, Any]) -> ad.AnnData:
    """Return the cells whose labels are compared, as counts."""
    cells = ad.read_h5ad(DATA / "cells" / f"{pair['cells']}.h5ad")
    name_of = {one: label for label, row in pair["labels"].items() for one in row.get("cells", [label])}
    given = cells.obs[pair["label_key"]].astype(str)
    kept = given.isin(name_of.keys()).to_numpy()
    values = sp.csr_matrix(cells.layers[pair["layer"]] if "layer" in pair else cells.X, dtype=np.float32)[kept]
    labels = pd.Categorical([name_of[one] for one in given[kept].tolist()])
    if set(labels) != set(pair["labels"]):
        raise ValueError(f"{pair['cells']} has no cells of {sorted(set(pair['labels']) - set(labels))}")
    obs = pd.DataFrame({LABEL: labels}, index=cells.obs_names[kept].astype(str).tolist())
    return ad.AnnData(values, obs=obs, var=pd.DataFrame(index=cells.var_names.astype(str).tolist()))
