"""Search on a GPU: what needs none, on the CPU; the rest where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from scvec import index as indexes
from scvec.index import Stored, faiss_gpu, kinds
from scvec.index.faiss import Faiss
from tests.parts import clustered, make, opened, shared

K, N = 15, 3000
VECTORS, QUERIES = clustered(N), clustered(40, seed=1)
IDS = np.sort(np.random.default_rng(0).permutation(10_000)[:N]).astype(np.int64)


@pytest.mark.parametrize(
    ("factory", "has"),
    {
        "Flat": True,
        "IVF16,Flat": True,
        "IVF16,SQ8": True,
        "IVF16,SQfp16": True,
        "IVF16,PQ8": True,
        "PCA16,IVF16,SQ8": True,
        "SQ8": False,
        "HNSW32": False,
        "IVF16,RaBitQ": False,
        "IVF16,PQ8x4fs": False,
        "IVF16,PQ8x4": False,
        "IVF16,SQbf16": False,
        "IVF16_HNSW8,Flat": False,
        "IVF16,SQ8,RFlat": False,
        "NSG16": False,
    }.items(),
)
def test_kinds_that_a_gpu_has(factory: str, has: bool) -> None:
    assert faiss_gpu.clones(kinds.make(factory, 32)) is has


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this FAISS knows GPUs")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_faiss_without_gpus_says_so_and_searches_on_the_cpu(device: str, tmp_path: Path) -> None:
    for path in (tmp_path / "a", tmp_path / "b"):
        path.mkdir()
    indexes.train("IVF16,SQ8", VECTORS, 0, tmp_path / "a" / "trained.faiss", device)
    indexes.train("IVF16,SQ8", VECTORS, 0, tmp_path / "b" / "trained.faiss")
    assert (tmp_path / "a" / "trained.faiss").read_bytes() == (tmp_path / "b" / "trained.faiss").read_bytes()
    folders = make(tmp_path / "parts", "IVF16,SQ8", IDS, VECTORS, [np.arange(N)])
    plain = indexes.open_parts("IVF16,SQ8", folders, {})
    index = indexes.open_parts("IVF16,SQ8", folders, {}, device=device, as_index=True)
    assert plain.notes == ()
    (note,) = index.notes
    assert "IVF16,SQ8 is measured on the CPU: the installed FAISS, faiss-cpu, has no code for GPUs" in note
    assert "pip install faiss-gpu" in note
    assert index.using({"nprobe": 3}).notes == index.notes
    np.testing.assert_array_equal(index.candidates(QUERIES, K), plain.candidates(QUERIES, K))


@pytest.mark.parametrize(
    "factory", ["IVF16,SQ8", "IVF16,RaBitQ", "IVF16,PQ8x4", "IVF16,PQ8x4fs", "PCA16,IVF8,Flat", "PQ8x4"]
)
def test_training_with_vectors_assigned_elsewhere(factory: str) -> None:
    """By another flat index, here one of the CPU's: the same clusters, and nothing of it is left behind."""
    used: list[Any] = []

    def elsewhere(index: Any) -> Any:
        used.append(faiss.clone_index(index))
        return used[-1]

    plain, other = kinds.trained(factory, VECTORS, 0), kinds.trained(factory, VECTORS, 0, elsewhere)
    assert all(one.ntotal for one in used)
    assert len(used) == ("IVF" in factory) + ("PQ" in factory)
    for one in kinds.layers(other):
        assert getattr(one, "clustering_index", None) is None
    for one in (plain, other):
        kinds.fill(one, factory, VECTORS)
    found, expected = (Faiss(factory, Stored.of(IDS, VECTORS), [one]) for one in (other, plain))
    assert shared(found.candidates(QUERIES, K), expected.candidates(QUERIES, K)) > 0.9


@pytest.mark.parametrize("factory", ["Flat", "IVF16,SQ8", "PCA16,IVF16,Flat"])
def test_clones_are_searched_as_the_index_itself(factory: str, tmp_path: Path) -> None:
    """By lists that are set, as a GPU's shards are told them; here on clones of the CPU's."""
    index = opened(tmp_path, factory, IDS, VECTORS, 2)
    assert isinstance(index, Faiss)
    index = index.using({"nprobe": 3})
    expected = index.candidates(QUERIES, K)
    index._clones = [(start, faiss.clone_index(part)) for start, part in index._parts]
    np.testing.assert_array_equal(index.candidates(QUERIES, K), expected)
    index._clones = [(0, kinds.trained(factory, VECTORS, 0))]  # without cells, so that it shows where is searched
    assert (index.candidates(QUERIES, K) == -1).all()
    np.testing.assert_array_equal(index.candidates(QUERIES, K, IDS[:700]) >= 0, True)
    assert (index.candidates(QUERIES[:1], N)[0] >= 0).sum() > K  # more than a GPU chooses at once: on the CPU


@pytest.mark.gpu
@pytest.mark.skipif(not hasattr(faiss, "StandardGpuResources"), reason="this FAISS knows no GPU")
@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "IVF16,SQ8", "IVF16,PQ16", "PCA16,IVF16,Flat"])
def test_faiss_on_a_gpu(factory: str, tmp_path: Path) -> None:
    if factory != "Flat":
        indexes.train(factory, VECTORS, 0, tmp_path / "trained.faiss", "cuda")
    folders = make(tmp_path / "parts", factory, IDS, VECTORS, np.array_split(np.arange(N), 2))
    index, plain = (indexes.open_parts(factory, folders, {}, device=one) for one in ("cuda", "cpu"))
    assert index.notes == ()
    assert shared(index.candidates(QUERIES, K), plain.candidates(QUERIES, K)) > 0.9
    rows = IDS[:700]
    np.testing.assert_array_equal(index.candidates(QUERIES, K, rows), plain.candidates(QUERIES, K, rows))
