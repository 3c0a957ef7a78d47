"""Lance's own index: against exact search, through the life of an atlas, and in an object store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import scvec as sv
from scvec import index as indexes
from scvec.atlas import Atlas
from scvec.atlas.engine import Compute
from scvec.atlas.indexing import new_index, open_index, with_table_index
from scvec.core.arrow import vectors_to_arrow
from scvec.core.types import silent
from scvec.errors import InputError
from scvec.index import Among, Exact, IndexSpec, among
from scvec.store import Snapshot, Store
from tests.parts import assert_distances, clustered, shared, truth
from tests.test_atlas_life import HASH, KEYS

K, N = 15, 3000
VECTORS, QUERIES = clustered(N), clustered(40, seed=1)
IDS = np.sort(np.random.default_rng(0).permutation(10_000)[:N]).astype(np.int64)
EMPTY = 7
KINDS = {"lance:IVF_FLAT": 0.95, "lance:IVF_PQ": 0.95, "lance:IVF_HNSW_SQ": 0.95}


def written(store: Store, number: pa.DataType) -> Snapshot:
    """Return a table of cells, one of them empty."""
    vectors = VECTORS.copy()
    vectors[EMPTY] = 0
    rows = pa.table({"row": IDS, "vector": vectors_to_arrow(vectors, number), "empty": np.arange(N) == EMPTY})
    table = store.table("atlases/x/cells")
    return table.at(table.write(rows.to_batches(), rows.schema, {}))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have some hundred rows count as many: fewer than thousands are searched exactly."""
    monkeypatch.setattr(among, "MIN_ROWS", 0)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("number", [pa.float32(), pa.float16()])
@pytest.mark.parametrize("factory", KINDS)
def test_against_exact_search(factory: str, number: pa.DataType, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    cells, live = written(store, number), np.delete(IDS, EMPTY)
    spec = IndexSpec(factory=factory, recall=KINDS[factory])
    cells = with_table_index(store.table(cells.path), cells, live, spec, silent)
    made = new_index(store, "atlases/x/index", cells, live, spec, Compute())
    assert (made["rows"], made["parts"], cells.has_index) == (N - 1, [], True)
    assert made["recall"] >= KINDS[factory]
    index = open_index(store, made, cells, live)
    kept = VECTORS.astype(number.to_pandas_dtype()).astype(np.float32)
    np.testing.assert_array_equal(index.vectors(IDS[[9, 2000, 1]]), kept[[9, 2000, 1]])
    rng = np.random.default_rng(5)
    for share in (1.0, 0.97, 0.3):
        rows = np.sort(rng.permutation(live)[: int(share * N)])
        narrowed = indexes.narrowed(index, rows)
        found = indexes.search(narrowed, QUERIES, K)
        assert isinstance(narrowed, Among) is (share < 1)
        assert np.isin(found.ids, rows).all()
        assert all(len(set(row)) == K for row in found.ids.tolist())
        assert_distances(index, QUERIES, found.ids, found.distances)
        ids, distances = truth(IDS, kept, QUERIES, K, rows)
        assert shared(found.ids, ids) >= 0.85
        exactly = indexes.search(Exact(index.stored), QUERIES, K) if share == 1 else None
        if exactly is not None:
            np.testing.assert_array_equal(exactly.ids, ids)
            np.testing.assert_array_equal(exactly.distances, distances)
    assert index.candidates(QUERIES[:0], K).shape == (0, K)
    one = indexes.search(index, QUERIES[:1], K)
    np.testing.assert_array_equal(one.ids, indexes.search(index, QUERIES, K).ids[:1])


@pytest.mark.parametrize("factory", ["lance:IVF", "lance:HNSW32", "lance:"])
def test_kinds_that_lance_has_not(factory: str) -> None:
    with pytest.raises(InputError, match="one of lance:IVF_FLAT"):
        indexes.resolve(IndexSpec(factory=factory), 100, 8)


def test_few_cells_are_enough(store: sv.Store, files: Path) -> None:
    spec = IndexSpec(factory="lance:IVF_PQ", recall=1.0)
    atlas = sv.atlas.build(store, "few", files / "reference.h5ad", recipe=HASH, index=spec, **KEYS)
    assert atlas.manifest["index"]["lists"] == 1
    assert atlas.search(atlas.vectors(atlas.rows[:5]), 1).distances.max() < 1e-6


def test_an_index_that_is_gone_is_made_again(store: sv.Store, files: Path, tmp_path: Path) -> None:
    spec = IndexSpec(factory="lance:IVF_FLAT", recall=1.0)
    atlas = sv.atlas.build(store, "x", files / "reference.h5ad", recipe=HASH, index=spec, **KEYS)
    assert sv.atlas.verify(atlas) == []
    shutil.rmtree(Path(store.uri, f"{atlas.table.path}.lance", "_indices"))
    atlas = sv.atlas.open_atlas(store, "x")
    (fault,) = sv.atlas.verify(atlas)
    assert fault.derived
    mended = sv.atlas.repair(atlas, [fault])
    assert sv.atlas.verify(mended) == []
    assert mended.cells.version > atlas.cells.version


def test_from_one_kind_to_another_and_back(atlas: Atlas, files: Path) -> None:
    expected = sv.annotate(files / "query.h5ad", atlas).to_frame()
    for factory in ("lance:IVF_FLAT", "IVF4,Flat", "exact"):
        atlas = sv.atlas.rebuild(atlas, IndexSpec(factory=factory, recall=1.0))
        assert atlas.manifest["index"]["factory"] == factory
        assert sv.annotate(files / "query.h5ad", atlas).to_frame().equals(expected)
        assert sv.atlas.verify(atlas) == []


def test_in_an_object_store(bucket: str, ncbi: tuple[Path, Path], files: Path, atlas: Atlas) -> None:
    store = sv.Store(f"{bucket}-lance")
    texts = sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    genes = sv.embed.genes(store, texts, encoder="hash")
    keys: dict[str, Any] = {"label_key": "cell_type", "label_id_key": "cl_id", "batch_key": "donor"}
    spec = IndexSpec(factory="lance:IVF_FLAT", recall=1.0)
    sv.atlas.build(store, "far", files / "reference.h5ad", genes=genes, index=spec, **keys)
    far = sv.atlas.open_atlas(sv.Store(store.uri), "far")
    assert far.manifest["index"]["parts"] == []
    assert store.children(far.manifest["index"]["folder"]) == []
    near = sv.annotate(files / "query.h5ad", atlas)
    assert sv.annotate(files / "query.h5ad", far).to_frame().equals(near.to_frame())
    left = sv.atlas.remove(far, "label = 'beta'")
    assert "beta" not in sv.annotate(files / "query.h5ad", left).to_frame()["label"].to_list()
    assert sv.atlas.verify(left) == []
