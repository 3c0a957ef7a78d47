"""Mean profiles of many types, read from files of several scales and species, and made of groups and atlases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.errors import FileError, GeneMatchError, InputError, LabelError, MatrixError
from scvec.ingest.genes.gene_table import open_table
from scvec.naming.background import Background, joined
from scvec.naming.background_files import mean_logarithms, read_background, write_background
from scvec.naming.groups import Groups, groups_of
from tests import toy

IDS = np.arange(toy.N_GENES) + toy.FIRST_ID[toy.HUMAN]


@pytest.fixture
def groups(store: sv.Store) -> Groups:
    return groups_of(toy.cells(), store, cluster_key="cell_type")


def profiles(n: int = 3, total: float = 1e6, seed: int = 0) -> dict[str, list[float]]:
    """Return means of counts of n types, each with this total."""
    rates = np.random.default_rng(seed).gamma(0.5, size=(n, toy.N_GENES))
    return {f"type {i}": (total * one / one.sum()).tolist() for i, one in enumerate(rates)}


def write(path: Path, columns: dict[str, list[float]], names: list[str] | None = None, key: str = "symbol") -> Path:
    pl.DataFrame(columns | {key: list(toy.SYMBOLS) if names is None else names}).write_parquet(path)
    return path


def test_means_of_counts_of_any_total_become_the_same(store: sv.Store, tmp_path: Path) -> None:
    columns = profiles()
    found = read_background(write(tmp_path / "a.parquet", columns), store, "human")
    expected = mean_logarithms(np.array(list(columns.values())) / 100)
    np.testing.assert_array_equal(found.gene_ids, IDS)
    assert found.names.tolist() == ["type 0", "type 1", "type 2"]
    assert found.tissues.tolist() == [""] * 3
    np.testing.assert_allclose(found.means, expected, rtol=1e-12)
    logged = {name: one.tolist() for name, one in zip(columns, expected, strict=True)}
    of_log = read_background(write(tmp_path / "b.parquet", logged), store, "human")
    np.testing.assert_allclose(of_log.means, expected, rtol=1e-12)


def test_mean_logarithms_are_nearer_than_logarithms_of_means() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.3, size=2000) * 4, size=(400, 2000))  # some 2,400 counts a cell
    values = 1e4 * counts / counts.sum(1, keepdims=True)
    means, found = values.mean(0), np.log1p(values).mean(0)
    off, plain = mean_logarithms(means) - found, np.log1p(means) - found
    assert (plain >= -1e-12).all()
    assert np.abs(off).sum() < np.abs(plain).sum() / 2
    assert mean_logarithms(np.array([[0.0, np.nan]]))[0, 0] == 0


def test_groups_become_a_file_and_a_background_again(store: sv.Store, groups: Groups, tmp_path: Path) -> None:
    own = Background.of_groups(groups, "pancreas")
    write_background(own, tmp_path / "own.parquet")
    found = read_background(tmp_path / "own.parquet", store, "human")
    np.testing.assert_allclose(found.means, groups.means, rtol=1e-6)
    assert found.names.tolist() == list(toy.LABELS)
    assert set(found.tissues.tolist()) == {"pancreas"}


def test_a_folder_names_tissues_and_joins_genes(store: sv.Store, tmp_path: Path) -> None:
    write(tmp_path / "lung.parquet", profiles())
    part = {name: one[:200] for name, one in profiles(seed=1).items()} | {"gut: type 0": profiles()["type 0"][:200]}
    write(tmp_path / "liver.parquet", part, [f"ENSG{i:011d}" for i in range(200)], "gene")
    (tmp_path / "notes.txt").write_text("no profile")
    found = read_background(tmp_path, store, "human")
    assert found.tissues.tolist() == ["liver"] * 3 + ["gut"] + ["lung"] * 3
    on = found.on(np.array([IDS[220], 7, IDS[3]]))
    assert on.shape == (7, 3)
    assert np.isnan(on).tolist() == [[True, True, False]] * 4 + [[False, True, False]] * 3
    np.testing.assert_array_equal(on[:, 2], found.means[:, 3])
    assert len(found.only(found.tissues == "lung")) == 3


def test_rows_of_one_gene_are_added(store: sv.Store, tmp_path: Path) -> None:
    columns = {name: [*one, one[0]] for name, one in profiles(1).items()}
    found = read_background(write(tmp_path / "a.parquet", columns, [*toy.SYMBOLS, "OLD0"]), store, "human")
    values = np.array(columns["type 0"])
    assert found.means[0, 0] == pytest.approx(float(mean_logarithms(2 * values[0] * 1e4 / values.sum())))


def with_mouse(store: sv.Store, folder: Path) -> None:
    info, summary = toy.write_ncbi(folder, toy.MOUSE)
    pairs = toy.write_orthologs(folder / "orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=pairs)


def test_another_species_is_taken_by_orthologs(store: sv.Store, tmp_path: Path) -> None:
    with_mouse(store, tmp_path)
    mouse = [toy.symbol_of(i, toy.MOUSE) for i in range(toy.N_GENES)]
    path = write(tmp_path / "m.parquet", profiles(), mouse)
    own, other = read_background(path, store, "mouse"), read_background(path, store, "human")
    assert (own.taxon_id, other.taxon_id) == (toy.MOUSE, toy.HUMAN)
    np.testing.assert_array_equal(other.gene_ids, IDS[2:])  # genes 0 and 1 share their ortholog
    np.testing.assert_array_equal(other.means, own.means[:, 2:])


def test_the_labels_of_an_atlas_are_near_the_means_of_their_cells(
    store: sv.Store, atlas: Atlas, groups: Groups
) -> None:
    found = Background.of_atlas(atlas, "toy")
    assert found.names.tolist() == list(toy.LABELS)
    for own, means in zip(found.on(groups.gene_ids), groups.means, strict=True):
        known = ~np.isnan(own)
        assert np.corrcoef(own[known], means[known])[0, 1] > 0.99
        assert own[known].sum() == pytest.approx(means[known].sum(), rel=0.35)


def changed(columns: dict[str, list[float]], value: float) -> dict[str, list[float]]:
    return {name: [value, *one[1:]] for name, one in columns.items()}


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        ({n: np.log2(np.array(v) + 1).tolist() for n, v in profiles().items()}, MatrixError, "neither means of counts"),
        ({n: (np.array(v) / 1e6).tolist() for n, v in profiles().items()}, MatrixError, "multiply all by 1,000"),
        (changed(profiles(), -1.0), MatrixError, "values from -1"),
        (changed(profiles(), np.inf), MatrixError, "to inf"),
        (profiles() | {"blank": [0.0] * toy.N_GENES}, MatrixError, "type 'blank' has no value above 0"),
        (profiles() | {"none": [np.nan] * toy.N_GENES}, MatrixError, "type 'none' has no value above 0"),
        ({}, FileError, "expected a Parquet file of mean profiles"),
        ({"text": ["x"] * toy.N_GENES}, FileError, "a column 'text' of String"),
        (profiles(1) | {" type 0": profiles()["type 1"]}, LabelError, "type 'type 0' twice"),
    ],
)
def test_files_that_cannot_be_told_are_refused(
    store: sv.Store, tmp_path: Path, columns: dict[str, list[float]], error: type[InputError], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        read_background(write(tmp_path / "a.parquet", columns), store, "human")
    assert "\n" not in str(raised.value)


def test_other_files_and_names_are_refused(store: sv.Store, groups: Groups, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        read_background(tmp_path / "no.parquet", store, "human")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"no file that ends in \.parquet"):
        read_background(tmp_path / "empty", store, "human")
    (tmp_path / "text.parquet").write_text("gene,type\n")
    with pytest.raises(FileError, match=r"text\.parquet"):
        read_background(tmp_path / "text.parquet", store, "human")
    strange = write(tmp_path / "b.parquet", profiles(), [f"x{i}y" for i in range(toy.N_GENES)])
    with pytest.raises(GeneMatchError, match="0 of 240 names in 'symbol' are genes of human"):
        read_background(strange, store, "human")
    with pytest.raises(InputError, match="a name without ': '"):
        write_background(Background.of_groups(groups, "eye: retina"), tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
    with pytest.raises(InputError, match=r"ends in \.parquet"):
        write_background(read_background(write(tmp_path / "c.parquet", profiles()), store, "human"), tmp_path / "x.csv")


def test_two_species_of_one_background_keep_to_the_genes_of_one(store: sv.Store, tmp_path: Path) -> None:
    with_mouse(store, tmp_path)
    (tmp_path / "all").mkdir()
    write(tmp_path / "all" / "human.parquet", profiles())
    write(tmp_path / "all" / "mouse.parquet", profiles(), [toy.symbol_of(i, toy.MOUSE) for i in range(toy.N_GENES)])
    found = read_background(tmp_path / "all", store, "human")
    assert (len(found), found.taxon_id) == (6, toy.HUMAN)
    assert np.isnan(found.means[3:, :2]).all()


def test_joined_types_keep_their_notes_once() -> None:
    one = Background(np.array(["a"], object), np.array(["x"], object), IDS[:2], np.ones((1, 2)), toy.HUMAN, ("note",))
    two = Background(np.array(["a"], object), np.array(["y"], object), IDS[1:3], np.ones((1, 2)), toy.HUMAN, ("note",))
    assert joined([one, two]).notes == ("note",)
    assert "2 types of 2 tissues, 3 genes" in repr(joined([one, two]))
    with pytest.raises(LabelError, match="of tissue 'x' twice"):
        joined([one, one])
    human = open_table(sv.Store("nowhere"), "human")
    assert one.in_genes_of(human, human) is one


def test_real_profiles_fit_the_same_types_of_another_study(store: sv.Store, data: Path, tmp_path: Path) -> None:
    real = sv.Store(tmp_path / "real")
    path = data / "reference" / "profile_Human_Adult_Pancreas_HCA.parquet"
    found = read_background(path, real, "human")
    cells = groups_of(data / "cells" / "pancreas_baron_human.h5ad", real, cluster_key="cell_type1")
    own = found.on(cells.gene_ids)
    known = ~np.isnan(own[0])
    nearest = [cells.clusters[np.argmax([np.corrcoef(one[known], x[known])[0, 1] for x in cells.means])] for one in own]
    assert nearest == ["alpha", "acinar", "delta", "beta", "ductal", "activated_stellate"]
    with pytest.raises(MatrixError, match="neither means of counts"):
        read_background(data / "reference" / "ref_hema_microarray.parquet", real, "human")
