"""Exact search with products of a torch device, here the CPU's; and Triton's kernel."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from scvec import index as indexes
from scvec.core.types import Floats, Ints
from scvec.index import Exact, Stored, device_scan, exact, halves, torch_exact
from scvec.index.device_scan import BLOCK, Maxima
from scvec.index.torch_exact import TorchExact
from tests.parts import Kept, clustered, make, truth

K, N, D = 4, 3000, 32
VECTORS, QUERIES = clustered(N, D), clustered(20, D, seed=1)
IDS = np.sort(np.random.default_rng(0).permutation(10_000)[:N]).astype(np.int64)
ALL = 10**9


def stored(dtype: Kept, n_parts: int = 1) -> Stored:
    return Stored([(IDS[some], VECTORS[some].astype(dtype)) for some in np.array_split(np.arange(N), n_parts)])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists shorter than the number of blocks, groups and batches that few vectors and queries fill."""
    monkeypatch.setattr(torch_exact, "SPARE", 3)
    monkeypatch.setattr(device_scan, "GROUP", 4)
    monkeypatch.setattr(device_scan, "FEW", 1)
    monkeypatch.setattr(torch_exact, "QUERIES", 16)


@pytest.mark.parametrize("memory", [None, 0, 200_000, ALL])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.usefixtures("few")
def test_it_finds_what_exact_search_finds(n_parts: int, dtype: Kept, memory: int | None) -> None:
    """With all vectors on the device, with some, and with none; of all rows, and of some."""
    vectors = stored(dtype, n_parts)
    index, plain = TorchExact(vectors, "cpu", memory=memory), Exact(vectors)
    assert index.all_held is (memory == ALL)
    rows = np.sort(np.random.default_rng(5).permutation(IDS)[:2000])
    for among in (None, rows, rows[:5]):
        np.testing.assert_array_equal(index.candidates(QUERIES, K, among), plain.candidates(QUERIES, K, among))
    found, expected = indexes.search(index, QUERIES, K), indexes.search(plain, QUERIES, K)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert index.candidates(QUERIES[:0], K).shape == (0, K)
    assert index.candidates(QUERIES, N + 9).shape == (20, N)
    assert index.notes == ()


