"""Vectors of genes, or of words, from a file: NumPy, Parquet, safetensors, text, or a pickle such as GenePT's."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open

from scvec.core.limits import bounded_json, bounded_lines, check_parquet, check_size
from scvec.core.reading import reading
from scvec.core.types import Floats, Strings, freeze
from scvec.embed.encoders.unpickle import load_plain
from scvec.errors import DuplicateNameError, FileError

NAME_KEYS = ("gene", "gene_id", "symbol", "name", "names", "genes")
VECTOR_KEYS = ("vector", "vectors", "embedding", "embeddings")
"""Accepted names of the array or column with gene names, and with vectors; the first that exists is used."""

TENSOR_KINDS = frozenset({"F16", "F32", "F64", *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64))})
"""The safetensors dtypes that NumPy supports: not bfloat16 and the 8-bit floats."""

NUMBERS = frozenset({float, int, bool})
"""Types of the numbers in a list."""

Raw: TypeAlias = tuple[Sequence[object], Sequence[object] | NDArray[Any]]
"""Names and as many vectors, both unchecked."""


@dataclass(frozen=True, slots=True)
class NamedVectors:
    """Named vectors, as in a file.

    Attributes
    ----------
    names
        (n,) unique, non-empty names, in the order of the file.
    vectors
        (n, d) finite values.
    """

    names: Strings
    vectors: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", freeze(self.names))
        object.__setattr__(self, "vectors", freeze(self.vectors))


@dataclass(frozen=True, slots=True)
class _Format:
    read: Callable[[Path], Raw]
    layout: str


def read_vectors(path: Path) -> NamedVectors:
    """Read named vectors; the format is chosen by the file's ending.

    ``.npz``
        Arrays ``names`` and ``vectors``, or one 1-D array per gene under its name.
    ``.parquet``
        A column of names, with one column of lists, or with one column of numbers per dimension.
    ``.safetensors``
        A 2-D tensor ``vectors`` with the names as a JSON list under ``genes`` in the metadata, or one 1-D tensor per
        gene under its name. Not bfloat16, which NumPy does not support.
    ``.txt``, ``.vec``
        A line for each name: the name, then its numbers, separated by spaces or tabs, as GloVe, fastText and word2vec
        write them. A first line of two numbers, as the latter two write, is how many lines and numbers follow.
    ``.pickle``, ``.pkl``
        A dict from name to a list of floats or a 1-D array, like GenePT's; see `load_plain` for what is refused.

    Numbers of any type become float32; integer names become strings.

    Raises
    ------
    FileError
        If the file is missing, truncated or not in its format, or has no vectors, vectors of different dimensions, or
        values that are not finite in float32.
    DuplicateNameError
        If a name occurs twice.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise FileError(f"{path} ends in {path.suffix!r}", f"one of: {', '.join(FORMATS)}", "convert the file")
    if not path.is_file():
        raise FileError(f"{path} does not exist", "a file of gene vectors", "check the path")
    with reading(str(path), form.layout, "check the file, or download it again"):
        try:
            names, rows = form.read(path)
        except _LayoutError as error:
            raise FileError(f"{path} {error}", form.layout, "convert the file") from error
    if len(names) != len(rows):
        raise FileError(f"{path} has {len(names)} names and {len(rows)} vectors", "one name per vector")
    if not names:
        raise FileError(f"{path} has no vectors", form.layout, "check that it is the right file")
    texts = _checked_names(path, names)
    return NamedVectors(np.array(texts, object), _checked_vectors(path, texts, rows))


class _LayoutError(Exception):
    """A valid file with another layout; the message completes "the file ..."."""


def _first(wanted: Iterable[str], there: Iterable[str]) -> str | None:
    found = set(there)
    return next((key for key in wanted if key in found), None)


