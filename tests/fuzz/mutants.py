"""Damage to files: to their bytes, to their lines and fields, to the tree of HDF5."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

Rng: TypeAlias = np.random.Generator

TOKENS = (
    *(b"", b"0", b"-1", b"1e400", b"nan", b"9" * 40, b"\x00", b"\xff\xfe", b"\t", b'"', b"\r\n", b"\xef\xbb\xbf"),
    *(b"..", b"{", b"[" * 300, b"\xf0\x9f\xa7\xac", b"\x1b[31m", b"null", b"=1+1", b" ", b"NaN", b"-0", b"1_000"),
    *(b"0x10", b"\xed\xa0\x80"),
)
"""What fields are replaced by: numbers at the ends, bytes that end texts, text that is not UTF-8."""


def damage(path: Path, rng: Rng) -> None:
    """Damage a file, or one of the files in a folder; HDF5 mostly by its tree."""
    file = _one(path, rng)
    if file.suffix in (".h5ad", ".h5", ".h5mu", ".loom") and rng.random() < 0.85:
        _damage_tree(file, rng)
        return
    content = file.read_bytes()
    packed = content.startswith(b"\x1f\x8b") and rng.random() < 0.7
    if packed:
        content = gzip.decompress(content)
    texts = rng.random() < 0.6 and b"\x00" not in content
    for _ in range(int(rng.integers(1, 4))):
        content = (_line if texts else _bytes)(content, rng)
    file.write_bytes(gzip.compress(content, mtime=0) if packed else content)


def _one(path: Path, rng: Rng) -> Path:
    if path.is_file():
        return path
    files = sorted(one for one in path.rglob("*") if one.is_file())
    file = files[int(rng.integers(len(files)))]
    if rng.random() < 0.1:  # a lost file
        file.unlink()
        return _one(path, rng) if len(files) > 1 else path.with_name("nothing")
    return file


def _bytes(content: bytes, rng: Rng) -> bytes:
    if not content:
        return bytes(rng.integers(0, 256, 20, np.uint8))
    at, length = int(rng.integers(len(content))), int(rng.integers(1, 64))
    kind = rng.integers(6)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at + length :]
    if kind == 2:
        return content[:at] + bytes(rng.integers(0, 256, length, np.uint8)) + content[at + length :]
    if kind == 3:
        return content[: at + length] + content[at : at + length] + content[at + length :]
    if kind == 4:
        return content[:at] + bytes(length) + content[at + length :]
    return content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :]


def _line(content: bytes, rng: Rng) -> bytes:
    lines = content.split(b"\n")
    at, other = (int(one) for one in rng.integers(len(lines), size=2))
    kind = rng.integers(7)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[other])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] = lines[at][: int(rng.integers(len(lines[at]) + 1))]
    elif kind == 4:
        lines[at] += lines[other]
    else:
        for mark in (b"\t", b",", b" ", b":", b'"'):
            if mark in lines[at]:
                fields = lines[at].split(mark)
                fields[int(rng.integers(len(fields)))] = TOKENS[int(rng.integers(len(TOKENS)))]
                lines[at] = mark.join(fields)
                break
        else:
            lines[at] = TOKENS[int(rng.integers(len(TOKENS)))]
    return b"\n".join(lines)


def _damage_tree(path: Path, rng: Rng) -> None:
    with h5py.File(path, "r+") as file:
        for _ in range(int(rng.integers(1, 3))):
            nodes = ["/"]
            file.visit(nodes.append)
            name = nodes[int(rng.integers(len(nodes)))]
            DAMAGES[int(rng.integers(len(DAMAGES)))](file, name, rng)


def _lose(file: Any, name: str, rng: Rng) -> None:
    if name != "/":
        del file[name]


def _lose_attribute(file: Any, name: str, rng: Rng) -> None:
    attributes = list(file[name].attrs)
    if attributes:
        del file[name].attrs[attributes[int(rng.integers(len(attributes)))]]


def _change_attribute(file: Any, name: str, rng: Rng) -> None:
    attributes = [*file[name].attrs, "encoding-type", "_index", "shape", "categories"]
    texts = (
        "",
        "nothing",
        "csr_matrix",
        "csc_matrix",
        "array",
        "categorical",
        "string-array",
        "dataframe",
        "0.0.0",
        "X",
    )
    arrays = (np.array([1, 2]), np.array([-1, 10**15]), np.array([b"a", b"b"]))
    values: list[Any] = [3, np.float64("nan"), np.bytes_(b"\xff"), h5py.Empty("f"), file.ref, *texts, *arrays]
    key = attributes[int(rng.integers(len(attributes)))]
    file[name].attrs[key] = values[int(rng.integers(len(values)))]


def _change_values(file: Any, name: str, rng: Rng) -> None:
    node = file[name]
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "iufS" or not node.shape:
        return
    values = node[:]
    if not values.size:
        return
    extremes = [0, 1, -1, 2**31, -(2**31), 2**62, values.size, 0.5] + [np.nan, np.inf, 3e38] * (node.dtype.kind == "f")
    at = tuple(int(rng.integers(n)) for n in values.shape)
    if node.dtype.kind == "S":
        values[at] = b"\xff\xfe"
    else:
        with np.errstate(all="ignore"):
            values[at] = np.array(extremes[int(rng.integers(len(extremes)))]).astype(node.dtype)
    _put(file, name, values)


def _change_type(file: Any, name: str, rng: Rng) -> None:
    node = file[name]
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "iufb":
        return
    kinds = ["i1", "u8", "f2", "f8", "c8", "bool", "S3", "i8"]
    with np.errstate(all="ignore"):
        _put(file, name, node[()].astype(kinds[int(rng.integers(len(kinds)))]))


def _change_shape(file: Any, name: str, rng: Rng) -> None:
    node = file[name]
    if not isinstance(node, h5py.Dataset) or not node.shape:
        return
    values = node[:]
    kind = rng.integers(6)
    changed = [
        values[:-1],
        values[:0],
        np.concatenate([values, values[-1:]]),
        values[None],
        values.ravel()[:1].squeeze(),
        values[::-1],
    ]
    _put(file, name, changed[int(kind)])


def _change_kind(file: Any, name: str, rng: Rng) -> None:
    """Put something else in a node's place."""
    if name == "/":
        return
    attributes = dict(file[name].attrs)
    del file[name]
    kind = rng.integers(6)
    if kind == 0:
        file.create_group(name)
    elif kind == 1:
        file[name] = 3
    elif kind == 2:
        file[name] = np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])
    elif kind == 3:
        file[name] = h5py.SoftLink(f"/{name}")
    elif kind == 4:
        file[name] = h5py.ExternalLink("other.h5", "/X")
        return
    else:
        file[name] = np.array([b"a", b"b"])
    if kind in (0, 1, 2, 5):
        for key, value in attributes.items():
            file[name].attrs[key] = value


def _swap(file: Any, name: str, rng: Rng) -> None:
    nodes: list[str] = []
    file.visit(nodes.append)
    other = nodes[int(rng.integers(len(nodes)))]
    if name != "/" and not other.startswith(name) and not name.startswith(other):
        file.move(name, "held")
        file.move(other, name)
        file.move("held", other)


def _put(file: Any, name: str, values: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = values
    for key, value in attributes.items():
        file[name].attrs[key] = value


DAMAGES: tuple[Callable[[Any, str, Rng], None], ...] = (
    *(_lose, _lose_attribute, _change_attribute, _change_attribute, _change_values, _change_values),
    *(_change_type, _change_shape, _change_kind, _swap),
)
