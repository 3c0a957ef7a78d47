"""A partial download: the bytes received, and a note of the file that they belong to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scvec.core.files import placing
from scvec.core.limits import bounded_json

if TYPE_CHECKING:
    from requests import Response


@dataclass(frozen=True, slots=True)
class Answer:
    """The headers of an answer: the byte where its body starts (-1: not usable), and the state of the file."""

    start: int
    total: int | None
    etag: str | None
    last_modified: str | None

    @classmethod
    def of(cls, response: Response) -> Answer:
        """Read the headers of an answer with status 200, 206 or 416."""
        headers, start, total = response.headers, -1, None
        if response.status_code == 200:
            length = headers.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() else None
        elif found := re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", "")):
            start, total = int(found[1]), int(found[2])
        return cls(start, total, headers.get("ETag"), headers.get("Last-Modified"))


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes received for `target`, with a note beside them of the state of the file that they come from."""

    url: str
    target: Path

    @property
    def path(self) -> Path:
        """The file of the bytes."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def size(self) -> int:
        """The number of bytes received."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def wish(self) -> dict[str, str]:
        """Return the headers that request the rest; none without bytes, or without a note of the file's state."""
        note = read_note(self.path)
        etag, modified = note.get("etag"), note.get("last_modified")
        validator = etag if etag and not etag.startswith("W/") else modified
        if not (validator and self.size and note.get("url") == self.url):
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": validator}

    def takes(self, answer: Answer) -> bool:
        """Prepare for an answer's body; return False if it neither starts anew nor continues the bytes here."""
        state = {"url": self.url, "etag": answer.etag, "last_modified": answer.last_modified}
        if answer.start == 0:
            # Emptied before the note is written: after a kill in between, the note cannot describe other bytes.
            self.path.write_bytes(b"")
            write_note(self.path, state)
            return True
        # Some servers ignore If-Range and send the rest of another state of the file. A 206 may omit headers.
        note = read_note(self.path)
        return answer.start == self.size and all(state[key] in (None, note.get(key)) for key in state)

    def remove(self) -> None:
        """Remove the bytes and the note."""
        self.path.unlink(missing_ok=True)
        _beside(self.path).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def read_note(path: Path) -> dict[str, Any]:
    """Return the note beside a file; empty if there is none, or an unreadable one."""
    try:
        note = bounded_json(_beside(path).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def write_note(path: Path, note: dict[str, Any]) -> None:
    """Write the note beside a file, whole or not at all."""
    with placing(_beside(path)) as new:
        new.write_text(json.dumps(note, indent=1))
