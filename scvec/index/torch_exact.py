"""Exact search on a GPU, or any torch device: the device proposes by its products, and the CPU confirms the answer."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scvec.core.reading import reading
from scvec.core.types import Bools, Floats, Ints
from scvec.errors import ScvecError
from scvec.index import device_scan, exact, halves
from scvec.index.base import nearest
from scvec.index.device_scan import Greatest, Maxima
from scvec.index.device_vectors import FREE, SCRATCH, STREAMED, DeviceVectors, Memory
from scvec.index.exact import Exact
from scvec.index.stored import Stored

if TYPE_CHECKING:
    import torch

QUERIES = 16_384
"""Queries that are searched with one reading of the vectors."""

SPARE, MANY = 32, 2048
"""Candidates kept beyond k, for the rounding of products and for ties; and in the second try, for many ties."""


@dataclass(frozen=True)
class Proposed:
    """What a device finds.

    Attributes
    ----------
    positions
        (m, w) positions of the vectors with the greatest products, in any order.
    scores
        (m, w) their products, as the device computed them.
    outside
        (m,) a bound on the products of all other vectors.
    """

    positions: Ints
    scores: Floats
    outside: Floats


class TorchExact(Exact):
    """The answers of `Exact`, from products on a torch device.

    The device finds the k + `SPARE` greatest products of each query, and a bound on all others. If this lies below the
    k-th by more than twice the rounding error, no other vector can be among the nearest, and the distances of those
    found are computed in float64. A query with more ties gets a longer list. If that is not enough, or if a product is
    off by more than the error that is allowed for, the query is searched as `Exact` does.

    Parameters
    ----------
    stored
        Rows and their vectors; the device keeps them in float16 halves, float32 vectors in two.
    device
        Torch's name of the device; ``"cuda"`` is the first GPU.
    memory
        Bytes that it may take on the device; vectors that do not fit are read from their file at every search. None:
        `FREE` of what is free; on the CPU, which has the vectors already, no vector is held.
    """

    def __init__(self, stored: Stored, device: str, *, memory: int | None = None) -> None:
        import torch

        super().__init__(stored)
        self._device = torch.device(device)
        if self._device.type == "cuda" and self._device.index is None:
            self._device = torch.device("cuda", 0)
        self._memory = _default(self._device) if memory is None else Memory.of(memory)
        self._held = DeviceVectors(stored, self._device, self._memory)
        self._margin = halves.margin(stored.dimension, self._held.n_halves)
        self._maxima, note = best_maxima(self._device, stored.dimension, self._held.n_halves)
        self.notes = (note,) if note else ()

    @property
    def all_held(self) -> bool:
        """Whether the device holds all vectors."""
        return self._held.all_held

    @property
    def is_plain(self) -> bool:
        """Whether torch computes all, without Triton's kernel."""
        return self._maxima is device_scan.by_torch

    def by(self, maxima: Maxima) -> TorchExact:
        """Return the same index, with another way to compute the maxima of blocks."""
        other = copy(self)
        other._maxima = maxima
        return other

    @property
    def _at_once(self) -> int:
        return QUERIES

    def _nearest(self, queries: Floats, k: int, positions: Ints | None) -> Ints:
        found, left = np.full((len(queries), k), -1, np.int64), np.arange(len(queries))
        for spare in (SPARE, MANY):
            ids, clear = self._confirmed(queries[left], k, spare, positions)
            found[left[clear]] = ids[clear]
            left = left[~clear]
            if not len(left) or len(self) <= k + spare:
                break
        for some in np.array_split(left, -(-len(left) // exact.QUERIES)) if len(left) else ():
            found[some] = super()._nearest(queries[some], k, positions)
        return found

    def confirmed(self, queries: Floats, k: int) -> Bools:
        """Return (m,) for which queries the first list of candidates decides, so that they are not searched again."""
        return self._confirmed(queries, k, SPARE, None)[1]

    def _confirmed(self, queries: Floats, k: int, spare: int, positions: Ints | None) -> tuple[Ints, Bools]:
        """Return the ids of the k nearest, and of which queries it is certain that these are the ones."""
        found = self.proposed(queries, k + spare, positions)
        distances = self.stored.at(queries, found.positions)
        # Stored lengths are not quite 1; a distance is 0 at least, and those at 0 are ties.
        products = np.minimum(found.scores, 1.0)
        is_true = (np.abs(products - (1.0 - distances)) <= self._margin).all(axis=1)
        place = products.shape[1] - k
        kth = np.partition(products, place, axis=1)[:, place]
        clear = is_true & (np.minimum(found.outside, 1.0) < kth - 2 * self._margin)
        return nearest(self.stored.ids(found.positions), distances, k).ids, clear

    def proposed(self, queries: Floats, width: int, positions: Ints | None = None) -> Proposed:
        """Return the vectors with the `width` greatest products, at most as many as there are.

        Parameters
        ----------
        queries
            (m, d) float32 unit vectors.
        width
            How many.
        positions
            (n,) ascending: only these vectors are meant.
        """
        import torch

        n = len(self) if positions is None else len(positions)
        width, scratch = min(width, n), self._memory.scratch
        with torch.inference_mode(), device_scan.whole_float32(), _on(self._device):
            asked = torch.from_numpy(np.array(queries, np.float32)).to(self._device)
            best = Greatest.none(len(asked), width, self._device)
            for piece in self._held.pieces(positions):
                step = device_scan.at_once(piece.n, width, scratch)
                for first in range(0, len(asked), step):
                    some = slice(first, first + step)
                    found = device_scan.greatest(asked[some], piece.vectors, piece.n, width, scratch, self._maxima)
                    best.take(some, found.at(piece.positions(found.places)))
            scores = best.scores.cpu().numpy()
            outside = np.maximum(best.outside.cpu().numpy(), scores.min(axis=1) if width < n else -np.inf)
            return Proposed(best.places.cpu().numpy(), scores, outside)


def best_maxima(device: torch.device, dimension: int, n_halves: int) -> tuple[Maxima, str]:
    """Return what computes the maxima of blocks there fastest, and a note if that is not Triton on a GPU."""
    return tried(device, dimension, n_halves) if device.type == "cuda" else (device_scan.by_torch, "")


def tried(device: torch.device, dimension: int, n_halves: int) -> tuple[Maxima, str]:
    """Return Triton's kernel if it computes what torch does, else torch, and a note that says why.

    It is compiled for these vectors, which needs a C compiler, and given a few.
    """
    import torch

    try:
        with reading("Triton"), _on(device), device_scan.whole_float32():
            from scvec.index.block_maxima import by_triton

            drawn = torch.randn((4 * device_scan.BLOCK, dimension), generator=torch.Generator(device), device=device)
            drawn /= drawn.norm(dim=1, keepdim=True)
            vectors = halves.halves(drawn if n_halves == 2 else drawn.half(), n_halves, len(drawn))
            queries = halves.halves(drawn[: device_scan.QUERIES], 2, device_scan.QUERIES)
            ways = [torch.empty((4, device_scan.QUERIES), device=device) for _ in range(2)]
            for way, out in zip((by_triton, device_scan.by_torch), ways, strict=True):
                way(queries, vectors, out, 2**20)
            off = float((ways[0] - ways[1]).abs().max() / halves.UNIT)
    except ScvecError as error:  # of anything that Triton lacks: torch computes the same
        cause = error.__cause__ or error
        said = next(iter(str(cause).splitlines()), "")
        return device_scan.by_torch, f"exact search does without Triton: {type(cause).__name__} {said}"[:200]
    if not off <= 2 * halves.margin(dimension, n_halves):
        return device_scan.by_torch, f"exact search does without Triton: its products are off by {off:.1g}"
    return by_triton, ""


def _default(device: torch.device) -> Memory:
    """Return the memory to take of a device."""
    if device.type != "cuda":
        return Memory(0, SCRATCH, STREAMED)
    import torch

    return Memory.of(int(FREE * torch.cuda.mem_get_info(device)[0]))


def _on(device: torch.device) -> AbstractContextManager[None]:
    """Make a GPU the current one."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
