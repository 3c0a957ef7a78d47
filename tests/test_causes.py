"""Causes of a doubt, each planted in cells and found: little RNA, mitochondria, doublets, ambient RNA."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

import scvec as sv
from scvec.atlas import Atlas
from scvec.core.types import Bools, Floats, silent
from scvec.embed.sample import Sample
from scvec.report.findings import cell_measures, doubts, overview
from scvec.report.findings.causes import Measure, ambient, limits, measures_of
from scvec.report.findings.doublets import Mixing
from scvec.report.findings.measuring import Measured, measured_in
from scvec.report.page.cause_words import ambient_line, causes
from tests import toy

REAL = Path(os.environ.get("SCVEC_DATA", "../shared/data")) / "cells" / "pancreas_baron_human.h5ad"
MITOCHONDRIAL = range(7, toy.N_GENES, 24)
N = 120


def symbol(gene: int) -> str:
    return f"MT-{toy.SYMBOLS[gene]}" if gene in MITOCHONDRIAL else toy.SYMBOLS[gene]


def counts(n: int, seed: int) -> tuple[Floats, list[str]]:
    """Return counts and labels of cells of the four types, some thirty times as deep as the toy's."""
    made = toy.cells(n, seed)
    rng = np.random.default_rng(seed)
    deep = rng.poisson(np.asarray(sp.csr_matrix(made.X).toarray()) * 5.0 * rng.uniform(0.7, 1.3, (n, 1)))
    return deep.astype(np.float32), made.obs["cell_type"].astype(str).tolist()


def adata(x: Floats, labels: list[str]) -> ad.AnnData:
    made = ad.AnnData(sp.csr_matrix(x.astype(np.float32)))
    made.var_names = [symbol(i) for i in range(toy.N_GENES)]
    made.obs_names = [f"c{i}" for i in range(len(x))]
    made.obs["cell_type"] = labels
    return made


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder = tmp_path_factory.mktemp("causes")
    info, summary = toy.write_ncbi(folder)
    rows = [line.split("\t") for line in gzip.decompress(info.read_bytes()).decode().splitlines()]
    at = rows[0].index("Symbol")
    for i, row in enumerate(rows[1:]):
        row[at] = symbol(i)
    toy.write_lines(info, ["\t".join(row) for row in rows])
    store = sv.Store(folder / "store")
    texts = sv.ingest.texts(store, taxon="human", gene_info=info, gene_summary=summary)
    genes = sv.embed.genes(store, texts, encoder="hash")
    return sv.atlas.build(store, "toy", adata(*counts(240, 0)), genes=genes, label_key="cell_type")


@dataclass(frozen=True)
class Planted:
    """A query with planted cells, and what is measured of it."""

    calls: sv.Annotation
    doubted: Bools
    found: Measured

    def of(self, name: str) -> Measure:
        """Return a measure of the planted cells of the label that most of them are called."""
        labels, sizes = np.unique(self.calls.label_before_rejection[self.doubted].astype(str), return_counts=True)
        label = str(labels[sizes.argmax()])
        cells = np.flatnonzero(self.doubted & (self.calls.label_before_rejection == label))
        measured = measures_of(self.found, label, cells, self.doubted)
        return next(one for one in measured if one.name == name)

    @property
    def stand_out(self) -> set[str]:
        """What stands out in the planted cells."""
        return {
            name for name in ("counts", "genes", "mitochondrial_share", "doublet_score") if self.of(name).stands_out
        }


def planted(atlas: Atlas, extra: Floats, *, change: Floats | None = None) -> Planted:
    """Return what is measured of extra cells in a query of cells as they are."""
    x, labels = counts(N, 1)
    x = x if change is None else x + change
    calls = sv.annotate(adata(np.vstack([x, extra]), [*labels, *["?"] * len(extra)]), atlas)
    doubted = np.arange(len(calls)) >= N
    with calls.query.opened() as cells:
        found = measured_in(cells, calls, doubted, 0, silent)
    assert found is not None
    return Planted(calls, doubted, found)


