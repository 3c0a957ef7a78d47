"""A store from elsewhere: what its files name stays inside, and whatever they hold is one error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import scvec as sv
from scvec import cli
from scvec.atlas import Atlas
from scvec.core import exchange
from scvec.core.shapes import Each, Maybe, fault
from scvec.errors import ScvecError, StoreError
from scvec.store import Store

OUTSIDE = ("../victim", "atlases/../../victim", "/tmp/victim", "atlases/toy/../../../victim", "C:/victim", "..\\victim")


@pytest.fixture
def victim(store: Store) -> Path:
    """A folder beside the store, with what must not be lost."""
    folder = Path(store.uri).with_name("victim")
    (folder / "thesis").mkdir(parents=True)
    (folder / "thesis" / "chapter1.txt").write_text("years of work")
    return folder


def manifest_of(store: Store) -> Path:
    return Path(store.uri, "atlases/toy/v1/manifest.json")


def change(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text())
    how(values)
    file.write_text(json.dumps(values))


@pytest.mark.parametrize("path", [*OUTSIDE, "a//b", "a/", "/a", ".", "a/./b", "a\0b", "a\nb", "..", "a/.."])
def test_a_path_out_of_the_store_is_refused_wherever_it_is_used(tmp_path: Path, path: str) -> None:
    store = Store(tmp_path / "store")
    uses: list[Callable[[str], object]] = [
        *(store.children, store.has_file, store.size, store.read_json, store.local_folder, store.remove),
        *(store.remove_file, store.table),
        lambda one: store.only_writer(one).__enter__(),
        lambda one: store.local_file(one).__enter__(),
        lambda one: store.write_json(one, {}),
        lambda one: store.put_folder(one, lambda _: None),
    ]
    for use in uses:
        with pytest.raises(StoreError, match="leads out of the store"):
            use(path)


@pytest.mark.parametrize("folder", OUTSIDE)
def test_compact_removes_nothing_outside_that_a_manifest_names(store: Store, victim: Path, folder: str) -> None:
    made = json.loads(manifest_of(store).read_text())["index"]
    shutil.copytree(Path(store.uri, made["folder"], "part-0000"), victim / "part-0000")
    change(manifest_of(store), lambda values: values["index"].update(folder=folder))
    assert cli.main(["atlas", "compact", "toy", "--forget", "--store", store.uri]) == 2
    assert (victim / "thesis" / "chapter1.txt").is_file()


@pytest.mark.parametrize("folder", OUTSIDE)
def test_a_job_removes_nothing_outside_that_its_note_names(
    store: Store, victim: Path, files: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Path(store.uri, "atlases/toy/job")
    job.mkdir()
    (job / "plan.json").write_text('{"x": 1}')
    (job / "fitted.json").write_text(json.dumps({"folder": folder, "hashes": {}}))
    words = ["atlas", "extend", "toy", str(files / "query.h5ad"), "--dataset", "more", "--store", store.uri]
    assert cli.main(words) == 2
    assert "does not lie in atlases/toy/fitted" in capsys.readouterr().err
    assert (victim / "thesis" / "chapter1.txt").is_file()


def test_a_job_of_staged_rows_removes_only_files_of_the_table(store: Store, victim: Path) -> None:
    with pytest.raises(StoreError, match="staged rows names"):
        store.table("atlases/toy/cells").discard([json.dumps({"files": [{"path": "../../../victim/thesis"}]})])
    with pytest.raises(StoreError, match="staged rows"):
        store.table("atlases/toy/cells").discard(["[" * 100_000])
    assert (victim / "thesis").is_dir()


@pytest.mark.parametrize(
    "folder", ["atlases/other/index/v1", "atlases/toy/fitted/x", "atlases/toy", "atlases/toy/index"]
)
def test_a_manifest_names_what_lies_under_its_atlas(store: Store, folder: str) -> None:
    change(manifest_of(store), lambda values: values["index"].update(folder=folder))
    with pytest.raises(StoreError, match="does not lie in atlases/toy/index"):
        sv.atlas.open_atlas(store, "toy")


FAULTY: tuple[tuple[str, Callable[[dict[str, Any]], object]], ...] = (
    ("no entry 'index'", lambda m: m.pop("index")),
    ("index is None", lambda m: m.update(index=None)),
    ("index.parts is 7", lambda m: m["index"].update(parts=7)),
    ("no entry 'parts'", lambda m: m["index"].pop("parts")),
    ("keys is None", lambda m: m.update(keys=None)),
    ("keys.obs is 'x'", lambda m: m["keys"].update(obs="x")),
    (r"index.parts\[0\].rows is '1'", lambda m: m["index"]["parts"][0].update(rows="1")),
    (r"'\.\./x' is not the name of a file", lambda m: m["index"]["parts"][0].update(name="../x")),
    (
        r"is not the name of a file",
        lambda m: m["index"]["parts"][0]["files"].update({"a/b": {"bytes": 1, "sha256": ""}}),
    ),
    (r"is not the name of a file", lambda m: m["index"].update(trained="../../x")),
    (r"is not the name of a file", lambda m: m["fitted"]["hashes"].update({"../x": ""})),
    ("fitted.folder is", lambda m: m["fitted"].update(folder=None)),
    (r"labels\[0\] is 3", lambda m: m.update(labels=[3])),
    ("n_cells is True", lambda m: m.update(n_cells=True)),
    ("atlas 'other'", lambda m: m.update(name="other")),
)


@pytest.mark.parametrize(("said", "how"), FAULTY)
def test_a_damaged_manifest_is_one_error(
    store: Store, said: str, how: Callable[[dict[str, Any]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    change(manifest_of(store), how)
    with pytest.raises(StoreError, match=said):
        sv.atlas.open_atlas(store, "toy")
    assert cli.main(["atlas", "info", "toy", "--store", store.uri]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"a":' * 100_000, '{"a": "\\ud800"}', "\xff", '{"a": 1' + "0" * 5000 + "}"]
)
def test_whatever_a_json_file_holds_is_one_error(store: Store, text: str) -> None:
    manifest_of(store).write_bytes(text.encode("latin1"))
    with pytest.raises(StoreError, match="manifest"):
        sv.atlas.open_atlas(store, "toy")


def test_a_manifest_that_is_too_large_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCVEC_MAX_UNFOLDED", "1000")
    with pytest.raises(ScvecError, match="unfolds to more than 1,000 bytes"):
        sv.atlas.open_atlas(store, "toy")


@pytest.mark.parametrize("name", ["../victim", "..", "toy/../toy", "a/b", ".hidden", "x" * 101, "/etc"])
def test_names_of_atlases_lead_nowhere(store: Store, victim: Path, name: str) -> None:
    for words in (
        ["atlas", "info", name],
        ["atlas", "compact", name, "--forget"],
        ["atlas", "remove", name, "--where", "true"],
    ):
        assert cli.main([*words, "--store", store.uri]) == 2
    assert (victim / "thesis" / "chapter1.txt").is_file()


def test_links_are_removed_and_not_followed(store: Store, victim: Path) -> None:
    root = Path(store.uri, "atlases/toy")
    (root / "linked").symlink_to(victim)
    (root / "within").mkdir()
    (root / "within" / "linked").symlink_to(victim)
    store.remove("atlases/toy/linked")
    store.remove("atlases/toy/within")
    assert not os.path.lexists(root / "linked")
    assert not (root / "within").exists()
    (root / "job").symlink_to(victim)
    acts: tuple[Callable[[], object], ...] = (
        lambda: store.remove("atlases/toy/job/thesis"),
        lambda: store.remove_file("atlases/toy/job/thesis/chapter1.txt"),
        lambda: store.put_folder("atlases/toy/job/thesis", lambda _: None),
    )
    for act in acts:
        with pytest.raises(StoreError, match="by a symbolic link"):
            act()
    store.put_folder("atlases/toy/job", lambda part: (part / "x").write_text("x"))
    assert (victim / "thesis" / "chapter1.txt").read_text() == "years of work"


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_is_replaced_without_a_moment_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(exchange, "exchange", lambda _one, _other: False)
    store, stop = Store(tmp_path / "s"), threading.Event()
    seen: list[bool | Exception] = []
    store.put_folder("f", lambda part: (part / "x").write_text("0"))

    def look() -> None:
        own = Store(tmp_path / "s")
        while not stop.is_set():
            try:
                seen.append(own.has_file("f/x"))
            except Exception as error:  # noqa: BLE001  # it is what is looked for
                seen.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    for i in range(100):
        store.put_folder("f", lambda part, i=i: (part / "x").write_text(str(i)))  # type: ignore[misc]
    stop.set()
    thread.join()
    assert seen
    missing = sum(one is not True for one in seen)
    # Where folders cannot be exchanged, a look can fall between the check of the one place and of the other.
    assert missing == 0 if can_exchange else missing < len(seen) / 20
    assert [one.name for one in (tmp_path / "s").iterdir()] == ["f"]


def test_what_a_kill_between_two_renamings_leaves_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.put_folder("a/f", lambda part: (part / "x.json").write_text('{"n": 1}'))
    Path(store.uri, "a/f").rename(exchange.aside(Path(store.uri, "a/f")))
    assert store.read_json("a/f/x.json") == {"n": 1}
    assert (store.local_folder("a/f") / "x.json").is_file()
    store.put_folder("a/f", lambda part: (part / "x.json").write_text('{"n": 2}'))
    assert store.read_json("a/f/x.json") == {"n": 2}
    assert [one.name for one in Path(store.uri, "a").iterdir()] == ["f"]


def manifests(store: Store) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in Path(store.uri).glob("atlases/toy/v*/manifest.json")}


@pytest.mark.parametrize("kind", ["rebuild", "compact", "repair", "repair all"])
def test_a_published_manifest_is_never_written_again(store: Store, atlas: Atlas, kind: str) -> None:
    if kind != "compact":
        atlas = sv.atlas.rebuild(atlas, sv.IndexSpec(factory="IVF4,Flat")) if kind == "repair all" else atlas
    before = manifests(store)
    files = {str(one): one.stat().st_ino for one in Path(store.uri).glob("atlases/toy/index/*/part-*/*")}
    if kind == "rebuild":
        after = sv.atlas.rebuild(atlas)
    elif kind == "compact":
        after = sv.atlas.compact(sv.atlas.compact(atlas))
    else:
        pattern = "trained.faiss" if kind == "repair all" else "part-*/vectors.npy"
        next(Path(store.uri, atlas.manifest["index"]["folder"]).glob(pattern)).unlink()
        after = sv.atlas.repair(atlas, sv.atlas.verify(atlas))
        assert sv.atlas.verify(after) == []
    assert after.cells.version > atlas.cells.version
    assert before.items() <= manifests(store).items()
    left = {one: Path(one).stat().st_ino for one in files if Path(one).exists()}
    assert left.items() <= files.items()
    assert len(after.cells) == len(atlas.cells)


def test_shapes() -> None:
    shape = {"a": int, "b": Maybe((str,)), "c": Each(float)}
    assert fault({"a": 1, "c": {"x": 1, "y": 2.5}}, shape) == ""
    assert fault({"a": 1, "b": None, "c": {}}, shape) == ""
    assert fault({"a": 1.5, "c": {}}, shape) == "a is 1.5, not int"
    assert fault({"a": 1, "b": ["x", 2], "c": {}}, shape) == "b[1] is 2, not str"
    assert fault({"a": 1, "c": {"x": "1"}}, shape) == "c['x'] is '1', not float"
    assert fault([], shape) == "it is [], not an object"


def test_a_store_that_may_not_be_written_is_read_and_says_so(store: Store, files: Path, tmp_path: Path) -> None:
    """As another user's; root is held to permissions too once it has no right to pass over them."""
    drop = "--bounding-set=-dac_override,-dac_read_search"
    before = ["setpriv", drop, "--inh-caps=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if before and shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and there is no setpriv")
    folders = [Path(store.uri), *(one for one in Path(store.uri).rglob("*") if one.is_dir())]
    for folder in folders:
        folder.chmod(0o555)

    def ran(*words: object) -> subprocess.CompletedProcess[str]:
        whole = [*before, sys.executable, "-m", "scvec", *map(str, words), "--store", store.uri]
        return subprocess.run(whole, capture_output=True, text=True, check=False)

    try:
        read = ran("query", files / "query.h5ad", "--atlas", "toy", "--out", tmp_path / "calls.csv")
        assert read.returncode == 0, read.stderr
        for words in (
            ("atlas", "remove", "toy", "--where", "label = 'beta'"),
            ("atlas", "build", "new", files / "reference.h5ad", "--label-key", "cell_type", "--recipe", "expression"),
        ):
            changed = ran(*words)
            assert changed.returncode == 2
            assert "cannot be written (permission denied): expected a store of your own" in changed.stderr
            assert changed.stderr.strip().count("\n") == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)
