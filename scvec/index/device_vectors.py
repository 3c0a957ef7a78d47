"""The vectors of an index on a torch device: held there as far as memory allows, the rest read from their file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Ints
from scvec.index import halves
from scvec.index.device_scan import BLOCK
from scvec.index.stored import Stored

if TYPE_CHECKING:
    import torch

FREE = 0.75
"""Share of the device's free memory to take."""

SCRATCH = 2 * 2**30
"""Most bytes for what is computed."""

STREAMED = 256 * 2**20
"""Most bytes of vectors that are read from a file at a time; two such pieces are on their way."""

MOST = 2**24
"""Most vectors that are compared at a time, so that the maxima of their blocks leave room for many queries."""


@dataclass(frozen=True)
class Memory:
    """How the memory of a device is shared out, in bytes.

    Attributes
    ----------
    held
        For vectors that stay.
    scratch
        For what is computed from them.
    streamed
        For each piece of the others.
    """

    held: int
    scratch: int
    streamed: int

    @classmethod
    def of(cls, total: int) -> Memory:
        """Share out this many bytes."""
        scratch, streamed = min(SCRATCH, total // 4), min(STREAMED, total // 32)
        # A piece is there as it is stored and in halves, and the next one comes while it is compared.
        return cls(max(0, total - scratch - 6 * streamed), scratch, streamed)


@dataclass(frozen=True)
class Piece:
    """Some vectors on the device.

    Attributes
    ----------
    places
        (n,) their positions, if these are not consecutive.
    start
        The position of the first, if they are.
    n
        How many.
    vectors
        (N, h, d) in `halves`; N is the next multiple of `BLOCK`.
    """

    vectors: torch.Tensor
    n: int
    start: int = 0
    places: torch.Tensor | None = None

    def positions(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the positions of rows of `vectors`."""
        return rows + self.start if self.places is None else self.places[rows]


class DeviceVectors:
    """Vectors in `halves` on a device.

    Parameters
    ----------
    stored
        Rows and their vectors.
    device
        A torch device.
    memory
        What it may take there.
    """

    def __init__(self, stored: Stored, device: torch.device, memory: Memory) -> None:
        import torch

        self._stored, self._device = stored, device
        self.n_halves = halves.n_halves(stored.itemsize)
        self._row = 2 * self.n_halves * halves.padded(stored.dimension)
        fit = memory.held // self._row // BLOCK * BLOCK
        self._n_held = min(len(stored), fit)
        self._rows = max(BLOCK, memory.streamed // self._row // BLOCK * BLOCK)
        shape = (-(-self._n_held // BLOCK) * BLOCK, self.n_halves, halves.padded(stored.dimension))
        self._held = torch.zeros(shape, dtype=torch.float16, device=device)
        for start, block in self._blocks(0, self._n_held):
            self._held[start : start + len(block)] = self._halves(_copied(block).to(device), len(block))

    @property
    def all_held(self) -> bool:
        """Whether the device holds all vectors."""
        return self._n_held == len(self._stored)

    def pieces(self, positions: Ints | None = None) -> Iterator[Piece]:
        """Yield all vectors; or those at ascending `positions`."""
        if positions is not None:
            yield from self._chosen(positions)
            return
        for start in range(0, self._n_held, MOST):
            n = min(MOST, self._n_held - start)
            yield Piece(self._held[start : start + -(-n // BLOCK) * BLOCK], n, start)
        yield from self._streamed()

    def _chosen(self, positions: Ints) -> Iterator[Piece]:
        import torch

        held = positions[: np.searchsorted(positions, self._n_held)]
        for first in range(0, len(held), self._rows):
            places = torch.from_numpy(held[first : first + self._rows]).to(self._device)
            vectors = torch.zeros((-(-len(places) // BLOCK) * BLOCK, *self._held.shape[1:]), dtype=torch.float16)
            vectors = vectors.to(self._device)
            vectors[: len(places)] = self._held[places]
            yield Piece(vectors, len(places), 0, places)
        for start, block in self._blocks(self._n_held, len(self._stored)):
            own = positions[slice(*np.searchsorted(positions, (start, start + len(block))))]
            if len(own):
                moved = _copied(block[own - start]).to(self._device)
                yield Piece(self._halves(moved), len(own), 0, torch.from_numpy(own).to(self._device))

    def _streamed(self) -> Iterator[Piece]:
        """Yield the vectors that are not held: the next piece is read from the file while the device computes."""
        import torch

        if self._device.type != "cuda":
            for start, block in self._blocks(self._n_held, len(self._stored)):
                yield Piece(self._halves(_copied(block)), len(block), start)
            return
        current, copying = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        shape, dtype = (self._rows, self._stored.dimension), getattr(torch, f"float{8 * self._stored.itemsize}")
        pinned = [torch.empty(shape, dtype=dtype, pin_memory=True) for _ in range(2)]
        busy: list[torch.cuda.Event | None] = [None, None]
        for number, (start, block) in enumerate(self._blocks(self._n_held, len(self._stored))):
            slot = number % 2
            before = busy[slot]
            if before is not None:
                before.synchronize()
            some = pinned[slot][: len(block)]
            np.copyto(some.numpy(), block)
            with torch.cuda.stream(copying):
                moved = some.to(self._device, non_blocking=True)
            current.wait_stream(copying)
            moved.record_stream(current)
            yield Piece(self._halves(moved), len(block), start)
            # Once what was asked of the last piece but one is done, its buffers are free on both sides.
            busy[slot] = current.record_event()

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield position and vectors, as they are stored, from `first` to before `last`."""
        for start, block in self._stored.pieces(self._rows):
            lo, hi = max(0, first - start), min(len(block), last - start)
            if lo < hi:
                yield start + lo, block[lo:hi]

    def _halves(self, numbers: torch.Tensor, rows: int | None = None) -> torch.Tensor:
        return halves.halves(numbers, self.n_halves, rows or -(-len(numbers) // BLOCK) * BLOCK)


def _copied(block: NDArray[Any]) -> torch.Tensor:
    """Return a tensor of its own: torch takes no read-only array."""
    import torch

    return torch.from_numpy(np.array(block))