def of_type(label: str, seed: int = 2) -> Floats:
    x, labels = counts(120, seed)
    return np.asarray(x[np.array(labels) == label][:20], np.float32)


def test_cells_as_the_reference_s_stand_out_in_nothing(atlas: Atlas) -> None:
    assert planted(atlas, of_type("beta")).stand_out == set()


def test_little_rna_is_told(atlas: Atlas) -> None:
    thin = np.random.default_rng(0).binomial(of_type("beta").astype(int), 0.1).astype(np.float32)
    found = planted(atlas, thin)
    assert {"counts", "genes"} <= found.stand_out
    one = found.of("counts")
    assert one.stands_out == "low"
    assert one.median == np.median(thin.sum(axis=1))
    assert one.median < one.low < one.reference < one.high
    assert one.n_low > 10
    assert "doublet_score" not in found.stand_out


def test_counts_are_those_of_the_reference_s_cells_as_they_were(atlas: Atlas) -> None:
    x, labels = counts(240, 0)
    one = planted(atlas, of_type("beta")).of("counts")
    own = x[np.array(labels) == "beta"].sum(axis=1)
    assert one.reference == pytest.approx(np.median(own), rel=1e-5)
    assert one.low <= np.quantile(own, 0.05) * 1.0001
    assert one.high >= np.quantile(own, 0.95) / 1.0001
    genes = planted(atlas, of_type("beta")).of("genes")
    assert genes.reference == np.median((x[np.array(labels) == "beta"] > 0).sum(axis=1))


def test_mitochondria_are_told(atlas: Atlas) -> None:
    cells = of_type("alpha")
    cells[:, list(MITOCHONDRIAL)] += np.ceil(cells.sum(axis=1, keepdims=True) / 20)
    found = planted(atlas, cells)
    one = found.of("mitochondrial_share")
    assert one.stands_out == "high"
    assert one.median == pytest.approx(
        np.median(cells[:, list(MITOCHONDRIAL)].sum(axis=1) / cells.sum(axis=1)), rel=1e-4
    )


def test_doublets_are_told_with_the_other_label(atlas: Atlas) -> None:
    found = planted(atlas, of_type("alpha") + of_type("ductal"))
    one = found.of("doublet_score")
    assert one.stands_out == "high"
    assert one.n_high > 0.8 * found.doubted.sum() / 2
    label = str(found.calls.label_before_rejection[-1])
    assert {one.other} | set(found.calls.label_before_rejection[found.doubted]) <= {"alpha", "ductal"}
    assert one.other != "" != label
    assert found.of("genes").stands_out == "high"


def test_a_shift_of_all_cells_of_a_label_is_no_cause(atlas: Atlas) -> None:
    x, _ = counts(N, 1)
    thin = np.random.default_rng(0).binomial(of_type("beta").astype(int), 0.1).astype(np.float32)
    shallow = planted(atlas, thin, change=np.random.default_rng(1).binomial(x.astype(int), 0.1) - x)
    one = shallow.of("counts")
    assert one.median < 0.3 * one.reference
    assert one.stands_out == ""


def test_ambient_rna_is_told_of_the_label_that_owns_it(atlas: Atlas) -> None:
    assert ambient(planted(atlas, of_type("beta")).found) == ()
    soup = np.where([toy.theme_of(i) == "immune" for i in range(toy.N_GENES)], 4.0, 0.0)
    drops = np.random.default_rng(3).poisson(np.tile(soup, (N, 1))).astype(np.float32)
    (one,) = ambient(planted(atlas, of_type("beta"), change=drops).found)
    assert (one.label, one.n_labels) == ("immune", 3)
    assert one.share > 2 * one.reference
    assert ambient_line(one).startswith("Genes of immune are in the cells of all 3 other labels")


