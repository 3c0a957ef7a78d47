"""Checks of Triton's kernel in its interpreter: `TRITON_INTERPRET=1 python -m tests.interpreted_kernel`."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import gpu
from scvec.index import Exact, Stored, block_maxima, device_scan, halves, torch_exact
from scvec.index.device_scan import BLOCK
from scvec.index.torch_exact import TorchExact
from tests.parts import clustered


def drawn(d: int, n_halves: int, n: int, m: int) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.float64]]:
    """Return queries and vectors in halves, and the true maxima of blocks."""
    kept = torch.from_numpy(clustered(n, d))
    kept = kept.half() if n_halves == 1 else kept
    asked = torch.from_numpy(clustered(m, d, seed=1))
    true = (kept.double() @ asked.double().T).view(-1, BLOCK, m).amax(1)
    return halves.halves(asked, 2, m), halves.halves(kept, n_halves, n), true.numpy()


def maxima() -> None:
    """Dimensions in one go and in several, blocks for one program and for several, as torch computes them."""
    for d in (10, 32, 46, 100):
        for n_halves in (1, 2):
            queries, vectors, true = drawn(d, n_halves, 7 * BLOCK, 256)
            for way in (block_maxima.by_triton, device_scan.by_torch):
                out = torch.full((7, 256), torch.nan)
                with patch.object(block_maxima, "BLOCKS_AT_ONCE", 3):
                    way(queries, vectors, out, 10**5)
                found, allowed = out.numpy() / halves.UNIT, halves.margin(d, n_halves)
                np.testing.assert_allclose(found, true, rtol=0, atol=allowed, err_msg=f"{way} {d} {n_halves}")


def candidates() -> None:
    """Triton and torch propose the same vectors, and the answer is that of the CPU."""
    ids, vectors, queries = np.arange(3000), clustered(3000, 46), clustered(40, 46, seed=1)
    for dtype in (np.float16, np.float32):
        stored = Stored([(ids, vectors.astype(dtype))])
        index, other = (TorchExact(stored, "cpu", memory=10**9) for _ in range(2))
        index._maxima = block_maxima.by_triton
        with patch.object(device_scan, "FEW", 1):
            found, expected = (np.sort(one.proposed(queries, 7).positions, axis=1) for one in (index, other))
        np.testing.assert_array_equal(found, expected)
        with patch.object(torch_exact, "SPARE", 3), patch.object(device_scan, "FEW", 1):
            np.testing.assert_array_equal(index.candidates(queries, 4), Exact(stored).candidates(queries, 4))


def trial() -> None:
    """The kernel is tried, and believed if it computes what torch does."""
    device = torch.device("cpu")
    assert torch_exact.tried(device, 46, 1) == (block_maxima.by_triton, "")

    def half(queries: torch.Tensor, vectors: torch.Tensor, out: torch.Tensor, memory: int) -> None:
        device_scan.by_torch(queries, vectors, out, memory)
        out.copy_((out / halves.UNIT).half().float() * halves.UNIT)

    with patch.object(block_maxima, "by_triton", half):
        way, note = torch_exact.tried(device, 46, 1)
    assert way is device_scan.by_torch
    assert "its products are off by" in note


def benchmark() -> None:
    """All steps of the benchmark that need the kernel."""
    cuts = patch.object(gpu, "CUTS", ((64, 128), (4,), (3,)))
    few = patch.object(device_scan, "FEW", 1)
    with few, TemporaryDirectory() as folder, patch.object(torch_exact, "best_maxima", torch_exact.tried), cuts:
        assert gpu.main(["--dry", "--out", folder]) == 0
        found = json.loads((Path(folder) / "gpu.json").read_text(encoding="utf-8"))
    assert not any(row["note"] for name in ("exact 20000 x 46", "streamed") for row in found[name])
    own = [row for row in found["correct"] if row["engine"] in ("Triton", "torch")]
    assert [row["same ids"] + row["same distances"] for row in own] == [2] * 8
    assert [row["queries"] for row in found["cuts"] if "ms" in row] == [64, 128, 64, 128]


if __name__ == "__main__":
    maxima()
    candidates()
    trial()
    benchmark()
    maxima()
    candidates()
    trial()
