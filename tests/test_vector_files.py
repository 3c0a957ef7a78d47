"""Files of gene vectors, and pickles that are no such thing."""

from __future__ import annotations

import collections
import copyreg
import functools
import io
import json
import os
import pickle
import re
import string
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from scvec.embed.encoders.unpickle import load_plain
from scvec.embed.encoders.vector_files import NAME_KEYS, VECTOR_KEYS, read_vectors
from scvec.errors import DuplicateNameError, FileError, InputError

NAMES = ["INS", "GCG", "HLA-A"]
VECTORS = np.array([[0.5, -1, 2, 0], [3, 4, 5, 6], [1e-3, 1e30, -0.0, 7]], np.float32)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

Writer = Callable[[Path, Sequence[str], NDArray[Any]], object]


def pickled(path: Path, names: Sequence[str], rows: Sequence[object], protocol: int = 4) -> None:
    path.write_bytes(pickle.dumps(dict(zip(names, rows, strict=True)), protocol))


def table(path: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), path)


def genepts(protocol: int) -> dict[str, tuple[str, Writer]]:
    return {
        f"pickle {protocol} of lists": (".pickle", lambda p, n, v: pickled(p, n, v.tolist(), protocol)),
        f"pickle {protocol} of arrays": (".pkl", lambda p, n, v: pickled(p, n, list(v), protocol)),
        f"pickle {protocol} of columns": (".pkl", lambda p, n, v: pickled(p, n, list(np.asfortranarray(v)), protocol)),
        f"pickle {protocol} of scalars": (".pkl", lambda p, n, v: pickled(p, n, [list(row) for row in v], protocol)),
    }


def lines(path: Path, names: Sequence[str], rows: NDArray[Any], first: str = "", between: str = " ") -> None:
    said = [between.join([name, *(str(float(value)) for value in row)]) for name, row in zip(names, rows, strict=True)]
    path.write_text(first + "\n".join(said) + "\n")


WRITERS: dict[str, tuple[str, Writer]] = {
    "text as GloVe's": (".txt", lines),
    "text as fastText's": (".vec", lambda p, n, v: lines(p, n, v, f"{len(n)} {v.shape[1]}\n")),
    "text with tabs": (".txt", lambda p, n, v: lines(p, n, v, between="\t")),
    "npz table": (".npz", lambda p, n, v: np.savez(p, names=np.array(n), vectors=v)),
    "npz compressed": (".npz", lambda p, n, v: np.savez_compressed(p, genes=np.array(n), embeddings=v)),
    "npz a gene": (".npz", lambda p, n, v: np.savez(p, **dict(zip(n, v, strict=True)))),
    "parquet lists": (".parquet", lambda p, n, v: table(p, symbol=n, vector=v.tolist())),
    "parquet fixed lists": (
        ".parquet",
        lambda p, n, v: table(p, gene=n, embedding=pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), v.shape[1])),
    ),
    "parquet wide": (".parquet", lambda p, n, v: table(p, gene=n, **{f"d{i}": one for i, one in enumerate(v.T)})),
    "safetensors table": (
        ".safetensors",
        lambda p, n, v: save_file({"vectors": np.ascontiguousarray(v)}, p, metadata={"genes": json.dumps(n)}),
    ),
    "safetensors a gene": (".safetensors", lambda p, n, v: save_file(dict(zip(n, map(np.copy, v), strict=True)), p)),
    **{name: one for protocol in PROTOCOLS for name, one in genepts(protocol).items()},
}


gene_names = (
    st.text(st.characters(categories=["L", "N", "Pd", "Po"], exclude_characters="/\\"), min_size=1, max_size=12)
    .filter(lambda name: name not in {*NAME_KEYS, *VECTOR_KEYS, "file", "allow_pickle", "__metadata__"})
    .filter(lambda name: not name.endswith(".npy"))
)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


