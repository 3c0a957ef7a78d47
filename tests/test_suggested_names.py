"""Names of groups of unknown cells, beside the calls and in an AnnData."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import polars as pl
import pytest

import scvec as sv
from scvec.annotation import writing
from scvec.atlas import Atlas
from scvec.errors import InputError
from scvec.naming import Names, Suggestion, with_names
from scvec.ontology.tables import write_ontology
from tests import toy, toy_ontology, unsure

N = 41
KEYS = ["", "_cluster", "_score", "_term_id"]


@pytest.fixture(scope="module")
def toys(_built: Path) -> Atlas:
    return sv.atlas.open_atlas(sv.Store(_built), "toy")


@pytest.fixture(scope="module")
def called(toys: Atlas) -> sv.Annotation:
    """Calls of which some are unknown and some are not."""
    cells = unsure.cells(N, seed=1)
    cells.X[::2] = toy.cells(N, seed=1, form="dense").X[::2]
    made = sv.annotate(cells, toys, max_error=0.05)
    assert 6 < made.rejected.sum() < N
    return made


@pytest.fixture(scope="module")
def names(called: sv.Annotation) -> Names:
    """The unknown cells in three groups, of which the second has no name that stands out, and the third no gene."""
    unknown = np.flatnonzero(called.rejected)
    member = np.full(N, -1)
    member[unknown] = np.arange(len(unknown)) % 3
    found = (
        (
            Suggestion("CL:0000169", "type B pancreatic cell", 0.71, ("TOY1", "TOY9"), ("It secretes insulin.", "")),
            Suggestion("CL:0000171", "pancreatic A cell", 0.2, ("TOY0",), ("",)),
        ),
        (Suggestion("CL:0000738", "leukocyte", 0.1, ("TOY3",), ("",)),),
        (),
    )
    return Names(
        clusters=np.array(["0", "1", "2"], object),
        n_cells=np.bincount(member[unknown]),
        suggestions=found,
        stands_out=np.array([True, False, False]),
        member=member,
        obs_names=called.obs_names,
        notes=("about the names",),
        provenance={"encoder": "hash"},
    )


def test_unknown_cells_get_a_name_beside_their_call(called: sv.Annotation, names: Names) -> None:
    seen = with_names(called, names)
    frame, before = seen.to_polars(), called.to_polars()
    named = names.member == 0
    added = ["suggested_term", "suggested_name", "suggested_score", "suggested_genes"]
    assert [one for one in frame.columns if one not in before.columns] == added
    assert frame[before.columns].equals(before)
    for column, value in zip(
        added, ("CL:0000169", "type B pancreatic cell", np.float32(0.71), "TOY1, TOY9"), strict=True
    ):
        assert frame[column].to_list() == [value if one else None for one in named]
    assert seen.notes[: len(called.notes)] == called.notes
    n, unknown = int(named.sum()), int(called.rejected.sum())
    said = f"a name stands out for 1 of 3 groups of unknown cells, {n} of {unknown} such cells"
    assert seen.notes[-2].startswith(said)
    assert seen.notes[-1] == "about the names"
    assert seen.provenance["names"] == {"encoder": "hash"}
    assert called.suggested is None


def test_a_cell_with_a_label_gets_no_name(called: sv.Annotation, names: Names) -> None:
    """Also where its cluster has one."""
    seen = with_names(called, replace(names, member=np.zeros(N, np.int64)))
    assert seen.suggested is not None
    assert (seen.suggested.name != "").tolist() == called.rejected.tolist()
    for part in (seen.suggested.term_id, seen.suggested.genes):
        assert set(part[~called.rejected].tolist()) == {""}
    assert np.isnan(seen.suggested.score[~called.rejected]).all()


def test_names_of_other_cells_are_refused(called: sv.Annotation, names: Names) -> None:
    with pytest.raises(InputError, match="not of the cells of the calls"):
        with_names(called, replace(names, obs_names=called.obs_names[::-1]))


def test_columns_are_there_where_nothing_stands_out(called: sv.Annotation, names: Names) -> None:
    seen = with_names(called, replace(names, stands_out=np.zeros(3, bool))).to_polars()
    kinds = [seen.schema[f"suggested_{one}"] for one in ("term", "name", "score", "genes")]
    assert kinds == [pl.String, pl.String, pl.Float32, pl.String]
    assert seen["suggested_name"].null_count() == N


@pytest.mark.parametrize("ending", ["h5ad", "parquet", "csv"])
def test_suggested_names_are_written_with_the_calls(
    called: sv.Annotation, names: Names, toys: Atlas, tmp_path: Path, ending: str
) -> None:
    query, out = tmp_path / "q.h5ad", tmp_path / f"calls.{ending}"
    unsure.cells(N, seed=1).write_h5ad(query)
    calls = with_names(sv.annotate(query, toys, max_error=0.05), names)
    writing.write(calls, out, query)
    wanted = ["type B pancreatic cell" if one == 0 else None for one in names.member]
    if ending == "h5ad":
        seen = ad.read_h5ad(out)
        assert seen.obs["scvec_suggested_name"].astype(object).where(lambda one: one.notna(), None).tolist() == wanted
        assert seen.obs["scvec_suggested_name"].cat.categories.tolist() == ["type B pancreatic cell"]
        assert json.loads(seen.uns["scvec"]["provenance"])["names"] == {"encoder": "hash"}
        called.write(seen)  # without names: theirs go
        assert not [one for one in seen.obs if "suggested" in one]
    else:
        seen = pl.read_parquet(out) if ending == "parquet" else pl.read_csv(out)
        assert seen["suggested_name"].to_list() == wanted


def test_names_in_an_adata(names: Names, tmp_path: Path) -> None:
    adata = unsure.cells(N, seed=1)
    before = set(adata.obs)
    names.write(adata)
    assert set(adata.obs) - before == {f"scvec_name{one}" for one in KEYS}
    assert adata.obs["scvec_name"].isna().tolist() == (names.member != 0).tolist()
    assert set(adata.obs["scvec_name_term_id"].dropna()) == {"CL:0000169"}
    assert adata.obs["scvec_name_cluster"].dropna().tolist() == [str(one) for one in names.member if one >= 0]
    adata.write_h5ad(tmp_path / "named.h5ad")
    about = ad.read_h5ad(tmp_path / "named.h5ad").uns["scvec_name"]
    table = pd.DataFrame(about["names"])
    pd.testing.assert_frame_equal(table[names.to_polars().columns], names.to_pandas(), check_dtype=False)
    assert about["notes"].tolist() == ["about the names"]
    assert json.loads(about["provenance"]) == {"encoder": "hash"}


def test_names_replace_their_own_entries_alone(called: sv.Annotation, names: Names) -> None:
    adata = unsure.cells(N, seed=1)
    with_names(called, names).write(adata)
    names.write(adata)
    names.write(adata, "mine")
    fewer = replace(names, stands_out=np.zeros(3, bool), notes=())
    fewer.write(adata, "mine")
    assert adata.obs["mine"].isna().all()
    assert adata.uns["mine"]["notes"].tolist() == []
    assert adata.obs["scvec_name"].notna().sum() == (names.member == 0).sum()
    called.write(adata)  # calls do not take the names for their own
    assert {f"scvec_name{one}" for one in KEYS} <= set(adata.obs)
    assert "scvec_suggested_name" not in adata.obs
    del adata.uns["scvec_name"]  # as a concat does
    names.write(adata)
    with pytest.raises(InputError, match=r"`key_added` 'cell_type' would replace obs\['cell_type'\]"):
        names.write(adata, "cell_type")
    with pytest.raises(InputError, match="`key_added` must be"):
        names.write(adata, "a/b")


def test_names_are_matched_to_cells_by_name(names: Names) -> None:
    some = unsure.cells(N, seed=1)[[7, 3, 30]].copy()
    names.write(some, "mine")
    assert some.obs["mine"].notna().tolist() == (names.member[[7, 3, 30]] == 0).tolist()
    with pytest.raises(InputError, match="were not annotated"):
        names.write(toy.cells(5, seed=9))


@pytest.fixture
def with_terms(store: sv.Store) -> sv.Store:
    """A store with the toy gene texts and the toy ontology."""
    write_ontology(store, toy_ontology.TOY, {})
    return store


def test_names_in_scanpys_manner(with_terms: sv.Store) -> None:
    adata = toy.cells(N, seed=1)
    expected = sv.name(adata, with_terms, cluster_key="cell_type", n=2, encoder="tfidf")
    sv.tl.name(adata, with_terms, cluster_key="cell_type", n=2, encoder="tfidf")
    assert {f"scvec_name{one}" for one in KEYS} <= set(adata.obs)
    assert adata.obs["scvec_name_cluster"].tolist() == adata.obs["cell_type"].tolist()
    first = dict(zip(expected.clusters.tolist(), (expected.first(i) for i in range(len(expected))), strict=True))
    wanted = [one.name if (one := first[label]) else None for label in adata.obs["cell_type"]]
    assert adata.obs["scvec_name"].astype(object).where(lambda one: one.notna(), None).tolist() == wanted
    table = pd.DataFrame(adata.uns["scvec_name"]["names"])
    assert table.groupby("cluster").size().to_dict() == dict.fromkeys(toy.LABELS, 2)
    assert not [one for one in adata.uns["scvec_name"]["notes"] if "unknown" in one]


def test_names_of_some_cells_leave_the_others_missing(with_terms: sv.Store) -> None:
    adata = toy.cells(N, seed=1)
    sv.tl.name(adata, with_terms, cluster_key="cell_type", key_added="some", only="donor = 'd1'", encoder="tfidf")
    assert adata.obs["some_cluster"].notna().tolist() == (adata.obs["donor"] == "d1").tolist()


def test_bad_input_changes_nothing(with_terms: sv.Store) -> None:
    adata = toy.cells(N, seed=1)
    before = set(adata.obs)
    with pytest.raises(InputError, match="`key_added` must be"):
        sv.tl.name(adata, with_terms, key_added="a/b")
    with pytest.raises(InputError, match="there is no option `cluster_kee`"):
        sv.tl.name(adata, with_terms, cluster_kee="cell_type")  # type: ignore[call-arg]
    adata.obs["mine_score"] = 1.0
    with pytest.raises(InputError, match=r"would replace obs\['mine_score'\]"):
        sv.tl.name(adata, with_terms, cluster_key="cell_type", key_added="mine", encoder="tfidf")
    assert set(adata.obs) - before == {"mine_score"}
    assert not adata.uns
