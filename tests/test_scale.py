"""References made of real cells: what is in the file, and that it depends on the seed and the cell alone."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import scale
from benchmarks.resample import RealCells, draw, read
from benchmarks.scale import shards, write
from scvec.errors import InputError, KeyNotFoundError, MatrixError
from scvec.ingest import open_cells
from tests import toy

GENES_PER_CELL, MIX = 80, 0.2


@pytest.fixture(scope="module")
def reference(files: Path) -> Path:
    return files / "reference.h5ad"


@pytest.fixture(scope="module")
def source(reference: Path) -> RealCells:
    return real_cells(reference, genes=200, genes_per_cell=GENES_PER_CELL, mix=MIX)


real_cells = partial(read, label_key="cell_type", donor_key="donor")


def drawn(source: RealCells, cells: range, seed: int = 0) -> sp.csr_matrix[np.float32]:
    made = draw(source, seed, cells)
    return sp.csr_matrix((made.data, made.indices, made.indptr), shape=(len(cells), len(source.genes)))


def real(source: RealCells) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n_real, n_genes) the source's counts, in its order."""
    rows = np.repeat(np.arange(len(source.cell_type)), np.diff(source.bounds))
    counts = np.zeros((len(source.cell_type), len(source.genes)))
    np.add.at(counts, (rows, source.molecules), 1)
    return counts


def differing(one: Any, other: Any) -> int:
    """How many values of two sparse matrices are not the same."""
    return int((one != other).nnz)


def content(path: Path) -> dict[str, Any]:
    """Everything in a file, by its place."""
    found: dict[str, Any] = {}

    def look(name: str, element: h5py.Group | h5py.Dataset) -> None:
        values = np.asarray(element).tolist() if isinstance(element, h5py.Dataset) else None
        found[name] = values, {key: str(value) for key, value in element.attrs.items()}

    with h5py.File(path) as file:
        file.visititems(look)
    return found


def test_a_file_is_as_anndata_writes_one(source: RealCells, tmp_path: Path) -> None:
    n_values = write(tmp_path / "made.h5ad", source, range(300), batch_cells=64)
    cells = ad.read_h5ad(tmp_path / "made.h5ad")
    assert cells.shape == (300, 200)
    assert (cells.X.dtype, cells.X.indices.dtype, cells.X.indptr.dtype) == (np.float32, np.int32, np.int64)
    assert cells.X.nnz == n_values
    assert cells.X.has_canonical_format
    assert cells.obs_names[[0, 299]].tolist() == ["s0c0", "s0c299"]
    assert cells.obs["cell_type"].cat.categories.tolist() == sorted(toy.LABELS)
    assert cells.obs["donor"].cat.categories.tolist() == ["d0", "d1", "d2"]
    assert set(cells.obs["dataset"]) == {"reference"}
    assert set(cells.var_names) < set(toy.SYMBOLS)
    cells.write_h5ad(tmp_path / "again.h5ad")
    made, again = content(tmp_path / "made.h5ad"), content(tmp_path / "again.h5ad")
    assert {name: one for name, one in made.items() if name != "X/data"} == {
        name: one for name, one in again.items() if name != "X/data"
    }
    backed = ad.read_h5ad(tmp_path / "made.h5ad", backed="r")
    assert differing(backed.X[100:110], cells.X[100:110]) == 0
    backed.file.close()


@pytest.mark.parametrize("compression", [None, "lzf"])
def test_scvec_opens_it(source: RealCells, tmp_path: Path, compression: str | None) -> None:
    write(tmp_path / "made.h5ad", source, range(150), compression=compression)
    with open_cells(tmp_path / "made.h5ad") as file, file.matrix() as matrix:
        assert len(file.obs_names) == 150
        assert matrix.values.scale == "counts"
        assert matrix.gene_names().tolist() == source.genes.tolist()
        read_back = sp.vstack([batch for _, batch in matrix.batches("reading")])
        labels, donors = file.labels("cell_type", "--label-key"), file.labels("donor", "--batch-key")
    assert differing(read_back, drawn(source, range(150))) == 0
    chosen = draw(source, 0, range(150)).cells
    assert labels.tolist() == source.cell_types[source.cell_type[chosen]].tolist()
    assert donors.tolist() == source.donors[source.donor[chosen]].tolist()


