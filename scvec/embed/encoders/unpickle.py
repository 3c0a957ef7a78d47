"""Reading pickles of plain data, as which some gene embeddings are published, without running code.

A pickle is a program: its globals are looked up, called and given state. Here it never gets a real global. The few
names with which NumPy's arrays are pickled lead to the stand-ins below, which record their arguments and build the
arrays only once these have been checked; every other name is refused before anything is imported. So NumPy's own
``dtype.__setstate__``, which trusts whatever flags it is given, is out of reach as well.
"""

from __future__ import annotations

import copyreg
import math
from collections.abc import Callable, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from pickle import TUPLE, TUPLE1, TUPLE2, TUPLE3, Unpickler, UnpicklingError, _Unpickler
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from scvec.core.reading import reading
from scvec.embed.encoders.opcodes import count_tuples
from scvec.errors import FileError

EXPECTED = "only dict, list, str, float and numpy arrays of numbers"
PLAIN = frozenset({str, float, int, bool, type(None)})
NUMBERS = frozenset({"b1", "f2", "f4", "f8", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))})
MAX_DEPTH = 3
"""Tuples within each other with which NumPy pickles an array: its state, the shape in it."""

FIRST_BYTES = frozenset(b"\x80(}]c")
"""The first byte of a pickle of protocol 2 or later; or, before that, of a dict, a list or a global."""


class RefusedError(UnpicklingError):
    """A valid pickle with content that is not allowed."""


def load_plain(path: Path) -> object:
    """Load a pickle of plain data.

    Returns
    -------
    object
        Built of dict, list, str, float, int, bool, None and NumPy arrays of numbers; NumPy scalars become Python's own.
        Arrays are copies that own their data.

    Raises
    ------
    FileError
        If the file is missing, truncated or not a pickle, or holds anything else; none of it is run.
    """
    if not path.is_file():
        raise FileError(f"{path} does not exist", "a pickle", "check the path")
    # What another pickle left there would be returned without a call of `find_class`.
    copyreg.clear_extension_cache()
    with reading(str(path), "a pickle", "check the file, or download it again"):
        try:
            with path.open("rb") as handle:
                if not FIRST_BYTES.issuperset(handle.peek(1)[:1]):
                    raise UnpicklingError("it does not begin like one")
                # Mapped: a read of more than there is then takes no memory.
                with mmap(handle.fileno(), 0, access=ACCESS_READ) as content:
                    box = [_loaded(content)]
            _settle(box)
        except RefusedError as error:
            raise FileError(
                f"{path} holds {error}; none of it was run", EXPECTED, "save the vectors as .npz or .parquet"
            ) from error
    return box[0]


def _loaded(content: mmap) -> object:
    kind = _ShallowUnpickler if count_tuples(content) else _PlainUnpickler
    return kind(cast(Any, content), encoding="latin1").load()


class _Global:
    """Stands for a function or class of NumPy: it can be called, but not given state."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *args: object) -> object:
        return self._call(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise RefusedError("state for a function")


class _DType:
    """Stands for a dtype: a code such as ``f4``, then a byte order from its state."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str, *_flags: object) -> None:
        if code not in NUMBERS:
            raise RefusedError(f"an array of dtype {str(code)[:40]!r}")
        self._code, self._order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, subdtype, names, fields, *_sizes = state
        if order not in ("<", ">", "=", "|") or (subdtype, names, fields) != (None, None, None):
            raise RefusedError("a dtype of more than one part")
        self._order = order

    def read(self, data: bytes | bytearray | str, shape: tuple[int, ...], order: str) -> NDArray[Any]:
        """Return the array that `data` holds; a Python 2 file, read as latin1, has it as a str."""
        raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
        dtype = np.dtype(self._order + self._code)
        if not all(type(one) is int and one >= 0 for one in shape) or math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError("an array's shape does not match its data")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C").copy()


class _Array:
    """Stands for an array until the whole pickle is read."""

    __slots__ = ("values",)

    def __init__(self, values: NDArray[Any] | None = None) -> None:
        self.values = values

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, data = state
        self.values = _dtype(dtype).read(data, shape, "F" if is_fortran else "C")


