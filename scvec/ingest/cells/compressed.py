"""Files that are gzipped, as their first bytes say, whatever their names."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from scvec.core.limits import GZIP, limit_of, too_large
from scvec.ingest.cells.locations import Place, reading

BLOCK_BYTES = 2**22


@contextmanager
def opened(file: Place) -> Iterator[IO[bytes]]:
    """Yield the bytes of a file, decompressed if they are gzip's."""
    with file.open("rb") as stream:
        buffered: Any = stream  # a BufferedReader, of a path and of a URI
        if buffered.peek(2)[:2] != GZIP:
            yield stream
            return
        with gzip.open(stream, "rb") as plain:
            yield plain  # type: ignore[misc]  # GzipFile reads as IO[bytes] does


def unpacked(file: Place, stack: ExitStack) -> Path:
    """Return a temporary file with the decompressed bytes of a file, for random access; `stack` removes it.

    Raises
    ------
    FileError
        If it is broken, or unfolds to more than the limit of `scvec.core.limits`.
    DiskFullError
        If there is no room for it.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scvec-")))
    target, most = folder / "unpacked", limit_of("array")
    with reading(str(file)), opened(file) as stream, target.open("wb") as out:
        while block := stream.read(BLOCK_BYTES):
            if out.tell() + len(block) > most:
                raise too_large(str(file), "array")
            out.write(block)
    return target