def test_labels_and_donors_are_those_of_the_real_cells(reference: Path, source: RealCells) -> None:
    cells = ad.read_h5ad(reference)
    seen = {(label, donor): part for (label, donor), part in cells.obs.groupby(["cell_type", "donor"], observed=True)}
    counts = real(source)
    for (label, donor), part in seen.items():
        own = (source.cell_types[source.cell_type] == label) & (source.donors[source.donor] == donor)
        kept = cells[part.index, source.genes.tolist()].X.toarray()
        assert sorted(counts[own].tolist()) == sorted(kept.tolist())


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 2**63))
def test_a_cell_is_the_same_in_any_batch(source: RealCells, sizes: Sequence[int], seed: int) -> None:
    bounds = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    parts = [drawn(source, range(first, last), seed) for first, last in pairwise(bounds)]
    assert differing(sp.csr_matrix(sp.vstack(parts)), drawn(source, range(bounds[-1]), seed)) == 0


def test_a_file_depends_on_the_seed_alone(source: RealCells, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.h5ad" for name in "abc"]
    for path, seed, batch_cells in zip(paths, (5, 5, 6), (200, 7, 200), strict=True):
        write(path, source, range(200), seed=seed, batch_cells=batch_cells)
    one, same, other = map(content, paths)
    assert one == same
    assert one["X/indices"] != other["X/indices"]
    assert not set(one["obs/cell_id"][0]) & set(other["obs/cell_id"][0])


def test_a_small_file_is_the_head_of_a_large_one(source: RealCells, tmp_path: Path) -> None:
    for n in (60, 200):
        write(tmp_path / f"{n}.h5ad", source, range(n), batch_cells=32)
    small, large = (ad.read_h5ad(tmp_path / f"{n}.h5ad") for n in (60, 200))
    assert differing(small.X, large.X[:60]) == 0
    assert small.obs.equals(large.obs.iloc[:60])


def test_counts_are_a_multinomial_draw(tmp_path: Path) -> None:
    """One real cell: every total is its own, scaled, and means and variances are the multinomial's."""
    toy.cells(4)[:1].copy().write_h5ad(tmp_path / "one.h5ad")
    source = real_cells(tmp_path / "one.h5ad", genes_per_cell=40, mix=0.5)
    made = drawn(source, range(4000)).toarray().astype(float)
    total = round(len(source.molecules) * source.depth)
    assert (made.sum(1) == total).all()
    p = np.bincount(source.molecules, minlength=len(source.genes)) / len(source.molecules)
    expressed = p > 0
    assert (made[:, ~expressed] == 0).all()
    variance = total * p * (1 - p)
    z = (made.mean(0) - total * p)[expressed] / np.sqrt(variance[expressed] / len(made))
    assert np.abs(z).max() < 4.5
    assert np.mean(z**2) == pytest.approx(1, abs=0.4)
    assert np.mean(made.var(0)[expressed] / variance[expressed]) == pytest.approx(1, abs=0.02)


def test_gene_means_are_the_sources(source: RealCells) -> None:
    counts, n = real(source), 6000
    made = drawn(source, range(n)).toarray().astype(float)
    expected = np.zeros(len(source.genes))
    for label in range(len(source.cell_types)):
        own = counts[source.cell_type == label]
        proportions = (1 - MIX) * (own / own.sum(1, keepdims=True)).mean(0) + MIX * own.sum(0) / own.sum()
        expected += len(own) / len(counts) * own.sum(1).mean() * source.depth * proportions
    z = (made.mean(0) - expected) / (made.std(0) / np.sqrt(n))
    assert np.abs(z).max() < 4.5
    assert np.corrcoef(made.mean(0), counts.mean(0))[0, 1] > 0.99


@pytest.mark.parametrize("asked", [3, 60, 130])
def test_as_many_genes_are_expressed_as_asked(reference: Path, asked: int) -> None:
    source = real_cells(reference, genes_per_cell=asked)
    assert drawn(source, range(1000), seed=9).nnz / 1000 == pytest.approx(asked, rel=0.04)


def test_the_mix_is_the_labels_mean(source: RealCells) -> None:
    counts = real(source)
    chosen = draw(source, 0, range(500)).cells
    assert (counts[chosen][drawn(replace(source, mix=0.0), range(500)).toarray() > 0] > 0).all()
    mixed = drawn(source, range(500)).toarray()
    of_others = counts[chosen] == 0
    share = mixed[of_others].sum() / mixed.sum()
    # What a label's mean has on genes that a cell does not express, on average.
    means = np.stack([counts[source.cell_type == one].sum(0) for one in range(len(source.cell_types))])
    means /= means.sum(1, keepdims=True)
    wanted = (means[source.cell_type[chosen]] * of_others).sum(1).mean() * MIX
    assert share == pytest.approx(wanted, rel=0.1)


def test_genes_are_those_of_most_counts(reference: Path, source: RealCells) -> None:
    cells = ad.read_h5ad(reference)
    totals = dict(zip(cells.var_names, np.asarray(cells.X.sum(0)).ravel(), strict=True))
    left = [totals[gene] for gene in cells.var_names if gene not in set(source.genes)]
    assert len(left) == 40
    assert max(left) <= min(totals[gene] for gene in source.genes)
    assert len(real_cells(reference, genes=10_000, genes_per_cell=60).genes) == toy.N_GENES


def test_cells_without_counts_are_not_drawn(tmp_path: Path) -> None:
    cells = toy.cells(40)
    x = cells.X.toarray()
    x[::4] = 0
    cells.X = sp.csr_matrix(x)
    cells.write_h5ad(tmp_path / "holes.h5ad")
    source = real_cells(tmp_path / "holes.h5ad", genes_per_cell=60)
    assert len(source.cell_type) == 30
    assert drawn(source, range(100)).sum(1).min() > 0


def test_shards_are_one_file_in_parts(reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, *options: str) -> None:
        words = ["scale", str(tmp_path / name), "--cells", "100", "--genes-per-cell", "60", "--source", str(reference)]
        monkeypatch.setattr(sys, "argv", [*words, "--label-key", "cell_type", "--seed", "3", *options])
        scale.main()

    run("whole.h5ad")
    run("part.h5ad", "--shards", "3", "--compression", "lzf")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "part-0.h5ad",
        "part-1.h5ad",
        "part-2.h5ad",
        "whole.h5ad",
    ]
    whole = ad.read_h5ad(tmp_path / "whole.h5ad")
    parts = ad.concat([ad.read_h5ad(tmp_path / f"part-{one}.h5ad") for one in range(3)])
    assert differing(parts.X, whole.X) == 0
    assert parts.obs_names.tolist() == whole.obs_names.tolist()
    assert parts.obs["cell_type"].astype(str).tolist() == whole.obs["cell_type"].astype(str).tolist()
    with pytest.raises(SystemExit, match=r"`shards` must be .* \(got 101\)"):
        run("none.h5ad", "--shards", "101")