# Parquet and safetensors have no big-endian numbers.
@pytest.mark.parametrize(
    ("writer", "dtype"),
    [(one, kind) for one in WRITERS for kind in ("<f4", "<f8", ">f8") if kind != ">f8" or one[:3] in ("npz", "pic")],
)
def test_every_format_comes_back(writer: str, dtype: str, tmp_path: Path) -> None:
    ending, write = WRITERS[writer]
    path = tmp_path / f"vectors{ending}"
    write(path, NAMES, VECTORS.astype(dtype))
    found = read_vectors(path)
    assert found.vectors.dtype == np.float32
    assert sorted(found.names) == sorted(NAMES)
    order = [NAMES.index(name) for name in found.names]
    assert found.vectors.tobytes() == VECTORS[order].tobytes()
    assert not found.vectors.flags.writeable
    assert not found.names.flags.writeable


@given(
    st.sampled_from(list(WRITERS)),
    st.lists(gene_names, min_size=1, max_size=6, unique=True),
    st.integers(1, 5).flatmap(lambda d: st.lists(st.lists(finite, min_size=d, max_size=d), min_size=6, max_size=6)),
)
def test_any_names_and_vectors_come_back(
    tmp_path_factory: pytest.TempPathFactory, writer: str, names: list[str], rows: list[list[float]]
) -> None:
    ending, write = WRITERS[writer]
    vectors = np.array(rows[: len(names)], np.float32)
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    write(path, names, vectors)
    found = read_vectors(path)
    assert dict(zip(found.names, found.vectors.tolist(), strict=True)) == dict(
        zip(names, vectors.tolist(), strict=True)
    )


def test_what_other_tools_write(tmp_path: Path) -> None:
    """Half precision, whole numbers, ids for names, bytes for names, a pandas index, an ending in capitals."""
    half = tmp_path / "half.safetensors"
    save_file(
        {"embeddings": VECTORS[:2].astype(np.float16)}, half, metadata={"names": json.dumps(NAMES[:2]), "name": "x"}
    )
    np.testing.assert_array_equal(read_vectors(half).vectors, VECTORS[:2])
    shout = tmp_path / "IDS.PARQUET"
    table(shout, gene_id=[3630, 2641], symbol=["INS", "GCG"], x=[1, 2], y=[3, 4], __index_level_0__=[8, 9])
    found = read_vectors(shout)
    assert list(found.names) == ["3630", "2641"]
    assert found.vectors.tolist() == [[1, 3], [2, 4]]
    old = tmp_path / "old.npz"
    np.savez(old, names=np.array([b"INS", b"GCG"]), vectors=np.eye(2, dtype=int))
    assert list(read_vectors(old).names) == ["INS", "GCG"]
    mixed = tmp_path / "ints.pkl"
    pickled(mixed, ["A", "B"], [[1, 2], [0.5, 3]])
    assert read_vectors(mixed).vectors.tolist() == [[1, 2], [0.5, 3]]


def test_pickles_of_older_numpy_and_python(tmp_path: Path) -> None:
    """Numpy 1 kept the same functions in numpy.core; Python 2 wrote an array's bytes as a str."""
    path = tmp_path / "old.pkl"
    for protocol in PROTOCOLS:
        new = pickle.dumps({"A": VECTORS[0].astype(np.float64), "B": [np.float32(2)] * 4}, protocol)
        if protocol < 4:
            old = new.replace(b"numpy._core.", b"numpy.core.")
        else:  # where lengths are written: of the names of modules, and of the frame
            old = re.sub(rb"(.)numpy\._core", lambda found: bytes([found[1][0] - 1]) + b"numpy.core", new, flags=re.S)
            old = old[:2] + b"\x95" + struct.pack("<Q", len(old) - 11) + old[11:]
        assert b"_core" not in old
        path.write_bytes(old)
        np.testing.assert_array_equal(read_vectors(path).vectors, [VECTORS[0], [2, 2, 2, 2]])
    path.write_bytes(
        b"(dp0\nS'INS'\np1\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
        b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00@'\ntbs."
    )
    assert read_vectors(path).vectors.tolist() == [[1, 2]]


def test_plain_values_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "plain.pkl"
    value = {"a": [1, 2.5, None, True, "x", {"b": [[]]}], 3: {}, "c": np.int16(4)}
    path.write_bytes(pickle.dumps(value))
    assert load_plain(path) == value
    array = np.arange(6.0).reshape(2, 3).T
    path.write_bytes(pickle.dumps([array, [array]]))
    found = load_plain(path)
    assert isinstance(found, list)
    np.testing.assert_array_equal(found[0], array)
    assert found[0] is found[1][0]
    loop: list[object] = []
    loop.append(loop)
    for _ in range(60):  # 2^60 leaves to whoever does not look where he has been
        loop = [loop, loop]
    path.write_bytes(pickle.dumps(loop))
    assert isinstance(load_plain(path), list)


