"""Exact search on a GPU, or any torch device: it holds the vectors, and the CPU confirms the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Floats, Ints
from scvec.index.base import nearest
from scvec.index.exact import MARGIN, Exact
from scvec.index.stored import Stored

if TYPE_CHECKING:
    import torch

BLOCK = 65_536
"""Vectors in one matrix product: 256 MB of scores."""

SPARE = 32
"""Candidates kept beyond k, for the rounding of float32 products and for ties."""

FREE = 0.75
"""Share of the device's free memory for vectors; the rest are read from their file at every search."""


class TorchExact(Exact):
    """The answers of `Exact`, from products on a torch device.

    The device keeps the k + `SPARE` greatest float32 products of each query. If the least of these lies below the k-th
    by more than twice the rounding error, no other vector can be among the nearest, and their distances are computed in
    float64; a query with more ties is searched as `Exact` does.

    Parameters
    ----------
    stored
        Rows and their vectors; the device keeps them as they are stored, in float32 or float16.
    device
        Torch's name of the device; ``"cuda"`` is the first GPU.
    """

    def __init__(self, stored: Stored, device: str) -> None:
        import torch

        super().__init__(stored)
        self._device = torch.device(device)
        room = _room(self._device)
        self._held: list[tuple[int, NDArray[Any], torch.Tensor | None]] = []
        for start, block in stored.pieces(BLOCK):
            room -= block.nbytes
            self._held.append((start, block, self._moved(block) if room >= 0 else None))

    def _nearest(self, queries: Floats, k: int, positions: Ints | None) -> Ints:
        n = len(self) if positions is None else len(positions)
        scores, best = self._greatest(queries, min(n, k + SPARE), positions)
        found = nearest(self.stored.ids(best), self.stored.at(queries, best), k).ids.copy()
        unclear = (scores[:, -1] >= scores[:, k - 1] - 2 * MARGIN) & (n > k + SPARE)
        if unclear.any():
            found[unclear] = super()._nearest(queries[unclear], k, positions)
        return found

    def _greatest(self, queries: Floats, width: int, positions: Ints | None) -> tuple[Floats, Ints]:
        """Return the (n, width) greatest products, descending, and the positions of their vectors."""
        import torch

        with _whole_float32():
            asked = torch.from_numpy(queries).to(self._device)
            scores = torch.empty((len(queries), 0), device=self._device)
            best = torch.empty((len(queries), 0), dtype=torch.int64, device=self._device)
            for places, block in self._blocks(positions):
                products = asked @ block.float().T
                top = torch.topk(products, min(width, len(places)), dim=1)
                scores, best = torch.cat([scores, top.values], 1), torch.cat([best, places[top.indices]], 1)
                if scores.shape[1] > width:
                    scores, order = torch.topk(scores, width, dim=1)
                    best = torch.gather(best, 1, order)
            scores, order = torch.sort(scores, dim=1, descending=True)
            return scores.cpu().numpy(), torch.gather(best, 1, order).cpu().numpy()

    def _blocks(self, positions: Ints | None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield positions and vectors on the device; only of `positions`, ascending, if given."""
        import torch

        for start, block, held in self._held:
            if positions is None:
                places = torch.arange(start, start + len(block), device=self._device)
                yield places, self._moved(block) if held is None else held
                continue
            own = positions[slice(*np.searchsorted(positions, (start, start + len(block))))]
            if not len(own):
                continue
            places = torch.from_numpy(own).to(self._device)
            yield places, self._moved(block[own - start]) if held is None else held[places - start]

    def _moved(self, block: NDArray[Any]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.array(block)).to(self._device)


def _room(device: torch.device) -> float:
    """Return how many bytes of vectors the device may hold; 0 for the CPU, which reads them from their file."""
    if device.type != "cuda":
        return 0
    import torch

    return FREE * torch.cuda.mem_get_info(device)[0]


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Compute products in full float32: with TF32 or bfloat16 they are off by more than `MARGIN`."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
