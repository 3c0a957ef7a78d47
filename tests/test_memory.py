"""An AnnData is called as its file is, in whatever form it is held, and nothing of it is changed or copied whole."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.errors import DuplicateNameError, FileError, InputError, KeyNotFoundError, MatrixError
from scvec.evaluation import evaluate
from scvec.explain import attributions, contrast
from scvec.ingest.cells import open_cells
from tests import toy

N_CELLS = 12
FORMS = ("csr", "shuffled", "csc", "dense", "fortran")
KINDS = ("float32", "float64", "int32", "uint16")
PLACES = ("X", "counts", "raw")
HELD = ("memory", "view", "view of a view", "backed", "backed view")


@pytest.fixture(scope="module")
def reference(_built: Path) -> Atlas:
    return sv.atlas.open_atlas(sv.Store(_built), "toy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


def shuffled(x: np.ndarray[Any, Any]) -> sp.csr_matrix[Any]:
    """Return a CSR matrix that is not canonical: columns from last to first, zeros kept, and counts in two parts."""
    made = sp.csr_matrix(x)
    parts = [(np.r_[one.indices[::-1], one.indices[:1], 0], np.r_[one.data[::-1], one.data[:1], 0]) for one in made]
    data = np.concatenate([values for _, values in parts]).astype(x.dtype)
    indices = np.concatenate([columns for columns, _ in parts]).astype(np.int32)
    ends = np.cumsum([0, *(len(values) for values, _ in parts)])
    for first, last in pairwise(ends.tolist()):
        if last - first > 2:  # the first value is there twice, as its parts
            whole = data[last - 3]
            data[last - 2], data[last - 3] = whole // 2, whole - whole // 2
    return sp.csr_matrix((data, indices, ends), shape=x.shape)


MAKE: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "csr": sp.csr_matrix,
    "shuffled": shuffled,
    "csc": sp.csc_matrix,
    "dense": np.ascontiguousarray,
    "fortran": np.asfortranarray,
}


def with_matrix(x: Any, place: str, obs: pd.DataFrame, var: pd.DataFrame) -> ad.AnnData:
    """Return an AnnData with the counts in a place, and noise in the others, as after `sc.pp.scale`."""
    scaled = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    if place == "X":
        return ad.AnnData(x, obs=obs, var=var)
    if place == "raw":
        adata = ad.AnnData(x, obs=obs, var=var)
        adata.raw = adata
        adata.X = scaled
        return adata
    return ad.AnnData(scaled, obs=obs, var=var, layers={place: x})


def arrays_of(adata: ad.AnnData) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the arrays of all matrices that are in memory."""
    matrices: list[Any] = [None if adata.isbacked else adata.X, *adata.layers.values()]
    if adata.raw is not None and not adata.isbacked:
        matrices.append(adata.raw.X)
    for matrix in matrices:
        if isinstance(matrix, np.ndarray):
            yield matrix
        elif matrix is not None:
            yield from (matrix.data, matrix.indices, matrix.indptr)


def seal(adata: ad.AnnData) -> None:
    """Have every write to a matrix raise an error."""
    for array in arrays_of(adata):
        array.setflags(write=False)


def state(adata: ad.AnnData) -> dict[str, Any]:
    """Return all that could be changed, as values; of a view, also the AnnData that it is one of."""
    if adata.is_view:
        selected = {"obs": adata.obs.to_csv(), "var": adata.var.to_csv(), "is_view": True}
        return {**selected, "of": state(adata._adata_ref)}
    matrices = {"X": None if adata.isbacked else adata.X, **adata.layers}
    return {
        "arrays": [hashlib.sha256(one.tobytes()).hexdigest() for one in arrays_of(adata)],
        "flags": [(one.dtype, one.strides, one.flags.writeable, one.ctypes.data) for one in arrays_of(adata)],
        "kinds": {name: type(one) for name, one in matrices.items()},
        "obs": adata.obs.to_csv(),
        "var": adata.var.to_csv(),
        "keys": [list(one) for one in (adata.obsm, adata.varm, adata.uns, adata.obsp, adata.layers)],
        "kept": (adata.is_view, adata.isbacked, str(adata.filename)),
    }