def test_all_cells_can_be_measured(atlas: Atlas) -> None:
    x, labels = counts(N, 1)
    empty = np.zeros((1, toy.N_GENES), np.float32)
    calls = sv.annotate(
        adata(np.vstack([x, empty, of_type("alpha") + of_type("ductal")]), [*labels, *["?"] * 21]), atlas
    )
    found = cell_measures(calls)
    assert found is not None
    frame = found.to_polars()
    assert frame["cell"].to_list() == [i for i in range(N + 21) if i != N]
    assert frame["counts"][0] == x[0].sum()
    assert roc_auc_score(frame["cell"] > N, frame["doublet_score"]) > 0.9


def test_few_genes_are_compared_on_these(atlas: Atlas) -> None:
    some = np.sort(np.random.default_rng(0).choice(toy.N_GENES, 100, replace=False))
    x, labels = counts(N, 1)
    calls = sv.annotate(adata(np.vstack([x, of_type("beta")]), [*labels, *["?"] * 20])[:, some].copy(), atlas)
    assert calls.query.atlas.is_panel
    doubted = np.arange(len(calls)) >= N
    with calls.query.opened() as cells:
        found = measured_in(cells, calls, doubted, 0, silent)
    assert found is not None
    for one in measures_of(found, "beta", np.flatnonzero(doubted), doubted)[:2]:
        assert one.reference == pytest.approx(one.beside, rel=0.3)
        assert one.median == pytest.approx(one.beside, rel=0.3)


def test_an_atlas_without_cells_says_nothing(atlas: Atlas) -> None:
    calls = sv.annotate(adata(*counts(N, 1)), atlas)
    none = replace(atlas)
    none.__dict__["kept_sample"] = None
    bare = replace(calls, source=replace(calls.query, atlas=none))
    found = doubts(bare, none, 0.3)
    assert found.ambient == ()
    assert all(one.measures == () and causes(one) == [] for one in found.groups)
    frame = found.to_polars()
    assert frame["counts"].null_count() == len(frame)
    assert frame.schema == doubts(calls, atlas, 0.3).to_polars().schema


def test_a_reference_without_counts_says_nothing_of_counts(atlas: Atlas) -> None:
    none = replace(atlas)
    assert atlas.kept_sample is not None
    none.__dict__["kept_sample"] = replace(atlas.kept_sample, n_counts=None)
    calls = sv.annotate(adata(*counts(N, 1)), none)
    with calls.query.opened() as cells:
        found = measured_in(cells, calls, np.ones(N, bool), 0, silent)
    (size, genes, *_) = measures_of(
        found, "beta", np.flatnonzero(calls.label_before_rejection == "beta"), np.ones(N, bool)
    )
    assert np.isnan(size.reference)
    assert size.stands_out == ""
    assert np.isfinite(size.median)
    assert np.isfinite(genes.reference)


def test_a_report_says_it_in_sentences_and_columns(atlas: Atlas) -> None:
    cells = of_type("alpha")
    cells[:, list(MITOCHONDRIAL)] += np.ceil(cells.sum(axis=1, keepdims=True) / 10)
    x, labels = counts(N, 1)
    calls = sv.annotate(adata(np.vstack([x, cells]), [*labels, *["?"] * len(cells)]), atlas)
    seen = overview(calls)
    group = max((one for one in seen.doubts.groups if one.label == "alpha"), key=lambda one: one.n_cells)
    said = [one for one in causes(group) if "mitochondrial" in one]
    assert len(said) == 1
    assert "95 % of the reference's alpha cells, and of those here that are not doubtful, have less" in said[0]
    row = next(
        one for one in seen.doubts.to_polars().to_dicts() if one["label"] == "alpha" and one["n_cells"] == group.n_cells
    )
    assert row["mitochondrial_share"] > 2 * row["mitochondrial_share_reference"]
    assert "high mitochondrial_share (" in row["stands_out"]


