"""The Cell Ontology from a server into the store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import scvec as sv
from scvec import ontology as on
from scvec.cli import main
from scvec.errors import ExistsError, FileError, InputError, ServiceError
from scvec.ingest.genes.download import Politeness
from scvec.ontology.download import URL, PulledOntology, default_folder
from scvec.ontology.tables import TABLE
from tests import toy_ontology as toy
from tests.server import Quirks, Server
from tests.toy_ontology import TOY

HURRIED = Politeness(retries=2, backoff_s=0.01, timeout_s=5)
AT = "/obo/cl/cl-basic.obo"
DAY = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    put(folder, toy.as_obo(TOY))
    with Server(folder) as server:
        yield server


def put(folder: Path, text: str) -> None:
    path = folder / AT.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (DAY, DAY))


def get(server: Server, folder: Path, release: str | None = None) -> PulledOntology:
    store, kept = sv.Store(folder / "store"), folder / "kept"
    return on.pull(store, url=server.url + AT, release=release, folder=kept, politeness=HURRIED)


def test_it_is_fetched_and_imported(served: Server, tmp_path: Path) -> None:
    pulled = get(served, tmp_path)
    assert pulled.ontology == TOY
    assert pulled.fetched.changed
    assert on.open_ontology(sv.Store(tmp_path / "store")) == TOY
    host = served.url.removeprefix("http://").replace(":", "_")
    assert pulled.fetched.path == tmp_path / "kept" / host / "obo" / "cl" / "cl-basic.obo"


def test_what_did_not_change_is_neither_sent_nor_written_again(served: Server, tmp_path: Path) -> None:
    get(served, tmp_path)
    written = sv.Store(tmp_path / "store").table(TABLE).latest().version
    again = get(served, tmp_path)
    assert (again.fetched.changed, again.ontology) == (False, TOY)
    assert [one.status for one in served.asked] == [200, 304]
    assert len(sv.Store(tmp_path / "store").table(TABLE).tags()) == 1
    assert sv.Store(tmp_path / "store").table(TABLE).latest().version == written


def test_a_new_release_stands_beside_the_old_one(served: Server, tmp_path: Path) -> None:
    get(served, tmp_path)
    put(served.folder, toy.as_obo(TOY).replace("releases/2026-03-26", "releases/2026-05-01"))
    assert get(served, tmp_path).ontology.release == "2026-05-01"
    assert [one["release"] for one in on.list_ontologies(sv.Store(tmp_path / "store"))] == ["2026-03-26", "2026-05-01"]


def test_other_terms_under_the_same_version_are_refused(served: Server, tmp_path: Path) -> None:
    get(served, tmp_path)
    put(served.folder, toy.as_obo(TOY).replace("name: B cell", "name: B lymphocyte"))
    with pytest.raises(ExistsError, match="`release`"):
        get(served, tmp_path)
    assert get(served, tmp_path, "mine").ontology.release == "mine"


def test_a_file_without_a_version_is_called_by_the_server_s_date(served: Server, tmp_path: Path) -> None:
    put(served.folder, toy.as_obo(TOY).replace("data-version: cl/releases/2026-03-26/cl-basic.owl\n", ""))
    assert get(served, tmp_path).ontology.release == "2026-03-28"
    served.quirks[AT] = Quirks(hidden=("Last-Modified",), body=toy.as_obo(TOY).replace("data-version", "x").encode())
    with pytest.raises(FileError, match="`release`"):
        get(served, tmp_path / "other")


def test_a_body_that_breaks_off_is_gone_on_with(served: Server, tmp_path: Path) -> None:
    served.quirks[AT] = Quirks(cuts=[500, 900])
    assert get(served, tmp_path).ontology == TOY
    assert [one.headers.get("Range") for one in served.asked] == [None, "bytes=500-", "bytes=900-"]


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"format-version: 1.2\n", b'{"CL:0000000": {}}'])
def test_what_is_no_cell_ontology_changes_nothing(served: Server, tmp_path: Path, body: bytes) -> None:
    served.quirks[AT] = Quirks(body=body)
    with pytest.raises(ServiceError, match=": the file "):
        get(served, tmp_path)
    assert not (tmp_path / "store").exists()
    assert [one for one in (tmp_path / "kept").rglob("*") if one.is_file()] == []
    del served.quirks[AT]
    get(served, tmp_path)
    served.quirks[AT] = Quirks(body=body)
    with pytest.raises(ServiceError):
        get(served, tmp_path)
    assert on.open_ontology(sv.Store(tmp_path / "store")) == TOY


def test_only_http_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ftp://there"):
        on.pull(sv.Store(tmp_path / "store"), url="ftp://there/cl.obo")


def test_it_is_kept_beside_ncbi_s_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCVEC_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "ontology"
    monkeypatch.delenv("SCVEC_CACHE")
    assert default_folder().name == "ontology"
    assert URL == "http://purl.obolibrary.org/obo/cl/cl-basic.obo"


def test_the_verb_asks_where_it_is_told(
    served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCVEC_CL", served.url + AT)
    monkeypatch.setenv("SCVEC_CACHE", str(tmp_path / "cache"))
    assert main(["ontology", "pull", "--store", str(tmp_path / "store"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"release": "2026-03-26", "n_terms": 13, "n_obsolete": 5}
    assert "the file is new" in err
    assert main(["ontology", "pull", "--store", str(tmp_path / "store")]) == 0
    out, err = capsys.readouterr()
    assert out == "Cell Ontology 2026-03-26: 13 terms, 5 obsolete ids\n"
    assert "unchanged" in err
    refused = ["ontology", "pull", "--url", f"{served.url}/none.obo", "--store", str(tmp_path / "other")]
    assert main(refused) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "404" in err
    assert not (tmp_path / "other").exists()
    option = err.split("check ")[1].split(",")[0]
    assert main(["ontology", "pull", option, served.url + AT, "--store", str(tmp_path / "other"), "--quiet"]) == 0
