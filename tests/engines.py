"""What tests of engines share: larger files, engines that do something on the way, and what all engines must make."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.engine import Common, Engine, Made, Piece, Worker

HASH = sv.RECIPES["genept-w"].with_encoder("hash")
N_CELLS, SHARD_CELLS = 900, 10


@dataclass
class After:
    """An engine that keeps what it is asked for, and calls `act` once, when so many pieces were made."""

    engine: Engine
    act: Callable[[], object] = lambda: None
    n: int = 1
    asked: list[Any] = field(default_factory=list)

    def each(self, worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> Generator[Made]:
        self.asked.extend(pieces)
        for number, made in enumerate(self.engine.each(worker, common, pieces), 1):
            yield made
            if number == self.n:
                self.act()


class Twice:
    """An engine whose workers' first work is lost: all is made twice, and the first time is not heard of."""

    def each(self, worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> Generator[Made]:
        with worker(common) as make:
            for piece in pieces:
                make(piece)
                yield make(piece)


@contextmanager
def times(common: int) -> Iterator[Callable[[int], int]]:
    """A worker whose work is small."""
    yield lambda piece: common * piece


@contextmanager
def variables(common: None) -> Iterator[Callable[[str], str | None]]:
    """A worker that says what is in its environment."""
    yield os.environ.get


def build(store: sv.Store, path: Path, engine: Engine | None = None, **options: Any) -> Atlas:
    asked: dict[str, Any] = {"label_key": "cell_type", "recipe": HASH, "shard_cells": SHARD_CELLS} | options
    return sv.atlas.build(store, "big", path, engine=engine, **asked)


def check_whole(atlas: Atlas, n_cells: int = N_CELLS) -> None:
    """Every cell is there once, and nothing is wrong with any file."""
    assert len(atlas.cells) == n_cells
    assert atlas.rows.tolist() == list(range(n_cells))
    assert len(set(atlas.obs["cell_id"].to_pylist())) == n_cells
    assert sv.atlas.verify(atlas) == []


def check_equal(atlas: Atlas, other: Atlas) -> None:
    """Two atlases of one name, in two stores, are the same to the last bit of a vector, a part and a manifest."""
    for key, value in other.manifest.items():
        assert (key, atlas.manifest[key]) == (key, value)
    assert atlas.obs.equals(other.obs)
    np.testing.assert_array_equal(atlas.vectors(atlas.rows), other.vectors(other.rows))


def data_files(atlas: Atlas) -> set[str]:
    return {path.name for path in Path(atlas.store.uri, f"{atlas.table.path}.lance", "data").iterdir()}