def _read_npz(path: Path) -> Raw:
    with path.open("rb") as handle:
        if handle.read(6) == np.lib.format.MAGIC_PREFIX:
            raise _LayoutError("is a single array")
        # For any other bytes, NumPy would report a pickle, and suggest how to load it regardless.
        if not zipfile.is_zipfile(handle):
            raise ValueError("not an archive of arrays")
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive:
            check_size(sum(one.file_size for one in archive.infolist()), str(path), "array")
        handle.seek(0)
        arrays = np.load(handle, allow_pickle=False)
        vectors, names = _first(VECTOR_KEYS, arrays.files), _first(NAME_KEYS, arrays.files)
        if vectors is None:
            return arrays.files, [arrays[name] for name in arrays.files]
        if names is None:
            raise _LayoutError(f"has an array {vectors!r} but none of names")
        found = arrays[names]
        # Older versions of NumPy, and h5py, write names as fixed-width bytes.
        found = found.astype(str) if found.dtype.kind == "S" else found
        return found.ravel().tolist(), np.atleast_1d(arrays[vectors])


def _read_parquet(path: Path) -> Raw:
    with pq.ParquetFile(path) as file:
        check_parquet(file, str(path))
        table = file.read()
    names = _first(NAME_KEYS, table.column_names)
    if names is None:
        raise _LayoutError(f"has no column of names, only: {', '.join(table.column_names[:10]) or 'none at all'}")
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    lists = [one.name for one in table.schema if any(check(one.type) for check in is_list)]
    vectors = _first(VECTOR_KEYS, lists)
    if vectors is not None:
        lengths = pc.list_value_length(table[vectors]).fill_null(0).to_numpy()
        values = pc.list_flatten(table[vectors]).to_numpy()
        return table[names].to_pylist(), np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []
    # An index that pandas wrote is not a dimension.
    others = [one for one in table.column_names if one not in NAME_KEYS and not one.startswith("__index_level_")]
    for one in others:
        if not (pa.types.is_integer(table[one].type) or pa.types.is_floating(table[one].type)):
            raise _LayoutError(f"has a column {one!r} of {table[one].type} instead of numbers")
    if not others:
        raise _LayoutError("has no column of vectors")
    return table[names].to_pylist(), np.column_stack([table[one].to_numpy() for one in others])


def _read_safetensors(path: Path) -> Raw:
    with safe_open(path, framework="numpy") as file:
        tensors = list(file.keys())
        for key in tensors:
            kind = file.get_slice(key).get_dtype()
            if kind not in TENSOR_KINDS:
                raise _LayoutError(f"has a tensor {key!r} of {kind}, which NumPy does not support")
        vectors, metadata = _first(VECTOR_KEYS, tensors), file.metadata() or {}
        if vectors is None:
            return tensors, [file.get_tensor(key) for key in tensors]
        key = _first(("genes", "names"), metadata)
        names = bounded_json(metadata[key]) if key else None
        if not isinstance(names, list):
            raise _LayoutError(f"has a tensor {vectors!r} but no list of names in its metadata")
        return names, np.atleast_1d(file.get_tensor(vectors))


def _read_text(path: Path) -> Raw:
    names, rows, n, width = [], [], None, None
    with path.open("rb") as handle:
        for number, line in enumerate(bounded_lines(handle, str(path), "array"), 1):
            fields = line.decode().split()
            if number == 1 and len(fields) == 2 and all(map(str.isdigit, fields)):
                n, width = map(int, fields)
            elif fields:
                width = len(fields) - 1 if width is None else width
                names.append(" ".join(fields[:-width]))  # some hold spaces: ". . ." is one of GloVe's largest file
                rows.append(_numbers(fields[-width:], number))
    if n not in (None, len(names)):
        raise ValueError(f"{len(names)} of {n} lines")
    return names, rows


def _numbers(fields: list[str], number: int) -> NDArray[np.float64]:
    try:
        return np.array(fields, np.float64)
    except ValueError:
        raise _LayoutError(f"has other than numbers in line {number}") from None


