"""cuVS, NVIDIA's library of vector search on GPUs: brute force, and CAGRA graphs.

Written against cuvs 26.10. Arrays are torch's, which cuVS reads through the CUDA array interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.core.types import Floats, Ints
from scvec.index.stored import Stored

if TYPE_CHECKING:
    import torch

METRIC = "inner_product"
BLOCK = 65_536
"""Vectors that are moved to the GPU at once."""


class BruteForce:
    """The greatest products among all vectors, held in float32: a `scvec.index.engines.confirmed.Greatest`.

    cuVS multiplies float16 vectors by float16 queries only, which would round the queries by more than the margin.

    Parameters
    ----------
    stored
        Rows and their vectors.
    device
        Torch's name of the GPU.
    """

    def __init__(self, stored: Stored, device: str) -> None:
        import torch
        from cuvs.neighbors import brute_force

        self._vectors = on_device(stored, device, torch.float32)
        with torch.cuda.device(self._vectors.device):
            # The index refers to the vectors, so that they are kept.
            self._index = brute_force.build(self._vectors, metric=METRIC)

    def __call__(self, queries: Floats, width: int, positions: Ints | None) -> tuple[Floats, Ints]:
        """Return (n, width) products and positions; only of `positions`, if given."""
        import torch
        from cuvs.neighbors import brute_force

        with torch.cuda.device(self._vectors.device):
            asked = torch.from_numpy(queries).to(self._vectors)
            chosen = None if positions is None else allowed(positions, len(self._vectors))
            products, found = brute_force.search(self._index, asked, width, prefilter=chosen)
            return np.asarray(products.copy_to_host(), np.float32), np.asarray(found.copy_to_host(), np.int64)


class Graph:
    """A CAGRA graph of the vectors as they are stored: a `scvec.index.engines.cagra.Graph`.

    Parameters
    ----------
    stored
        Rows and their vectors.
    device
        Torch's name of the GPU.
    """

    filters = True

    def __init__(self, stored: Stored, device: str) -> None:
        import torch
        from cuvs.neighbors import cagra

        dtype = torch.float16 if stored.itemsize == np.dtype(np.float16).itemsize else torch.float32
        self._vectors = on_device(stored, device, dtype)
        with torch.cuda.device(self._vectors.device):
            self._index = cagra.build(cagra.IndexParams(metric=METRIC), self._vectors)

    def search(self, queries: Floats, k: int, effort: int, positions: Ints | None = None) -> Ints:
        """Return (n, k) positions of the nearest that it finds, keeping `effort` candidates; only of `positions`."""
        import torch
        from cuvs.neighbors import cagra

        with torch.cuda.device(self._vectors.device):
            # A graph only proposes, so that queries may be rounded as the vectors are.
            asked = torch.from_numpy(np.ascontiguousarray(queries, np.float32)).to(self._vectors)
            chosen = None if positions is None else allowed(positions, len(self._vectors))
            params = cagra.SearchParams(itopk_size=effort)
            _, found = cagra.search(params, self._index, asked, k, filter=chosen)
            # Unsigned, of 32 bits; what stands for none is greater than any position.
            return np.asarray(found.copy_to_host(), np.int64)


def on_device(stored: Stored, device: str, dtype: torch.dtype) -> torch.Tensor:
    """Return (n, d) all vectors on a device, moved there block by block."""
    import torch

    made = torch.empty((len(stored), stored.dimension), dtype=dtype, device=device)
    for start, block in stored.pieces(BLOCK):
        made[start : start + len(block)] = torch.from_numpy(np.array(block)).to(made)
    if made.is_cuda:
        torch.cuda.synchronize(made.device)  # cuVS reads on a stream of its own
    return made


def allowed(positions: Ints, n: int) -> Any:
    """Return cuVS's filter that leaves these of n positions."""
    from cuvs.neighbors import filters
    from pylibraft.common import device_ndarray

    return filters.from_bitset(device_ndarray(bits(positions, n)))


def bits(positions: Ints, n: int) -> Any:
    """Return unsigned numbers of 32 bits, of which bit i % 32 of number i // 32 is set for each position i."""
    chosen = np.zeros(-(-n // 32) * 32, bool)
    chosen[positions] = True
    return np.packbits(chosen, bitorder="little").view("<u4").astype(np.uint32)
