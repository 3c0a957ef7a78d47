"""What a file is, by its first bytes: a format of cells, or something else that people have in place of one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Literal, TypeAlias

from scvec.ingest.cells.locations import Place, reading

Content: TypeAlias = Literal[
    "hdf5", "market", "zip", "gzip", "bzip2", "xz", "zstd", "7z", "rar", "tar", "empty", "html", "xml", "json",
    "lfs", "annex", "rds", "rdata", "parquet", "arrow", "pickle", "npy", "bam", "cram", "fastq", "fasta", "xls",
    "sqlite", "pdf", "table", "text", "unknown",
]  # fmt: skip
"""Kinds of files. Those after ``"zip"`` are not read."""

PEEKED = 2**14
"""Bytes of a file, and of what it unfolds to, that are looked at."""

MAGIC: tuple[tuple[bytes, Content], ...] = (
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"FEA1", "arrow"),
    (b"\x93NUMPY", "npy"),
    (b"BAM\x01", "bam"),
    (b"CRAM", "cram"),
    (b"\xd0\xcf\x11\xe0", "xls"),
    (b"SQLite format 3", "sqlite"),
    (b"%PDF", "pdf"),
    (b"version https://git-lfs", "lfs"),
    (b"/annex/objects/", "annex"),
    (b"RDX2\n", "rdata"),
    (b"RDX3\n", "rdata"),
    (b"RDA2\n", "rdata"),
    (b"RDA3\n", "rdata"),
    (b"X\n\x00\x00\x00", "rds"),
    (b"A\n2\n", "rds"),
    (b"A\n3\n", "rds"),
)

USER_BLOCKS = (512, 1024, 2048, 4096, 8192)
"""Where HDF5 may begin, after a block of the user's."""

COMPRESSED: dict[Content, Callable[[IO[bytes]], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}


def content_of(where: Place) -> tuple[Content, Content | None]:
    """Return what a file is and, if it is compressed, what is inside.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    with reading(str(where)), where.open("rb") as stream:
        head = stream.read(PEEKED)
    found = kind_of(head)
    if found not in COMPRESSED:
        return found, None
    inner = _unfolded(head, found)
    # A block of bzip2 is longer than the head, which then says nothing.
    return found, kind_of(inner) if inner or found == "gzip" else None


def kind_of(head: bytes) -> Content:
    """Return what the first bytes of a file say."""
    if not head:
        return "empty"
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    if any(head[start:].startswith(MAGIC[0][0]) for start in USER_BLOCKS):
        return "hdf5"
    if head[257:262] == b"ustar":
        return "tar"
    if re.match(rb"\x80[\x02-\x05]", head):
        return "pickle"
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> Content:
    # The last character may be cut in two.
    if b"\x00" in head:
        return "unknown"
    text = head.decode("utf-8-sig", "replace").lstrip()
    lower = text[:200].lower()
    if lower.startswith("%%matrixmarket") or re.match(r"%[^\n]*\n(%[^\n]*\n)*\d+[ \t]+\d+[ \t]+\d+\s", text):
        return "market"
    if lower.startswith("<"):
        return "html" if "<html" in lower or "<!doctype html" in lower else "xml"
    if text.startswith(("{", "[")):
        return "json"
    lines = [line for line in text.splitlines() if line][:20]
    if len(lines) >= 3 and lines[0].startswith("@") and lines[2].startswith("+"):
        return "fastq"
    if len(lines) >= 2 and lines[0].startswith(">") and re.fullmatch(r"[A-Za-z*-]+", lines[1]):
        return "fasta"
    if lines and re.fullmatch(r"\s*\d+[ \t]+\d+[ \t]+\d+\s*", lines[0]):
        return "market"  # without its banner
    return "table" if separator(head) else "text" if text.isprintable() or "\n" in text else "unknown"


def separator(head: bytes) -> str:
    """Return what separates the columns of a table, whose first lines these are; "" if they are none."""
    lines = [line for line in head.decode("utf-8-sig", "replace").splitlines()[:-1] if line][:20]
    for mark in ("\t", ",", ";", " "):
        counts = [line.count(mark) for line in lines]
        # The head of R's tables is one column short.
        if len(counts) >= 2 and counts[1] >= 1 and counts[0] >= counts[1] - 1 and len({*counts[1:]}) == 1:
            return mark
    return ""


def head_of(where: Place) -> bytes:
    """Return the first bytes of a file, decompressed if they are of gzip, bzip2 or xz."""
    with reading(str(where)), where.open("rb") as stream:
        head = stream.read(PEEKED)
    kind = kind_of(head)
    return _unfolded(head, kind) if kind in COMPRESSED else head


def members_of(where: Place) -> list[str]:
    """Return the names in a zip archive."""
    with reading(str(where)), where.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        return archive.namelist()


def _unfolded(head: bytes, kind: Content) -> bytes:
    """Return the first bytes of what a compressed file holds; as many as there are, if it is broken."""
    found = b""
    with suppress(Exception), COMPRESSED[kind](io.BytesIO(head)) as stream:  # the head ends in the middle of a block
        while len(found) < PEEKED and (block := stream.read(256)):
            found += block
    return found
