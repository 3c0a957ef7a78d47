"""Downloading a file: only if it changed, resumed where it broke off, checked, and placed whole."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scvec._version import __version__
from scvec.core.files import sha256
from scvec.core.limits import check_size, limit_of, too_large
from scvec.core.reading import reading
from scvec.core.types import Progress, silent
from scvec.errors import FileError, InputError, ServiceError, as_disk_full
from scvec.ingest.genes.partial import Answer, Part, read_note, write_note

if TYPE_CHECKING:
    from requests import Response, Session

PASSING = (429, 500, 502, 503, 504)
"""Statuses that are worth a retry."""

LONGEST_WAIT_S = 120
"""The longest wait between two tries, whatever the server's Retry-After says."""

LEAST_BYTES_S, PATIENCE_S = 200, 120.0
"""A server that sends less in a second, on average and after this time, would be listened to forever."""

CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Politeness:
    """Time-outs and retries of requests.

    Attributes
    ----------
    retries
        How often in a row a request may fail, or a body break off without progress.
    backoff_s
        Seconds to wait before the second try; doubled for each further one.
    timeout_s
        Seconds that a server may take to accept a connection, or to send its next bytes.
    """

    retries: int = 5
    backoff_s: float = 1.0
    timeout_s: float = 60.0


POLITE = Politeness()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A downloaded file.

    Attributes
    ----------
    path, url
        Where it is, and where it came from.
    last_modified
        When it was last modified, in UTC, by the server; None if the server does not say.
    etag
        The server's tag for this state of the file, if there is one.
    bytes, sha256
        Size and hash.
    changed
        False if the server said that the file here is up to date.
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
    """Download `url` to `target`, unless `target` exists and the server says that it is up to date.

    Bytes go to a hidden part file. A download that breaks off is resumed, in this run or a later one, as long as the
    server's file is the same. The part becomes `target` once it is complete and `check` has passed; until then an older
    `target` stays. ``NAME.json`` beside it describes it. Proxies and certificates are found as `requests` finds them.

    Parameters
    ----------
    url
        An http or https URL.
    target
        The file to write; its folder is created.
    check
        Called with a complete file before it is placed; raises `FileError` if it is not the expected file.
    politeness
        Time-out, retries and the waits between them.
    progress
        Shown for each answer, in bytes of the whole file.

    Raises
    ------
    InputError
        If `url` is not an http or https URL.
    ServiceError
        If the server does not answer, refuses, breaks off for good, or sends a file that `check` rejects.
    DiskFullError
        If no space was left. The bytes received are kept.
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
    """Return the host of an http(s) URL, with ``_port`` if it has one; raise `InputError` for another URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise InputError(f"{url!r} is not the address of a server", "an http or https URL", "check `base_url`")
    return host if port is None else f"{host}_{port}"


def check_gzip(path: Path, first_column: str = "#tax_id") -> None:
    """Read a gzipped table to its end; raise `FileError` if it is damaged, or does not start with `first_column`."""
    expected, fix = f"a complete gzip file of a table that starts with {first_column}", "download it again"
    with path.open("rb") as stream:
        start = stream.read(80)
    if not start.startswith(b"\x1f\x8b"):
        page = start.lstrip().startswith(b"<")
        seen = "begins with '<', like an HTML page" if page else f"is not gzip: it begins with {start[:20]!r}"
        raise FileError(f"{path} {seen}", expected, fix)
    with reading(str(path), expected, fix), gzip.open(path) as table:
        first = table.readline(CHUNK).split(b"\t")[0].strip()
        n = 0
        while held := len(table.read(CHUNK)):
            n += held
            check_size(n, str(path), "table")
    if first != first_column.encode():
        raise FileError(f"{path} holds a table that starts with {first[:40]!r}", expected, fix)


