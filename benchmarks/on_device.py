"""What `benchmarks.gpu` measures with: the card's own rates, vectors drawn on it, the true neighbours, seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from scvec.core.types import Floats, Neighbors
from scvec.index.base import nearest

if TYPE_CHECKING:
    import torch

CENTRES, SPREAD, BATCH = 300, 0.6, 2**20
ROUNDS = 3

Halves: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float16]]
T = TypeVar("T")


def seconds_of(way: Callable[[], T], rounds: int = ROUNDS) -> tuple[float, T]:
    """Return the least seconds of some turns, after one that is not counted, and the last result."""
    found, least = way(), np.inf
    for _ in range(rounds):
        start = time.perf_counter()
        found = way()
        least = min(least, time.perf_counter() - start)
    return float(least), found


def waited(device: str) -> None:
    """Wait until the device has done what it was asked for."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def copied(device: str, n_bytes: int) -> float:
    """Return the bytes per second that a device reads and writes in a copy within its memory."""
    import torch

    source = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        waited(device)

    return 2 * n_bytes / seconds_of(copy)[0]


def uploaded(device: str, n_bytes: int) -> float:
    """Return the bytes per second that come from the host's pinned memory."""
    import torch

    source = torch.ones(n_bytes, dtype=torch.uint8, pin_memory=device.startswith("cuda"))

    def upload() -> None:
        source.to(device, non_blocking=True, copy=True)
        waited(device)

    return n_bytes / seconds_of(upload)[0]


def multiplied(device: str, size: int, kind: str) -> float:
    """Return the operations per second of a product of square matrices: ``"float16"``, ``"tf32"`` or ``"float32"``."""
    import torch

    dtype = torch.float16 if kind == "float16" else torch.float32
    one, other = (torch.randn((size, size), device=device).to(dtype) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")

    def multiply() -> None:
        for _ in range(ROUNDS):
            one @ other
        waited(device)

    try:
        return ROUNDS * 2 * size**3 / seconds_of(multiply)[0]
    finally:
        torch.set_float32_matmul_precision(before)


def drawn(n: int, d: int, seed: int, device: str) -> Halves:
    """Return (n, d) float16 unit vectors around seeded centres, like cells of types; drawn on the device."""
    import torch

    centres = torch.from_numpy(np.random.default_rng(7).standard_normal((CENTRES, d), np.float32)).to(device)
    draw = torch.Generator(device).manual_seed(seed)
    found = np.empty((n, d), np.float16)
    for start in range(0, n, BATCH):
        part = found[start : start + BATCH]
        types = torch.randint(0, CENTRES, (len(part),), generator=draw, device=device)
        cells = centres[types] + SPREAD * torch.randn((len(part), d), generator=draw, device=device)
        part[:] = (cells / cells.norm(dim=1, keepdim=True)).half().cpu().numpy()
    return found


def truth(vectors: Halves, queries: Floats, k: int, device: str) -> Neighbors:
    """Return the k nearest by float64 products, written out: nothing of what is measured has a part in it."""
    import torch

    asked = torch.from_numpy(queries.astype(np.float64)).to(device)
    distances, places = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(vectors), BATCH):
        part = torch.from_numpy(vectors[start : start + BATCH]).to(device).double()
        near = torch.topk((1.0 - asked @ part.T).clamp(min=0), min(2 * k, len(part)), dim=1, largest=False)
        distances = np.hstack([distances, near.values.cpu().numpy()])
        places = np.hstack([places, start + near.indices.cpu().numpy()])
    return nearest(places, distances, k)


def encoder(device: str, dtype: torch.dtype, layers: int = 6, width: int = 384) -> torch.nn.Module:
    """Return a transformer of the shape of all-MiniLM-L6-v2 with random weights, from its tokens' vectors on."""
    import torch

    layer = torch.nn.TransformerEncoderLayer(width, 12, 4 * width, activation="gelu", batch_first=True)
    return torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).to(device, dtype).eval()
