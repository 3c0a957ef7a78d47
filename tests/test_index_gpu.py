"""Search on a GPU: what needs none, on the CPU; the rest where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import gpu
from scvec import index as indexes
from scvec.index import Exact, Stored, exact, faiss_gpu, kinds, torch_exact
from scvec.index.faiss import Faiss
from scvec.index.torch_exact import TorchExact
from tests.parts import Kept, clustered, make, opened, shared, truth

K, N = 15, 3000
VECTORS, QUERIES = clustered(N), clustered(40, seed=1)
IDS = np.sort(np.random.default_rng(0).permutation(10_000)[:N]).astype(np.int64)


def stored(dtype: Kept, n_parts: int) -> Stored:
    return Stored([(IDS[some], VECTORS[some].astype(dtype)) for some in np.array_split(np.arange(N), n_parts)])


@pytest.mark.parametrize("room", [0, 100_000, 10**9])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n_parts", [1, 3])
def test_torch_finds_what_exact_search_finds(
    n_parts: int, dtype: Kept, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all vectors on the device, with some, and with none."""
    monkeypatch.setattr(torch_exact, "BLOCK", 700)
    monkeypatch.setattr(exact, "QUERIES", 16)
    monkeypatch.setattr(torch_exact, "_room", lambda _device: room)
    vectors = stored(dtype, n_parts)
    index, plain = TorchExact(vectors, "cpu"), Exact(vectors)
    rows = np.sort(np.random.default_rng(5).permutation(IDS)[:400])
    for among in (None, rows, rows[:5]):
        np.testing.assert_array_equal(index.candidates(QUERIES, K, among), plain.candidates(QUERIES, K, among))
    found, expected = indexes.search(index, QUERIES, K), indexes.search(plain, QUERIES, K)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert index.candidates(QUERIES[:0], K).shape == (0, K)
    assert index.candidates(QUERIES, N + 9).shape == (40, N)


@given(st.integers(1, 50), st.integers(0, 90), st.integers(0, 3), st.integers(1, 40), st.integers(0, 2**32))
def test_torch_whatever_its_blocks(block: int, spare: int, repeats: int, k: int, seed: int) -> None:
    """Blocks that are smaller than k, and more equal vectors than are kept."""
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([VECTORS[:80], *([VECTORS[rng.integers(0, 4, 60)]] * repeats)])
    vectors = vectors[rng.permutation(len(vectors))]
    ids = np.sort(rng.permutation(1000)[: len(vectors)]).astype(np.int64)
    rows = np.sort(rng.permutation(ids)[: rng.integers(1, len(ids))])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch_exact, "BLOCK", block)
        patched.setattr(torch_exact, "SPARE", spare)
        index = TorchExact(Stored.of(ids, vectors), "cpu")
        for among in (None, rows):
            found = index.candidates(QUERIES[:5], k, among)
            true, _ = truth(ids, vectors, QUERIES[:5], k, among)
            np.testing.assert_array_equal(found, true[:, : found.shape[1]])
            assert (true[:, found.shape[1] :] == -1).all()


def test_torch_does_not_round_more_than_float32() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = TorchExact(stored("float32", 1), "cpu").candidates(QUERIES, K)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(found, Exact(stored("float32", 1)).candidates(QUERIES, K))


def test_parts_of_exact_search_on_a_device(tmp_path: Path) -> None:
    folders = make(tmp_path, "exact", IDS, VECTORS, np.array_split(np.arange(N), 2), "float16")
    index = indexes.open_parts("exact", folders, {}, search_engine="torch")
    assert isinstance(index, TorchExact)
    tuned = indexes.tune(index, VECTORS[:50], IDS[:50], indexes.IndexSpec())
    assert (tuned.recall, dict(tuned.parameters)) == (1.0, {})


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
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_gpu_finds_what_exact_search_finds(dtype: Kept, device: str) -> None:
    vectors = stored(dtype, 2)
    for among in (None, IDS[::7]):
        found = TorchExact(vectors, device).candidates(QUERIES, K, among)
        np.testing.assert_array_equal(found, Exact(vectors).candidates(QUERIES, K, among))


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


SMALL = {
    "N_CELLS": 64,
    "N_GENES": 300,
    "N_KNOWN": 20,
    "COPIED": 2**16,
    "TRUTH": 20,
    "NPROBES": (1, 16),
    "EXACT_QUERIES": (1, 8),
}


def test_the_benchmark_in_small(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All of its pieces, on the CPU; and where there is no GPU it measures nothing and says so."""
    for name, value in SMALL.items():
        monkeypatch.setattr(gpu, name, value)
    values, text = gpu.measure("cpu", 2000, 16, 40, "IVF16,SQ8")
    assert (values["vectors"], values["faiss"]["notes"]) == (2000, [])
    assert [row[0] for row in values["faiss"]["rows"]] == [1, 16]
    assert values["faiss"]["rows"][1][3] > 0.99 > values["faiss"]["rows"][0][3]
    assert "## FAISS, IVF16,SQ8: 40 queries" in text
    if not torch.cuda.is_available():
        assert gpu.main(["--vectors", "1000"]) == 2
        assert "no usable GPU" in capsys.readouterr().err