class Touch:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, marker: Path, how: str) -> None:
        self.marker, self.how = marker, how

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        if self.how == "system":
            return os.system, (f"touch '{self.marker}'",)
        if self.how == "eval":
            return eval, (f"open({str(self.marker)!r}, 'w')",)
        return functools.partial, (os.system, f"touch '{self.marker}'")


class Referring(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return "elsewhere" if obj == "me" else None


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("how", "name"), [("system", f"{os.system.__module__}.system"), ("eval", "eval"), ("partial", "functools.partial")]
)
@pytest.mark.parametrize("place", ["alone", "a vector", "deep", "array", "key", "after"])
def test_hostile_pickles_are_refused(tmp_path: Path, protocol: int, how: str, name: str, place: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "hostile.pickle"
    touch = Touch(marker, how)
    value: object = {
        "alone": touch,
        "a vector": {"INS": [1.0], "GCG": touch},
        "deep": {"INS": [1.0], "GCG": {"a": [[{"b": touch}]]}},
        "array": {"INS": np.array([touch], object)},
        "key": {touch: [1.0]},
        "after": [VECTORS, touch],
    }[place]
    content = pickle.dumps(value, protocol)
    path.write_bytes(content)
    with pytest.raises(FileError, match="dtype 'O8'" if place == "array" else re.escape(name)) as caught:
        read_vectors(path)
    assert "none of it was run" in str(caught.value)
    assert not marker.exists()


def test_the_hostile_pickles_would_have_worked(tmp_path: Path) -> None:
    for how in ("system", "eval"):
        marker = tmp_path / how
        result = pickle.loads(pickle.dumps(Touch(marker, how)))
        if isinstance(result, io.TextIOBase):
            result.close()
        assert marker.exists()


def test_extension_codes_are_refused(tmp_path: Path) -> None:
    """Even one that this process has met before, which Python hands out without asking."""
    path, marker = tmp_path / "extension.pkl", tmp_path / "marker"
    module = os.system.__module__
    for code in (0x41, 0x4141, 0x414141):
        copyreg.add_extension(module, "system", code)
        try:
            assert pickle.loads(pickle.dumps(os.system, 2)) is os.system
            content = pickle.dumps({"INS": Touch(marker, "system")}, 2)
            assert b"system" not in content
            path.write_bytes(content)
            with pytest.raises(FileError, match=rf"{module}\.system"):
                load_plain(path)
        finally:
            copyreg.remove_extension(module, "system", code)
        with pytest.raises(FileError, match="unregistered extension"):
            load_plain(path)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 4])