def test_limits_are_the_outer_ones_of_both() -> None:
    one, other, few = np.arange(100.0), np.arange(100.0) + 50, np.arange(3.0)
    outer = pytest.approx((np.quantile(one, 0.05), np.quantile(other, 0.95)))
    assert limits(one, other) == limits(other, one) == outer
    assert limits(few, one) == pytest.approx(np.quantile(one, [0.05, 0.95]))
    assert np.isnan(limits(one, few)).all()


def test_cells_of_a_minority_stand_out_and_a_few_do_not(atlas: Atlas) -> None:
    cells = of_type("alpha")
    for n, out in ((6, "high"), (3, "")):
        some = cells.copy()
        some[:n, list(MITOCHONDRIAL)] += np.ceil(some[:n].sum(axis=1, keepdims=True) / 20)
        one = planted(atlas, some).of("mitochondrial_share")
        assert (one.stands_out, n <= one.n_high <= n + 1) == (out, True)


def sampled(x: sp.csr_matrix[np.float32], labels: list[str]) -> Sample:
    names, codes = np.unique(labels, return_inverse=True)
    totals = np.asarray(x.sum(axis=1)).ravel()
    logged = sp.csr_matrix(sp.diags_array(1e4 / totals) @ x, dtype=np.float32).log1p()
    return Sample(logged, None, np.ones(len(codes)), codes, tuple(names.tolist()), np.full(len(codes), "d", object))


def test_a_score_needs_two_labels_and_a_cell() -> None:
    x, labels = counts(40, 0)
    sample = sampled(sp.csr_matrix(x), labels)
    every = np.ones(toy.N_GENES, bool)
    for fewest, n in ((1, 4), (11, 0)):
        mixing = Mixing.of(sample, every, fewest)
        assert len(mixing.codes) == n
        scores, pairs = mixing.scores(sp.csr_matrix(np.vstack([x[:3], np.zeros((1, toy.N_GENES), np.float32)])))
        assert np.isfinite(scores).tolist() == [n > 1] * 3 + [False]
        assert (pairs >= 0).all(axis=1).tolist() == [n > 1] * 3 + [False]


def test_a_score_depends_on_the_cell_alone_and_not_on_its_depth() -> None:
    x, labels = counts(80, 0)
    mixing = Mixing.of(sampled(sp.csr_matrix(x), labels), np.ones(toy.N_GENES, bool), 10)
    cells = counts(20, 5)[0]
    whole = mixing.scores(sp.csr_matrix(cells))[0]
    np.testing.assert_allclose(mixing.scores(sp.csr_matrix(cells * 7))[0], whole, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(mixing.scores(sp.csr_matrix(cells[:1]))[0], whole[:1], rtol=1e-6, atol=1e-9)


@pytest.mark.skipif(not REAL.exists(), reason="no real data: SCVEC_DATA")
def test_doublets_are_found_in_a_donor_that_the_reference_lacks() -> None:
    cells = ad.read_h5ad(REAL)
    x, labels = sp.csr_matrix(cells.X, dtype=np.float32), cells.obs["cell_type1"].to_numpy(str)
    mine = (cells.obs["donor"] == "human3").to_numpy()
    mixing = Mixing.of(sampled(x[~mine], labels[~mine].tolist()), np.ones(x.shape[1], bool), 10)
    single, own = sp.csr_matrix(x[mine]), labels[mine]
    pairs = np.random.default_rng(0).integers(0, len(own), (2, 600))
    first, second = pairs[:, own[pairs[0]] != own[pairs[1]]]
    (theirs, _), (scores, found) = mixing.scores(single), mixing.scores(sp.csr_matrix(single[first] + single[second]))
    truth = np.repeat([0, 1], [len(theirs), len(scores)])
    assert roc_auc_score(truth, np.concatenate([theirs, scores])) > 0.95
    names = np.unique(labels[~mine])
    wanted = [{*one} for one in zip(own[first].tolist(), own[second].tolist(), strict=True)]
    assert np.mean([{*one} == pair for one, pair in zip(names[found].tolist(), wanted, strict=True)]) > 0.7