def same_calls(one: sv.Annotation, other: sv.Annotation) -> None:
    assert one.to_frame().equals(other.to_frame())
    np.testing.assert_array_equal(one.vectors, other.vectors)
    np.testing.assert_array_equal(one.neighbors.ids, other.neighbors.ids)
    for part in ("coverage", "matrix"):
        told, said = (dict(calls.provenance["query"][part]) for calls in (one, other))
        assert {**told, "key": 0} == {**said, "key": 0}


# The same calls.


@settings(max_examples=40)
@given(st.data())
def test_an_anndata_is_called_as_its_file(reference: Atlas, folder: Path, data: st.DataObject) -> None:
    """Against a plain file of the cells and genes that are selected, as CSR of float32."""
    form, kind, place, held = (data.draw(st.sampled_from(one)) for one in (FORMS, KINDS, PLACES, HELD))
    cells = toy.cells(N_CELLS, seed=data.draw(st.integers(0, 3)), form="dense")
    if kind.startswith("float") and form != "shuffled" and data.draw(st.booleans()):
        cells.X = np.log1p(cells.X / cells.X.sum(1, keepdims=True) * 1e4).astype(np.float32)
    x, rows, columns = np.asarray(cells.X), np.arange(N_CELLS), np.arange(toy.N_GENES)
    adata = with_matrix(MAKE[form](x.astype(kind)), place, cells.obs, cells.var)
    steps = []
    for _ in range({"view": 1, "view of a view": 2, "backed view": 1}.get(held, 0)):
        chosen = data.draw(selections(len(rows)))
        order = data.draw(st.permutations(range(len(columns)))) if data.draw(st.booleans()) else range(len(columns))
        genes = np.array(order[: data.draw(st.integers(60, len(columns)))])
        steps.append((chosen, genes))
        rows, columns = rows[chosen], columns[genes]
    # The matrix `raw` has the genes of its own.
    wanted = x[rows] if place == "raw" else x[rows][:, columns]
    var = cells.var if place == "raw" else cells.var.iloc[columns]
    ad.AnnData(sp.csr_matrix(wanted), obs=cells.obs.iloc[rows], var=var).write_h5ad(folder / "plain.h5ad")
    with opened(adata, folder / "held.h5ad" if held.startswith("backed") else None) as one:
        for chosen, genes in steps:
            one = one[chosen, genes]
        before = state(one)
        same_calls(sv.annotate(one, reference, layer=place), sv.annotate(folder / "plain.h5ad", reference))
        assert state(one) == before


@contextmanager
def opened(adata: ad.AnnData, path: Path | None) -> Iterator[ad.AnnData]:
    """Yield an AnnData whose matrices cannot be written to: itself, or backed by a file."""
    if path is None:
        seal(adata)
        yield adata
        return
    adata.write_h5ad(path)
    backed = ad.read_h5ad(path, backed="r")
    try:
        yield backed
    finally:
        backed.file.close()


