"""Names of 0.6 that users may have written down: they work, and say what they are called now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec import interpret
from scvec.annotation.result import RENAMED
from scvec.annotation.writing import write
from scvec.atlas import Atlas


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_attributes_and_columns_of_calls(atlas: Atlas, files: Path, tmp_path: Path, old: str, new: str) -> None:
    import anndata

    calls = sv.annotate(files / "query.h5ad", atlas)
    with pytest.warns(DeprecationWarning, match=new):
        np.testing.assert_array_equal(getattr(calls, old), getattr(calls, new))
    for name in ("calls.parquet", "calls.h5ad"):
        write(calls, tmp_path / name, files / "query.h5ad")
    frame = pl.read_parquet(tmp_path / "calls.parquet")
    assert frame[old].to_list() == frame[new].to_list()
    obs = anndata.read_h5ad(tmp_path / "calls.h5ad").obs
    assert obs[f"scvec_{old}"].tolist() == obs[f"scvec_{new}"].tolist()
    assert obs["scvec_label"].tolist() == obs["scvec"].tolist()
    write(calls, tmp_path / "other.h5ad", key_added="islet")
    assert not {f"islet_{old}", "islet_label", "scvec_label"} & set(anndata.read_h5ad(tmp_path / "other.h5ad").obs)


@pytest.mark.parametrize(
    ("where", "old", "new"), [(sv, "Reading", "ReadOptions"), (interpret, "Asked", "RerankOptions")]
)
def test_classes(where: Any, old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=new):
        assert getattr(where, old) is getattr(where, new)