@given(
    st.integers(1, 1500),
    st.integers(0, 9),
    st.integers(1, 40),
    st.integers(0, 3),
    st.sampled_from([16, 46, 100]),
    st.sampled_from([0, 300_000, ALL]),
    st.booleans(),
    st.integers(0, 2**32),
)
@settings(max_examples=60)
def test_whatever_the_sizes(
    n: int, spare: int, k: int, repeats: int, d: int, memory: int, halved: bool, seed: int
) -> None:
    """Fewer vectors than k, few blocks and many, more equal vectors than are kept, vectors longer than 1."""
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([clustered(n, d, seed % 1000), *[clustered(4, d)[rng.integers(0, 4, 60)]] * repeats])
    vectors = vectors[rng.permutation(len(vectors))].astype(np.float16 if halved else np.float32)
    ids = np.sort(rng.permutation(3000)[: len(vectors)]).astype(np.int64)
    rows = np.sort(rng.permutation(ids)[: rng.integers(1, len(ids) + 1)])
    queries = np.concatenate([clustered(3, d, 5), clustered(4, d)[:2]])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch_exact, "SPARE", spare)
        patched.setattr(device_scan, "GROUP", 2)
        patched.setattr(device_scan, "FEW", 1 + seed % 2)
        index = TorchExact(Stored.of(ids, vectors), "cpu", memory=memory)
        for among in (None, rows):
            found = index.candidates(queries, k, among)
            true, _ = truth(ids, np.asarray(vectors, np.float32), queries, k, among)
            np.testing.assert_array_equal(found, true[:, : found.shape[1]])
            assert (true[:, found.shape[1] :] == -1).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_nothing_is_left_to_the_cpu_without_ties(dtype: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the other tests say something of the device's products."""
    monkeypatch.setattr(Exact, "_nearest", None)
    vectors = stored(dtype)
    expected, _ = truth(IDS, np.asarray(VECTORS.astype(dtype), np.float32), QUERIES, 2, None)
    np.testing.assert_array_equal(TorchExact(vectors, "cpu").candidates(QUERIES, 2), expected)


@pytest.mark.usefixtures("few")
def test_many_ties_get_a_longer_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 vectors are the same: more than the list holds, fewer than the longer one."""
    monkeypatch.setattr(Exact, "_nearest", None)
    vectors = np.concatenate([VECTORS[:2000], np.repeat(VECTORS[5:6], 300, 0)])
    index = TorchExact(Stored([(np.arange(2300), vectors)]), "cpu")
    np.testing.assert_array_equal(index.candidates(VECTORS[5:6], 6), [[5, *range(2000, 2005)]])


def test_more_ties_than_any_list_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_exact, "MANY", 40)
    monkeypatch.setattr(exact, "QUERIES", 2)
    vectors = np.concatenate([VECTORS[:2000], np.repeat(VECTORS[5:6], 300, 0)])
    index = TorchExact(Stored([(np.arange(2300), vectors)]), "cpu")
    np.testing.assert_array_equal(index.candidates(VECTORS[[5] * 5], 6), [[5, *range(2000, 2005)]] * 5)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_products_above_one_are_ties(device: str | None) -> None:
    """Vectors in one direction, of lengths that float16 rounds: all at distance 0, so that the lowest ids are first."""
    rng = np.random.default_rng(0)
    one = clustered(1, 46)
    vectors = (one * (1 + rng.uniform(0, 4e-4, (3000, 1)))).astype(np.float16)
    stored = Stored([(np.arange(3000), vectors)])
    index = Exact(stored) if device is None else TorchExact(stored, device)
    expected, _ = truth(np.arange(3000), np.asarray(vectors, np.float32), one, 15, None)
    assert (stored.at(one, expected) == 0).sum() == 15
    np.testing.assert_array_equal(index.candidates(one, 15), expected)


def wrong(queries: torch.Tensor, vectors: torch.Tensor, out: torch.Tensor, memory: int) -> None:
    """Compute maxima in float16, as a device that adds up in that would."""
    device_scan.by_torch(queries, vectors, out, memory)
    out.copy_((out / halves.UNIT).half().float() * halves.UNIT)


def shifted(queries: torch.Tensor, vectors: torch.Tensor, out: torch.Tensor, memory: int) -> None:
    """Compute maxima and write them to the wrong places."""
    device_scan.by_torch(queries, vectors, out, memory)
    out.copy_(out.roll(1, 0))


@pytest.mark.parametrize("way", [wrong, shifted])
@pytest.mark.usefixtures("few")
def test_a_device_that_is_wrong_is_not_believed(way: Maxima, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither with a longer list: what it says of blocks does not agree with their products."""
    monkeypatch.setattr(torch_exact, "MANY", 5)
    vectors, calls = stored("float16"), list[int]()
    index = TorchExact(vectors, "cpu")
    index._maxima = way
    plain = Exact._nearest

    def counted(self: Exact, queries: Floats, k: int, positions: Ints | None) -> Ints:
        calls.append(len(queries))
        return plain(self, queries, k, positions)

    monkeypatch.setattr(Exact, "_nearest", counted)
    found = index.candidates(QUERIES, K)
    assert sum(calls) == len(QUERIES)
    np.testing.assert_array_equal(found, Exact(vectors).candidates(QUERIES, K))


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_torch_does_not_round_more_than_float32(precision: str) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        found = TorchExact(stored("float32"), "cpu").candidates(QUERIES, K)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(found, Exact(stored("float32")).candidates(QUERIES, K))


def test_parts_of_exact_search_on_a_device(tmp_path: Path) -> None:
    folders = make(tmp_path, "exact", IDS, VECTORS, np.array_split(np.arange(N), 2), "float16")
    index = indexes.open_parts("exact", folders, {}, search_engine="torch")
    assert isinstance(index, TorchExact)
    tuned = indexes.tune(index, VECTORS[:50], IDS[:50], indexes.IndexSpec())
    assert (tuned.recall, dict(tuned.parameters)) == (1.0, {})


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that live at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._users: Counter[int] = Counter()
        self._sizes: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else (found,):
            if isinstance(one, torch.Tensor):
                storage = one.untyped_storage()
                self._sizes[storage.data_ptr()] = storage.nbytes()
                self._users[storage.data_ptr()] += 1
                finalize(one, self._gone, storage.data_ptr())
        self.most = max(self.most, sum(self._sizes.values()))
        return found

    def _gone(self, place: int) -> None:
        self._users[place] -= 1
        if not self._users[place]:
            self._sizes.pop(place, None)


@pytest.mark.parametrize(("memory", "held"), [(24 * 10**6, False), (100 * 10**6, True)])
def test_the_memory_of_the_device_is_bounded(memory: int, held: bool) -> None:
    """31 MB of vectors in 24 MB, and in 100 MB."""
    vectors = np.tile(clustered(4000, 46), (60, 1)).astype(np.float16)
    with Peak() as peak:
        index = TorchExact(Stored([(np.arange(len(vectors)), vectors)]), "cpu", memory=memory)
        index.proposed(clustered(40, 46, seed=1), 20)
    assert index.all_held is held
    assert memory / 4 < peak.most < memory


def test_halves_and_their_error() -> None:
    """Halves keep 22 bits; the margin covers what a matrix unit may cut off, for vectors that make it the most."""
    rng = np.random.default_rng(0)
    for d in (16, 46, 384):
        same = np.full((1, d), d**-0.5, np.float32)
        drawn = rng.standard_normal((30, d)).astype(np.float32)
        vectors = np.concatenate([same, drawn / np.linalg.norm(drawn, axis=1, keepdims=True)])
        queries = np.concatenate([same * np.float32(1 - 1e-7), vectors[1:]])
        for dtype, n in ((np.float16, 1), (np.float32, 2)):
            kept = vectors.astype(dtype)
            by = halves.halves(torch.from_numpy(kept), n, len(kept))
            assert by.shape == (31, n, halves.padded(d))
            assert (
                np.abs(halves.whole(by).numpy()[:, :d] / halves.SCALE - np.asarray(kept, np.float32)).max() < 2.0**-22
            )
            of_queries = halves.halves(torch.from_numpy(queries), 2, len(queries))
            products = cut_off(of_queries.numpy(), by.numpy(), n)
            off = np.abs(products - queries.astype(np.float64) @ kept.astype(np.float64).T).max()
            assert 2.0**-24 < off < halves.margin(d, n)


def cut_off(queries: NDArray[np.float16], vectors: NDArray[np.float16], n_halves: int) -> NDArray[np.float64]:
    """Return products as of the coarsest matrix unit: 8 products are added, all cut off below the sum's last place."""
    asked = np.concatenate([queries[:, one] for one, _ in halves.pairs(n_halves)], 1).astype(np.float64)
    kept = np.concatenate([vectors[:, one] for _, one in halves.pairs(n_halves)], 1).astype(np.float64)
    sums = np.zeros((len(asked), len(kept)))
    for first in range(0, asked.shape[1], 8):
        terms = asked[:, None, first : first + 8] * kept[None, :, first : first + 8]
        terms = np.concatenate([sums[:, :, None], terms], 2)
        _, exponent = np.frexp(np.abs(terms).max(axis=2, keepdims=True))
        last = 2.0 ** (exponent - 24)
        sums = (np.trunc(terms / last) * last).sum(axis=2)
    return sums / halves.UNIT


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernel_in_tritons_interpreter() -> None:
    """In a process of its own: Triton reads the variable when it is first imported."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.interpreted_kernel"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "scvec.index.block_maxima", raising=False)
    way, note = torch_exact.tried(torch.device("cpu"), 46, 1)
    assert way is device_scan.by_torch
    assert note.startswith("exact search does without Triton: ")
    assert "triton" in note.split(": ", 1)[1]


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("d", "n_halves"), [(64, 1), (64, 2), (384, 1), (384, 2)])
def test_the_kernel_compiles_for_gpus(d: int, n_halves: int, capability: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one: for the matrix units of the A100 and the H100, and within their shared memory."""
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    sys.modules.pop("scvec.index.block_maxima", None)
    kernel: Any = importlib.import_module("scvec.index.block_maxima")
    cut = kernel.shape(d)
    given = {"queries": "*fp16", "vectors": "*fp16", "maxima": "*fp32"}
    given |= dict.fromkeys(("n_queries", "n_blocks", "blocks_at_once"), "i32")
    constants = {"d": d, "n_halves": n_halves, "at_once": cut.queries, "block": BLOCK, "size": 64, "stages": cut.stages}
    names = [*given, *constants]
    source = triton.compiler.ASTSource(
        kernel._kernel,
        given | dict.fromkeys(constants, "constexpr"),
        {(names.index(name),): value for name, value in constants.items()},
        {(place,): [["tt.divisibility", 16]] for place in range(4)},
    )
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    made = triton.compile(source, target=target, options={"num_warps": cut.warps, "enable_fp_fusion": True})
    assert ("wgmma.mma_async" if capability == 90 else "mma.sync") in made.asm["ptx"]
    assert made.metadata.shared <= {80: 163, 90: 227}[capability] * 1024


@pytest.mark.gpu
@pytest.mark.parametrize("memory", [None, 20 * 10**6])
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_gpu_finds_what_exact_search_finds(dtype: Kept, device: str, memory: int | None) -> None:
    vectors = np.asarray(clustered(200_000, 46), dtype)
    stored, queries = Stored([(np.arange(200_000), vectors)]), clustered(300, 46, seed=1)
    index, plain = TorchExact(stored, device, memory=memory), Exact(stored)
    for among in (None, np.arange(0, 200_000, 7)):
        np.testing.assert_array_equal(index.candidates(queries, 15, among), plain.candidates(queries, 15, among))
