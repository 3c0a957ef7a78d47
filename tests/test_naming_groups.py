"""What clusters express, with a column of clusters, with clusters made, and of the cells that calls leave unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scvec as sv
from scvec.annotation.clusters import Leiden
from scvec.annotation.result import NO_EXPRESSION, NOVEL
from scvec.atlas import Atlas
from scvec.errors import InputError, KeyNotFoundError, LabelError
from scvec.ingest.cells.options import ReadOptions
from scvec.naming.groups import groups_of, groups_of_calls
from tests import toy


def by_hand(adata: AnnData, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean log1p CP10k, and the share of cells that express, of a label's cells on all of their genes."""
    x = np.asarray(adata[adata.obs["cell_type"] == label].X.todense(), np.float64)
    logged = np.log1p(x / x.sum(1, keepdims=True) * 1e4)
    return logged.mean(0), (x > 0).mean(0)


def with_values(adata: AnnData, cells: slice, value: float) -> AnnData:
    """Return the cells, with one value in all genes of some of them."""
    x = adata.X.toarray()
    x[cells] = value
    changed = adata.copy()
    changed.X = sp.csr_matrix(x)
    return changed


def test_groups_are_the_means_of_a_column(store: sv.Store) -> None:
    adata = toy.cells()
    found = groups_of(adata, store, cluster_key="cell_type")
    assert found.clusters.tolist() == list(toy.LABELS)
    assert found.n_cells.tolist() == [30] * 4
    assert found.clusters[found.member].tolist() == adata.obs["cell_type"].tolist()
    assert (found.taxon_id, found.name) == (toy.HUMAN, "adata")
    order = [found.symbols.tolist().index(one) for one in adata.var_names]
    for i, label in enumerate(toy.LABELS):
        means, shares = by_hand(adata, label)
        np.testing.assert_allclose(found.means[i, order], means, rtol=1e-6)
        np.testing.assert_allclose(found.shares[i, order], shares, rtol=1e-12)


