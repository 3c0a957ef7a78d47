"""Opening vectors with the engine that searches them in place of an index."""

from __future__ import annotations

from typing import Any

import numpy as np

from scvec.index.base import Index
from scvec.index.engines.lacks import Lack
from scvec.index.engines.rule import Engine
from scvec.index.exact import Exact
from scvec.index.stored import Stored

BLOCK = 65_536
"""Vectors that are read at once."""


def over(stored: Stored, engine: Engine) -> Index | Lack:
    """Return what searches vectors with an engine other than FAISS indexes: with ``"cpu"``, exactly.

    If its library refuses, return why: its wheels do not fit each other, it finds no GPU, or the vectors do not fit.
    """
    made: Any
    try:
        made = _made(stored, engine)
    except _errors(engine) as error:
        return Lack(" ".join(str(error).split())[:160], "")
    if engine.note:
        made.notes = (engine.note, *made.notes)
    found: Index = made
    return found


def _made(stored: Stored, engine: Engine) -> Index:
    if engine.name == "cpu":
        return Exact(stored)
    if engine.name == "torch":
        from scvec.index.torch_exact import TorchExact

        return TorchExact(stored, engine.device)
    if engine.name == "cuvs-brute-force":
        from scvec.index.engines.by_cuvs import BruteForce
        from scvec.index.engines.confirmed import Confirmed

        return Confirmed(stored, BruteForce(stored, engine.device))
    from scvec.index.engines.cagra import Cagra

    if engine.name == "cuvs-cagra":
        from scvec.index.engines import by_cuvs

        return Cagra(stored, by_cuvs.Graph(stored, engine.device))
    from scvec.index import faiss_gpu

    vectors = np.concatenate([block for _, block in stored.blocks(BLOCK)])
    return Cagra(stored, faiss_gpu.Graph(vectors, engine.device))


def _errors(engine: Engine) -> tuple[type[Exception], ...]:
    """Return what the engine's library raises; torch without CUDA an `AssertionError`, cuVS an exception of its own."""
    usual = (ImportError, RuntimeError, AssertionError)
    if not engine.name.startswith("cuvs"):
        return usual
    try:
        from cuvs.common import exceptions
    except ImportError:
        return usual
    return (*usual, exceptions.CuvsException)
