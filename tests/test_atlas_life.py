"""An atlas over time: more cells, fewer, another index, an old version; and what goes wrong meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.building import shards
from scvec.atlas.engine import Local
from scvec.cli import main
from scvec.errors import ConflictError, DiskFullError, InputError, LabelError, NotInStoreError, ScvecError, StoreError
from scvec.index import IndexSpec
from tests import toy

REFINED, HASH = (sv.RECIPES[name].with_encoder("hash") for name in ("refined", "genept-w"))
KEYS: dict[str, Any] = {"label_key": "cell_type", "batch_key": "donor", "label_id_key": "cl_id"}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A file of 30 cells that the atlas does not have."""
    toy.cells(30, seed=5).write_h5ad(tmp_path / "new.h5ad")
    return tmp_path / "new.h5ad"


def rows_of(atlas: Atlas) -> dict[int, tuple[Any, ...]]:
    columns = atlas.obs.select(["row", "cell_id", "label", "label_id", "batch", "dataset"]).to_pydict()
    return {row: tuple(rest) for row, *rest in zip(*columns.values(), strict=True)}


def is_whole(atlas: Atlas) -> bool:
    """Whether every cell is there once, is found as its own nearest, and nothing is faulty."""
    own = atlas.search(atlas.vectors(atlas.filled), 1)
    np.testing.assert_allclose(own.distances, 0, atol=1e-6)
    names = list(zip(atlas.obs["dataset"].to_pylist(), atlas.obs["cell_id"].to_pylist(), strict=True))
    return len(set(names)) == len(names) and sv.atlas.verify(sv.atlas.open_atlas(atlas.store, atlas.name)) == []


def test_cells_are_added_and_the_old_stay_as_they_are(store: sv.Store, atlas: Atlas, new: Path) -> None:
    before, vectors = rows_of(atlas), atlas.vectors(atlas.rows)
    extended = sv.atlas.extend(atlas, new, shard_cells=7)
    assert extended.manifest["n_cells"] == 150
    after = rows_of(extended)
    assert {row: after[row] for row in before} == before
    assert sorted(after)[120:] == list(range(120, 150))
    assert after[121][:2] == ("s5c1", "beta")
    np.testing.assert_array_equal(extended.vectors(atlas.rows), vectors)
    assert is_whole(extended)
    assert [one["change"] for one in extended.manifest["history"]] == ["build", "extend by new"]
    assert [one["file"] for one in extended.manifest["sources"]] == ["reference.h5ad", "new.h5ad"]
    # What was embedded with them is what a query of them is embedded as.
    calls = sv.annotate(new, extended, k=1)
    assert calls.neighbor_names[:, 0].tolist() == [f"s5c{i}" for i in range(30)]
    np.testing.assert_allclose(calls.distance, 0, atol=1e-6)


def test_the_same_cells_are_not_added_twice(atlas: Atlas, new: Path) -> None:
    extended = sv.atlas.extend(atlas, new)
    with pytest.raises(InputError, match="already has cells of dataset 'new'"):
        sv.atlas.extend(extended, new)
    assert sv.atlas.extend(extended, new, dataset="again").manifest["n_cells"] == 180


