"""Bounds on what an input may unfold to, so that a small file cannot take all memory or never end.

Each kind of input has a limit far above what is published, and one environment variable raises or lowers them all.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, cast

from scvec.errors import FileError, InputError

VARIABLE = "SCVEC_MAX_UNFOLDED"
"""The environment variable with a limit in bytes that holds in place of those of all kinds."""

Kind: TypeAlias = Literal["manifest", "settings", "answer", "text", "table", "line", "array"]

LIMITS: dict[Kind, int] = {
    "manifest": 256 * 2**20,  # JSON in a store: labels and sources of one atlas
    "settings": 16 * 2**20,  # TOML that people write
    "answer": 256 * 2**20,  # the body of one answer of a server
    "text": 1 * 2**30,  # an ontology, gene sets, names of cells and genes
    "table": 16 * 2**30,  # a table of cells or genes, some 100 bytes a row
    "line": 16 * 2**20,  # one line of a text
    "array": 16 * 2**30,  # the arrays of a file of vectors
}
"""Bytes that an input of each kind may hold once it is unfolded."""

MAX_DEPTH = 200
"""Levels to which JSON and TOML may be nested; readers of values recurse, and Python's stack ends near 1,000."""

BLOCK_BYTES = 2**20

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""The first bytes of what gzip and zstd compressed."""


def limit_of(kind: Kind) -> int:
    """Return the bytes that an input of a kind may unfold to.

    Raises
    ------
    InputError
        If the environment variable is set, but is not a positive number of bytes.
    """
    said = os.environ.get(VARIABLE, "").strip().replace("_", "")
    if not said:
        return LIMITS[kind]
    if not re.fullmatch(r"[0-9]{1,18}", said) or int(said) == 0:
        raise InputError(
            f"{VARIABLE} is {said[:40]!r}", "a number of bytes", f"export {VARIABLE}=4000000000, or unset it"
        )
    return int(said)


def too_large(what: str, kind: Kind) -> FileError:
    """Return the error for an input that unfolds to more than its kind may; `what` names it."""
    return FileError(
        f"{what} unfolds to more than {limit_of(kind):,} bytes",
        "an input of a usual size",
        f"check where it is from; if it is right, export {VARIABLE}=BYTES with a larger number",
    )


def check_size(n_bytes: int, what: str, kind: Kind) -> None:
    """Raise `FileError` if an input declares more bytes than its kind may have, before memory is taken."""
    if n_bytes > limit_of(kind):
        raise too_large(what, kind)


def check_parquet(file: Any, what: str) -> None:
    """Raise `FileError` if a `pyarrow.parquet.ParquetFile` declares more than a table may have.

    Runs of equal values take next to no bytes in it, so that its numbers of rows and columns count as well.
    """
    about = file.metadata
    groups = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    check_size(max(groups, 8 * about.num_rows * about.num_columns), what, "table")


def read_bounded(stream: IO[bytes], what: str, kind: Kind = "text") -> bytes:
    """Return all bytes of a stream, which may be that of a decompressor.

    Raises
    ------
    FileError
        If there are more than the kind may have; no more than that is read.
    """
    most, blocks, held = limit_of(kind), [], 0
    while block := stream.read(min(BLOCK_BYTES, most + 1 - held)):
        blocks.append(block)
        held += len(block)
        if held > most:
            raise too_large(what, kind)
    return b"".join(blocks)


def bounded_lines(stream: IO[bytes], what: str, kind: Kind = "text") -> Iterator[bytes]:
    """Yield the lines of a stream, with their ends; raise `FileError` if all of them, or one, are too long."""
    most, longest, held = limit_of(kind), min(limit_of("line"), limit_of(kind)), 0
    while line := stream.readline(longest + 1):
        held += len(line)
        if len(line) > longest:
            raise too_large(f"a line of {what}", "line")
        if held > most:
            raise too_large(what, kind)
        yield line


@contextmanager
def unfolded(path: Path) -> Iterator[IO[bytes]]:
    """Open a local file for reading in sequence, decompressed if its first bytes are those of gzip or zstd.

    What is read is not bounded here: use `read_bounded` or `bounded_lines`.
    """
    with path.open("rb") as raw:
        start = raw.peek(4)[:4]
        if start.startswith(GZIP):
            import gzip

            with gzip.GzipFile(fileobj=raw) as plain:
                yield cast(IO[bytes], plain)
        elif start == ZSTD:
            import pyarrow as pa

            with pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd") as plain:
                yield io.BufferedReader(plain)
        else:
            yield raw


def read_file(path: Path, kind: Kind = "text") -> bytes:
    """Return the bytes of a local file, decompressed if it is gzip or zstd; bounded as by `read_bounded`."""
    with unfolded(path) as stream:
        return read_bounded(stream, str(path), kind)


def bounded_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        If it is not JSON, is nested deeper than `MAX_DEPTH`, has half a surrogate pair, which no file takes, or has a
        number of thousands of digits.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep") from None
    return _checked(value)


def bounded_toml(text: str) -> dict[str, Any]:
    """Return the values of a TOML text; raise `ValueError` for what is not TOML or nested deeper than `MAX_DEPTH`."""
    import tomllib

    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep") from None
    return cast(dict[str, Any], _checked(values))


def _checked(value: Any) -> Any:
    """Return a value of JSON types; raise `ValueError` for depth and for text that cannot be encoded."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        below: list[Any] = []
        for one in level:
            if type(one) is dict:
                below += one
                below += one.values()
            elif type(one) is list:
                below += one
            elif type(one) is str and not one.isascii():
                one.encode()  # UnicodeEncodeError, a ValueError
        level = below
    return value
