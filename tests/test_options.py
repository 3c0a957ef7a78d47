"""Options as one value or field by field; labels as a column or as values."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import polars as pl
import pytest
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.annotation import options as calling
from scvec.annotation.options import QueryChanges, QueryOptions
from scvec.atlas import Atlas
from scvec.atlas.building import options as building
from scvec.atlas.building.options import BuildChanges, BuildOptions, ExtendChanges, ExtendOptions
from scvec.atlas.query_cells import query_cells
from scvec.core.options import merged
from scvec.embed import GeneVectors
from scvec.errors import InputError, KeyNotFoundError, LabelError
from scvec.ingest.cells import options as reading
from scvec.ingest.cells.options import ReadChanges, ReadOptions
from scvec.ontology import Ontology
from tests import toy

KINDS = [
    (ReadOptions, ReadChanges, query_cells),
    (QueryOptions, QueryChanges, sv.annotate),
    (ExtendOptions, ExtendChanges, sv.atlas.extend),
    (BuildOptions, BuildChanges, sv.atlas.build),
]
HIDDEN = {"Ontology": Ontology, "GeneVectors": GeneVectors, "Recipe": sv.Recipe, "IndexSpec": sv.IndexSpec}
NAMES = {**vars(reading), **vars(calling), **vars(building), **HIDDEN, "Cells": str | Path | AnnData}
"""What annotations name, also where it is imported for type checkers only."""


def hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, localns=NAMES)


# What is said twice is said alike.


@pytest.mark.parametrize(("options", "changes", "function"), KINDS)
def test_the_keywords_are_the_fields(options: Any, changes: Any, function: Any) -> None:
    assert hints(changes) == hints(options)
    assert list(hints(changes)) == [one.name for one in fields(options)]
    assert not changes.__required_keys__


@pytest.mark.parametrize(("options", "changes", "function"), KINDS[1:])
def test_a_signature_spells_out_the_fields(options: Any, changes: Any, function: Any) -> None:
    parameters = inspect.signature(function).parameters
    own = {one.name: one for one in fields(options)}
    assert own.keys() <= parameters.keys()
    for name, one in own.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        default = one.default if one.default_factory is MISSING else one.default_factory()
        assert parameters[name].default == default
    assert not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def test_help_shows_the_query_first_and_then_every_option() -> None:
    names = list(inspect.signature(sv.annotate).parameters)
    assert names[:4] == ["query", "atlas", "options", "progress"]
    assert {"max_error", "layer", "k", "use_rep"} < set(names)


@pytest.mark.parametrize(("options", "changes", "function"), KINDS)
def test_options_are_frozen_and_by_name(options: Any, changes: Any, function: Any) -> None:
    made = options()
    assert made == options()
    with pytest.raises(FrozenInstanceError):
        made.layer = "counts"
    with pytest.raises(TypeError):
        options("obs.csv")


# One value, and changes of it.


@given(st.dictionaries(st.sampled_from(["layer", "gene_key", "obs"]), st.text(), max_size=3), st.integers(1, 99))
def test_changes_go_before_the_options(changes: dict[str, str], k: int) -> None:
    options = QueryOptions(layer="raw", k=k)
    found = merged(QueryOptions, options, dict(changes))
    assert found == replace(options, **changes)  # type: ignore[arg-type]  # the keys are drawn
    assert options == QueryOptions(layer="raw", k=k)
    assert merged(QueryOptions, None, dict(changes)) == QueryOptions(**changes)  # type: ignore[arg-type]
    assert found.votes.k == k


def test_one_value_calls_as_its_fields_do(atlas: Atlas, files: Path) -> None:
    query, options = files / "query.h5ad", QueryOptions(k=3, block=("ductal",))
    one, fieldwise = sv.annotate(query, atlas, options), sv.annotate(query, atlas, k=3, block=("ductal",))
    assert one.to_frame().equals(fieldwise.to_frame())
    changed = sv.annotate(query, atlas, options, k=7)
    assert changed.to_frame().equals(sv.annotate(query, atlas, k=7, block=("ductal",)).to_frame())
    assert (changed.neighbors.ids.shape[1], changed.provenance["block"]) == (7, ["ductal"])
    assert options.k == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_eror": 0.1}, "there is no option `max_eror`. Fix: `max_error`."),
        ({"layers": "raw"}, "there is no option `layers`. Fix: `layer`."),
        ({"zzz": 1}, "there is no option `zzz`. Fix: one of obs, layer, scale, gene_key, "),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest(
    atlas: Atlas, files: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as raised:
        sv.annotate(files / "query.h5ad", atlas, **given)
    assert said in str(raised.value)
    assert raised.value.parameter == next(iter(given))
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="there is no option"):
        query_cells(files / "query.h5ad", atlas, **given)


def test_options_of_a_query_are_those_of_its_cells(atlas: Atlas, files: Path) -> None:
    options = QueryOptions(k=3, gene_key=None, layer="X")
    assert sv.annotate(files / "query.h5ad", atlas, options).query.read == options
    assert query_cells(files / "query.h5ad", atlas, layer="X").read == ReadOptions(layer="X")


# Labels, given as a column or as values.


@pytest.fixture(scope="module")
def calls(_built: Path, files: Path) -> sv.Annotation:
    return sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(sv.Store(_built), "toy"))


@pytest.fixture
def series() -> pd.Series[Any]:
    """The labels by name, of which the first two are wrong: an order that is lost is seen."""
    labels: pd.Series[Any] = toy.cells(41, seed=1).obs["cell_type"].astype(str)
    labels.iloc[:2] = "ductal"
    return labels


@pytest.fixture
def wanted(calls: sv.Annotation, series: pd.Series[Any]) -> dict[str, Any]:
    found = sv.evaluate(calls, series.tolist()).to_dict()
    assert found["accuracy"] == round(39 / 41, 4)
    return found


def test_labels_are_values_of_any_kind(calls: sv.Annotation, series: pd.Series[Any], wanted: dict[str, Any]) -> None:
    forms: list[Any] = [
        tuple(series),
        series,
        series.to_numpy(),
        series.to_numpy(str),
        series.astype("category"),
        series.astype("string"),
        pd.Categorical(series),
        series.array,
        pl.Series(series.tolist()),
        series.reset_index(drop=True),  # numbered: no names of cells
        pd.Index(series),
    ]
    for form in forms:
        assert sv.evaluate(calls, form).to_dict() == wanted, type(form)


def test_a_column_is_named(calls: sv.Annotation) -> None:
    author = toy.cells(41, seed=1).obs["cell_type"]
    assert sv.evaluate(calls, "cell_type").to_dict() == sv.evaluate(calls, author).to_dict()
    with pytest.raises(KeyNotFoundError, match=r"no obs column for `labels` 'cell_typ'"):
        sv.evaluate(calls, "cell_typ")


@pytest.mark.parametrize("seed", range(3))
def test_a_series_is_matched_by_the_cells_names(
    calls: sv.Annotation, series: pd.Series[Any], wanted: dict[str, Any], seed: int
) -> None:
    """In another order, and with more cells than were called."""
    shuffled = series.sample(frac=1, random_state=seed)
    assert shuffled.index.tolist() != calls.obs_names.tolist()
    assert sv.evaluate(calls, shuffled).to_dict() == wanted
    # One that was not called has no label.
    more = pd.Series(["beta"] * 8 + [np.nan], index=[f"other{i}" for i in range(9)])
    superset = pd.concat([series, more]).sample(frac=1, random_state=seed)
    assert sv.evaluate(calls, superset).to_dict() == wanted
    assert sv.evaluate(calls, superset.astype("category")).to_dict() == wanted


def test_labels_of_other_cells_are_refused(calls: sv.Annotation, series: pd.Series[Any]) -> None:
    with pytest.raises(InputError, match=r"`labels` has no value for 2 of the annotated cells \(s1c0, s1c1, \.\.\.\)"):
        sv.evaluate(calls, series.iloc[2:])
    renamed = series.rename(index={"s1c7": "s1c7-1"})
    with pytest.raises(InputError, match=r"`labels` has no value for 1 of the annotated cells \(s1c7, "):
        sv.evaluate(calls, renamed)
    for other in (
        series.tolist()[1:],
        series.to_numpy()[:0],
        series.reset_index(drop=True)[:3],
        pd.Series([], dtype=str),
    ):
        with pytest.raises(InputError, match=r"`labels` has \d+ values: expected one value for each of the 41 cells"):
            sv.evaluate(calls, other)


@pytest.mark.parametrize("none", [np.nan, None, pd.NA, "", "  ", "nan", " UNKNOWN", "not_assigned"])
@pytest.mark.parametrize("form", ["list", "series", "array", "category"])
def test_cells_without_a_label_do_not_count(calls: sv.Annotation, series: pd.Series[Any], none: Any, form: str) -> None:
    holed = series.astype(object)
    holed.iloc[[5, 9]] = none
    make: dict[str, Any] = {
        "list": list,
        "series": lambda one: one[::-1],
        "array": lambda one: one.to_numpy(),
        "category": lambda one: one.astype("category"),
    }
    found, whole = sv.evaluate(calls, make[form](holed)), sv.evaluate(calls, series)
    assert found.notes[0] == "evaluated on the 39 of 41 cells that have an author's label"
    assert found.classes == whole.classes
    called = dict(zip(calls.obs_names, calls.label_before_rejection, strict=True))
    here = series.drop(series.index[[5, 9]])
    assert (found.n_cells, int(found.support.sum())) == (39, 39)
    assert found.accuracy == np.mean([called[name] == label for name, label in here.items()])


def test_a_query_without_any_label_is_not_evaluated(calls: sv.Annotation) -> None:
    with pytest.raises(LabelError, match=r"`labels` has a label for none of its 41 cells \(40 'nan', 1 missing\)"):
        sv.evaluate(calls, ["nan"] * 40 + [""])


def test_names_that_are_there_twice_do_not_say_which(calls: sv.Annotation, series: pd.Series[Any]) -> None:
    twice = series.copy()
    twice.index = ["same", *twice.index[1:-1], "same"]
    with pytest.raises(InputError, match="`labels`"):
        sv.evaluate(calls, twice)


def test_the_calls_order_is_taken_where_names_are_numbers(_built: Path, tmp_path: Path) -> None:
    """An AnnData without names has "0", "1" and so on; a Series by number is then matched by these."""
    cells = toy.cells(8, seed=1)
    cells.obs_names = [str(i) for i in range(8)]
    made = sv.annotate(cells, sv.atlas.open_atlas(sv.Store(_built), "toy"))
    labels = pd.Series(cells.obs["cell_type"].tolist(), index=range(8))
    assert sv.evaluate(made, labels).accuracy == 1
    assert sv.evaluate(made, labels[::-1]).accuracy == 1