def _read_pickle(path: Path) -> Raw:
    content = load_plain(path)
    if not isinstance(content, dict):
        raise _LayoutError(f"holds a {type(content).__name__}")
    rows = list(content.values())
    # One list under many names is written once: the vectors may be larger than the file, but not by far.
    n_values = len(rows) * len(rows[0]) if rows and isinstance(rows[0], list | np.ndarray) else 0
    if n_values * 4 > MAX_RATIO * path.stat().st_size + 2**20:
        raise _LayoutError(f"has {path.stat().st_size:,} bytes for {n_values:,} numbers")
    return list(content), rows


MAX_RATIO = 8
"""Bytes of vectors in memory for each byte of a pickle; 8-bit integers take 4."""

_TEXT = _Format(_read_text, "a line for each name: the name and its numbers, separated by spaces")
_PICKLE = _Format(_read_pickle, "a pickled dict from gene name to a list of numbers")

FORMATS: Mapping[str, _Format] = MappingProxyType(
    {
        ".npz": _Format(_read_npz, "a NumPy archive with arrays names and vectors, or with one 1-D array per gene"),
        ".parquet": _Format(
            _read_parquet, "a Parquet table with a column gene and a column vector of lists of numbers"
        ),
        ".safetensors": _Format(
            _read_safetensors,
            "safetensors with a 2-D vectors and a JSON list of genes in the metadata, or one 1-D tensor per gene",
        ),
        ".txt": _TEXT,
        ".vec": _TEXT,
        ".pickle": _PICKLE,
        ".pkl": _PICKLE,
    }
)


def _checked_names(path: Path, names: Sequence[object]) -> list[str]:
    texts: dict[str, int] = {}
    for place, name in enumerate(names):
        if not _is_name(name):
            raise FileError(
                f"{path} has the name {_shown(name)} (entry {place})", "a gene's name", "correct or remove it"
            )
        first = texts.setdefault(str(name), place)
        if first != place:
            raise DuplicateNameError(f"{path} has {str(name)!r} twice (entries {first} and {place})", fix="remove one")
    return list(texts)


def _is_name(name: object) -> bool:
    """Whether it is text, or a number of a usual size, as that of an Entrez id."""
    return bool(name.strip()) if isinstance(name, str) else type(name) is int and abs(name) < 2**63


def _shown(name: object) -> str:
    try:
        return f"{name!r:.80}"
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "of thousands of digits"


def _checked_vectors(path: Path, names: Sequence[str], rows: Sequence[object] | NDArray[Any]) -> Floats:
    """Return the rows as one (n, d) array; raise a `FileError` that names the first gene with an invalid row."""
    vectors = np.empty((0, 0), np.float32)
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        values, fault = _as_numbers(row)
        if place == 0:
            vectors = np.empty((len(names), len(values)), np.float32)
        if not fault and len(values) != vectors.shape[1]:
            fault = f"has {len(values)} dimensions, but that of {names[0]!r} has {vectors.shape[1]}"
        if not fault:
            with np.errstate(over="ignore", invalid="ignore"):
                vectors[place] = values
            if not np.isfinite(vectors[place]).all():
                fault = "has values that are not finite in float32"
        if fault:
            raise FileError(
                f"{path}: the vector of {name!r} {fault}",
                "finite numbers, the same number for every gene",
                "correct or remove it",
            )
    return vectors


def _as_numbers(row: object) -> tuple[NDArray[Any], str]:
    """Return a row as a 1-D array of numbers and "", or an empty array and what is wrong with the row."""
    # Of a list of lists, NumPy would follow every path through it, of which a small file can have any number.
    if isinstance(row, list) and not NUMBERS.issuperset(map(type, row)):
        return np.empty(0), "is not a list of numbers"
    try:
        values = np.asarray(row)
    except (ValueError, OverflowError):
        return np.empty(0), "is not a list of numbers"
    if values.dtype.kind not in "fiu":
        return np.empty(0), "is not a list of numbers"
    if values.ndim != 1 or not len(values):
        return np.empty(0), f"has the shape {values.shape}"
    return values, ""