def test_memory_does_not_grow_with_the_cells(source: RealCells, tmp_path: Path) -> None:
    def peak(n: int) -> int:
        tracemalloc.start()
        write(tmp_path / "made.h5ad", source, range(n), batch_cells=100)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)
    small, large = peak(1000), peak(8000)
    with h5py.File(tmp_path / "made.h5ad") as file:
        assert large < 1.5 * small < file["X/data"].nbytes + file["X/indices"].nbytes


def test_what_cannot_be_made_is_refused(reference: Path, source: RealCells, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`cells`"):
        write(tmp_path / "none.h5ad", source, range(0))
    with pytest.raises(InputError, match=r"`seed` must be .* \(got -1\)"):
        write(tmp_path / "none.h5ad", source, range(1), seed=-1)
    with pytest.raises(InputError, match=r"`mix` must be .* \(got 2\)"):
        real_cells(reference, mix=2)
    with pytest.raises(InputError, match="`genes_per_cell` = 239"):
        real_cells(reference, genes_per_cell=239, mix=0)
    with pytest.raises(KeyNotFoundError, match="donor_key"):
        real_cells(reference, donor_key="person")
    toy.cells(20, scale="log1p").write_h5ad(tmp_path / "log1p.h5ad")
    with pytest.raises(MatrixError, match="declared counts"):
        real_cells(tmp_path / "log1p.h5ad")
    assert not list(tmp_path.glob("*none*"))
    with pytest.raises(InputError, match=r"`shards` must be .* \(got 6\)"):
        shards(Path("x.h5ad"), 5, 6)
