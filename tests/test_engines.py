from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec import errors
from scvec.atlas.engine import Local
from scvec.errors import InputError, ScvecError
from tests import toy
from tests.engines import HASH, After, Twice, build, check_equal, check_whole, data_files


@pytest.fixture
def twin(store: sv.Store, tmp_path: Path) -> sv.Store:
    """Another store, with what `store` has."""
    shutil.copytree(store.uri, tmp_path / "twin")
    return sv.Store(tmp_path / "twin")


@pytest.fixture
def reference(files: Path) -> Path:
    return files / "reference.h5ad"


KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ScvecError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_pass_between_processes(kind: type[ScvecError]) -> None:
    error = kind("a thing", "another", "do it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.seen, again.expected, again.fix, str(again)) == (error.seen, error.expected, error.fix, str(error))


@pytest.mark.parametrize("cells", [1, 7, 119, 120, 1000])
def test_the_atlas_is_the_same_however_it_is_cut(store: sv.Store, twin: sv.Store, reference: Path, cells: int) -> None:
    local = After(Local())
    cut = build(store, reference, local, shard_cells=cells)
    check_whole(cut, 120)
    assert len(local.asked) == -(-120 // cells) + 1  # and a part of the index
    check_equal(cut, build(twin, reference, shard_cells=None))


def test_shards_have_cells(store: sv.Store, reference: Path) -> None:
    with pytest.raises(InputError, match=r"`shard_cells` must be at least 1 \(got 0\)"):
        build(store, reference, shard_cells=0)
    assert sv.atlas.list_atlases(store) == ["toy"]


def test_rows_staged_twice_are_there_once(store: sv.Store, twin: sv.Store, reference: Path) -> None:
    built = build(store, reference, Twice(), shard_cells=40)
    check_equal(built, build(twin, reference, shard_cells=40))
    check_whole(built, 120)
    assert len(data_files(built)) == 6
    extended = sv.atlas.extend(built, reference.with_name("query.h5ad"), shard_cells=41, engine=Twice())
    assert len(data_files(extended)) == 8
    compacted = sv.atlas.compact(extended, forget=True)
    check_whole(compacted, 161)
    assert len(data_files(compacted)) == 1


def test_what_was_recorded_is_not_made_again(store: sv.Store, twin: sv.Store, reference: Path) -> None:
    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(store, reference, After(Local(), end, 5))
    again = After(Local())
    check_equal(build(store, reference, again), build(twin, reference))
    assert [one.number for one in again.asked[:-1]] == list(range(5, 12))


def test_paths_are_those_of_all_processes(
    store: sv.Store, twin: sv.Store, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reference.parent)
    local = After(Local())
    built = build(store, Path(reference.name), local)
    assert built.manifest == build(twin, reference).manifest  # with a fingerprint of the path


@pytest.mark.parametrize("k", [1, 15, 200])
@pytest.mark.parametrize("factory", ["IVF4,Flat", "IVF4,SQ8"])
def test_search_in_parts_is_search(store: sv.Store, tmp_path: Path, factory: str, k: int) -> None:
    toy.cells(150).write_h5ad(tmp_path / "reference.h5ad")
    spec = sv.IndexSpec(factory=factory, memory=20 * 1024, recall=1.0)
    atlas = build(store, tmp_path / "reference.h5ad", index=spec)
    assert len(atlas.manifest["index"]["parts"]) >= 3
    queries = atlas.vectors(atlas.rows[:40])
    for rows in (None, atlas.rows[::3], atlas.rows[:5], atlas.rows[:0]):
        found = sv.atlas.search_parts(atlas, queries, k, Local(), rows)
        among = None if rows is None else atlas.narrowed(rows)
        wanted = atlas.search(queries, k, among)
        assert found.ids.shape == found.distances.shape == (40, k)
        # Candidates of each part are no fewer than those of all parts together.
        assert (found.distances <= wanted.distances).all()
        if factory.endswith("Flat"):
            np.testing.assert_array_equal(found.ids, wanted.ids)
            np.testing.assert_array_equal(found.distances, wanted.distances)


def test_search_in_parts_without_removed_cells(store: sv.Store, reference: Path) -> None:
    built = build(store, reference, recipe=HASH)
    extended = sv.atlas.extend(built, reference.with_name("query.h5ad"))
    left = sv.atlas.remove(extended, "label = 'beta'")
    queries = extended.vectors(extended.rows)
    found, wanted = sv.atlas.search_parts(left, queries, 15, Local()), left.search(queries, 15)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.distances, wanted.distances)
    assert np.isin(found.ids, left.rows).all()