def test_batches_do_not_matter(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = groups_of(toy.cells(), store, cluster_key="cell_type")
    monkeypatch.setattr("scvec.ingest.cells.memory.MAX_BATCH_CELLS", 7)
    parts = groups_of(toy.cells(), store, cluster_key="cell_type")
    np.testing.assert_allclose(parts.means, whole.means, rtol=1e-12)
    np.testing.assert_array_equal(parts.shares, whole.shares)


def test_log_values_give_the_same_means(store: sv.Store) -> None:
    counts = groups_of(toy.cells(), store, cluster_key="cell_type")
    logged = groups_of(toy.cells(scale="log1p"), store, cluster_key="cell_type")
    log2 = toy.cells(scale="log1p")
    log2.X = (log2.X / np.log(2)).astype(np.float32)
    np.testing.assert_allclose(logged.means, counts.means, rtol=1e-4)
    np.testing.assert_allclose(groups_of(log2, store, cluster_key="cell_type").means, counts.means, rtol=1e-3)


def test_columns_of_one_gene_are_added(store: sv.Store) -> None:
    whole = toy.cells()
    x = whole.X.toarray()
    half = np.floor(x[:, :1] / 2)
    both = np.hstack([half, x[:, :1] - half, x[:, 1:]])
    names = [toy.SYMBOLS[0], "OLD0", *toy.SYMBOLS[1:]]
    split = AnnData(sp.csr_matrix(both), obs=whole.obs, var=pd.DataFrame(index=names))
    ours, theirs = (groups_of(one, store, cluster_key="cell_type") for one in (split, whole))
    np.testing.assert_array_equal(ours.gene_ids, theirs.gene_ids)
    np.testing.assert_allclose(ours.means, theirs.means, rtol=1e-6)


def test_cells_without_a_value_or_expression(store: sv.Store) -> None:
    adata = toy.cells()
    adata.obs["c"] = [["x", None, "nan", "Unknown"][i % 4] for i in range(120)]
    adata = with_values(adata, slice(0, 1), 0)
    found = groups_of(adata, store, cluster_key="c")
    assert found.clusters.tolist() == ["Unknown", "x"]  # which may be what is to be named
    assert found.n_cells.tolist() == [30, 30]
    assert (found.member < 0).sum() == 60
    assert "60 of 120 cells are in no cluster" in found.notes
    kept = groups_of(adata[1:], store, cluster_key="c")
    np.testing.assert_allclose(found.means, kept.means, rtol=1e-12)  # a cell without expression is in no mean
    without = groups_of(adata, store, cluster_key="c", read=ReadOptions(unlabelled=["unknown"]), alone=True)
    assert without.clusters.tolist() == ["x"]


def test_clusters_by_number_are_in_the_order_of_numbers(store: sv.Store) -> None:
    adata = toy.cells()
    adata.obs["leiden"] = [float(i % 12) if i else np.nan for i in range(120)]
    assert groups_of(adata, store, cluster_key="leiden").clusters.tolist() == [str(i) for i in range(12)]


def test_a_cluster_of_one_or_two_cells_or_without_expression_is_kept_and_noted(store: sv.Store) -> None:
    adata = toy.cells()
    adata.obs["c"] = ["few"] * 2 + ["silent"] * 5 + ["many"] * 113
    adata = with_values(adata, slice(2, 7), 0)
    found = groups_of(adata, store, cluster_key="c")
    assert found.clusters.tolist() == ["few", "many", "silent"]
    assert found.expressing.tolist() == [True, True, False]
    assert "of one or two cells, whose expression is mostly chance: few" in found.notes
    assert "no cell expresses a known gene in: silent" in found.notes


def test_packaged_identifiers_do_where_the_store_has_no_texts(tmp_path: Path, data: Path) -> None:
    found = groups_of(data / "cells" / "pancreas_baron_human.h5ad", sv.Store(tmp_path / "empty"), cluster_key="donor")
    assert len(found.gene_ids) > 15_000
    assert found.taxon_id == toy.HUMAN
    assert not (tmp_path / "empty").exists()


def test_clusters_are_made_of_the_cells_themselves(store: sv.Store) -> None:
    adata = toy.cells(240)
    found = groups_of(adata, store)
    table = pd.crosstab(found.clusters[found.member], adata.obs["cell_type"].to_numpy())
    assert len(table) >= 4
    assert (table.max(axis=1) == table.sum(axis=1)).all()  # the four toy types are far apart
    again = groups_of(adata, store)
    np.testing.assert_array_equal(again.member, found.member)


def test_components_of_a_sample_serve_all_cells(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scvec.naming.own_vectors.FIT_CELLS", 80)
    monkeypatch.setattr("scvec.naming.own_vectors.READ_CELLS", 32)
    adata = toy.cells(240)
    found = groups_of(adata, store)
    table = pd.crosstab(found.clusters[found.member], adata.obs["cell_type"].to_numpy())
    assert (table.max(axis=1) == table.sum(axis=1)).all()


def with_column(values: list[object], n: int = 120) -> AnnData:
    adata = toy.cells(n)
    adata.obs["c"] = values
    return adata


@pytest.mark.parametrize(
    ("values", "key", "error", "said"),
    [
        (["a", "b"] * 60, "Cell_type", KeyNotFoundError, "did you mean cell_type"),
        (["a", "b"] * 60, "zzz", KeyNotFoundError, "one of: cell_type, cl_id, donor, c"),
        (["a"] * 120, "c", LabelError, "one cluster only, 'a': expected at least two"),
        ([None] * 120, "c", LabelError, "a value for none of its 120 cells"),
        ([i / 7 for i in range(120)], "c", LabelError, "numbers with fractions: expected names of clusters"),
    ],
)
def test_a_column_that_is_of_no_use_is_refused(
    store: sv.Store, values: list[object], key: str, error: type[InputError], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        groups_of(with_column(values), store, cluster_key=key)
    assert raised.value.parameter == "cluster_key"
    assert "\n" not in str(raised.value)


def test_names_of_cells_are_no_clusters(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scvec.naming.members.N_MAX", 100)
    with pytest.raises(LabelError, match=r"has 120 values, and looks like names of cells.*at most 100"):
        groups_of(with_column([f"cell{i}" for i in range(120)]), store, cluster_key="c")


def test_too_few_cells_and_contradictions_are_refused(store: sv.Store) -> None:
    with pytest.raises(InputError, match="has 1 cell: expected at least two"):
        groups_of(toy.cells(1), store)
    with pytest.raises(InputError, match="exclude each other"):
        groups_of(toy.cells(), store, cluster_key="cell_type", clusters=Leiden())
    blank = with_values(toy.cells(), slice(None), 0)
    with pytest.raises(InputError, match="no cell has a count of a gene"):
        groups_of(blank, store, cluster_key="cell_type")
    same = with_values(toy.cells(), slice(None), 1)
    with pytest.raises(InputError, match="no gene varies between cells"):
        groups_of(same, store)


def test_one_cluster_will_do_where_it_has_a_background(store: sv.Store) -> None:
    assert len(groups_of(with_column(["a"] * 120), store, cluster_key="c", alone=True)) == 1


def left_unknown(calls: sv.Annotation, label: str) -> sv.Annotation:
    """Return calls that leave the cells of a label unknown, and the first of them without expression."""
    out = calls.label == label
    reason = np.where(out, NOVEL, "").astype(object)
    reason[np.flatnonzero(out)[0]] = NO_EXPRESSION
    return replace(calls, rejected=out, reason=reason, label=np.where(out, sv.UNKNOWN, calls.label).astype(object))


def test_unknown_cells_are_named_and_the_others_are_the_contrast(store: sv.Store, atlas: Atlas) -> None:
    adata = toy.cells(seed=5)
    calls = left_unknown(sv.annotate(adata, atlas), "beta")
    found = groups_of_calls(calls)
    assert all(one.startswith("unknown ") for one in found.clusters)
    assert found.contrast_names.tolist() == ["alpha", "ductal", "immune"]
    assert set(np.flatnonzero(found.member >= 0)) == set(np.flatnonzero(calls.reason == NOVEL))
    whole = groups_of(adata, store, cluster_key="cell_type")
    np.testing.assert_allclose(found.contrast, whole.means[[0, 2, 3]], rtol=1e-12)
    one = groups_of_calls(replace(calls, cluster=np.full(len(calls), "all", object)))
    assert one.clusters.tolist() == ["all"]
    assert one.n_cells.tolist() == [29]
    given = np.array([f"g{i % 8}" for i in range(len(calls))], object)
    assert groups_of_calls(calls, by=given).clusters.tolist() == ["g1", "g5"]


def test_nothing_is_read_where_no_cell_is_unknown(atlas: Atlas) -> None:
    calls = sv.annotate(toy.cells(seed=5), atlas)
    sure = replace(calls, rejected=np.zeros(len(calls), bool), reason=np.full(len(calls), "", object))
    found = groups_of_calls(sure)
    assert len(found) == len(found.contrast) == 0
    assert (found.member == -1).all()


def test_groups_of_calls_refuse_changed_cells_and_a_group_without_contrast(atlas: Atlas) -> None:
    adata = toy.cells(seed=5)
    calls = sv.annotate(adata, atlas)
    none = replace(calls, rejected=np.ones(len(calls), bool), reason=np.full(len(calls), NOVEL, object))
    with pytest.raises(LabelError, match="one cluster only"):
        groups_of_calls(none, by=np.full(len(calls), "x", object))
    with pytest.raises(InputError, match="`by` has 3 names"):
        groups_of_calls(none, by=np.full(3, "x", object))
    adata.X = with_values(adata, slice(None), 7).X
    with pytest.raises(InputError, match="was changed"):
        groups_of_calls(left_unknown(calls, "beta"))


def test_a_mouse_query_of_a_human_atlas_keeps_its_own_genes(store: sv.Store, atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "mouse").mkdir()
    info, summary = toy.write_ncbi(tmp_path / "mouse", toy.MOUSE)
    pairs = toy.write_orthologs(tmp_path / "orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=pairs)
    adata = toy.cells(seed=5)
    adata.var_names = [toy.symbol_of(i, toy.MOUSE) for i in range(toy.N_GENES)]
    found = groups_of_calls(left_unknown(sv.annotate(adata, atlas, taxon="mouse"), "beta"))
    assert found.taxon_id == toy.MOUSE
    assert len(found.gene_ids) == toy.N_GENES  # also the two that have no one-to-one ortholog
    assert "Toy0" in found.symbols.tolist()
