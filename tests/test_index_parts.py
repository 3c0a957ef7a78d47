"""The files of an index: what is written, what is refused, how a kind is chosen and tuned."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec import index as indexes
from scvec.cli.options.build import parse_bytes
from scvec.core.files import sha256
from scvec.errors import InputError, MismatchError
from scvec.index import IndexSpec, choose
from tests.parts import clustered, make, opened, shared, threads, truth

N, D = 2000, 32
VECTORS = clustered(N, D)
IDS = np.arange(100, 100 + N)


def test_what_a_part_holds(tmp_path: Path) -> None:
    done: list[int] = []
    indexes.train("IVF8,SQ8", VECTORS, 0, tmp_path / "trained.faiss")
    blocks = [(IDS[:0], VECTORS[:0]), (IDS[:700], VECTORS[:700]), (IDS[700:], VECTORS[700:])]
    part = tmp_path / "part"
    part.mkdir()
    made = indexes.make_part(part, "IVF8,SQ8", tmp_path / "trained.faiss", D, "float16", blocks, done.append)
    assert list(made.hashes) == ["index.faiss", "rows.npy", "vectors.npy"]
    assert made.hashes == {path.name: sha256(path) for path in part.iterdir()}
    assert (made.rows, sum(done)) == (N, N)
    assert made.bytes == sum(path.stat().st_size for path in part.iterdir())
    np.testing.assert_array_equal(np.load(part / "rows.npy"), IDS)
    np.testing.assert_array_equal(np.load(part / "vectors.npy"), VECTORS.astype(np.float16))
    assert indexes.check_part(part, made.hashes) == []
    with (part / "vectors.npy").open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)
        stream.write(b"\0\1")
    (part / "rows.npy").unlink()
    assert indexes.check_part(part, made.hashes) == ["rows.npy", "vectors.npy"]


def test_the_same_cells_make_the_same_files_with_any_number_of_threads(tmp_path: Path) -> None:
    for name, n in (("a", 1), ("b", 2)):
        with threads(n):
            make(tmp_path / name, "IVF8,RaBitQ", IDS, VECTORS, [np.arange(N)])
    a, b = ({path.name: sha256(path) for path in (tmp_path / name / "part0").iterdir()} for name in ("a", "b"))
    assert a == b


@pytest.mark.parametrize("factory", ["IVF8,SQ8", "HNSW16", "Flat"])
@pytest.mark.parametrize("name", ["rows.npy", "vectors.npy", "index.faiss"])
def test_files_that_are_not_whole_are_refused(factory: str, name: str, tmp_path: Path) -> None:
    folders = make(tmp_path, factory, IDS, VECTORS, np.array_split(np.arange(N), 2))
    path = folders[1] / name
    whole = path.read_bytes()
    damaged = [whole[: len(whole) // 2], whole[:-1], b"", whole[:10]]
    for content in damaged if name == "index.faiss" else [*damaged, whole + b"\0"]:
        path.write_bytes(content)
        with pytest.raises(MismatchError, match=f"part1/{name} is broken"):
            indexes.open_parts(factory, folders, {})
    path.unlink()
    with pytest.raises(MismatchError, match=f"part1/{name} is broken"):
        indexes.open_parts(factory, folders, {})


def test_files_of_other_cells_are_refused(tmp_path: Path) -> None:
    a, b = make(tmp_path, "Flat", IDS, VECTORS, [np.arange(N), np.arange(50)])
    with pytest.raises(MismatchError, match="row 100 is in two parts"):
        indexes.open_parts("Flat", [a, b], {})
    for name, said in (
        ("index.faiss", "it has 2,000 vectors of 32"),
        ("vectors.npy", "2,000 vectors for 50"),
    ):
        (b / name).write_bytes((a / name).read_bytes())
        with pytest.raises(MismatchError, match=said):
            indexes.open_parts("Flat", [b], {})
    np.save(b / "rows.npy", IDS[:50][::-1])
    with pytest.raises(MismatchError, match="do not ascend"):
        indexes.open_parts("exact", [b], {})
    other = make(tmp_path / "other", "exact", IDS + N, clustered(N, 16), [np.arange(N)])
    with pytest.raises(MismatchError, match="parts of 32, 16 dimensions"):
        indexes.open_parts("exact", [a, *other], {})


def test_parts_that_cannot_be_made(tmp_path: Path) -> None:
    for blocks, said in (
        ([], "without cells"),
        ([(IDS[:20], VECTORS[:20]), (IDS[:20], VECTORS[:20])], "ascending ids"),
        ([(IDS[:20][::-1], VECTORS[:20])], "ascending ids"),
    ):
        with pytest.raises(InputError, match=said):
            indexes.make_part(tmp_path, "exact", None, D, "float32", blocks)
    with pytest.raises(InputError, match="train it first"):
        indexes.make_part(tmp_path, "Flat", None, D, "float32", [(IDS, VECTORS)])
    with pytest.raises(InputError, match="device"):
        indexes.train("Flat", VECTORS, 0, tmp_path / "x", "tpu")


@pytest.mark.parametrize("factory", ["IVF32,Flat", "IVF32,SQ8", "IVF32,RaBitQ", "IVF32,PQ8x4fs", "HNSW16,SQ8", "NSG16"])
@pytest.mark.parametrize("wanted", [0.8, 0.95])
def test_a_search_is_as_thorough_as_the_recall_takes(factory: str, wanted: float, tmp_path: Path) -> None:
    index = opened(tmp_path, factory, IDS, VECTORS, 2)
    spec = IndexSpec(factory=factory, recall=wanted)
    own = indexes.sample(index.rows, spec.random_state)
    tuned = indexes.tune(index, index.vectors(own), own, spec)
    assert tuned == indexes.tune(index, index.vectors(own), own, spec)
    assert (tuned.k, tuned.queries) == (15, 500)
    assert tuned.recall >= wanted
    # What is said of the recall is so: the neighbours of each cell but itself, by the shortest form of exact search.
    found = indexes.search(index.using(tuned.parameters), index.vectors(own), 16).ids
    true = truth(IDS, VECTORS, index.vectors(own), 16)[0]
    others = [[one for one in row if one != self][:15] for row, self in zip(true.tolist(), own, strict=True)]
    assert shared(found, np.array(others)) == pytest.approx(tuned.recall, abs=0.01)
    if factory.startswith("IVF"):
        assert tuned.parameters["nprobe"] < 32


def test_a_recall_out_of_reach_is_said_as_it_is() -> None:
    noise = np.random.default_rng(0).standard_normal((8000, D)).astype(np.float32)  # the hardest of data
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    index = indexes.build("IVF16,PQ2x4fs", np.arange(8000), noise)
    own = indexes.sample(index.rows, 0)
    tuned = indexes.tune(index, index.vectors(own), own, IndexSpec(recall=1.0))
    assert dict(tuned.parameters) == {"nprobe": 16, "overfetch": 512}
    assert 0.3 < tuned.recall < 0.95
    assert tuned.to_dict()["recall"] == round(tuned.recall, 6)
    exact = indexes.build("exact", np.arange(8000), noise)
    assert indexes.tune(exact, index.vectors(own), own, IndexSpec()).recall == 1.0


@given(st.integers(1, 10**9), st.sampled_from([8, 46, 127, 128, 384, 1536]))
def test_what_auto_chooses(n: int, dimension: int) -> None:
    try:
        factory = indexes.resolve(IndexSpec(), n, dimension)
    except InputError as error:
        assert n * (dimension // 8 + 24) > 2 * 2**30, error
        return
    if n <= choose.MAX_EXACT:
        assert factory == "exact"
    else:
        assert factory == f"IVF{choose.lists(n)},{'SQ8' if 'SQ8' in factory else 'RaBitQ'}"
        assert 1 <= choose.lists(n) <= n
    assert 1 <= indexes.part_rows(IndexSpec(), factory, dimension) <= 2**20
    assert 0 <= indexes.sample_rows(factory, dimension, n) <= n


def test_what_is_asked_for_is_taken() -> None:
    assert indexes.resolve(IndexSpec(factory="HNSW16"), 10, 8) == "HNSW16"
    with pytest.raises(InputError, match="FLAT"):
        indexes.resolve(IndexSpec(factory="FLAT"), 10, 8)
    with pytest.raises(InputError, match="`memory`"):
        indexes.resolve(IndexSpec(memory=10**6), 10**6, 384)
    rows = indexes.part_rows(IndexSpec(), "HNSW32,SQ8", 384)
    assert 128 * 2**20 / (384 + 4 * 64 + 200) < rows < 128 * 2**20 / (384 + 4 * 64)
    assert indexes.sample_rows("IVF4096,SQ8", 384, 10**7) == 64 * 4096
    for bad in ({"k": 0}, {"recall": 0.0}, {"recall": 1.1}, {"memory": 0}, {"random_state": -1}):
        with pytest.raises(InputError, match=next(iter(bad))):
            IndexSpec(**bad)


def test_sizes() -> None:
    sizes = {"2GB": 2 * 2**30, "500MB": 500 * 2**20, "1.5 gib": 3 * 2**29, "64k": 2**16, "12": 12, "7B": 7}
    assert {size: parse_bytes(size) for size in sizes} == sizes
    for size in ("", "two", "GB", "-1GB", "0", "1XB"):
        with pytest.raises(InputError, match="500MB"):
            parse_bytes(size)
