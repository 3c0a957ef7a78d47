"""One file from a server: asked for only if it changed, gone on with where it broke off, checked, placed whole."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scvec._version import __version__
from scvec.core.files import sha256
from scvec.core.types import Progress, silent
from scvec.errors import FileError, InputError, ServiceError, as_disk_full
from scvec.ingest.genes.partial import Answer, Part, read_note, write_note

if TYPE_CHECKING:
    from requests import Response, Session

PASSING = (429, 500, 502, 503, 504)
"""Statuses that may be gone when one asks again."""

LONGEST_WAIT_S = 120
"""How long one wait between two tries may be, whatever the server's Retry-After says."""

CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Politeness:
    """How a server is asked.

    Attributes
    ----------
    retries
        How often in a row a request may fail, or a body break off that gained nothing by going on.
    backoff_s
        Seconds to wait before the second try; doubled at each further one.
    timeout_s
        Seconds a server may take to take a connection, or to send its next bytes.
    """

    retries: int = 5
    backoff_s: float = 1.0
    timeout_s: float = 60.0


POLITE = Politeness()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file as a server gave it.

    Attributes
    ----------
    path, url
        Where it is, and where it came from.
    last_modified
        When the server says it was last modified, in UTC; None if it does not say.
    etag
        The server's name for this state of the file, if it has one.
    bytes, sha256
        Size and hash.
    changed
        False if the server said that the file is still as it was here.
    """

    path: Path
    url: str
    last_modified: datetime | None
    etag: str | None
    bytes: int
    sha256: str
    changed: bool


def fetch(
    url: str,
    target: Path,
    *,
    check: Callable[[Path], None],
    politeness: Politeness = POLITE,
    progress: Progress = silent,
) -> Fetched:
    """Bring the file at `url` to `target`, unless it is there already and the server says it has not changed.

    Bytes go to a hidden part file. A body that breaks off is gone on with, in this run or a later one, as long as the
    server's file is the same. The part becomes `target` once it is whole and `check` has passed it; until then an older
    `target` stays. Beside it, ``NAME.json`` says what it is. Proxies and certificates are found as `requests` does.

    Parameters
    ----------
    url
        http or https.
    target
        The file to write; its folder is made.
    check
        Called with a complete file before it is placed; raises `FileError` if it is not what was wanted.
    politeness
        Time limit, retries and the waits between them.
    progress
        Shown once an answer, in bytes of the whole file.

    Raises
    ------
    InputError
        If `url` is not one of http or https.
    ServiceError
        If the server does not answer, refuses, breaks off for good, or sends what `check` refuses.
    DiskFullError
        If no space was left. The bytes that came are kept.
    """
    host_of(url)
    part = Part(url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        held = _held(url, target)
        with _session(politeness) as session:
            came = _complete(session, part, held, politeness, progress)
        return _placed(part, check) if came or held is None else held
    except OSError as error:
        raise (as_disk_full(error, str(target)) or error) from error


def host_of(url: str) -> str:
    """Return the host of an http(s) URL, with ``_port`` where one is named; raise `InputError` for another URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise InputError(f"{url!r} is not the address of a server", "http://... or https://...", "check --base-url")
    return host if port is None else f"{host}_{port}"


def check_gzip(path: Path, first_column: str = "#tax_id") -> None:
    """Read a gzipped table to its end; raise `FileError` if it is not one, damaged, or not headed by `first_column`."""
    wanted, cure = f"a whole gzip file of a table that starts with {first_column}", "fetch it again"
    with path.open("rb") as stream:
        start = stream.read(80)
    if not start.startswith(b"\x1f\x8b"):
        page = start.lstrip().startswith(b"<")
        seen = "begins with '<', as a page of HTML does" if page else f"is not gzip, it begins with {start[:20]!r}"
        raise FileError(f"{path} {seen}", wanted, cure)
    try:
        with gzip.open(path) as table:
            first = table.readline(CHUNK).split(b"\t")[0].strip()
            while table.read(CHUNK):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileError(f"{path} is cut short or damaged ({error})", wanted, cure) from error
    if first != first_column.encode():
        raise FileError(f"{path} holds a table that starts with {first[:40]!r}", wanted, cure)


def _complete(session: Session, part: Part, held: Fetched | None, politeness: Politeness, progress: Progress) -> bool:
    """Ask until the part is whole; return False if the server says instead that `held` has not changed."""
    in_vain = 0
    while True:
        before = part.size
        with _ask(session, part.url, part.wish() or _unless(held), politeness) as response:
            if response.status_code == 304:
                part.remove()
                return False
            answer = Answer.of(response)
            if not part.takes(answer):
                part.remove()
                continue
            trouble = _append(response, part, answer, progress)
        if trouble is None:
            return True
        # Starting over is never a gain, or a server that cannot resume would be asked for ever.
        in_vain = 0 if answer.start > 0 and part.size > before else in_vain + 1
        if in_vain > politeness.retries:
            raise _broken_off(part, answer, trouble)
        time.sleep(min(politeness.backoff_s * 2**in_vain, LONGEST_WAIT_S))