def test_persistent_ids_are_refused(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "persistent.pkl"
    with path.open("wb") as file:
        Referring(file, protocol).dump({"INS": "me"})
    with pytest.raises(FileError, match="a reference to something outside"):
        load_plain(path)


END = b"I00\nVabcdefgh\ntba."
DTYPE = b"cnumpy\ndtype\n(Vf8\ntR"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
TRICKS = {
    "another codec": (b"(lc_codecs\nencode\n(Vabc\nVrot13\ntRa.", "_codecs.encode with the codec 'rot13'"),
    "a codec of bytes": (b"(lc_codecs\nencode\n(c_codecs\nencode\n(Vabc\nVlatin1\ntRVzlib\ntRa.", "the codec 'zlib'"),
    "state for a function": (b"(lc_codecs\nencode\n(N(dV__defaults__\n(I1\ntstba.", "state for a function"),
    "state for a class": (b"(lcnumpy\nndarray\n(dVx\nI1\nsba.", "state for a function"),
    "a call of ndarray": (b"(lcnumpy\nndarray\n((I9\ntVO\ntRa.", "a call of numpy.ndarray"),
    "ndarray by OBJ": (b"(l(cnumpy\nndarray\n(I9\ntVO\noa.", "a call of numpy.ndarray"),
    "ndarray by INST": (b"(l((I9\ntVO\ninumpy\nndarray\na.", "a call of numpy.ndarray"),
    "ndarray by NEWOBJ": (b"(lcnumpy\nndarray\n(I9\nt\x81a.", "cannot be read"),
    "dtype of objects": (b"(lcnumpy\ndtype\n(VO\ntRa.", "dtype 'O'"),
    "dtype of parts": (b"(lcnumpy\ndtype\n(VO,f8\ntRa.", "dtype 'O,f8'"),
    "dtype of a list": (b"(lcnumpy\ndtype\n((l(Va\nVO\ntatRa.", "cannot be read"),
    "dtype of fields": (DTYPE + b"(I3\nV<\nN(Va\nt(dVa\n(" + DTYPE + b"I0\ntsI8\nI8\nI63\ntb.", "more than one part"),
    "dtype of a bad state": (DTYPE + b"(I3\nV<\ntb.", "cannot be read"),
    "dtype of a bad order": (DTYPE + b"(I3\nVO\nNNNI-1\nI-1\nI0\ntb.", "more than one part"),
    "a dtype left over": (b"(l" + DTYPE + b"a.", "a part of an array"),
    "an array without data": (b"(l" + ARRAY + b"a.", "a part of an array"),
    "a bad state": (b"(l" + ARRAY + b"(I1\ntba.", "cannot be read"),
    "no dtype": (b"(l" + ARRAY + b"(I1\n(I1\ntVf8\nI00\nVabcdefgh\ntba.", "without a dtype"),
    "more than its data": (b"(l" + ARRAY + b"(I1\n(I99999999999\nt" + DTYPE + END, "not match its data"),
    "less than nothing": (b"(l" + ARRAY + b"(I1\n(I-1\nI-1\nt" + DTYPE + END, "not match its data"),
    "a dotted name": (b"\x80\x04]\x8c\x05numpy\x8c\x12dtype.newbyteorder\x93a.", "dtype.newbyteorder"),
    "a name of many parts": (b"(lcnumpy.core.multiarray\nos.system\na.", "os.system"),
    "escapes for a terminal": (b"(lc\x1b[2Jevil\nx\na.", r"\x1b[2Jevil.x"),
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_with_what_is_admitted(tmp_path: Path, trick: str) -> None:
    content, message = TRICKS[trick]
    path = tmp_path / "trick.pkl"
    path.write_bytes(content)
    before = np.dtype("f8"), np.dtype("f8").fields, np.dtype("f8").hasobject
    with pytest.raises(FileError, match=re.escape(message)):
        load_plain(path)
    assert (np.dtype("f8"), np.dtype("f8").fields, np.dtype("f8").hasobject) == before


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        (collections.defaultdict(list), "collections.defaultdict"),
        (date(2021, 7, 1), "datetime.date"),
        (Path(), "pathlib"),
        (1j, "complex"),
        ({1}, "type set"),
        ((1, 2), "type tuple"),
        (b"raw", "type bytes"),
        (bytearray(b"raw"), "type bytearray"),
        (np.array(["text"]), "dtype 'U4'"),
        (np.zeros(1, "f8,i4"), "dtype 'V12'"),
        (np.zeros(1, complex), "dtype 'c16'"),
        (np.zeros(1, "M8[s]"), "dtype 'M8'"),
        (np.ma.zeros(1), "numpy.ma"),
        (np.sum, "numpy.sum"),
        ({(1,): 2}, "type tuple"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_not_plain_is_named(tmp_path: Path, value: object, name: str) -> None:
    path = tmp_path / "other.pkl"
    for content in (value, {"INS": [1.0, value]} if not isinstance(value, dict) else [value]):
        path.write_bytes(pickle.dumps(content, 5))
        with pytest.raises(FileError, match=re.escape(name)):
            load_plain(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for ending, write in WRITERS.values():
        if ending in (".txt", ".vec"):  # a text ends anywhere: see below
            continue
        whole, part = tmp_path / f"whole{ending}", tmp_path / f"part{ending}"
        write(whole, NAMES, VECTORS)
        content = whole.read_bytes()
        for length in range(0, len(content), 7):
            part.write_bytes(content[:length])
            with pytest.raises(FileError, match="cannot be read"):
                read_vectors(part)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no vectors"),
        ("INS 1 2\nGCG 3\n", "other than numbers in line 2"),
        ("INS 1 2\n1 3\n", "has the name ''"),
        ("INS 1 2\nGCG 3 4 5 six\n", "other than numbers in line 2"),
        ("INS\n", "other than numbers in line 1"),
        ("<html>\n", "other than numbers in line 1"),
        ("3 2\nINS 1 2\nGCG 3 4\n", "2 of 3 lines"),
        ("2 3\nINS 1 2\nGCG 3 4\n", "other than numbers in line 2"),
        ("INS 1 2\nINS 3 4\n", "'INS' twice"),
        ("INS 1 nan\n", "not finite"),
    ],
)
def test_a_text_that_is_no_table_of_vectors(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "words.txt").write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_vectors(tmp_path / "words.txt")
    assert "\n" not in str(caught.value)


def test_a_name_of_several_words(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("the 1 2\n. . . 3 4\n")
    found = read_vectors(tmp_path / "words.txt")
    assert found.names.tolist() == ["the", ". . ."]
    assert found.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "content", [b"", b"gene\tx\ty\n", b"<html>", b"\x00" * 99, bytes(range(256)), b"Nr\xff\xff\xff\xff."]
)
@pytest.mark.parametrize("ending", [".npz", ".parquet", ".safetensors", ".pickle", ".pkl"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"other{ending}"
    path.write_bytes(content)
    with pytest.raises(FileError, match="cannot be read") as caught:
        read_vectors(path)
    assert "\n" not in str(caught.value)


def test_no_file_and_unknown_endings(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"gone\.npz does not exist"):
        read_vectors(tmp_path / "gone.npz")
    with pytest.raises(FileError, match="does not exist"):
        load_plain(tmp_path)
    with pytest.raises(
        FileError, match=r"ends in '\.csv': expected one of: \.npz, \.parquet, \.safetensors, \.txt, \.vec, "
    ):
        read_vectors(tmp_path / "vectors.csv")


ROWS: dict[str, tuple[list[str], list[Any], str]] = {
    "none": ([], [], "has no vectors"),
    "ragged": (
        ["A", "B", "C"],
        [[1.0, 2.0], [3.0, 4.0], [5.0]],
        "'C' has 1 dimensions, but that of 'A' has 2",
    ),
    "nan": (["A", "B"], [[1.0, 2.0], [3.0, float("nan")]], "vector of 'B' has values that are not finite"),
    "infinite": (["A", "B"], [[float("-inf"), 2.0], [3.0, 4.0]], "vector of 'A' has values that are not finite"),
    "too large": (["A", "B"], [[1.0, 2.0], [3.0, 1e39]], "vector of 'B' has values that are not finite in float32"),
    "words": (["A", "B"], [["one", "two"], ["three", "four"]], "vector of 'A' is not a list of numbers"),
    "truths": (["A"], [[True, False]], "vector of 'A' is not a list of numbers"),
    "empty": (["A"], [[]], r"vector of 'A' (has the shape \(0,\)|is not a list of numbers)"),
    "nested": (["A"], [[[1.0], [2.0]]], "vector of 'A' (has the shape|is not a list of numbers)"),
    "blank name": (["A", " "], [[1.0], [2.0]], r"has the name ' ' \(entry 1\)"),
    "no name": (["A", ""], [[1.0], [2.0]], r"has the name '' \(entry 1\)"),
}


@pytest.mark.parametrize(
    ("ending", "case"),
    [
        (ending, case)
        for ending in (".pickle", ".parquet", ".npz", ".safetensors")
        for case in ROWS
        if (ending, case) != (".safetensors", "words")
    ],
)
def test_bad_rows_are_named(tmp_path: Path, ending: str, case: str) -> None:
    names, rows, message = ROWS[case]
    path = tmp_path / f"bad{ending}"
    if ending == ".pickle":
        pickled(path, names, rows)
    elif ending == ".parquet":
        table(path, gene=pa.array(names, pa.string()), vector=pa.array(rows, None if rows else pa.list_(pa.float32())))
    else:
        arrays: dict[str, Any] = {name: np.array(row) for name, row in zip(names, rows, strict=True)}
        if ending == ".npz":
            np.savez(path, **arrays)
        else:
            save_file(arrays, path)
            message = message.replace("'A' has 2", "'A' has 2|'B' has 2") if case == "ragged" else message
            message = message.replace("entry 1", "entry [01]")
            message = "BOOL" if case == "truths" else message
    with pytest.raises(FileError, match=message):
        read_vectors(path)


def test_bad_values_of_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    cases: list[tuple[object, str]] = [
        ([[1.0]], "holds a list: expected a pickled dict from gene name"),
        ({"A": 1.0}, "vector of 'A' has the shape ()"),
        ({"A": [1.0, None]}, "vector of 'A' is not a list of numbers"),
        ({"A": [1.0, 10**400]}, "vector of 'A' is not a list of numbers"),
        ({"A": [1.0, [2.0]]}, "vector of 'A' is not a list of numbers"),
        ({"A": {"B": 1.0}}, "vector of 'A' is not a list of numbers"),
        ({"A": "text"}, "vector of 'A' is not a list of numbers"),
        ({"A": VECTORS}, "vector of 'A' has the shape (3, 4)"),
        ({None: [1.0]}, "has the name None (entry 0)"),
        ({1.5: [1.0]}, "has the name 1.5 (entry 0)"),
        ({True: [1.0]}, "has the name True (entry 0)"),
    ]
    for value, message in cases:
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(FileError, match=re.escape(message)):
            read_vectors(path)
    path.write_bytes(pickle.dumps({1: [1.0], "1": [2.0]}))
    with pytest.raises(DuplicateNameError, match=re.escape("has '1' twice (entries 0 and 1)")):
        read_vectors(path)


def test_bad_archives(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    cases: list[tuple[dict[str, Any], type[InputError], str]] = [
        ({"names": np.array(NAMES[:2]), "vectors": VECTORS}, FileError, "has 2 names and 3 vectors"),
        ({"names": np.array(NAMES), "vectors": np.float32(1)}, FileError, "has 3 names and 1 vectors"),
        ({"vectors": VECTORS}, FileError, "has an array 'vectors' but none of names"),
        ({"names": np.array(NAMES, object), "vectors": VECTORS}, FileError, "allow_pickle=False"),
        ({"names": np.arange(3.0), "vectors": VECTORS}, FileError, r"has the name 0\.0"),
        (
            {"names": np.array(["A", "B", "A"]), "vectors": VECTORS},
            DuplicateNameError,
            r"'A' twice \(entries 0 and 2\)",
        ),
        ({"names": np.array(NAMES), "vectors": VECTORS[:, :0]}, FileError, r"'INS' has the shape \(0,\)"),
        ({"names": np.array(NAMES), "vectors": VECTORS.astype(complex)}, FileError, "'INS' is not a list of numbers"),
    ]
    for arrays, error, message in cases:
        np.savez(path, **arrays)
        with pytest.raises(error, match=message):
            read_vectors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README", "no array")
    with pytest.raises(FileError, match="'README' is not a list of numbers"):
        read_vectors(path)
    with path.open("wb") as file:
        np.save(file, VECTORS)
    with pytest.raises(FileError, match="is a single array: expected a NumPy archive"):
        read_vectors(path)


def test_bad_tables(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    lists = VECTORS.tolist()
    cases: list[tuple[dict[str, Any], type[InputError], str]] = [
        ({"id": NAMES, "vector": lists}, FileError, "no column of names, only: id, vector"),
        ({"gene": NAMES}, FileError, "has no column of vectors"),
        (
            {"gene": NAMES, "x": [1.0, 2.0, 3.0], "kind": list(string.ascii_letters[:3])},
            FileError,
            "column 'kind' of str",
        ),
        ({"gene": ["A", None, "B"], "vector": lists}, FileError, r"has the name None \(entry 1\)"),
        ({"gene": ["A", "B", "B"], "vector": lists}, DuplicateNameError, r"'B' twice \(entries 1 and 2\)"),
        ({"gene": NAMES, "vector": [lists[0], None, lists[2]]}, FileError, r"'GCG' has the shape \(0,\)"),
        ({"gene": NAMES, "vector": [[1.0], [None], [2.0]]}, FileError, "'GCG' has values that are not finite"),
        ({"gene": NAMES, "x": [1.0, 2.0, None]}, FileError, "'HLA-A' has values that are not finite"),
    ]
    for columns, error, message in cases:
        table(path, **columns)
        with pytest.raises(error, match=message):
            read_vectors(path)


def test_bad_tensors(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    cases: list[tuple[dict[str, str] | None, str]] = [
        (None, "has a tensor 'vectors' but no list of names in its metadata"),
        ({"genes": "INS, GCG"}, "cannot be read"),
        ({"genes": '"INS"'}, "no list of names"),
        ({"genes": '["INS"]'}, "has 1 names and 3 vectors"),
        ({"genes": '["INS", "GCG", null]'}, r"has the name None \(entry 2\)"),
    ]
    for metadata, message in cases:
        save_file({"vectors": VECTORS}, path, metadata=metadata)
        with pytest.raises(FileError, match=message):
            read_vectors(path)
    header = b'{"INS":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(FileError, match="a tensor 'INS' of BF16, which NumPy does not support"):
        read_vectors(path)


def _shared_lists(n: int) -> object:
    found: list[object] = [1.0] * 10
    for _ in range(n):
        found = [found] * 10
    return found


def _in_itself() -> list[object]:
    found: list[object] = []
    found += [found, found]
    return found


def _shared_tuples(n: int) -> bytes:
    """A dict whose key is a tuple that holds another twice, which holds another twice, and so on."""
    pairs = b"".join(b"q%ch%c\x86" % (i, i) for i in range(n))
    return b"\x80\x02})" + pairs + b"K\x01s."


SMALL_BUT_LARGE = {
    "memo": b"\x80\x02}r" + struct.pack("<I", 0x8000000) + b".",
    "memo in text": b"}p99999999999\n.",
    "text longer than the file": b"\x80\x04}\x8d" + struct.pack("<Q", 2**40) + b"a.",
    "bytes longer than the file": b"\x80\x05}\x96" + struct.pack("<Q", 2**40) + b"a.",
    "frame longer than the file": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"}.",
    "number longer than the file": b"\x80\x02}\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01K\x01s.",
    "deep tuples": b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.",
    "shared tuples": _shared_tuples(100),
    "shared lists": pickle.dumps({"A": _shared_lists(8)}, 2),
    "a list in itself": pickle.dumps({"A": _in_itself()}, 2),
    "one list under many names": pickle.dumps(dict.fromkeys(map(str, range(20_000)), [0.5] * 20_000), 2),
    "a number of thousands of digits": pickle.dumps({10**5000: [1.0]}, 2),
}


@pytest.mark.parametrize("how", SMALL_BUT_LARGE)
def test_a_small_pickle_takes_little_memory_and_ends(tmp_path: Path, how: str) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(SMALL_BUT_LARGE[how])
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom scvec.embed.encoders.vector_files import read_vectors\n"
        "from scvec.errors import FileError\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_vectors(Path(sys.argv[1]))\nexcept FileError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=30, check=True
    )
    said, grown = ran.stdout.splitlines()
    assert said.startswith(str(path))
    assert int(grown) < 100_000, "kilobytes"


def test_one_list_may_be_under_some_names(tmp_path: Path) -> None:
    path, row = tmp_path / "m.pkl", [0.5] * 64
    path.write_bytes(pickle.dumps({"A": row, "B": row}))
    assert read_vectors(path).vectors.shape == (2, 64)


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_an_archive_that_unfolds_too_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setenv("SCVEC_MAX_UNFOLDED", "1000000")
    path, names = tmp_path / f"m{ending}", [str(i) for i in range(100_000)]
    if ending == ".npz":
        np.savez_compressed(path, names=np.array(names), vectors=np.zeros((100_000, 8)))
    else:
        pl.DataFrame({"gene": names, **{f"d{i}": np.zeros(100_000) for i in range(8)}}).write_parquet(path)
    with pytest.raises(FileError, match="unfolds to more than 1,000,000 bytes"):
        read_vectors(path)
