"""Going over a pickle's instructions before it is loaded: none may ask for more than the file itself has.

CPython's unpickler makes its memo as long as the greatest index that it is asked for, and believes the length that is
said of a text. Both are found here without loading anything.
"""

from __future__ import annotations

import pickletools
import re
from mmap import mmap
from typing import Final

_KINDS = {one.code.encode("latin1"): one for one in pickletools.opcodes}
_STOP, _PUT, _LONG_PUT = b".", b"p", b"r"
_COUNTED: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
"""Bytes of the length before an argument, and whether it has a sign."""


def _size(code: bytes) -> int:
    argument = _KINDS[code].arg
    return 0 if argument is None else argument.n


def _fixed() -> re.Pattern[bytes]:
    """Return what matches any run of instructions whose length is fixed, so that only the others are looked at here."""
    by_size: dict[int, list[bytes]] = {}
    for code in _KINDS:
        if _size(code) >= 0 and code not in (_STOP, _LONG_PUT, b"t", b"\x85", b"\x86", b"\x87", b"\x95"):
            by_size.setdefault(_size(code), []).append(code)
    runs = (b"[" + b"".join(map(re.escape, codes)) + b"]" + b".{%d}" % size for size, codes in sorted(by_size.items()))
    return re.compile(b"(?:" + b"|".join(runs) + b")++", re.DOTALL)


_RUN = _fixed()
_TWO_LINES = (b"c", b"i")


def count_tuples(content: bytes | mmap) -> int:
    """Go over the instructions of a pickle, and return how many tuples it makes.

    Raises
    ------
    ValueError
        If it is not a pickle, ends early, or has an instruction with more data, or a greater index of the memo, than
        there are bytes.
    """
    with memoryview(content) as view:
        return _count(view)


def _count(view: memoryview) -> int:
    at, tuples, n = 0, 0, len(view)
    while at < n:
        run = _RUN.match(view, at)
        if run is not None:
            at = run.end()
        code = bytes(view[at : at + 1])
        if code == _STOP:
            return tuples
        if code not in _KINDS:
            break
        at += 1
        tuples += code in (b"t", b"\x85", b"\x86", b"\x87")
        if code == _LONG_PUT:
            _check_index(int.from_bytes(view[at : at + 4], "little"), n)
        elif code == b"\x95" and int.from_bytes(view[at : at + 8], "little") > n - at:
            break
        at = _after(view, at, code, n)
    raise ValueError("it ends early, or is not a pickle")


def _after(view: memoryview, at: int, code: bytes, n: int) -> int:
    """Return where the argument of an instruction ends."""
    size = _size(code)
    if size >= 0:
        return at + size
    if size in _COUNTED:
        width, signed = _COUNTED[size]
        length = int.from_bytes(view[at : at + width], "little", signed=signed)
        if not 0 <= length <= n - at - width:
            raise ValueError("it has an argument that is longer than the file")
        return at + width + length
    for _ in range(2 if code in _TWO_LINES else 1):
        line = _LINE.match(view, at)
        if line is None:
            raise ValueError("it ends in the middle of a line")
        if code == _PUT:
            _check_index(int(line[1]) if line[1].isdigit() and len(line[1]) < 19 else n + 1, n)
        at = line.end()
    return at


_LINE = re.compile(rb"([^\n]*)\n")


def _check_index(index: int, n: int) -> None:
    if index > n:
        raise ValueError(f"it asks for a memo of {index:,} entries, but has {n:,} bytes")