def _append(response: Response, part: Part, answer: Answer, progress: Progress) -> str | None:
    """Add a body to the part; return what went wrong if the part is not whole then."""
    from urllib3.exceptions import HTTPError

    trouble = "it closed the connection"
    with part.path.open("ab") as stream, progress(f"fetching {part.target.name}", answer.total or 0) as advance:
        advance(answer.start)
        try:
            # read1 loses no byte that came before a cut; not decoded, so that a .gz stays what it is on the server.
            while data := response.raw.read1(CHUNK, decode_content=False):
                stream.write(data)
                advance(len(data))
        except HTTPError as error:
            trouble = _reason(error)
        else:
            if answer.total is None:
                return None
    return None if part.size == answer.total else trouble


def _placed(part: Part, check: Callable[[Path], None]) -> Fetched:
    try:
        check(part.path)
    except FileError as error:
        part.remove()
        seen = error.seen.replace(str(part.path), "what came")
        raise ServiceError(f"{part.url}: {seen}", error.expected, "check --base-url, or run again later") from error
    note = read_note(part.path) | {"bytes": part.size, "sha256": sha256(part.path)}
    part.path.replace(part.target)
    write_note(part.target, note)
    part.remove()
    return _fetched(part.target, note, changed=True)


def _held(url: str, target: Path) -> Fetched | None:
    """Return the target if it is still what was fetched from `url`."""
    note = read_note(target)
    if note.get("url") != url or not target.is_file() or target.stat().st_size != note.get("bytes"):
        return None
    return _fetched(target, note, changed=False) if sha256(target) == note.get("sha256") else None


def _fetched(target: Path, note: dict[str, Any], *, changed: bool) -> Fetched:
    modified = _utc(note["last_modified"])
    return Fetched(target, note["url"], modified, note["etag"], note["bytes"], note["sha256"], changed)


def _utc(date: str | None) -> datetime | None:
    """Return an HTTP date; None if there is none, or if it is not one."""
    try:
        when = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _unless(held: Fetched | None) -> dict[str, str]:
    """Return the headers that ask for the file only if it is no longer the one that is held."""
    if held is None:
        return {}
    since = held.last_modified and format_datetime(held.last_modified, usegmt=True)
    return {name: one for name, one in (("If-None-Match", held.etag), ("If-Modified-Since", since)) if one}


def _session(politeness: Politeness) -> Session:
    from requests import Session
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = Session()
    session.headers.update({"User-Agent": f"scvec/{__version__}", "Accept-Encoding": "identity"})
    retry = Retry(
        politeness.retries,
        backoff_factor=politeness.backoff_s,
        backoff_max=LONGEST_WAIT_S,
        retry_after_max=LONGEST_WAIT_S,
        status_forcelist=PASSING,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _ask(session: Session, url: str, conditions: dict[str, str], politeness: Politeness) -> Response:
    try:
        response = session.get(url, headers=conditions, stream=True, timeout=politeness.timeout_s)
    except OSError as error:  # as all errors of requests are, and that of a CA bundle that is not there
        seen = f"no answer from {url} ({_reason(error)})"
        raise ServiceError(
            seen, "a server that can be reached", "check the network, the proxy and --base-url"
        ) from error
    allowed = {200, *((206, 416) if "Range" in conditions else (304,) if conditions else ())}
    if response.status_code not in allowed:
        response.close()
        seen = f"{url} answered with status {response.status_code} {response.reason}"
        raise ServiceError(seen, "the file", "check --base-url, or run again later")
    return response


def _broken_off(part: Part, answer: Answer, trouble: str) -> ServiceError:
    total = "an unknown number of" if answer.total is None else f"{answer.total:,}"
    goes_on = "; it goes on where it was" if part.wish() else ""
    return ServiceError(
        f"{part.url} broke off after {part.size:,} of {total} bytes ({trouble})", "all", f"run again{goes_on}"
    )


def _reason(error: BaseException) -> str:
    """Return what the operating system said, from within what urllib3 and requests made of it."""
    inner: BaseException | None = error
    while inner is not None and type(inner).__module__.partition(".")[0] in ("requests", "urllib3"):
        error, inner = inner, inner.__cause__ or inner.__context__
    return str(inner or error)[:200] or type(inner or error).__name__