@st.composite
def selections(draw: st.DrawFn, n: int) -> Any:
    """Return some of n cells: by a mask, positions in any order, or a slice."""
    how = draw(st.sampled_from(["mask", "positions", "slice", "backwards"]))
    if how == "mask":
        mask = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        mask[draw(st.integers(0, n - 1))] = True
        return mask
    if how == "slice":
        start = draw(st.integers(0, n - 1))
        return slice(start, draw(st.integers(start + 1, n)), draw(st.integers(1, 3)))
    if how == "backwards":
        return slice(None, None, -1)
    return np.array(draw(st.permutations(range(n)))[: draw(st.integers(1, n))])


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_batches_do_not_matter(reference: Atlas, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = toy.cells(41, seed=1, form=form)
    cells.write_h5ad(tmp_path / "q.h5ad")
    expected = sv.annotate(tmp_path / "q.h5ad", reference)
    backed = ad.read_h5ad(tmp_path / "q.h5ad", backed="r")
    order = np.random.default_rng(0).permutation(41)
    for module in ("matrix", "memory"):
        monkeypatch.setattr(f"scvec.ingest.cells.{module}.MAX_BATCH_CELLS", 3)
    for one in (cells, backed):
        same_calls(sv.annotate(one, reference), expected)
        again = sv.annotate(one[order], reference)
        assert again.obs_names.tolist() == expected.obs_names[order].tolist()
        np.testing.assert_array_equal(again.vectors, expected.vectors[order])
    backed.file.close()


@pytest.mark.parametrize("chunks", [(5, 240), (5, 60), (-1, -1)])
@pytest.mark.parametrize("form", ["csr", "dense"])
def test_arrays_of_dask(reference: Atlas, tmp_path: Path, form: str, chunks: tuple[int, int]) -> None:
    array = pytest.importorskip("dask.array")
    cells = toy.cells(41, seed=1, form="dense")
    cells.write_h5ad(tmp_path / "q.h5ad")
    expected = sv.annotate(tmp_path / "q.h5ad", reference)
    lazy = array.from_array(cells.X, chunks=chunks)
    if form == "csr":
        lazy = lazy.rechunk((chunks[0], -1)).map_blocks(sp.csr_matrix)
    for place in ("X", "counts"):
        adata = with_matrix(lazy, place, cells.obs, cells.var)
        same_calls(sv.annotate(adata, reference, layer=place), expected)
        view = sv.annotate(adata[::-1], reference, layer=place)
        np.testing.assert_array_equal(view.vectors, expected.vectors[::-1])


def test_a_matrix_array_is_read_as_a_matrix(reference: Atlas, tmp_path: Path) -> None:
    """SciPy has two classes for each form."""
    cells = toy.cells(41, seed=1)
    cells.write_h5ad(tmp_path / "q.h5ad")
    expected = sv.annotate(tmp_path / "q.h5ad", reference)
    for make in (sp.csr_array, sp.csc_array):
        same_calls(sv.annotate(ad.AnnData(make(cells.X), obs=cells.obs, var=cells.var), reference), expected)


# An AnnData as scanpy leaves it.


@pytest.fixture
def processed() -> ad.AnnData:
    """Counts in a layer, log1p values in `raw`, a scaled `X` of some genes, clusters, an embedding and a graph."""
    adata = toy.cells(41, seed=1)
    adata.layers["counts"] = adata.X.copy()
    adata.X = sp.csr_matrix(toy.cells(41, seed=1, form="dense", scale="log1p").X)
    adata.uns["log1p"] = {"base": None}
    adata.raw = adata
    adata = adata[:, np.arange(toy.N_GENES) % 2 == 0].copy()
    x = adata.X.toarray()
    adata.X = ((x - x.mean(0)) / (x.std(0) + 1e-3)).astype(np.float32)
    adata.obs["leiden"] = pd.Categorical([str(i % 4) for i in range(41)])
    adata.uns["leiden_colors"] = ["#000000"] * 4
    adata.obsm["X_pca"] = np.random.default_rng(0).standard_normal((41, 5))
    adata.obsp["connectivities"] = sp.eye(41, format="csr")
    return adata


def test_what_scanpy_leaves_is_called_by_raw_or_a_layer(
    reference: Atlas, processed: ad.AnnData, tmp_path: Path
) -> None:
    processed.write_h5ad(tmp_path / "q.h5ad")
    before = state(processed)
    with pytest.raises(MatrixError, match=r"set `layer` to counts or raw, which has such values") as raised:
        sv.annotate(processed, reference)
    assert "the AnnData: X" in str(raised.value)
    for layer in ("counts", "raw"):
        options = sv.QueryOptions(layer=layer, cluster_key="leiden", max_error=0.1, sets=True)
        found = sv.annotate(processed, reference, options)
        same_calls(found, sv.annotate(tmp_path / "q.h5ad", reference, options))
        assert found.cluster is not None
        assert found.cluster.tolist() == processed.obs["leiden"].tolist()
        assert (found.query.name, found.query.layer) == ("adata", layer)
    assert state(processed) == before


def test_the_calls_know_their_anndata(reference: Atlas, tmp_path: Path) -> None:
    """What explains and evaluates reads it again, and finds what it does in the file."""
    cells = toy.cells(41, seed=1)
    cells.write_h5ad(tmp_path / "q.h5ad")
    one, other = sv.annotate(cells, reference), sv.annotate(tmp_path / "q.h5ad", reference)
    np.testing.assert_array_equal(attributions(one).contributions, attributions(other).contributions)
    assert contrast(one, "alpha", "beta").to_frame().equals(contrast(other, "alpha", "beta").to_frame())
    assert evaluate(one, "cell_type").to_dict() == evaluate(other, "cell_type").to_dict()
    assert evaluate(one, cells.obs["cell_type"]).accuracy == 1
    with pytest.raises(KeyNotFoundError, match=r"the AnnData: no obs column for `labels` 'nothing'"):
        evaluate(one, "nothing")
    assert one.query.cells is cells


def test_an_atlas_is_built_and_extended_from_an_anndata(store: sv.Store, files: Path, tmp_path: Path) -> None:
    cells, more = toy.cells(120), toy.cells(20, seed=4)
    more.write_h5ad(tmp_path / "more.h5ad")
    seal(cells)
    before = state(cells)
    recipe, found = sv.RECIPES["genept-w"].with_encoder("hash"), []
    for name, reference, added in (("a", cells, more), ("b", files / "reference.h5ad", tmp_path / "more.h5ad")):
        atlas = sv.atlas.build(store, name, reference, label_key="cell_type", batch_key="donor", recipe=recipe)
        sv.atlas.extend(atlas, added, label_key="cell_type", batch_key="donor", dataset="more")
        found.append(sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(store, name)))
    assert state(cells) == before
    assert found[0].to_frame().equals(found[1].to_frame())
    np.testing.assert_array_equal(found[0].neighbors.distances, found[1].neighbors.distances)