def _dtype(value: object) -> _DType:
    if type(value) is not _DType:
        raise RefusedError("an array without a dtype")
    return value


def _reconstruct(*_of_what: object) -> _Array:
    return _Array()


def _from_buffer(data: bytes, dtype: object, shape: tuple[int, ...], order: str, axes: object = None) -> _Array:
    if axes is not None:
        raise RefusedError("an array of transposed axes")
    return _Array(_dtype(dtype).read(data, shape, order))


def _scalar(dtype: object, data: bytes) -> object:
    return _dtype(dtype).read(data, (), "C").item()


def _encode(text: str, codec: str) -> bytes:
    """Do what ``_codecs.encode`` does in a pickle: protocols 0 to 2 write bytes as latin1 text."""
    if type(text) is not str or codec != "latin1":
        raise RefusedError(f"_codecs.encode with the codec {str(codec)[:40]!r}")
    return text.encode("latin1")


def _no_call(*_args: object) -> NoReturn:
    raise RefusedError("a call of numpy.ndarray")


_ADMITTED: Mapping[tuple[str, str], Callable[..., object]] = MappingProxyType(
    {
        ("numpy", "ndarray"): _no_call,
        ("numpy", "dtype"): _DType,
        ("_codecs", "encode"): _encode,
        **{
            (f"numpy.{core}.{module}", name): call
            for core in ("core", "_core")
            for module, name, call in (
                ("multiarray", "_reconstruct", _reconstruct),
                ("multiarray", "scalar", _scalar),
                ("numeric", "_frombuffer", _from_buffer),
            )
        },
    }
)
"""The stand-in for each global with which NumPy 1 and 2 pickle arrays and scalars."""


class _Plain:
    """What both unpicklers are given instead of globals."""

    def find_class(self, module_name: str, global_name: str, /) -> object:
        call = _ADMITTED.get((module_name, global_name))
        if call is None:
            raise RefusedError(repr(f"{module_name}.{global_name}"[:120]))
        return _Global(call)

    def persistent_load(self, pid: object, /) -> NoReturn:
        del pid
        raise RefusedError("a reference to something outside it")


class _PlainUnpickler(_Plain, Unpickler):
    """CPython's."""


class _ShallowUnpickler(_Plain, _Unpickler):
    """The one in Python, slower, which makes tuples no deeper than those of arrays.

    Tuples are hashed as keys: deep ones overflow the stack, and one that holds another twice, and so on, has no end.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]]


def _shallow(make: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return an instruction that makes a tuple, and refuses one that is too deep."""

    def made(unpickler: Any) -> None:
        make(unpickler)
        level = [unpickler.stack[-1]]
        for _ in range(MAX_DEPTH):
            level = list({id(one): one for held in level for one in held if type(one) is tuple}.values())
        if level:
            raise RefusedError("tuples in tuples")

    return made


_ShallowUnpickler.dispatch = _Unpickler.dispatch | {
    code[0]: _shallow(_Unpickler.dispatch[code[0]]) for code in (TUPLE, TUPLE1, TUPLE2, TUPLE3)
}


def _settle(box: list[object]) -> None:
    """Replace the stand-ins in `box` by their arrays, at any depth; raise `RefusedError` for what is not plain data."""
    todo: list[dict[Any, Any] | list[Any]] = [box]
    seen: set[int] = set()
    while todo:
        holder = todo.pop()
        # A pickle may hold one list many times, or a list inside itself.
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        if isinstance(holder, dict):
            for key in holder:
                _check_plain(key)
        elif PLAIN.issuperset(map(type, holder)):
            continue
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if type(value) is _Array and value.values is not None:
                holder[key] = value.values
            elif type(value) in (dict, list):
                todo.append(value)
            else:
                _check_plain(value)


def _check_plain(value: object) -> None:
    kind = type(value)
    if kind in (_Array, _DType, _Global):
        raise RefusedError("a part of an array")
    if kind not in PLAIN:
        raise RefusedError(f"a value of type {kind.__name__}")
