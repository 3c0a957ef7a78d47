"""What a matrix holds: found in each cell, whatever was done to its counts; and calls as those of the counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import scvec as sv
from scvec.atlas import Atlas
from scvec.errors import InputError, MatrixError
from scvec.ingest import open_cells
from scvec.ingest.cells.deciding import ONE_VALUE, SCALED_AFTER, UNKNOWN_SCALE, AskedScale, decide
from scvec.ingest.cells.scale import Scale, Values, to_linear
from tests import toy

Dense = NDArray[np.float64]
LOGARITHMS: dict[str, Callable[[Dense], Dense]] = {
    "log1p": np.log1p,
    "log2": lambda x: np.log2(1 + x),
    "log10": lambda x: np.log10(1 + x),
    "log1p_twice": lambda x: np.log1p(np.log1p(x)),
    "sqrt": np.sqrt,
    "linear": lambda x: x,
}


def counts_of(n: int, seed: int = 0, genes: int = 600, depth: float = 1.0) -> Dense:
    """(n, genes) counts with few genes that have far more than most, as cells have."""
    rng = np.random.default_rng(seed)
    rates = depth * np.exp(rng.normal(-0.7, 1.3, genes))
    return rng.poisson(rates * np.exp(rng.normal(0, 0.4, (n, 1)))).astype(np.float64)


def scaled(counts: Dense, total: float) -> Dense:
    shares: Dense = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
    return shares * total


def lengths(genes: int) -> Dense:
    return np.exp(np.random.default_rng(5).normal(0.7, 0.8, genes))


def stored(x: Dense) -> sp.csr_matrix[np.float32]:
    return sp.csr_matrix(x.astype(np.float32))


def read(x: Dense, asked: AskedScale = "auto", stated: Scale | None = None) -> tuple[Values, Dense]:
    """Return what a matrix was taken as, and its linear values."""
    matrix = stored(x)
    values = decide(matrix, asked, "X", stated)
    return values, to_linear(matrix, values, "X").toarray().astype(np.float64)


def proportional(found: Dense, wanted: Dense, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(scaled(found, 1e4), scaled(wanted, 1e4), rtol=rtol, atol=1e-3)


@pytest.mark.parametrize("scale", sorted(LOGARITHMS))
def test_one_cell_is_enough(scale: str) -> None:
    """Whatever it was scaled to, and whichever genes were removed then; but for few cells of few counts."""
    wrong, n = [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        counts = counts_of(1, seed, depth=float(rng.choice([0.3, 1.0, 10.0])))
        mask = rng.random(counts.shape[1]) < rng.uniform(0.15, 1)
        if len(set((counts * mask).ravel().tolist()) - {0}) < 3:
            continue  # so few counts fit several scales
        n += 1
        values, found = read(LOGARITHMS[scale](scaled(counts, float(rng.choice([300, 2345.6, 1e4, 1e6])))) * mask)
        if values.doubt or not np.allclose(scaled(found, 1e4), scaled(counts * mask, 1e4), rtol=1e-4, atol=1e-3):
            wrong.append(seed)
    assert n > 40
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize("scale", sorted(LOGARITHMS))
@pytest.mark.parametrize("total", [1e4, 1e6, 2345.6])
def test_the_scale_and_the_total_are_said(scale: str, total: float) -> None:
    counts = counts_of(60)
    values, found = read(LOGARITHMS[scale](scaled(counts, total)))
    assert (values.scale, values.doubt, values.seen) == (scale, "", ())
    assert values.total == pytest.approx(total, rel=1e-3)
    assert f"{total:,.0f} per cell" in str(values)
    proportional(found, counts)


@pytest.mark.parametrize("scale", ["log1p", "log2", "log10", "log1p_twice", "linear"])
@pytest.mark.parametrize("n", [1, 40])
def test_values_without_a_unit_are_known_by_their_total(scale: str, n: int) -> None:
    """TPM: divided by the lengths of genes, so that no value is a multiple of another."""
    tpm = scaled(counts_of(n) / lengths(600), 1e6)
    values, found = read(LOGARITHMS[scale](tpm))
    assert (values.scale, values.doubt) == (scale, "")
    proportional(found, tpm)


@pytest.mark.parametrize("scale", ["log1p", "log2", "log10"])
def test_logarithms_of_counts_that_were_not_scaled(scale: str) -> None:
    counts = counts_of(30)
    values, found = read(LOGARITHMS[scale](counts))
    assert str(values).endswith("unequal totals")
    assert values.uncut is None
    proportional(found, counts)


def fractional(kind: str, counts: Dense) -> Dense:
    rng = np.random.default_rng(1)
    if kind == "ambient":  # as SoupX and DecontX subtract
        return np.asarray(np.maximum(counts - 0.1 * counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum(), 0))
    if kind == "shrunk":
        return np.asarray(counts * rng.uniform(0.8, 1, counts.shape))
    shared = rng.random(counts.shape) < 0.2  # as alevin-fry and STARsolo's EM share reads among genes
    return np.asarray(np.where(shared, counts * rng.random(counts.shape), counts), np.float64)


@pytest.mark.parametrize("kind", ["ambient", "shrunk", "shared"])
@pytest.mark.parametrize("asked", ["auto", "counts", "linear"])
def test_counts_with_fractions(kind: str, asked: AskedScale) -> None:
    made = fractional(kind, counts_of(50, depth=4.0))
    values, found = read(made, asked)
    assert (values.scale, values.doubt) == ("linear", "")
    proportional(found, made)


@pytest.mark.parametrize("rounding", ["decimals", "half"])
@pytest.mark.parametrize("scale", ["log1p", "log2"])
def test_rounded_logarithms(rounding: str, scale: str) -> None:
    counts = counts_of(40)
    made = LOGARITHMS[scale](scaled(counts, 1e4))
    made = np.round(made, 3) if rounding == "decimals" else made.astype(np.float16).astype(np.float64)
    values, found = read(made)
    assert (values.scale, values.doubt) == (scale, "")
    proportional(found, counts, rtol=0.02)


@given(st.integers(0, 2**31), st.sampled_from(sorted(LOGARITHMS)), st.booleans(), st.floats(0.2, 1))
def test_lengths_of_genes_cancel_between_cells(seed: int, scale: str, summed: bool, kept: float) -> None:
    """FPKM, and TPM of some genes, have no unit in a cell and no total."""
    of_length = counts_of(12, seed, depth=3.0) / lengths(600)
    linear = scaled(of_length, 1e6) if summed else of_length
    linear = linear[:, np.random.default_rng(seed).random(600) < kept]
    values, found = read(LOGARITHMS[scale](linear))
    assert (values.scale, values.doubt) == (scale, "")
    proportional(found, linear, rtol=1e-3)


@given(st.integers(0, 2**31), st.sampled_from(sorted(LOGARITHMS)), st.sampled_from([None, 1e4, 1e6]))
def test_the_commonest_value_is_one_count_where_others_are_fractions(
    seed: int, scale: str, total: float | None
) -> None:
    shared = fractional("shared", counts_of(8, seed, depth=3.0))
    linear = (scaled(shared, total) if total else shared)[:, :400]
    values, found = read(LOGARITHMS[scale](linear))
    assert (values.scale, values.doubt) == (scale, "")
    proportional(found, linear, rtol=1e-3)


@pytest.mark.parametrize("scale", sorted(LOGARITHMS))
def test_a_scale_is_right_or_in_doubt(scale: str) -> None:
    """But for 1 in 50; which ones, ``benchmarks/results/value_scales.md`` says."""
    kinds = [one for one in ("counts", "scaled", "shared", "TPM", "own lengths") if scale != "sqrt" or one[0] in "cs"]
    wrong, n = [], 0
    for seed, of, rounding, n_cells in product(range(3), kinds, ("3 decimals", "float16", "float32"), (1, 5, 40)):
        counts = counts_of(40, seed, depth=2.0)
        linear = {
            "counts": counts,
            "scaled": scaled(counts, 1e4),
            "shared": fractional("shared", counts),
            "TPM": scaled(counts / lengths(600), 1e5),
            "own lengths": own_lengths(seed),
        }[of][:n_cells]  # roots of the last two are left out: a power of such values is like the values
        made = LOGARITHMS[scale](linear)
        made = np.round(made, 3) if rounding == "3 decimals" else made.astype(rounding).astype(np.float64)
        values, found = read(made)
        n += 1
        off = 0.5 * np.abs(scaled(found, 1) - scaled(linear, 1)).sum(1)
        if not values.doubt and np.median(off) >= 0.02:
            wrong.append((seed, of, rounding, n_cells))
    assert len(wrong) <= n / 50, wrong


@pytest.mark.parametrize("scale", ["log2", "sqrt"])
def test_values_that_are_whole_on_two_scales_are_of_the_one_with_more(scale: str) -> None:
    """1, 3 and 7 counts have whole logarithms to base 2; 1, 4 and 9 have whole roots."""
    counts = counts_of(20, genes=150)
    made = LOGARITHMS[scale](counts)
    for rounded in (np.round(made, 2), made.astype(np.float16).astype(np.float64)):
        values, found = read(rounded)
        assert values.scale == scale
        proportional(found, counts, rtol=0.05)
    shared = fractional("shared", counts)
    assert read(np.round(shared, 2))[0].scale == "linear"


@pytest.mark.parametrize("after", ["one total", "unit length", "times 1,000"])
def test_logarithms_that_were_scaled_after_are_in_doubt(after: str) -> None:
    logged = np.log1p(scaled(counts_of(40), 1e4))
    made = {
        "one total": scaled(logged, 2000.0),
        "unit length": logged / np.linalg.norm(logged, axis=1, keepdims=True),
        "times 1,000": logged * 1000,
    }[after]
    for n in (1, 40):
        assert read(made[:n])[0].doubt == SCALED_AFTER


def mixtures() -> dict[str, tuple[Dense, Dense, list[str]]]:
    counts, first = counts_of(40, depth=2.0), np.arange(40)[:, None] < 20
    tpm = scaled(counts / lengths(600), 1e6)
    log1p, log2, log10 = (LOGARITHMS[one] for one in ("log1p", "log2", "log10"))
    return {
        "totals": (
            np.where(first, log1p(scaled(counts, 1e4)), log1p(scaled(counts, 1e6))),
            counts,
            ["10,000 per cell (50%", "1,000,000 per cell (50%"],
        ),
        "counts": (np.where(first, counts, log1p(scaled(counts, 1e4))), counts, ["counts (50%", "log1p values"]),
        "bases": (np.where(first, log2(scaled(counts, 1e4)), log10(scaled(counts, 1e6))), counts, ["log2", "log10"]),
        "TPM": (np.where(first, counts, log2(tpm)), np.where(first, counts, tpm), ["counts (50%", "log2"]),
    }


@pytest.mark.parametrize("name", sorted(mixtures()))
def test_cells_of_several_scales_are_each_read_by_their_own(name: str) -> None:
    made, wanted, said = mixtures()[name]
    values, found = read(made)
    assert not values.doubt
    for words in said:
        assert words in str(values)
    proportional(found, wanted)


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_a_cell_is_read_the_same_in_any_batch(seed: int, size: int) -> None:
    made, _, _ = mixtures()[sorted(mixtures())[seed % 4]]
    matrix = stored(made)
    values = decide(matrix, "auto", "X")
    whole = to_linear(matrix, values, "X").toarray()
    start = seed % (len(made) - size)
    part = to_linear(sp.csr_matrix(matrix[start : start + size]), values, "X").toarray()
    np.testing.assert_array_equal(part, whole[start : start + size])


def test_genes_that_were_removed_after_scaling_are_allowed_for() -> None:
    for n in (1, 40):
        for total in (1e4, 1e6):
            for scale in ("log1p", "log2", "linear"):
                made = LOGARITHMS[scale](scaled(counts_of(n), total))
                assert decide(stored(made[:, :300]), "auto", "X").uncut == total
                assert decide(stored(made), "auto", "X").uncut is None
    assert decide(stored(np.log1p(counts_of(40))), "auto", "X").uncut is None
    assert decide(stored(np.log1p(scaled(counts_of(40), 4321.0)[:, :300])), "auto", "X").uncut is None


def own_lengths(seed: int = 0) -> Dense:
    """Values without a unit and of no total, as of FPKM by effective lengths, which differ between cells."""
    rng = np.random.default_rng(seed)
    return np.asarray(scaled(counts_of(40), 1e6) / lengths(600) * np.exp(rng.normal(0, 0.1, (40, 600))))


def unknown() -> Dense:
    return np.log1p(own_lengths())


def test_a_scale_that_is_not_found_is_in_doubt_until_it_is_named_or_stated() -> None:
    values, _ = read(unknown())
    assert values.doubt == UNKNOWN_SCALE
    for values, found in (read(unknown(), "log1p"), read(unknown(), stated="log1p")):
        assert (values.scale, values.doubt) == ("log1p", "")
        proportional(found, np.expm1(unknown()))


def test_what_the_file_states_does_not_stand_against_its_values() -> None:
    counts = counts_of(30)
    for stated in ("log1p", "log10"):
        assert read(counts, stated=stated)[0] == Values("counts")
        values, found = read(np.log2(1 + scaled(counts, 1e4)), stated=stated)
        assert values.scale == "log2"
        proportional(found, counts)


@pytest.mark.parametrize(("base", "scale"), [(None, "log1p"), (2, "log2"), (10, "log10"), ("?", None)])
@pytest.mark.parametrize("in_memory", [True, False])
def test_scanpy_notes_the_base(tmp_path: Path, base: Any, scale: str | None, in_memory: bool) -> None:
    logged = unknown() / np.log({"log2": 2, "log10": 10}.get(str(scale), np.e))
    cells = ad.AnnData(stored(logged), layers={"again": stored(logged)})
    cells.uns["log1p"] = {"base": base} if base is not None or in_memory else {}
    cells.write_h5ad(tmp_path / "x.h5ad")
    with open_cells(cells if in_memory else tmp_path / "x.h5ad") as file:
        with file.matrix() as matrix:
            assert (matrix.values.scale == scale and not matrix.values.doubt) if scale else matrix.values.doubt
        with file.matrix("again") as matrix:
            assert matrix.values.doubt, "scanpy notes it of X"


def test_a_named_scale_that_the_values_contradict_is_refused() -> None:
    counts = counts_of(30)
    log2 = LOGARITHMS["log2"](scaled(counts, 1e4))
    asked: AskedScale
    for asked in ("counts", "linear", "log1p", "log10"):
        with pytest.raises(MatrixError, match=r"declared .* log2\(x \+ 1\) values \(100% of the cells\)"):
            read(log2, asked)
    with pytest.raises(MatrixError, match="declared log2 and holds whole numbers"):
        read(counts, "log2")
    with pytest.raises(MatrixError, match=r"up to .*neither counts nor log1p values"):
        read(scaled(counts / lengths(600), 3e5) + 0.01, "log1p")


def no_measure() -> dict[str, Dense]:
    counts = counts_of(60, depth=2.0)
    logged = np.log1p(scaled(counts, 1e4))
    ranks = np.argsort(np.argsort(np.where(counts > 0, counts, 0), axis=1), axis=1) * (counts > 0)
    return {
        "0 and 1": (counts > 0).astype(np.float64),
        "0 and 1, scaled": np.log1p(scaled((counts > 0).astype(np.float64), 1e4)),
        "bins": np.ceil(logged / logged.max(1, keepdims=True) * 5),
        "ranks": ranks.astype(np.float64),
        "rounded logarithms": np.asarray(np.round(logged), np.float64),
        "scaled to 0..1": logged / np.maximum(logged.max(0), 1e-9),
    }


@pytest.mark.parametrize("name", sorted(no_measure()))
def test_values_that_are_no_measure_are_in_doubt(name: str) -> None:
    made = no_measure()[name]
    values, _ = read(made)
    assert values.doubt
    assert (values.doubt == ONE_VALUE) == name.startswith("0 and 1")
    if name.startswith("0 and 1"):
        assert decide(stored(made), "counts" if name == "0 and 1" else "log1p", "X").doubt == ONE_VALUE
    elif name == "bins":
        assert not decide(stored(made), "counts", "X").doubt


@pytest.mark.parametrize("depth", [0.01, 0.05, 0.2, 1.0, 10.0])
@pytest.mark.parametrize("n", [1, 200])
def test_shallow_counts_are_not_in_doubt(depth: float, n: int) -> None:
    """In bins of a few micrometres, most genes are counted once."""
    for seed in range(5):
        assert not read(counts_of(n, seed, 3000, depth))[0].doubt


def as_file(path: Path, x: Dense, cells: ad.AnnData) -> Path:
    made = ad.AnnData(stored(x), obs=cells.obs.copy(), var=cells.var.copy())
    made.write_h5ad(path)
    return path


def dense(cells: ad.AnnData) -> Dense:
    return np.asarray(cells.X.toarray(), np.float64)


@pytest.mark.parametrize("scale", ["log2", "log10", "log1p_twice", "linear", "sqrt"])
@pytest.mark.parametrize("total", [1e4, 1e6])
def test_calls_are_those_of_the_counts(atlas: Atlas, tmp_path: Path, scale: str, total: float) -> None:
    cells = toy.cells(41, seed=1)
    expected = sv.annotate(cells, atlas, max_error=0.05)
    made = LOGARITHMS[scale](scaled(dense(cells), total))
    calls = sv.annotate(as_file(tmp_path / "q.h5ad", made, cells), atlas, max_error=0.05)
    assert calls.label.tolist() == expected.label.tolist()
    np.testing.assert_allclose(calls.confidence, expected.confidence, atol=1e-3)
    alone = sv.annotate(as_file(tmp_path / "one.h5ad", made[:1], cells[:1]), atlas, max_error=0.05)
    assert alone.label[0] == expected.label[0]
    np.testing.assert_allclose(alone.novelty, expected.novelty[:1], atol=1e-3)


def test_a_reference_that_joins_scales_is_that_of_the_counts(store: sv.Store, tmp_path: Path) -> None:
    cells, query = toy.cells(), toy.cells(41, seed=1)
    counts = dense(cells)
    mixed = np.log1p(np.where(np.arange(len(counts))[:, None] % 2, scaled(counts, 1e4), scaled(counts, 1e6)))
    how: Any = {"label_key": "cell_type", "batch_key": "donor", "recipe": "expression"}
    plain = sv.atlas.build(store, "plain", cells, **how)
    joined = sv.atlas.build(store, "joined", as_file(tmp_path / "r.h5ad", mixed, cells), **how)
    seen = joined.manifest["sources"][0]["matrix"]["seen"]
    assert sorted(round(one["total"]) for one in seen) == [10_000, 1_000_000]
    expected, calls = sv.annotate(query, plain), sv.annotate(query, joined)
    assert calls.label.tolist() == expected.label.tolist()
    np.testing.assert_allclose(calls.confidence, expected.confidence, atol=1e-2)


def test_no_confidence_is_given_where_the_values_are_in_doubt(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(80, seed=1)
    path = as_file(tmp_path / "q.h5ad", (dense(cells) > 0).astype(np.float64), cells)
    calls = sv.annotate(path, atlas)
    assert np.isnan(calls.confidence).all()
    assert np.isnan(calls.novelty).all()
    (note,) = [note for note in calls.notes if "no confidence is given" in note]
    assert "X of q.h5ad was taken as counts, but a cell has the same value" in note
    for asked in ({"max_error": 0.05}, {"sets": True}):
        with pytest.raises(InputError, match=r"`max_error` and `sets` need a confidence.*`layer`.*leave out"):
            sv.annotate(path, atlas, **asked)
    sv.evaluate(calls, "cell_type")
    sv.report.write(calls, tmp_path / "r.html")


def test_an_atlas_of_values_in_doubt_gives_no_confidence(store: sv.Store, tmp_path: Path) -> None:
    cells, query = toy.cells(), toy.cells(41, seed=1)
    path = as_file(tmp_path / "r.h5ad", (dense(cells) > 0).astype(np.float64), cells)
    made = sv.atlas.build(store, "binary", path, label_key="cell_type", recipe="expression")
    assert "no confidence" in " ".join(made.manifest["label_notes"])
    calls = sv.annotate(query, made)
    assert np.isnan(calls.confidence).all()
    assert any("in the atlas's reference, X of r.h5ad" in note for note in calls.notes)
    with pytest.raises(InputError, match="build the atlas again of counts"):
        sv.annotate(query, made, max_error=0.05)


def test_an_atlas_of_an_earlier_version_has_no_doubts(atlas: Atlas) -> None:
    earlier = json.loads(json.dumps(atlas.manifest))
    for source in earlier["sources"]:
        source["matrix"] = {"key": "X", "scale": "log1p", "log1p_total": 1e4}
    old = Atlas(atlas.name, atlas.store, atlas.cells, earlier)
    assert not np.isnan(sv.annotate(toy.cells(5, seed=1), old).confidence).any()


def test_features_that_are_no_genes_count_in_the_total_that_shows_the_scale(tmp_path: Path) -> None:
    cells = toy.cells(40)
    spiked = np.hstack([dense(cells) / lengths(toy.N_GENES), counts_of(40, genes=20, depth=9.0)])
    made = ad.AnnData(stored(np.log2(1 + scaled(spiked, 1e6))), obs=cells.obs)
    made.var_names = [*cells.var_names, *(f"ERCC-{i + 2:05d}" for i in range(20))]
    made.write_h5ad(tmp_path / "x.h5ad")
    with open_cells(tmp_path / "x.h5ad") as file, file.matrix() as matrix:
        assert (matrix.values.scale, matrix.values.doubt, matrix.values.uncut) == ("log2", "", None)
        ((_, batch),) = matrix.batches("reading")
        proportional(batch.toarray().astype(np.float64), dense(cells) / lengths(toy.N_GENES))
