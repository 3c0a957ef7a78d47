"""The tree of an HDF5 file or a zarr store, of which nothing outside of the file is reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import h5py
import numpy as np

from scvec.errors import FileError, missing

MAX_LINKS, MAX_DEPTH, MAX_NODES = 16, 32, 10_000
"""Bounds on soft links that lead to soft links, and on the depth and the members of one element."""

LARGE_BYTES, MAX_RATIO = 2**30, 200
"""An array that is read whole may be this large, or this many times what it takes in the file."""

FILTERS = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd", 32026: "blosc2", 307: "bzip2"}
"""Names of common filters of HDF5 that are not part of it."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A group. All that readers take from a file, they take from here.

    A file from elsewhere may have members whose data are in other files of this machine: external links, external raw
    storage, virtual datasets. They are refused, as their bytes would end up in the outputs.

    Attributes
    ----------
    group
        The group of HDF5 or zarr.
    where
        The file, for messages.
    """

    group: Any
    where: str

    @property
    def attrs(self) -> Any:
        """The attributes."""
        return self.group.attrs

    def keys(self) -> list[str]:
        """Return the names of the members."""
        return list(self.group)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        if not isinstance(self.group, h5py.Group):
            return name in self.group
        # h5py's own answer would open the file to which an external link leads.
        return self.group.get(name, getlink=True) is not None

    def __getitem__(self, name: str) -> Any:
        """Return a member, a `Tree` or an array; `name` may be a path.

        Raises
        ------
        FileError
            If its data are outside of the file.
        MissingDependencyError
            If it is compressed in a way that a missing package reads.
        KeyError, ValueError
            If there is no such member, or it is neither a group nor an array.
        """
        if not isinstance(self.group, h5py.Group):
            return self._checked(self.group[name])
        return self._checked(_inside(self.group, name, self.where))

    def _checked(self, node: Any) -> Any:
        if isinstance(node, h5py.Dataset):
            _refuse_outside(node, self.where)
            _require_filters(node, self.where)
        elif hasattr(node, "shape"):
            _refuse_pickle(node)
        elif isinstance(node, h5py.Datatype):
            raise ValueError(f"{node.name} is neither a group nor an array")
        return node if hasattr(node, "shape") else Tree(node, self.where)

    def referred(self, array: Any, attribute: str) -> Any:
        """Return the member to which an attribute of `array`, a member of this group, refers: by reference or path."""
        target = array.attrs[attribute]
        if isinstance(target, h5py.Reference):
            name = h5py.h5r.get_name(target, array.id)
            if name is None:
                raise ValueError(f"{attribute} of {array.name} refers to nothing")
            return Tree(self.group.file, self.where)[name.decode()]
        return self[text(target)]


def text(value: Any) -> str:
    """Return an attribute that is text; raise `ValueError` if it is not."""
    value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise ValueError(f"an attribute holds {value!r:.40}, not text")
    return str(value)


def attribute(node: Any, name: str) -> str:
    """Return an attribute that is text; "" where there is none."""
    return text(node.attrs[name]) if name in node.attrs else ""


def _inside(group: Any, path: str, where: str, links: int = 0) -> Any:
    """Return the member at a path, following soft links by hand, as they may lead through external ones."""
    node = group.file if path.startswith("/") else group
    for name in (part for part in path.split("/") if part not in ("", ".")):
        if not isinstance(node, h5py.Group):
            raise KeyError(f"{path} is not in the file")
        link = node.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise _outside(f"{where}: {node.name.rstrip('/')}/{name} is a link to another file, {link.filename}")
        if isinstance(link, h5py.SoftLink):
            if links >= MAX_LINKS:
                raise ValueError(f"{path} is a link in a circle")
            node = _inside(node, link.path, where, links + 1)
        else:
            node = node[name]
    return node


def _outside(seen: str) -> FileError:
    fix = "if you trust the file, read it with anndata.read_h5ad and write it again: that copies the data into it"
    return FileError(seen, "all data inside the file", fix)


def _refuse_outside(array: Any, where: str) -> None:
    if array.is_virtual:
        raise _outside(f"{where}: {array.name} is a virtual dataset, made of other files")
    if array.external:
        raise _outside(f"{where}: the values of {array.name} are in another file, {array.external[0][0]}")


def _require_filters(array: Any, where: str) -> None:
    """Import hdf5plugin if an array needs it; raise `MissingDependencyError` if it is missing or does not do."""
    made = array.id.get_create_plist()
    for code in (made.get_filter(i)[0] for i in range(made.get_nfilters())):
        if h5py.h5z.filter_avail(code):
            continue
        with suppress(ImportError):
            import_module("hdf5plugin")  # which registers its filters
        if not h5py.h5z.filter_avail(code):
            kind = FILTERS.get(code, f"filter {code} of HDF5")
            raise missing("hdf5plugin", "filters", f"{where}: {array.name} is compressed with {kind}; reading it")


def _refuse_pickle(array: Any) -> None:
    """Raise `ValueError` for a codec of zarr that runs what it reads as a program."""
    metadata = array.metadata
    codecs = [getattr(metadata, "compressor", None), *(getattr(metadata, "filters", None) or ())]
    codecs += getattr(metadata, "codecs", ())
    if any("pickle" in str(getattr(one, "codec_id", type(one).__name__)).lower() for one in codecs):
        raise ValueError(f"{array.name} is stored as pickle, which can run programs")


def require_inside(root: Any, where: str) -> None:
    """Raise `FileError` if any data of an HDF5 file are outside of it; called before it is written to.

    Parameters
    ----------
    root
        The open file; a zarr store is checked when it is opened.
    where
        The file, for messages.
    """
    seen, left = set(), [Tree(root, where)] if isinstance(root, h5py.Group) else []
    while left:
        tree = left.pop()
        for key in tree:
            child = tree[key]
            if isinstance(child, Tree) and (address := h5py.h5o.get_info(child.group.id).addr) not in seen:
                seen.add(address)
                left.append(child)


def refuse_bloated(array: Any) -> None:
    """Raise `ValueError` if an array that is to be read whole is declared far larger than what is stored of it."""
    shape = tuple(int(n) for n in array.shape or ())
    declared = int(np.prod(shape, dtype=object)) * max(1, getattr(array.dtype, "itemsize", 16))
    if declared <= LARGE_BYTES:
        return
    stored = array.id.get_storage_size() if isinstance(array, h5py.Dataset) else int(array.nbytes_stored())
    if declared > MAX_RATIO * stored:
        raise ValueError(f"{array.name} is declared as {declared:,} bytes, of which {stored:,} are stored")


def read_elem(element: Any) -> Any:
    """Return an element of an AnnData file as anndata reads it: a `Tree` or an array that was taken from one."""
    from anndata import io

    nodes = [0]

    def check(node: Any, depth: int) -> None:
        nodes[0] += 1
        if depth > MAX_DEPTH or nodes[0] > MAX_NODES:
            raise ValueError(f"{node.name} has more than {MAX_DEPTH} floors or {MAX_NODES:,} members")
        if not isinstance(node, Tree):
            refuse_bloated(node)
            return
        for key in node.keys():  # noqa: SIM118  # a Tree is not a mapping
            check(node[key], depth + 1)

    check(element, 0)
    if not isinstance(element, Tree) and not attribute(element, "encoding-type"):
        # anndata 0.7 and other writers say nothing of plain arrays, of which anndata would warn.
        return (element.asstr() if h5py.check_string_dtype(element.dtype) else element)[()]
    return io.read_elem(element.group if isinstance(element, Tree) else element)
