"""Marker sets that speak for names: which term a set is of, what is over-represented, the option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom

import scvec as sv
from scvec.errors import FileError, GeneMatchError, InputError
from scvec.naming.marker_sets import marker_sets
from scvec.naming.term_texts import term_texts
from tests import toy, toy_ontology
from tests.toy_ontology import ALPHA, BETA, T_CELL, TOY

GENES = np.arange(100, 110)


@pytest.fixture
def known(store: sv.Store, tmp_path: Path) -> sv.Store:
    """The toy store, with the toy ontology."""
    sv.ontology.import_ontology(store, toy_ontology.write(tmp_path))
    return store


def gmt(path: Path, sets: dict[str, list[str]]) -> Path:
    path.write_text("".join("\t".join([name, "", *genes]) + "\n" for name, genes in sets.items()), encoding="utf-8")
    return path


def test_a_set_is_of_the_term_that_its_name_means() -> None:
    terms = term_texts(TOY)
    names = ("MURARO_PANCREAS_BETA_CELL", "X pancreatic beta cells 2", BETA, "T CELL", "nothing known", "CL:9999999")
    found = marker_sets([(name, range(100, 104)) for name in names], terms, GENES)
    assert [terms.ids[one] for one in found.terms] == [BETA, BETA, T_CELL]
    assert found.members.toarray()[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_a_set_of_few_genes_that_are_measured_is_left_out() -> None:
    assert not len(marker_sets([("T cell", [100, 101, 999])], term_texts(TOY), GENES).terms)


def test_the_best_set_of_a_term_counts() -> None:
    terms = term_texts(TOY)
    sets = marker_sets([("T cell", [100, 101, 102]), ("T cell", [107, 108, 109])], terms, np.arange(100, 400))
    profile = np.zeros((1, 300))
    profile[0, :3] = 5, 4, 3
    found = sets.over_represented(profile, len(terms))
    best = -hypergeom.logsf(2, 300, 3, 100) / np.log(10)
    assert found[0, terms.positions[T_CELL]] == pytest.approx(best)
    assert not np.delete(found, terms.positions[T_CELL], axis=1).any()
    assert np.flatnonzero(sets.of_term(terms.positions[T_CELL])).tolist() == [0, 1, 2, 7, 8, 9]


def test_sets_speak_for_names(known: sv.Store, files: Path, tmp_path: Path) -> None:
    themes = {label: [toy.SYMBOLS[i] for i in range(toy.N_GENES) if toy.theme_of(i) == label] for label in toy.LABELS}
    # Against the texts, the sets say that T cells express what alpha cells do.
    path = gmt(tmp_path / "m.gmt", {"T cell": themes["alpha"][:20], "other": ["TOY1", "TOY2"]})
    options: dict[str, Any] = {"cluster_key": "cell_type", "encoder": "hash", "tissue": "pancreas", "n": 12}
    plain = sv.name(files / "query.h5ad", known, **options)
    found = sv.name(files / "query.h5ad", known, markers=[path], **options)
    at = found.clusters.tolist().index("alpha")
    rank = [{one.term_id: rank for rank, one in enumerate(names.suggestions[at])} for names in (plain, found)]
    assert rank[1][T_CELL] < rank[0][T_CELL]
    assert found.provenance["markers"] == ["m.gmt"]
    assert "1 of 2 marker sets are of a term: 1 term" in found.notes
    alone = sv.name(files / "query.h5ad", known, markers=[path], cluster_key="cell_type")  # tfidf, as no model is there
    assert not any("scvec embed" in note for note in alone.notes)


def test_sets_that_say_nothing_are_refused(known: sv.Store, files: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"cluster_key": "cell_type", "encoder": "hash"}
    with pytest.raises(GeneMatchError, match="no set of `markers` m is of a term and has 3 to 500 genes"):
        sv.name(files / "query.h5ad", known, markers=[gmt(tmp_path / "m.gmt", {"T cell": ["A", "B", "C"]})], **options)
    with pytest.raises(FileError, match=r"no\.gmt"):
        sv.name(files / "query.h5ad", known, markers=[tmp_path / "no.gmt"], **options)
    with pytest.raises(InputError, match="`markers` and `candidates` exclude each other"):
        sv.name(files / "query.h5ad", known, markers=["m.gmt"], candidates=[ALPHA, BETA], cluster_key="cell_type")
