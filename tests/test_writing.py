"""Calls in a copy of the query's file: h5ad and zarr, read back by anndata."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.annotation import writing
from scvec.annotation.entries import KEY
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.core import exchange
from scvec.errors import DiskFullError, InputError
from tests import sources, toy

N = 41


@pytest.fixture(scope="module")
def toys(_built: Path) -> Atlas:
    return sv.atlas.open_atlas(sv.Store(_built), "toy")


@pytest.fixture(scope="module")
def called(toys: Atlas) -> sv.Annotation:
    return sv.annotate(toy.cells(N, seed=1), toys, max_error=0.05, sets=True)


def read(path: Path) -> ad.AnnData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's, of its third format
        return ad.read_zarr(path) if path.is_dir() else ad.read_h5ad(path)


def assert_same(one: ad.AnnData, other: ad.AnnData) -> None:
    pd.testing.assert_frame_equal(one.obs, other.obs, check_names=False)
    assert set(one.obsm) == set(other.obsm)
    for name in one.obsm:
        np.testing.assert_array_equal(one.obsm[name], other.obsm[name])
    same(dict(one.uns), dict(other.uns))
    np.testing.assert_array_equal(sp.csr_matrix(one.X).toarray(), sp.csr_matrix(other.X).toarray())


def same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    else:
        np.testing.assert_array_equal(one, other)


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize("kind", ["csr", "csc", "dense", "zarr2", "zarr3", "zip"])
def test_a_file_has_what_an_adata_has(called: sv.Annotation, toys: Atlas, tmp_path: Path, kind: str) -> None:
    cells = toy.cells(N, seed=1)
    cells.uns["mine"], cells.layers["more"] = {"a": [1, 2]}, sp.csr_matrix(cells.X)
    cells.strings_to_categoricals()  # as a file has them
    called.write(cells, "before")
    query = sources.write(cells, tmp_path / "in", kind)
    shutil.rmtree(tmp_path / "in" / "zip.zarr", ignore_errors=True)
    out = tmp_path / "out" / ("calls.h5ad" if query.suffix == ".h5ad" else "calls.zarr")
    calls = sv.annotate(query, toys, max_error=0.05, sets=True)
    for key in ("islet", "islet_fine", "islet"):
        expected = read(out) if out.exists() else cells.copy()
        writing.write(calls, out, query if not out.exists() else source_of(out, tmp_path), key_added=key)
        calls.write(expected, key)
        assert_same(read(out), expected)
        assert left(out.parent) == [out.name]
    np.testing.assert_array_equal(read(out).layers["more"].toarray(), cells.layers["more"].toarray())
    last = source_of(out, tmp_path)
    writing.write(replace(calls, sets=None), out, last, key_added="islet")
    assert read(last).obs.columns.drop("islet_set").tolist() == read(out).obs.columns.tolist()
    again = sv.annotate(out, toys, max_error=0.05, sets=True)
    assert again.to_polars().equals(calls.to_polars())


def source_of(out: Path, folder: Path) -> Path:
    """Return the file that was just written, under another name: the next query."""
    moved = folder / f"next-{out.name}"
    shutil.rmtree(moved, ignore_errors=True)
    return Path(shutil.move(out, moved))


def test_consolidated_or_not(called: sv.Annotation, tmp_path: Path) -> None:
    """Who reads a zarr by its consolidated metadata sees the calls, and a store without them stays so."""
    cells = toy.cells(N, seed=1)
    for kind in ("zarr2", "zarr3"):
        query = sources.write(cells, tmp_path, kind)
        writing.write(called, tmp_path / "with.zarr", query, key_added="islet")
        root = zarr.open_consolidated(tmp_path / "with.zarr")
        assert "obs/islet" in root
        assert root.metadata.zarr_format == int(kind[-1])
        bare = tmp_path / "bare.zarr"
        shutil.rmtree(bare, ignore_errors=True)
        shutil.copytree(query, bare)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            remove_consolidated(bare)
        writing.write(called, tmp_path / "without.zarr", bare, key_added="islet")
        made = zarr.open_group(tmp_path / "without.zarr", mode="r")
        assert made.metadata.consolidated_metadata is None
        assert read(tmp_path / "without.zarr").obs["islet"].tolist() == called.label.tolist()


def remove_consolidated(path: Path) -> None:
    import json

    (path / ".zmetadata").unlink(missing_ok=True)
    if (path / "zarr.json").exists():
        about = json.loads((path / "zarr.json").read_text())
        about.pop("consolidated_metadata", None)
        (path / "zarr.json").write_text(json.dumps(about))


@pytest.mark.parametrize("kind", ["csr", "zarr3"])
def test_what_others_wrote_is_refused_before_and_after_the_work(
    called: sv.Annotation, tmp_path: Path, kind: str
) -> None:
    cells = toy.cells(N, seed=1)
    cells.obs["mine_reason"] = "an author's"
    query = sources.write(cells, tmp_path / "in", kind)
    out = tmp_path / "out" / f"calls{query.suffix}"
    for key, name in (("cell_type", "cell_type"), ("mine", "mine_reason")):
        with pytest.raises(InputError, match=rf"`key_added` '{key}' would replace obs\['{name}'\]"):
            writing.write(called, out, query, key_added=key)
    assert not out.exists()
    assert not out.parent.exists() or not left(out.parent)
    with pytest.raises(InputError, match="would replace"):
        writing.check_target(out, query, key_added="cell_type")
    with pytest.raises(InputError, match="`key_added` must be"):
        writing.check_target(out, query, key_added="a/b")


def test_targets_that_cannot_be(called: sv.Annotation, tmp_path: Path) -> None:
    cells = toy.cells(N, seed=1)
    h5ad, store = sources.write(cells, tmp_path, "csr"), sources.write(cells, tmp_path, "zarr3")
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("words")
    for out, query, message in (
        (tmp_path / "c.zarr", h5ad, r"is not a zarr store.*\.parquet"),
        (tmp_path / "c.h5ad", store, r"is not an h5ad file.*\.parquet"),
        (store, store, "is the query itself"),
        (store / "calls.h5ad", store, "is the query itself"),
        (store / "calls.parquet", store, "is the query itself"),
        (tmp_path / "mine.zarr", store, "mine.zarr is not a zarr store"),
        (tmp_path / "c.h5ad", cells, r"in memory.*calls\.write\(adata\), then adata\.write_h5ad"),
        (tmp_path / "c.zarr", cells, r"in memory.*adata\.write_zarr"),
        (tmp_path / "c.h5ad", sources.write(cells[:5].copy(), tmp_path / "less", "csr"), "other cells than the calls"),
    ):
        with pytest.raises(InputError, match=message):
            writing.write(called, out, query)
    assert left(tmp_path / "mine.zarr") == ["thesis.txt"]
    assert not (tmp_path / "c.h5ad").exists()


def test_tables_of_cells_in_memory(called: sv.Annotation, tmp_path: Path) -> None:
    """The calls know their query, also where there is no file of it."""
    writing.write(called, tmp_path / "calls.parquet")
    assert len(pd.read_parquet(tmp_path / "calls.parquet")) == N


def test_an_interrupted_write_leaves_the_old_store(
    called: sv.Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = sources.write(toy.cells(N, seed=1), tmp_path, "zarr3")
    out = tmp_path / "out" / "calls.zarr"
    writing.write(called, out, query)
    other = replace(called, label=called.label[::-1])

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    rename, done = Path.rename, []

    def full_at_second(self: Path, target: Path) -> Path:
        done.append(target)
        return rename(self, target) if len(done) != 2 else full()

    for owner, name, fails in ((shutil, "copyfile", full), (Path, "rename", full), (Path, "rename", full_at_second)):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, fails)
            patched.setattr(exchange, "exchange", lambda _one, _other: False)  # as on some network file systems
            with pytest.raises(sv.ScvecError, match="no space left"):
                writing.write(other, out, query)
        assert read(out).obs["scvec"].tolist() == called.label.tolist()
        assert left(out.parent) == ["calls.zarr"]
    writing.write(other, out, query)
    assert read(out).obs["scvec"].tolist() == other.label.tolist()


def test_a_full_disk_leaves_the_old_store(called: sv.Annotation, tmp_path: Path, small_disk: Path) -> None:
    query = sources.write(toy.cells(N, seed=1), tmp_path, "zarr3")
    writing.write(called, small_disk / "calls.zarr", query)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(b"x" * (free - 40_000))
    with pytest.raises(DiskFullError, match="no space left"):
        writing.write(replace(called, label=called.label[::-1]), small_disk / "calls.zarr", query)
    assert read(small_disk / "calls.zarr").obs["scvec"].tolist() == called.label.tolist()
    assert left(small_disk) == ["calls.zarr", "filler"]


def test_what_a_killed_process_left_is_in_nobodys_way(called: sv.Annotation, tmp_path: Path) -> None:
    query = sources.write(toy.cells(N, seed=1), tmp_path, "zarr3")
    out = tmp_path / "out" / "calls.zarr"
    for mark in ("part", "old"):
        (out.parent / f".calls.zarr.{mark}" / "x").mkdir(parents=True)
    writing.write(called, out, query)
    assert left(out.parent) == ["calls.zarr"]


def test_names_as_nullable_strings(toys: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(N, seed=1)
    cells.obs.index = pd.Index(cells.obs_names.astype("string"))
    with ad.settings.override(allow_write_nullable_strings=True):
        cells.write_h5ad(tmp_path / "q.h5ad")
    calls = sv.annotate(tmp_path / "q.h5ad", toys)
    writing.write(calls, tmp_path / "calls.h5ad")
    back = ad.read_h5ad(tmp_path / "calls.h5ad")
    assert back.obs["scvec"].tolist() == calls.label.tolist()
    assert back.obsm["scvec_neighbors"].tolist() == calls.neighbor_names.tolist()
    calls.write(cells)
    assert cells.obs["scvec"].tolist() == calls.label.tolist()


def test_the_option_of_the_command_line(_built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = sources.write(toy.cells(N, seed=1), tmp_path, "zarr3")
    verb = ["query", str(query), "--atlas", "toy", "--store", str(_built), "--quiet"]
    assert main([*verb, "--out", str(tmp_path / "calls.zarr"), "--key-added", "islet"]) == 0
    assert "islet_confidence" in read(tmp_path / "calls.zarr").obs
    assert main([*verb, "--out", str(tmp_path / "calls.zarr"), "--key-added", "cell_type"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("scvec: --key-added 'cell_type' would replace obs['cell_type']")
    assert len(said.splitlines()) == 1


cells_and_order = st.permutations(range(N)).flatmap(
    lambda order: st.integers(1, N).map(lambda n: np.array(order[:n], dtype=int))
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    key=st.from_regex(KEY, fullmatch=True).filter(lambda key: len(key) < 20),
    order=cells_and_order,
    ending=st.sampled_from(["h5ad", "zarr"]),
    n_sets=st.booleans(),
)
def test_written_and_read_back(
    called: sv.Annotation,
    tmp_path_factory: pytest.TempPathFactory,
    key: str,
    order: np.ndarray[Any, Any],
    ending: str,
    n_sets: bool,
) -> None:
    """What an AnnData has after `write` is what anndata reads of the file that it writes then."""
    adata = CELLS[order].copy()
    if key in adata.obs:
        return
    calls = called if n_sets else replace(called, sets=None)
    calls.write(adata, key)
    path = tmp_path_factory.mktemp("written") / f"calls.{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's, of its third format
        adata.write_h5ad(path) if ending == "h5ad" else adata.write_zarr(path)
    back = read(path)
    assert_same(back, adata)
    called.write(back, key)  # and knows what it wrote before
    assert (f"{key}_set" in back.obs) is True
    shutil.rmtree(path.parent)


CELLS = toy.cells(N, seed=1)


@pytest.mark.parametrize("name", ["calls.parquet", "calls.csv"])
def test_a_full_disk_is_said_of_tables_too(small_disk: Path, name: str) -> None:
    noise = np.random.default_rng(0)
    frame = pl.DataFrame({"x": noise.random(400_000), "y": noise.random(400_000)})
    (small_disk / name).write_text("old")
    with pytest.raises(sv.ScvecError, match="no space left") as caught:
        writing.write_frame(frame, small_disk / name)
    assert type(caught.value).__name__ == "DiskFullError"
    assert [one.name for one in small_disk.iterdir()] == [name]
    assert (small_disk / name).read_text() == "old"


def test_a_full_disk_during_a_report(store: sv.Store, files: Path, small_disk: Path) -> None:
    (small_disk / "calls.html").write_text("old")
    calls = sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(store, "toy"))
    with pytest.raises(sv.ScvecError, match="no space left"):
        sv.report.write(calls, small_disk / "calls.html")
    assert [one.name for one in small_disk.iterdir()] == ["calls.html"]
    assert (small_disk / "calls.html").read_text() == "old"