def test_a_label_that_is_new(store: sv.Store, atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(40, seed=6)
    cells.obs["cell_type"] = [f"new {one}" for one in cells.obs["cell_type"]]
    cells.obs["cl_id"] = "CL:9"
    cells.write_h5ad(tmp_path / "n.h5ad")
    extended = sv.atlas.extend(atlas, tmp_path / "n.h5ad")
    assert extended.label_names.tolist() == [*toy.LABELS, *(f"new {one}" for one in toy.LABELS)]
    assert extended.label_ids["new beta"] == "CL:9"
    calls = sv.annotate(tmp_path / "n.h5ad", extended, k=1, block=list(toy.LABELS))
    assert set(calls.label) == {f"new {one}" for one in toy.LABELS}
    some = sv.annotate(tmp_path / "n.h5ad", extended, max_error=0.2, sets=True)
    assert len(some.label) == 40
    cells.obs["cell_type"] = "beta"
    cells.write_h5ad(tmp_path / "o.h5ad")
    with pytest.raises(LabelError, match="label 'beta' has ids 'CL:0000169' and 'CL:9'"):
        sv.atlas.extend(extended, tmp_path / "o.h5ad")


def test_cells_are_removed_and_not_found(store: sv.Store, atlas: Atlas) -> None:
    left = sv.atlas.remove(atlas, "label = 'beta'")
    assert (left.manifest["n_cells"], left.manifest["n_labels"], len(left.index)) == (90, 3, 120)
    found = left.search(atlas.vectors(atlas.rows), 90)
    assert set(found.ids.ravel().tolist()) == set(left.rows.tolist())
    assert is_whole(left)
    with pytest.raises(InputError, match="holds for 0 of the 90 cells"):
        sv.atlas.remove(left, "label = 'beta'")
    with pytest.raises(InputError, match="holds for 90 of the 90"):
        sv.atlas.remove(left, "true")
    with pytest.raises(InputError, match="no column lable"):
        sv.atlas.remove(left, "lable = 'beta'")


@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW8", "IVF4,SQ8", "lance:IVF_FLAT", "lance:IVF_HNSW_SQ"])
def test_a_whole_life(store: sv.Store, files: Path, new: Path, factory: str) -> None:
    """Built, extended, removed from, compacted, rebuilt: exact search over the rows that should be there agrees."""
    atlas = sv.atlas.build(
        store, "life", files / "reference.h5ad", recipe=HASH, index=IndexSpec(factory=factory, recall=1.0), **KEYS
    )
    everything = atlas.vectors(atlas.rows)
    atlas = sv.atlas.extend(atlas, new)
    everything = np.concatenate([everything, atlas.vectors(np.arange(120, 150))])
    atlas = sv.atlas.remove(atlas, "batch = 'd1' AND dataset = 'reference'")
    expected = np.array([row for row in range(150) if row >= 120 or row % 3 != 1])
    for atlas in (atlas, sv.atlas.compact(atlas), sv.atlas.rebuild(sv.atlas.open_atlas(store, "life"))):  # noqa: B020
        assert atlas.rows.tolist() == expected.tolist()
        np.testing.assert_array_equal(atlas.vectors(expected), everything[expected])
        found = atlas.search(everything[:20], 10)
        exact = 1 - everything[:20].astype(np.float64) @ everything[expected].astype(np.float64).T
        np.testing.assert_allclose(found.distances, np.sort(exact, axis=1)[:, :10], atol=1e-6)
        assert is_whole(atlas)
    assert len(atlas.index) == 110
    assert [one["change"].split()[0] for one in atlas.manifest["history"]] == [
        "build",
        "extend",
        "remove",
        "compact",
        "rebuild",
    ]


def test_an_old_version_comes_back_and_can_be_changed(store: sv.Store, atlas: Atlas, new: Path) -> None:
    before = rows_of(atlas)
    sv.atlas.remove(sv.atlas.extend(atlas, new), "label = 'alpha'")
    assert sv.atlas.versions(store, "toy") == [1, 2, 3]
    assert sv.atlas.open_atlas(store, "toy", 2).manifest["n_cells"] == 150
    back = sv.atlas.checkout(store, "toy", 1)
    assert (rows_of(back), back.cells.version) == (before, 4)
    assert is_whole(back)
    again = sv.atlas.extend(back, new)
    assert (again.manifest["n_cells"], sorted(rows_of(again))) == (150, list(range(150)))
    assert is_whole(again)
    with pytest.raises(NotInStoreError, match="no version 9: expected one of: 1, 2, 3, 4, 5"):
        sv.atlas.checkout(store, "toy", 9)


def test_forgotten_versions_take_no_room(store: sv.Store, atlas: Atlas, new: Path) -> None:
    extended = sv.atlas.remove(sv.atlas.extend(atlas, new), "label = 'alpha'")
    compacted = sv.atlas.compact(extended, forget=True)
    assert sv.atlas.versions(store, "toy") == [compacted.cells.version]
    assert is_whole(compacted)
    folder = Path(store.uri, "atlases", "toy")
    assert len(list((folder / "cells.lance" / "data").iterdir())) == 1
    assert len(list((folder / "index").rglob("vectors.npy"))) == 1
    with pytest.raises(NotInStoreError, match="no version 1"):
        sv.atlas.checkout(store, "toy", 1)


def test_several_files_make_one_atlas_of_their_common_genes(store: sv.Store, files: Path, tmp_path: Path) -> None:
    for name, genes in (("a", slice(0, 200)), ("b", slice(10, 240))):
        (tmp_path / name).mkdir()
        toy.cells(40, seed=ord(name))[:, genes].copy().write_h5ad(tmp_path / name / "matrix.h5ad")
    atlas = sv.atlas.build(store, "both", str(tmp_path / "*" / "matrix.h5ad"), recipe=HASH, **KEYS)
    assert sorted(atlas.obs["dataset"].unique().to_pylist()) == ["a", "b"]
    assert len(atlas.embedding.gene_ids) == 190
    assert (atlas.manifest["n_cells"], len(atlas.manifest["sources"])) == (80, 2)
    assert is_whole(atlas)
    toy.cells(40, seed=9)[:, 225:].copy().write_h5ad(tmp_path / "few.h5ad")
    with pytest.raises(InputError, match=r"few\.h5ad"):
        sv.atlas.build(store, "x", [tmp_path / "few.h5ad", tmp_path / "a" / "matrix.h5ad"], recipe=HASH, **KEYS)
    with pytest.raises(InputError, match="given twice"):
        sv.atlas.build(
            store, "x", [files / "query.h5ad", files / ".." / files.name / "query.h5ad"], recipe=HASH, **KEYS
        )


class AtShards(Local):
    """An engine that does something else while shards are embedded, and nothing while an index is made."""

    def each(self, worker: Any, common: Any, pieces: Any) -> Any:
        with closing(super().each(worker, common, pieces)) as made:
            yield from self.shards(made) if worker is shards.worker else made

    def shards(self, made: Iterator[shards.Done]) -> Iterator[shards.Done]:
        raise NotImplementedError


class Breaking(AtShards):
    """It stops after some shards."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.after, self.error, self.embedded = after, error, 0

    def shards(self, made: Iterator[shards.Done]) -> Iterator[shards.Done]:
        for done in made:
            yield done
            self.embedded += 1
            if self.embedded == self.after:
                raise self.error


@pytest.mark.parametrize("extending", [False, True])
def test_what_was_interrupted_goes_on_where_it_was(
    store: sv.Store, files: Path, atlas: Atlas, new: Path, extending: bool
) -> None:
    def run(engine: Breaking) -> Atlas:
        if extending:
            return sv.atlas.extend(sv.atlas.open_atlas(store, "toy"), new, shard_cells=5, engine=engine)
        path = files / "query.h5ad"
        return sv.atlas.build(
            store, "toy", path, recipe=REFINED, shard_cells=5, engine=engine, overwrite=True, label_key="donor"
        )

    n_shards = 6 if extending else 9
    before = rows_of(atlas)
    with pytest.raises(KeyboardInterrupt):
        run(Breaking(2, KeyboardInterrupt()))
    with pytest.raises(DiskFullError):
        run(Breaking(1, DiskFullError("no space", "some", "free some")))
    assert rows_of(sv.atlas.open_atlas(store, "toy")) == before
    last = Breaking(-1, KeyboardInterrupt())
    built = run(last)
    assert last.embedded == n_shards - 3
    assert built.manifest["n_cells"] == (150 if extending else 41)
    assert is_whole(built)
    assert not store.children("atlases/toy/job")


def test_another_plan_throws_away_what_the_first_left(store: sv.Store, files: Path, new: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        sv.atlas.build(
            store,
            "n",
            files / "query.h5ad",
            recipe=HASH,
            shard_cells=5,
            engine=Breaking(3, KeyboardInterrupt()),
            **KEYS,
        )
    data = Path(store.uri, "atlases", "n", "cells.lance", "data")
    assert len(list(data.iterdir())) == 3
    built = sv.atlas.build(store, "n", new, recipe=HASH, shard_cells=100, **KEYS)
    assert (len(list(data.iterdir())), built.manifest["n_cells"]) == (1, 30)


def test_a_file_that_changes_while_it_is_read(store: sv.Store, tmp_path: Path) -> None:
    path = tmp_path / "r.h5ad"
    toy.cells(40).write_h5ad(path)

    class Changing(AtShards):
        def shards(self, made: Iterator[shards.Done]) -> Iterator[shards.Done]:
            for number, done in enumerate(made):
                yield done
                if number == 1:
                    os.utime(path, ns=(1, 1))

    with pytest.raises(ConflictError, match=r"r\.h5ad was changed while it was read"):
        sv.atlas.build(store, "c", path, recipe=HASH, shard_cells=10, engine=Changing(), **KEYS)
    assert sv.atlas.list_atlases(store) == ["toy"]
    assert is_whole(sv.atlas.build(store, "c", path, recipe=HASH, shard_cells=10, **KEYS))


def test_of_two_writers_one_wins_and_the_other_is_told(store: sv.Store, atlas: Atlas, new: Path) -> None:
    other = sv.atlas.open_atlas(store, "toy")

    class Meanwhile(AtShards):
        def shards(self, made: Iterator[shards.Done]) -> Iterator[shards.Done]:
            with pytest.raises(ConflictError, match="another process is writing"):
                sv.atlas.remove(other, "label = 'beta'")
            yield from made

    extended = sv.atlas.extend(atlas, new, engine=Meanwhile())
    with pytest.raises(ConflictError, match="is at version 2: expected version 1"):
        sv.atlas.remove(other, "label = 'beta'")
    assert rows_of(sv.atlas.open_atlas(store, "toy")) == rows_of(extended)


def test_a_writer_without_a_lock_is_told_at_the_end(
    store: sv.Store, atlas: Atlas, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an object store, where there is no lock."""
    monkeypatch.setattr(type(store), "only_writer", lambda *_: __import__("contextlib").nullcontext())
    other = sv.atlas.open_atlas(store, "toy")

    class Meanwhile(AtShards):
        def shards(self, made: Iterator[shards.Done]) -> Iterator[shards.Done]:
            yield from made
            sv.atlas.remove(other, "label = 'beta'")

    with pytest.raises(ConflictError, match="version 2, as another process"):
        sv.atlas.extend(atlas, new, engine=Meanwhile())
    left = sv.atlas.open_atlas(store, "toy")
    assert (left.manifest["n_cells"], is_whole(left)) == (90, True)


@pytest.mark.parametrize("small_disk", ["2m"], indirect=True)
def test_a_full_disk_in_a_shard(small_disk: Path, store: sv.Store, files: Path, tmp_path: Path) -> None:
    shutil.copytree(store.uri, small_disk / "s")
    toy.cells(4000, seed=3).write_h5ad(tmp_path / "large.h5ad")
    small = sv.Store(small_disk / "s")
    with pytest.raises(DiskFullError, match="free space"):
        sv.atlas.build(small, "large", tmp_path / "large.h5ad", recipe=sv.RECIPES["random"], shard_cells=200, **KEYS)
    assert sv.atlas.list_atlases(small) == ["toy"]
    assert is_whole(sv.atlas.open_atlas(small, "toy"))


KILLED = """
import sys
import scvec as sv
recipe = sv.RECIPES["genept-w"].with_encoder("hash")
store, kind, path = sv.Store(sys.argv[1]), sys.argv[2], sys.argv[3]
print("begun", flush=True)
if kind == "build":
    sv.atlas.build(store, "new", path, recipe=recipe, shard_cells=40, index=sv.IndexSpec(factory="IVF4,SQ8"),
                   label_key="cell_type", batch_key="donor", label_id_key="cl_id")
else:
    sv.atlas.extend(sv.atlas.open_atlas(store, "toy"), path, shard_cells=40)
print("ended", flush=True)
"""


def killed_after(seconds: float, *arguments: str) -> None:
    """Run a build in a process that is killed some time after it began."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["build", "extend"])
def test_killed_at_random_moments(store: sv.Store, tmp_path: Path, kind: str) -> None:
    """Ten times each: nothing half-made is ever seen, no recorded shard is embedded again, and it ends well."""
    toy.cells(800, seed=4).write_h5ad(tmp_path / "r.h5ad")
    name, n_before, n_after = ("new", None, 800) if kind == "build" else ("toy", 120, 920)
    folder = Path(store.uri, "atlases", name, "job", "shards")

    def n_cells() -> int | None:
        there = name in sv.atlas.list_atlases(store)
        return int(sv.atlas.open_atlas(store, name).manifest["n_cells"]) if there else None

    def recorded() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.json")}

    rng, kills = random.Random(kind), 0
    while kills < 10 and n_cells() == n_before:
        before = recorded()
        killed_after(rng.uniform(0.0, 1.6), store.uri, kind, str(tmp_path / "r.h5ad"))
        kills += 1
        if n_cells() == n_before:
            assert before.items() <= recorded().items()
    if n_cells() == n_before:
        command = [sys.executable, "-c", KILLED, store.uri, kind, str(tmp_path / "r.h5ad")]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.endswith("ended\n")
    assert n_cells() == n_after
    assert is_whole(sv.atlas.open_atlas(store, name))


FAULTS = [
    ("index/**/vectors.npy", True),
    ("index/**/rows.npy", True),
    ("index/**/index.faiss", True),
    ("index/**/trained.faiss", True),
    ("fitted/**/projection.safetensors", False),
    ("cells.lance/data/*.lance", False),
]


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
@pytest.mark.parametrize(("pattern", "mends"), FAULTS)
def test_a_corrupt_file_is_named_and_what_is_derived_is_made_again(
    store: sv.Store, files: Path, capsys: pytest.CaptureFixture[str], pattern: str, mends: bool, how: str
) -> None:
    spec = IndexSpec(factory="IVF4,SQ8", recall=1.0)
    atlas = sv.atlas.build(store, "frail", files / "reference.h5ad", recipe=HASH, index=spec, **KEYS)
    before = atlas.search(atlas.vectors(np.arange(20)), 5)
    (path,) = Path(store.uri, "atlases", "frail").glob(pattern)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if how == "flipped":
        content[middle : middle + 64] = bytes(255 - one for one in content[middle : middle + 64])
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:middle] if how == "cut" else content)
    assert main(["atlas", "verify", "frail", "--store", store.uri]) == 2
    said = capsys.readouterr().err
    assert path.name in said or "cells" in said
    assert main(["atlas", "verify", "frail", "--repair", "--store", store.uri]) == (0 if mends else 2)
    if mends:
        mended = sv.atlas.open_atlas(store, "frail")
        assert is_whole(mended)
        found = mended.search(mended.vectors(np.arange(20)), 5)
        np.testing.assert_array_equal(found.ids, before.ids)


def test_a_part_whose_cells_were_all_removed_is_left_out_by_a_repair(store: sv.Store, atlas: Atlas, new: Path) -> None:
    left = sv.atlas.remove(sv.atlas.extend(atlas, new), "dataset = 'new'")
    part = left.manifest["index"]["parts"][1]
    Path(store.uri, left.manifest["index"]["folder"], part["name"], "vectors.npy").write_bytes(b"")
    mended = sv.atlas.repair(left, sv.atlas.verify(left))
    assert len(mended.manifest["index"]["parts"]) == 1
    assert is_whole(mended)


def test_an_old_version_is_the_way_back_from_a_broken_one(store: sv.Store, atlas: Atlas, new: Path) -> None:
    extended = sv.atlas.extend(atlas, new)
    Path(store.uri, "atlases", "toy", f"v{extended.cells.version}", "manifest.json").write_text("{")
    with pytest.raises(StoreError):
        sv.atlas.open_atlas(store, "toy")
    back = sv.atlas.checkout(store, "toy", 1)
    assert rows_of(back) == rows_of(atlas)
    assert is_whole(back)


def test_vectors_in_half_the_room(store: sv.Store, files: Path) -> None:
    from dataclasses import replace

    whole = sv.atlas.build(store, "whole", files / "reference.h5ad", recipe=REFINED, **KEYS)
    half = sv.atlas.build(store, "half", files / "reference.h5ad", recipe=replace(REFINED, dtype="float16"), **KEYS)
    np.testing.assert_allclose(half.vectors(half.rows), whole.vectors(whole.rows), atol=1e-3)
    sizes = [
        sum(f.stat().st_size for f in Path(store.uri, "atlases", n).rglob("vectors.npy")) for n in ("half", "whole")
    ]
    assert sizes[0] < 0.6 * sizes[1]
    assert sv.atlas.verify(half) == []
    found, truth = (sv.annotate(files / "query.h5ad", one) for one in (half, whole))
    assert found.label.tolist() == truth.label.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extend", "toy", "NEW"], "extend by new"),
        (["remove", "toy", "--where", "label = 'beta'"], "90 of 3 labels"),
        (["rebuild", "toy", "--index", "Flat"], "Flat, recall@15"),
        (["compact", "toy", "--forget"], "compact"),
        (["checkout", "toy", "1"], "check out version 1"),
        (["verify", "toy"], "all of its 120 cells are intact"),
        (["info", "toy", "--version", "1"], "1 build"),
    ],
)
def test_the_verbs(
    store: sv.Store, new: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    asked = [str(new) if one == "NEW" else one for one in arguments]
    assert main(["atlas", *asked, "--store", store.uri, "--quiet"]) == 0
    assert said in capsys.readouterr().out
    assert main(
        [
            "atlas",
            *asked,
            "--store",
            store.uri,
            "--json",
            "--quiet",
            *(["--dataset", "x"] if "NEW" in arguments else []),
        ]
    ) in (0, 2)
    out = capsys.readouterr().out
    assert not out or json.loads(out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extend", "nil", "NEW"], "no atlas 'nil'"),
        (["extend", "toy", "NEW", "--label-key", "nil"], "no obs column for --label-key 'nil'"),
        (["extend", "toy", "no.h5ad"], "no.h5ad"),
        (["remove", "toy", "--where", "nil"], "no column nil"),
        (["rebuild", "toy", "--index", "Nil"], "'Nil'"),
        (["rebuild", "toy", "--recall", "2"], "--recall must be"),
        (["rebuild", "toy", "--memory", "much"], "--memory must be"),
        (["checkout", "toy", "7"], "no version 7"),
        (["extend", "toy", "NEW", "--device", "tpu"], "--device must be"),
        (["extend", "toy", "NEW", "--address", "x:1"], "--engine ray"),
    ],
)
def test_bad_input_is_one_line(
    store: sv.Store, new: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    asked = [str(new) if one == "NEW" else one for one in arguments]
    before = rows_of(sv.atlas.open_atlas(store, "toy"))
    assert main(["atlas", *asked, "--store", store.uri]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]
    assert len(lines) == 1
    assert rows_of(sv.atlas.open_atlas(store, "toy")) == before


def test_errors_are_of_the_tree() -> None:
    assert issubclass(ConflictError, StoreError)
    assert issubclass(ConflictError, ScvecError)