def _complete(session: Session, part: Part, held: Fetched | None, politeness: Politeness, progress: Progress) -> bool:
    """Request until the part is complete; return False if the server says that `held` is up to date."""
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
        # Starting over never counts as progress, or a server that cannot resume would be asked forever.
        in_vain = 0 if answer.start > 0 and part.size > before else in_vain + 1
        if in_vain > politeness.retries:
            raise _broken_off(part, answer, trouble)
        time.sleep(min(politeness.backoff_s * 2**in_vain, LONGEST_WAIT_S))


def _append(response: Response, part: Part, answer: Answer, progress: Progress) -> str | None:
    """Append a body to the part; return what went wrong if the part is still incomplete."""
    from urllib3.exceptions import HTTPError

    trouble, received, started = "it closed the connection", 0, time.monotonic()
    with part.path.open("ab") as stream, progress(f"fetching {part.target.name}", answer.total or 0) as advance:
        advance(answer.start)
        try:
            # read1 loses no byte received before a cut; not decoded, so that a .gz stays as it is on the server.
            while data := response.raw.read1(CHUNK, decode_content=False):
                stream.write(data)
                advance(len(data))
                received += len(data)
                if answer.start + received > limit_of("table"):
                    part.remove()
                    large = too_large(part.url, "table")
                    raise ServiceError(large.seen, large.expected, large.fix)
                if received < LEAST_BYTES_S * (time.monotonic() - started - PATIENCE_S):
                    raise _broken_off(part, answer, f"it sends less than {LEAST_BYTES_S:,} bytes a second")
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
        seen = error.seen.replace(str(part.path), "the file")
        raise ServiceError(f"{part.url}: {seen}", error.expected, "check `base_url`, or run again later") from error
    note = read_note(part.path) | {"bytes": part.size, "sha256": sha256(part.path)}
    part.path.replace(part.target)
    write_note(part.target, note)
    part.remove()
    return _fetched(part.target, note, changed=True)


def _held(url: str, target: Path) -> Fetched | None:
    """Return the target if it is still the file downloaded from `url`."""
    note = read_note(target)
    if note.get("url") != url or not target.is_file() or target.stat().st_size != note.get("bytes"):
        return None
    return _fetched(target, note, changed=False) if sha256(target) == note.get("sha256") else None


def _fetched(target: Path, note: dict[str, Any], *, changed: bool) -> Fetched:
    modified = _utc(note["last_modified"])
    return Fetched(target, note["url"], modified, note["etag"], note["bytes"], note["sha256"], changed)


def _utc(date: str | None) -> datetime | None:
    """Return an HTTP date; None if it is missing or invalid."""
    try:
        when = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _unless(held: Fetched | None) -> dict[str, str]:
    """Return the headers that request the file only if it is no longer the held one."""
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
    except OSError as error:  # the base of all errors of requests, and of the error of a missing CA bundle
        seen = f"no answer from {url} ({_reason(error)})"
        raise ServiceError(
            seen, "a server that can be reached", "check the network, the proxy and `base_url`"
        ) from error
    allowed = {200, *((206, 416) if "Range" in conditions else (304,) if conditions else ())}
    if response.status_code not in allowed:
        response.close()
        seen = f"{url} answered with status {response.status_code} {response.reason}"
        raise ServiceError(seen, "the file", "check `base_url`, or run again later")
    return response


def _broken_off(part: Part, answer: Answer, trouble: str) -> ServiceError:
    total = "an unknown number of" if answer.total is None else f"{answer.total:,}"
    goes_on = "; the download resumes" if part.wish() else ""
    return ServiceError(
        f"{part.url} broke off after {part.size:,} of {total} bytes ({trouble})", "all bytes", f"run again{goes_on}"
    )


def _reason(error: BaseException) -> str:
    """Return the operating system's message inside an error of urllib3 or requests."""
    inner: BaseException | None = error
    while inner is not None and type(inner).__module__.partition(".")[0] in ("requests", "urllib3"):
        error, inner = inner, inner.__cause__ or inner.__context__
    return str(inner or error)[:200] or type(inner or error).__name__
