"""NCBI's files from a server that fails, breaks off, changes its mind, and serves what it should not."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

import scvec
from scvec.cli import main
from scvec.core.files import sha256
from scvec.core.types import Progress, silent
from scvec.errors import DiskFullError, FileError, InputError, ServiceError
from scvec.ingest.genes.download import Fetched, Politeness, check_gzip, fetch
from scvec.ingest.genes.pull import GENE_INFO, Pulled, default_folder, files_of, pull
from tests import toy
from tests.server import BEFORE_THE_HEAD, Quirks, Server

HURRIED = Politeness(retries=3, backoff_s=0.01, timeout_s=5)
IMPATIENT = Politeness(retries=3, backoff_s=0.01, timeout_s=0.3)
NAME = "gene_summary.gz"
AT = f"/{NAME}"
DAY = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC).timestamp()


def table(seed: int, rows: int = 4000) -> bytes:
    """A gzipped table of NCBI's form, about 60 kB; another for each seed, all of the same size or nearly so."""
    words = (f"9606\t{1000 + i}\tRefSeq\t{(i * 7919 + seed) ** 3:x}" for i in range(rows))
    return gzip.compress("\n".join(["#tax_id\tGeneID\tSource\tSummary", *words]).encode(), mtime=0)


OLD, NEW = table(1), table(2)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback is asked itself, whatever the machine is set to."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    """A server of one table."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / NAME).write_bytes(OLD)
    os.utime(folder / NAME, (DAY, DAY))
    with Server(folder) as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "kept" / NAME


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Server]:
    """A server of the toy world's files, where NCBI has them; the orthologs are the newest."""
    folder = tmp_path / "mirror"
    (folder / "GENE_INFO" / "Mammalia").mkdir(parents=True)
    info, summary = toy.write_ncbi(folder)
    for path in GENE_INFO.values():
        shutil.copy(info, folder / path)
    info.rename(folder / "gene_info.gz")
    lines = ["#tax_id\tGeneID\trelationship\tOther_tax_id\tOther_GeneID", "9606\t1000\tOrtholog\t10090\t2000"]
    (folder / "gene_orthologs.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    for file in folder.rglob("*.gz"):
        os.utime(file, (DAY - 86400, DAY - 86400))
    os.utime(folder / "gene_orthologs.gz", (DAY, DAY))
    assert summary.is_file()
    with Server(folder) as server:
        yield server


def get(
    server: Server, target: Path, politeness: Politeness = HURRIED, at: str = AT, progress: Progress = silent
) -> Fetched:
    return fetch(server.url + at, target, check=check_gzip, politeness=politeness, progress=progress)


def get_mirror(server: Server, folder: Path, taxon: int = 9606, release: str | None = None) -> Pulled:
    return pull(taxon, folder, base_url=server.url, release=release, politeness=HURRIED)


def failing(ask: Callable[[], object], *words: str) -> ServiceError:
    """Return the error of a call that must fail, after looking for words in its one line."""
    with pytest.raises(ServiceError) as caught:
        ask()
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line
    return caught.value


def ranges(server: Server, at: str = AT) -> list[str | None]:
    return [one.headers.get("Range") for one in server.asked_for(at)]


def statuses(server: Server, at: str = AT) -> list[int]:
    return [one.status for one in server.asked_for(at)]


def left(target: Path) -> list[str]:
    return sorted(one.name for one in target.parent.iterdir())


def test_a_file_is_fetched_with_what_is_known_of_it(served: Server, target: Path) -> None:
    got = get(served, target)
    assert target.read_bytes() == OLD
    assert (got.path, got.url, got.changed) == (target, served.url + AT, True)
    assert got.last_modified == datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
    assert (got.bytes, got.sha256) == (len(OLD), sha256(served.folder / NAME))
    assert left(target) == [NAME, f"{NAME}.json"]
    note = json.loads(target.with_name(f"{NAME}.json").read_text())
    assert note["etag"] == got.etag
    assert note["sha256"] == got.sha256
    (asked,) = served.asked
    assert asked.headers["User-Agent"] == f"scvec/{scvec.__version__}"
    assert asked.headers["Accept-Encoding"] == "identity"


def test_an_unchanged_file_is_not_sent_again(served: Server, target: Path) -> None:
    first, second = get(served, target), get(served, target)
    assert (first.changed, second.changed) == (True, False)
    assert (second.sha256, second.last_modified, second.etag) == (first.sha256, first.last_modified, first.etag)
    assert statuses(served) == [200, 304]
    assert served.asked[1].sent == 0
    (served.folder / NAME).write_bytes(NEW)
    assert get(served, target).changed
    assert target.read_bytes() == NEW


def test_the_date_alone_tells_whether_a_file_changed(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(hidden=("ETag",))
    assert get(served, target).etag is None
    assert not get(served, target).changed
    assert served.asked[1].headers["If-Modified-Since"] == "Sat, 14 Mar 2026 15:09:26 GMT"
    assert "If-None-Match" not in served.asked[1].headers


@pytest.mark.parametrize("damage", ["bytes", "size", "gone", "note"])
def test_a_file_that_is_not_what_was_fetched_is_fetched_anew(served: Server, target: Path, damage: str) -> None:
    get(served, target)
    note = target.with_name(f"{NAME}.json")
    if damage == "gone":
        target.unlink()
    elif damage == "note":
        note.write_text("{")
    else:
        target.write_bytes(OLD[:-1] + (b"" if damage == "size" else b"?"))
    assert get(served, target).changed
    assert target.read_bytes() == OLD
    assert statuses(served) == [200, 200]


def test_another_address_is_another_file(served: Server, target: Path) -> None:
    get(served, target)
    (served.folder / "other.gz").write_bytes(NEW)
    assert get(served, target, at="/other.gz").changed
    assert target.read_bytes() == NEW
    assert "If-None-Match" not in served.asked[1].headers


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failures_are_waited_out(served: Server, target: Path, status: int) -> None:
    served.quirks[AT] = Quirks(failures=2, status=status)
    get(served, target)
    assert target.read_bytes() == OLD
    assert statuses(served) == [status, status, 200]


def test_retry_after_is_heeded(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(failures=1, retry_after=1)
    started = time.monotonic()
    get(served, target)
    assert time.monotonic() - started >= 1
    assert statuses(served) == [503, 200]


def test_a_server_that_stays_down_is_named(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(failures=100)
    failing(lambda: get(served, target), served.url + AT, "status 503", "`base_url`")
    assert len(served.asked) == HURRIED.retries + 1


@pytest.mark.parametrize(("at", "status"), [("/none.gz", 404), (AT, 403)])
def test_refusals_are_not_repeated(served: Server, target: Path, at: str, status: int) -> None:
    served.quirks[AT] = Quirks(failures=100, status=403)
    failing(lambda: get(served, target, at=at), served.url + at, f"status {status}", "`base_url`")
    assert statuses(served, at) == [status]
    assert left(target) == []


def test_nobody_at_home(target: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can come to listen there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}{AT}"
        failing(lambda: fetch(url, target, check=check_gzip, politeness=HURRIED), url, "refused", "check the network")


def test_a_server_that_is_silent_for_good(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(stalls=[BEFORE_THE_HEAD] * 10)
    hasty = Politeness(retries=1, backoff_s=0.01, timeout_s=0.1)
    failing(lambda: get(served, target, hasty), served.url + AT, "timed out")
    assert len(served.asked) == 2


def test_a_proxy_is_used(served: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", served.url)
    fetch(f"http://ncbi.invalid{AT}", target, check=check_gzip, politeness=HURRIED)
    assert target.read_bytes() == OLD
    assert served.asked[0].path == f"http://ncbi.invalid{AT}"


def test_a_bundle_of_certificates_that_is_not_there(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    failing(lambda: fetch("https://127.0.0.1:9/x.gz", target, check=check_gzip), "/no/such/bundle.pem")


def test_a_moved_file_is_followed_and_gone_on_with(served: Server, target: Path) -> None:
    served.quirks["/moved.gz"] = Quirks(failures=10, status=302, extra={"Location": AT})
    served.quirks[AT] = Quirks(cuts=[20_000])
    assert get(served, target, at="/moved.gz").url == f"{served.url}/moved.gz"
    assert target.read_bytes() == OLD
    assert ranges(served) == [None, "bytes=20000-"]
    assert not get(served, target, at="/moved.gz").changed


@pytest.mark.parametrize("url", ["ftp://ftp.ncbi.nlm.nih.gov/x.gz", "/a/path", "http://", "http://[x/", "http://x:y/"])
def test_other_addresses_are_bad_input(target: Path, url: str) -> None:
    with pytest.raises(InputError, match="not the address of a server"):
        fetch(url, target, check=check_gzip)
    with pytest.raises(InputError, match="`base_url`"):
        pull(9606, target.parent, base_url=url)


@pytest.mark.parametrize("hidden", [(), ("ETag",), ("Last-Modified",)])
def test_a_cut_body_is_gone_on_with(served: Server, target: Path, hidden: tuple[str, ...]) -> None:
    served.quirks[AT] = Quirks(cuts=[20_000, 20_001, 45_000], hidden=hidden)
    got = get(served, target)
    assert target.read_bytes() == OLD
    assert ranges(served) == [None, "bytes=20000-", "bytes=20001-", "bytes=45000-"]
    assert sum(one.sent for one in served.asked) == len(OLD)
    assert (got.last_modified is None) == ("Last-Modified" in hidden)
    assert left(target) == [NAME, f"{NAME}.json"]


def test_cuts_with_a_gain_do_not_count(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(cuts=[1000 * i for i in range(1, 21)])
    get(served, target, Politeness(retries=1, backoff_s=0.001))
    assert target.read_bytes() == OLD
    assert len(served.asked) == 21


def test_a_date_that_a_206_leaves_out_is_not_lost(served: Server, target: Path) -> None:
    quirks = served.quirks[AT] = Quirks(cuts=[20_000])

    def hiding(path: Path) -> None:
        assert quirks.hidden
        check_gzip(path)

    @contextmanager
    def first_answer_is_read(title: str, total: int) -> Iterator[Callable[[int], None]]:
        quirks.hidden = ("Last-Modified",)
        yield lambda _step: None

    got = fetch(served.url + AT, target, check=hiding, politeness=HURRIED, progress=first_answer_is_read)
    assert statuses(served) == [200, 206]
    assert got.last_modified == datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


@pytest.mark.parametrize("stalls", [[BEFORE_THE_HEAD], [20_000], [20_000, 30_000], [BEFORE_THE_HEAD, 20_000]])
def test_a_slow_server_is_asked_again(served: Server, target: Path, stalls: list[int]) -> None:
    served.quirks[AT] = Quirks(stalls=list(stalls))
    get(served, target, IMPATIENT)
    assert target.read_bytes() == OLD
    assert sum(one.sent for one in served.asked) == len(OLD)
    assert len(served.asked) == len(stalls) + 1


def test_broken_off_for_good_and_later_gone_on_with(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(cuts=[20_000] * 10)
    failing(
        lambda: get(served, target),
        served.url + AT,
        f"broke off after 20,000 of {len(OLD):,} bytes",
        "the download resumes",
    )
    assert len(served.asked) == HURRIED.retries + 1
    assert not target.exists()
    served.quirks.clear()
    served.asked.clear()
    get(served, target)
    assert target.read_bytes() == OLD
    assert ranges(served) == ["bytes=20000-"]


def test_another_address_does_not_go_on_with_the_part(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(cuts=[20_000] * 10)
    failing(lambda: get(served, target), "broke off")
    (served.folder / "other.gz").write_bytes(OLD)
    get(served, target, at="/other.gz")
    assert ranges(served, "/other.gz") == [None]


def test_a_refresh_that_was_broken_off_is_gone_on_with(served: Server, target: Path) -> None:
    get(served, target)
    (served.folder / NAME).write_bytes(NEW)
    served.quirks[AT] = Quirks(cuts=[20_000] * 10)
    failing(lambda: get(served, target), "broke off")
    assert target.read_bytes() == OLD
    served.quirks.clear()
    assert get(served, target).changed
    assert target.read_bytes() == NEW
    assert ranges(served)[-1] == "bytes=20000-"


def test_interrupted_and_gone_on_with(served: Server, target: Path) -> None:
    @contextmanager
    def impatient(title: str, total: int) -> Iterator[Callable[[int], None]]:
        def advance(step: int) -> None:
            if step:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        get(served, target, progress=impatient)
    assert left(target) == [f".{NAME}.part", f".{NAME}.part.json"]
    came = target.with_name(f".{NAME}.part").stat().st_size
    assert 0 < came <= len(OLD)
    get(served, target)
    assert target.read_bytes() == OLD
    assert ranges(served)[1] == f"bytes={came}-"


@pytest.mark.parametrize("extra", [b"", b"and more"])
def test_a_part_with_nothing_left_to_come_starts_over(served: Server, target: Path, extra: bytes) -> None:
    served.quirks[AT] = Quirks(cuts=[20_000] * 10)
    failing(lambda: get(served, target), "broke off")
    served.quirks.clear()
    served.asked.clear()
    target.with_name(f".{NAME}.part").write_bytes(OLD + extra)
    get(served, target)
    assert target.read_bytes() == OLD
    assert statuses(served) == [416, 200]


@pytest.mark.parametrize("no_if_range", [False, True])
@pytest.mark.parametrize("hidden", [(), ("ETag",)])
def test_changed_between_two_requests(served: Server, target: Path, no_if_range: bool, hidden: tuple[str, ...]) -> None:
    served.quirks[AT] = Quirks(cuts=[20_000], becomes=NEW, no_if_range=no_if_range, hidden=hidden)
    get(served, target)
    assert target.read_bytes() == NEW
    # Without If-Range the rest of another file comes, is seen to be of another, and all is asked for.
    assert statuses(served) == ([200, 206, 200] if no_if_range else [200, 200])


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(hidden=("ETag", "Last-Modified")),
        Quirks(hidden=("ETag", "Last-Modified"), extra={"X": "y"}, no_if_range=True),
        Quirks(no_ranges=True),
    ],
)
def test_what_cannot_be_gone_on_with_starts_over(served: Server, target: Path, quirks: Quirks) -> None:
    quirks.cuts = [20_000, 30_000]
    served.quirks[AT] = quirks
    get(served, target)
    assert target.read_bytes() == OLD
    assert statuses(served) == [200, 200, 200]
    assert quirks.no_ranges or ranges(served) == [None, None, None]


def test_starting_over_has_an_end(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(cuts=[1000 * i for i in range(1, 21)], hidden=("ETag", "Last-Modified"))
    error = failing(lambda: get(served, target), "broke off")
    assert error.fix == "run again"
    assert len(served.asked) == HURRIED.retries + 1


def test_a_weak_etag_is_no_ground_to_go_on(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(cuts=[20_000], extra={"ETag": 'W/"1"'}, hidden=("Last-Modified",))
    get(served, target)
    assert target.read_bytes() == OLD
    assert ranges(served) == [None, None]


def test_a_body_of_no_stated_length(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(hidden=("Content-Length",))
    get(served, target)
    assert target.read_bytes() == OLD
    target.unlink()
    served.quirks[AT].cuts = [20_000]
    failing(lambda: get(served, target), "cut short")
    assert not target.exists()


def test_bytes_are_stored_as_the_server_has_them(served: Server, target: Path) -> None:
    served.quirks[AT] = Quirks(extra={"Content-Encoding": "gzip"})
    get(served, target)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"\n<!DOCTYPE html><html>Please log in</html>", "begins with '<', like an HTML page"),
        (b"#tax_id\tGeneID\n", "not gzip"),
        (OLD[:-1000], "cut short"),
        (OLD[:30_000] + b"\0\0\0\0" + OLD[30_004:], "damaged"),
        (gzip.compress(b"taxon\tgene\n", mtime=0), "starts with b'taxon'"),
        (b"", "not gzip"),
    ],
)
@pytest.mark.parametrize("held", [False, True])
def test_wrong_content_is_never_placed(served: Server, target: Path, body: bytes, word: str, held: bool) -> None:
    if held:
        get(served, target)
    served.quirks[AT] = Quirks(body=body)
    failing(lambda: get(served, target), served.url + AT, word, "#tax_id")
    assert left(target) == ([NAME, f"{NAME}.json"] if held else [])
    assert not held or target.read_bytes() == OLD
    served.quirks.clear()
    assert get(served, target).changed != held
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("quirks", [Quirks(failures=100), Quirks(failures=1, status=404), Quirks(cuts=[9] * 10)])
def test_a_refresh_that_goes_wrong_leaves_the_file(served: Server, target: Path, quirks: Quirks) -> None:
    get(served, target)
    (served.folder / NAME).write_bytes(NEW)
    served.quirks[AT] = quirks
    failing(lambda: get(served, target), served.url + AT)
    assert target.read_bytes() == OLD
    served.quirks.clear()
    assert get(served, target).changed
    assert target.read_bytes() == NEW


def test_progress_starts_at_what_is_there(served: Server, target: Path) -> None:
    shown: list[tuple[str, int, list[int]]] = []

    @contextmanager
    def noting(title: str, total: int) -> Iterator[Callable[[int], None]]:
        steps: list[int] = []
        shown.append((title, total, steps))
        yield steps.append

    served.quirks[AT] = Quirks(cuts=[20_000])
    get(served, target, progress=noting)
    assert [(title, total) for title, total, _ in shown] == [(f"fetching {NAME}", len(OLD))] * 2
    assert sum(shown[0][2]) == 20_000
    assert shown[1][2][0] == 20_000
    assert sum(shown[1][2]) == len(OLD)


def test_a_full_disk_keeps_what_came(served: Server, small_disk: Path) -> None:
    (served.folder / NAME).write_bytes(table(1, 100_000))
    (small_disk / "filler").write_bytes(b"x" * 500_000)
    with pytest.raises(DiskFullError, match="no space left"):
        get(served, small_disk / NAME)
    assert not (small_disk / NAME).exists()


def test_a_full_disk_by_its_error_alone(served: Server, target: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFullError, match=NAME):
        fetch(served.url + AT, target, check=full, politeness=HURRIED)


def test_check_gzip_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    path.write_bytes(OLD)
    check_gzip(path)
    with pytest.raises(FileError, match=r"t\.gz.*starts with b'#tax_id'"):
        check_gzip(path, "GeneID")


def test_pull_brings_the_three_files_of_a_taxon(mirror: Server, tmp_path: Path) -> None:
    pulled = get_mirror(mirror, tmp_path / "cache")
    home = tmp_path / "cache" / mirror.url.removeprefix("http://").replace(":", "_")
    assert pulled.gene_info == home / "GENE_INFO" / "Mammalia" / "Homo_sapiens.gene_info.gz"
    assert (pulled.gene_summary, pulled.gene_orthologs) == (home / "gene_summary.gz", home / "gene_orthologs.gz")
    for one in pulled.fetched:
        assert one.path.read_bytes() == (mirror.folder / one.path.relative_to(home)).read_bytes()
    assert (pulled.release, pulled.changed) == ("2026-03-14", True)


def test_a_second_pull_says_what_changed(mirror: Server, tmp_path: Path) -> None:
    get_mirror(mirror, tmp_path)
    again = get_mirror(mirror, tmp_path)
    assert (again.changed, again.release) == (False, "2026-03-14")
    assert [one.status for one in mirror.asked] == [200] * 3 + [304] * 3
    os.utime(mirror.folder / "gene_summary.gz", (DAY + 86400, DAY + 86400))
    (mirror.folder / "gene_summary.gz").write_bytes(NEW)
    os.utime(mirror.folder / "gene_summary.gz", (DAY + 86400, DAY + 86400))
    later = get_mirror(mirror, tmp_path)
    assert (later.changed, later.release) == (True, "2026-03-15")
    assert [one.changed for one in later.fetched] == [False, True, False]


@pytest.mark.parametrize(
    ("taxon", "path"),
    [
        (9606, "/GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz"),
        (10090, "/GENE_INFO/Mammalia/Mus_musculus.gene_info.gz"),
        (10116, "/GENE_INFO/Mammalia/Rattus_norvegicus.gene_info.gz"),
        (7955, "/gene_info.gz"),
    ],
)
def test_each_taxon_has_its_gene_info(mirror: Server, tmp_path: Path, taxon: int, path: str) -> None:
    get_mirror(mirror, tmp_path / "cache", taxon)
    assert [one.path for one in mirror.asked] == [path, "/gene_summary.gz", "/gene_orthologs.gz"]


def test_mirrors_do_not_mix(mirror: Server, served: Server, tmp_path: Path) -> None:
    shutil.copytree(mirror.folder, served.folder, dirs_exist_ok=True)
    one, other = get_mirror(mirror, tmp_path / "cache"), get_mirror(served, tmp_path / "cache")
    assert one.gene_summary != other.gene_summary
    assert other.changed


def test_a_slash_at_the_end_of_the_address(mirror: Server, tmp_path: Path) -> None:
    pulled = pull(9606, tmp_path / "cache", base_url=mirror.url + "/", politeness=HURRIED)
    assert pulled.fetched[1].url == f"{mirror.url}/gene_summary.gz"


def test_without_dates_the_release_must_be_named(mirror: Server, tmp_path: Path) -> None:
    for one in files_of(9606):
        mirror.quirks[f"/{one}"] = Quirks(hidden=("Last-Modified",))
    failing(lambda: get_mirror(mirror, tmp_path), mirror.url, "`release`")
    assert get_mirror(mirror, tmp_path, release="spring").release == "spring"
    mirror.quirks["/gene_summary.gz"].hidden = ()
    mirror.quirks["/gene_orthologs.gz"].extra = {"Last-Modified": "some day"}
    mirror.quirks["/gene_orthologs.gz"].hidden = ()
    (tmp_path / "other").mkdir()
    assert get_mirror(mirror, tmp_path / "other").release == "2026-03-13"


def test_a_named_release_goes_before_the_dates(mirror: Server, tmp_path: Path) -> None:
    assert get_mirror(mirror, tmp_path, release="spring").release == "spring"


def test_the_folder_is_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCVEC_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "ncbi"
    monkeypatch.delenv("SCVEC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder().parts[-2:] == ("scvec", "ncbi")


def test_the_real_files_with_a_cut_in_the_middle(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ncbi"
    (folder / "GENE_INFO" / "Mammalia").mkdir(parents=True)
    human, summary, orthologs = files_of(9606)
    for one in (human, summary, orthologs):
        (folder / one).symlink_to((data / "ncbi" / Path(one).name).resolve())
    with Server(folder) as server:
        server.quirks[f"/{human}"] = Quirks(cuts=[1_500_000])
        pulled = pull(9606, tmp_path / "cache", base_url=server.url, politeness=Politeness(3, 0.01, 5))
        assert ranges(server, f"/{human}") == [None, "bytes=1500000-"]
    for one, fetched in zip((human, summary, orthologs), pulled.fetched, strict=True):
        assert sha256(fetched.path) == fetched.sha256 == sha256(data / "ncbi" / Path(one).name)


def scvec_pull(server: Server, folder: Path, *more: str) -> list[str]:
    where = ["--base-url", server.url, "--keep", str(folder / "kept"), "--store", str(folder / "store")]
    return ["genes", "pull", "--taxon", "human", *where, *more]


def test_the_verb_pulls_imports_and_tags_by_the_server_s_date(
    mirror: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.quirks[AT] = Quirks(failures=1, retry_after=0, cuts=[700])
    assert main(scvec_pull(mirror, tmp_path)) == 0
    said = capsys.readouterr()
    assert said.out.startswith("human gene texts 2026-03-14: 240 genes")
    assert "NCBI's files are new" in said.err
    asked = len(mirror.asked)
    assert main(scvec_pull(mirror, tmp_path)) == 0
    assert "NCBI's files are unchanged" in capsys.readouterr().err
    assert [one.status for one in mirror.asked[asked:]] == [304, 304, 304]
    # A month later the server has other texts.
    info = mirror.folder / GENE_INFO[9606]
    later = gzip.decompress(info.read_bytes()).replace(b"toy gene number 5\t", b"toy gene number five\t")
    info.write_bytes(gzip.compress(later))
    os.utime(info, (DAY + 31 * 86400, DAY + 31 * 86400))
    assert main(scvec_pull(mirror, tmp_path)) == 0
    assert capsys.readouterr().out.startswith("human gene texts 2026-04-14")
    diff = ["genes", "diff", "2026-03-14", "2026-04-14", "--taxon", "human", "--store", str(tmp_path / "store")]
    assert main([*diff, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"text changed": 1}
    assert (
        found["changes"][0]["after"] == "TOY5: toy gene number five. This gene takes part in housekeeping in all cells."
    )


def test_ctrl_c_in_a_download_leaves_what_came_for_the_next_run(mirror: Server, tmp_path: Path) -> None:
    mirror.quirks[f"/{GENE_INFO[9606]}"] = Quirks(stalls=[3000])
    process = subprocess.Popen(
        [sys.executable, "-m", "scvec", *scvec_pull(mirror, tmp_path)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not list((tmp_path / "kept").rglob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.startswith("scvec: interrupted;")
    assert errors.count("\n") == 1
    assert not (tmp_path / "store").exists()
    assert main(scvec_pull(mirror, tmp_path, "--quiet")) == 0
    again = mirror.asked_for(f"/{GENE_INFO[9606]}")[-1]
    assert again.status == 206
    assert again.headers["Range"] == "bytes=3000-"