# Never copied whole.

MANY, GENES = 50_000, 120


def many(form: str, kind: str) -> ad.AnnData:
    """Return many cells without zeros: 48 MB as CSR of float32."""
    x = np.random.default_rng(0).integers(1, 9, (2000, GENES)).astype(kind)
    matrix = MAKE[form](np.tile(x, (MANY // 2000, 1)))
    var = pd.DataFrame(index=list(toy.SYMBOLS[:GENES]))
    return ad.AnnData(matrix, obs=pd.DataFrame(index=[str(i) for i in range(MANY)]), var=var)


def peak(work: Callable[[], Any]) -> int:
    """Return the most bytes that Python and NumPy had allocated at once, above what they had before."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_all(cells: ad.AnnData) -> int:
    with open_cells(cells) as file, file.matrix() as matrix:
        file.fingerprint("X")
        return sum(batch.shape[0] for _, batch in matrix.batches(""))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matrix", "memory"):
        monkeypatch.setattr(f"scvec.ingest.cells.{module}.BATCH_BYTES", 2**20)


@pytest.mark.parametrize(
    ("form", "kind", "view"),
    [
        ("csr", "float32", False),
        ("csr", "int32", False),
        ("csc", "float32", False),
        ("dense", "float64", False),
        ("csr", "float32", True),
        ("dense", "float64", True),
    ],
)
def test_it_is_read_a_batch_at_a_time(small_batches: None, form: str, kind: str, view: bool) -> None:
    cells = many(form, kind)
    held = sum(array.nbytes for array in arrays_of(cells))
    chosen = cells[np.random.default_rng(0).permutation(MANY)[: MANY // 4]] if view else cells
    n = []
    most = peak(lambda: n.append(read_all(chosen)))
    assert n == [chosen.n_obs]
    # Names and positions take 12 MB; a copy of what is read would take 24 or 48 MB more.
    assert most < 20 * 2**20 < held / 2, f"{most / 2**20:.0f} of {held / 2**20:.0f} MiB"


def test_annotating_takes_no_more_than_from_a_file(reference: Atlas, small_batches: None, tmp_path: Path) -> None:
    cells = many("csr", "float32")[: MANY // 5].copy()
    held = sum(array.nbytes for array in arrays_of(cells))
    cells.write_h5ad(tmp_path / "q.h5ad")
    sv.annotate(tmp_path / "q.h5ad", reference)  # compiles, and reads the atlas
    from_file = peak(lambda: sv.annotate(tmp_path / "q.h5ad", reference))
    assert peak(lambda: sv.annotate(cells, reference)) < from_file + held / 4


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_batches_share_no_memory_with_it(form: str, kind: str) -> None:
    """What works on a batch in place cannot change the AnnData."""
    cells = with_matrix(MAKE[form](np.asarray(toy.cells(41, form="dense").X).astype(kind)), "X", *frames())
    for one in (cells, cells[:], cells[5:20], cells[::2]):
        with open_cells(one) as file, file.matrix() as matrix:
            batches = [batch for _, batch in matrix.batches("")]
            held = list(arrays_of(cells))
            for batch in batches:
                for part in (batch.data, batch.indices, batch.indptr):
                    assert part.flags.writeable
                    assert not any(np.shares_memory(part, array) for array in held)


def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    cells = toy.cells(41)
    return cells.obs, cells.var


# Whether it was changed.


@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_changed_in_place_are_noticed(reference: Atlas, form: str) -> None:
    cells = with_matrix(MAKE[form](np.asarray(toy.cells(41, form="dense").X)), "X", *frames())
    calls = sv.annotate(cells, reference)
    x: Any = cells.X
    values = x if isinstance(x, np.ndarray) else x.data
    np.log1p(values, out=values)
    with pytest.raises(InputError) as raised, calls.query.opened():
        pass
    said = str(raised.value)
    assert said.startswith("the AnnData was changed since it was annotated: expected the same names and values.")
    assert "keep the values that are called in a layer, and give its name as `layer`" in said
    assert "\n" not in said


def change_one_value(cells: ad.AnnData) -> None:
    x: Any = cells.X
    x.data[-1] += 1


def rename_a_cell(cells: ad.AnnData) -> None:
    cells.obs_names = ["other", *cells.obs_names[1:]]


def rename_a_gene(cells: ad.AnnData) -> None:
    cells.var_names = ["other", *cells.var_names[1:]]


def replace_the_matrix(cells: ad.AnnData) -> None:
    cells.X = cells.X * 2


@pytest.mark.parametrize("change", [change_one_value, rename_a_cell, rename_a_gene, replace_the_matrix])
def test_any_change_of_cells_genes_and_values_is_noticed(
    reference: Atlas, change: Callable[[ad.AnnData], None]
) -> None:
    cells = toy.cells(41, seed=1)
    calls = sv.annotate(cells, reference)
    attributions(calls)
    change(cells)
    for again in (lambda: attributions(calls), lambda: contrast(calls, "alpha", "beta")):
        with pytest.raises(InputError, match="the AnnData was changed since it was annotated"):
            again()


def test_annotations_that_are_added_change_nothing(reference: Atlas) -> None:
    cells = toy.cells(41, seed=1)
    calls = sv.annotate(cells, reference)
    before = calls.query.fingerprint
    cells.obs["called"] = pd.Categorical(calls.label)
    cells.obs["author"] = cells.obs["cell_type"]
    cells.var["n"] = 1
    cells.obsm["X_scvec"] = calls.vectors
    cells.uns["about"] = {"k": 15}
    cells.layers["log"] = cells.X.log1p()
    with calls.query.opened() as opened:
        assert opened.file.fingerprint("X") == before
    assert evaluate(calls, "author").accuracy == 1  # also by a column that came after the calls


def test_a_layer_outlives_what_becomes_of_x(reference: Atlas) -> None:
    cells = toy.cells(41, seed=1)
    cells.layers["counts"] = cells.X.copy()
    calls = sv.annotate(cells, reference, layer="counts")
    wanted = attributions(calls)
    np.log1p(cells.X.data, out=cells.X.data)
    cells.raw = cells
    np.testing.assert_array_equal(attributions(calls).contributions, wanted.contributions)


@pytest.mark.parametrize("held", ["memory", "view", "backed"])
def test_a_fingerprint_is_of_the_values(tmp_path: Path, held: str) -> None:
    """Twice the same for the same cells, and another for other cells, however they are held."""
    found = []
    for i, seed in enumerate((1, 1, 2)):
        cells = toy.cells(41, seed=seed)
        cells.obs_names = [f"c{i}" for i in range(41)]
        if held == "view":
            cells = cells[::-1]
        if held == "backed":
            cells.write_h5ad(tmp_path / f"{i}.h5ad")
            cells = ad.read_h5ad(tmp_path / f"{i}.h5ad", backed="r")
        with open_cells(cells) as file:
            found.append(file.fingerprint("X"))
        if held == "backed":
            cells.file.close()
    assert found[0] == found[1] != found[2]


# What is refused, in one line.


class MuData:
    """As of the package mudata, by name."""


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: toy.cells(5).to_df(), "cells are given as DataFrame: expected a path, a URI or an AnnData. Fix: "),
        (lambda: toy.cells(5).X, "cells are given as csr_matrix: expected a path, a URI or an AnnData. Fix: "),
        (MuData, "cells are given as MuData: expected a path, a URI or an AnnData. Fix: give the part with the RNA, "),
        (lambda: raw_of(toy.cells(5)), "cells are given as Raw: expected a path, a URI or an AnnData. Fix: give the "),
        (lambda: None, "cells are given as NoneType: expected a path, a URI or an AnnData. Fix: "),
        (lambda: 7, "cells are given as int: expected a path, a URI or an AnnData. Fix: "),
    ],
)
def test_what_is_no_anndata_is_refused(reference: Atlas, made: Callable[[], Any], said: str) -> None:
    for use in (lambda: sv.annotate(made(), reference), lambda: enter(made())):
        with pytest.raises(InputError) as raised:
            use()
        assert str(raised.value).startswith(said)
        assert "\n" not in str(raised.value)


def test_an_atlas_that_is_none_is_refused(reference: Atlas) -> None:
    cells = toy.cells(5)
    first = "a path, a URI or an AnnData. Fix: give the cells first, then the atlas."
    swapped = f"cells are given as Atlas: expected {first}"
    opened = ": expected an Atlas. Fix: scvec.atlas.open(STORE, NAME) returns one."
    uses: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
        (sv.annotate, (reference, cells), swapped),
        (sv.tl.annotate, (reference, cells), swapped),
        (sv.annotate, (cells, "pancreas"), f"the atlas is given as str{opened}"),
        (sv.query_cells, (cells, reference.store), f"the atlas is given as Store{opened}"),
        (sv.atlas.refit, ("pancreas", cells), f"the atlas is given as str{opened}"),
        (
            sv.atlas.extend,
            (cells, reference),
            "the atlas is given as AnnData: expected an Atlas. Fix: give the atlas first, then the cells.",
        ),
    ]
    for use, arguments, said in uses:
        with pytest.raises(InputError) as raised:
            use(*arguments)
        assert str(raised.value) == said
    asked: list[dict[str, Any]] = [{"max_error": 0.05}, {"roll_up": 0.5}, {"sets": True}]
    for options in asked:  # which ask the atlas before cells are read
        with pytest.raises(InputError, match="the atlas is given as str"):
            sv.annotate(cells, "pancreas", **options)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="give the cells first"):
            sv.annotate(reference, cells, **options)


def enter(cells: Any) -> None:
    with open_cells(cells):
        pass


def raw_of(cells: ad.AnnData) -> Any:
    cells.raw = cells
    return cells.raw


def without_x() -> ad.AnnData:
    cells = toy.cells(12)
    return ad.AnnData(obs=cells.obs, var=cells.var, layers={"counts": cells.X})


def of_text() -> ad.AnnData:
    cells = toy.cells(12, form="dense")
    cells.layers["text"] = cells.X.astype(str).astype(object)
    return cells


def doubled() -> ad.AnnData:
    cells = toy.cells(12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.obs_names = ["same"] * 12
    return cells


def with_a_hole() -> ad.AnnData:
    cells = toy.cells(12, form="dense")
    cells.X[3, 3] = np.nan
    return cells


@pytest.mark.parametrize(
    ("made", "layer", "kind", "said"),
    [
        (without_x, None, KeyNotFoundError, "the AnnData: no matrix for `layer` 'X': expected one of: counts"),
        (lambda: toy.cells(12), "gone", KeyNotFoundError, "the AnnData: no matrix for `layer` 'gone'"),
        (of_text, "text", FileError, "the AnnData: text is not a matrix of numbers (it holds object)"),
        (doubled, None, DuplicateNameError, "adata.obs_names_make_unique()"),
        (with_a_hole, None, MatrixError, "the AnnData: X"),
        (lambda: toy.cells(12)[:0], None, InputError, "the AnnData has no cells"),
        (lambda: toy.cells(12)[:, :0], None, InputError, ""),
    ],
)
def test_an_anndata_that_cannot_be_called_is_refused(
    reference: Atlas, made: Callable[[], ad.AnnData], layer: str | None, kind: type[InputError], said: str
) -> None:
    with pytest.raises(kind) as raised:
        sv.annotate(made(), reference, layer=layer)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_of_an_anndata_without_x_a_layer_is_called(reference: Atlas) -> None:
    assert sv.annotate(without_x(), reference, layer="counts").label.tolist() == toy.cells(12).obs["cell_type"].tolist()
