"""From authors' labels to terms: each route, and what is left rather than guessed."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec import ontology as on
from scvec.errors import FileError, KeyNotFoundError
from scvec.ontology.spelling import spelling
from tests.toy_ontology import ALPHA, B_CELL, BETA, CD4, CD8, CELL, LEUKOCYTE, LYMPHOCYTE, NKT, RETINAL, T_CELL, TOY


@pytest.mark.parametrize(
    ("label", "route", "term_id"),
    [
        (BETA, "id", BETA),
        ("CL_0000169", "id", BETA),
        ("CL:0000044", "id", LYMPHOCYTE),
        ("T cell", "name", T_CELL),
        (" t CELL ", "name", T_CELL),
        ("Pancreatic Beta Cell", "synonym", BETA),
        ("T-cell", "synonym", T_CELL),
        ("t_cell", "spelling", T_CELL),
        ("T.cells", "spelling", T_CELL),
        ("B", "spelling", B_CELL),
        ("Leukocytes", "spelling", LEUKOCYTE),
        ("cells", "spelling", CELL),
        ("CD4+ T cells", "spelling", CD4),
        ("CD8+ T-cell", "spelling", CD8),
        ("CD8(+) T", "spelling", CD8),
        ("CD4⁺ αβ T cell", "spelling", CD4),
        ("pancreatic_\N{GREEK SMALL LETTER ALPHA}", "spelling", ALPHA),
        ("NKT", "spelling", NKT),
    ],
)
def test_every_route(label: str, route: str, term_id: str) -> None:
    (found,) = on.match_labels(TOY, [label]).matches
    assert (found.route, found.id, found.candidates) == (route, term_id, ())
    assert found.name == TOY.name(term_id)


@pytest.mark.parametrize(
    ("label", "near"),
    [
        ("beta", BETA),
        ("pancreatic bta cell", BETA),
        ("pancreatic", BETA),
        ("CD8- T cell", None),
        ("CD4-CD8- T cell", None),
        ("T/B cell", None),
        ("CL:0000012", None),
        ("CL:9999999", None),
        ("obsolete lining cell", None),
        ("unknown", None),
        ("7", None),
        ("", None),
        ("+", None),
    ],
)
def test_what_is_no_name_is_left(label: str, near: str | None) -> None:
    (found,) = on.match_labels(TOY, [label]).matches
    assert (found.route, found.id, found.name) == ("unmatched", "", "")
    assert near is None or found.candidates[0] == (near, TOY.name(near))


def test_several_terms_are_none() -> None:
    """Two terms differ in a hyphen: the exact synonym leads to one, another spelling to both."""
    found = on.match_labels(
        TOY, ["insulin-secreting cell", "insulin secreting cell", "Insulin_secreting", "glucagon_secreting"]
    )
    assert [(one.route, one.id) for one in found.matches] == [
        ("synonym", RETINAL),
        ("synonym", BETA),
        ("ambiguous", ""),
        ("spelling", ALPHA),
    ]
    assert {one for one, _ in found.matches[2].candidates} == {BETA, RETINAL}


@pytest.mark.parametrize("label", ["alpha cell", "alpha", "\N{GREEK SMALL LETTER ALPHA}", "Alpha cells"])
def test_a_letter_is_not_enough(label: str) -> None:
    """The ontology has one alpha cell, and it is in the retina."""
    (found,) = on.match_labels(TOY, [label]).matches
    assert (found.route, found.id) == ("ambiguous", "")
    assert found.candidates[0] == (RETINAL, "retinal ganglion cell A")
    assert (ALPHA, "pancreatic A cell") in found.candidates


def test_your_own_map_goes_first() -> None:
    own = {"alpha": ALPHA, "T cell": "CL_0000236", "B cell": "", "x": "CL:0000044", "not here": "nonsense"}
    found = on.match_labels(TOY, ["alpha", "T cell", "B cell", "x", "lymphocyte"], own)
    assert [one.route for one in found.matches] == ["map", "map", "unmatched", "map", "name"]
    assert found.ids == {"alpha": ALPHA, "T cell": B_CELL, "x": LYMPHOCYTE, "lymphocyte": LYMPHOCYTE}
    with pytest.raises(KeyNotFoundError, match="the label map, for 'not here': no term 'nonsense'"):
        on.match_labels(TOY, ["not here"], own)


def test_the_report() -> None:
    found = on.match_labels(TOY, ["T cell", "t_cell", "alpha", "beta", "T cell", "acinar"])
    assert str(found) == "2 of 5 labels have a term of Cell Ontology 2026-03-26"
    assert found.notes() == [
        "2 of 5 labels have a term of Cell Ontology 2026-03-26: 1 by name, 1 by spelling",
        "1 left out as ambiguous: alpha (could be: retinal ganglion cell A (CL:0004117) "
        "or pancreatic A cell (CL:0000171) or CD4-positive, alpha-beta T cell (CL:0000624))",
        "2 left out as unmatched: beta (near: type B pancreatic cell (CL:0000169) "
        "or CD4-positive, alpha-beta T cell (CL:0000624) or CD8-positive, alpha-beta T cell (CL:0000625)); acinar",
    ]
    values = json.loads(json.dumps(found.to_dict()))
    assert values["routes"] == {"name": 1, "spelling": 1, "ambiguous": 1, "unmatched": 2}
    assert (values["n_labels"], values["n_matched"], values["release"]) == (5, 2, "2026-03-26")
    assert values["labels"][0] == {
        "label": "T cell",
        "route": "name",
        "id": T_CELL,
        "name": "T cell",
        "candidates": [],
    }
    cells = np.array(["alpha", "t_cell", "never seen", "T cell"], dtype=object)
    assert found.ids_of(cells).tolist() == ["", T_CELL, "", T_CELL]
    assert [one.label for one in found.by("name", "ambiguous")] == ["T cell", "alpha"]
    assert on.match_labels(TOY, []).notes() == ["0 of 0 labels have a term of Cell Ontology 2026-03-26: none"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CD4+ T cells", "cd4 positive t"),
        ("CD14+CD16- monocytes", "CD14-positive, CD16-negative monocyte"),
        ("γδ T", "gamma-delta T cell"),
        ("Naïve B", "naive_b_cell"),
        ("Cell of Schwann", "of Schwann"),
        ("λ", "Lambda"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert spelling(one) == spelling(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CD4+ T cell", "CD4- T cell"),
        ("CD4+ T cell", "CD4 T cell"),
        ("T/B cell", "T B cell"),
        ("H- cell", "H negative cell"),
        ("IL-17 cell", "IL negative 17 cell"),
        ("D cell", "delta cell"),
        ("B1 cell", "B 1 cell"),
        ("progenitor of T cell", "T cell"),
        ("iris", "iri"),
    ],
)
def test_spellings_of_two_names(one: str, other: str) -> None:
    assert spelling(one) != spelling(other)


@given(st.text())
def test_a_spelling_is_its_own(name: str) -> None:
    once = spelling(name)
    assert once == " ".join(once.split())
    assert spelling(once + " cells") in (once, spelling(once + " cell"))


@given(st.lists(st.text(max_size=20), max_size=5))
def test_every_label_is_accounted_for_once(labels: list[str]) -> None:
    found = on.match_labels(TOY, labels)
    assert [one.label for one in found.matches] == list(dict.fromkeys(labels))
    assert all(bool(one.id) == (one.route not in ("ambiguous", "unmatched")) for one in found.matches)


def test_a_map_is_read_from_csv_tsv_and_json(tmp_path: Path) -> None:
    wanted = {"CD14+ Mono": "CL:0001054", "a, b": "", "T": "CL_0000084"}
    (tmp_path / "map.csv").write_text('label,id,name\nCD14+ Mono,CL:0001054,x\n"a, b",,\nT,CL_0000084,y\n')
    (tmp_path / "map.tsv").write_text("name\tid\tlabel\nx\tCL:0001054\tCD14+ Mono\n\t\ta, b\ny\tCL_0000084\tT\n")
    (tmp_path / "map.json").write_text(json.dumps(wanted))
    for name in ("map.csv", "map.tsv", "map.json"):
        assert on.read_map(tmp_path / name) == wanted


@pytest.mark.parametrize(
    ("name", "text"), [("map.csv", "query,atlas\na,b\n"), ("map.json", "[]"), ("map.json", '{"a": 1}'), ("map.csv", "")]
)
def test_what_is_no_map_is_said_to_be_none(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=f"the label map .*{name}"):
        on.read_map(tmp_path / name)
    with pytest.raises(FileError, match="the label map"):
        on.read_map(tmp_path / "none.csv")


BARON = {
    "acinar": "acinar cell",
    "endothelial": "endothelial cell",
    "macrophage": "macrophage",
    "mast": "mast cell",
    "schwann": "Schwann cell",
    "t_cell": "T cell",
}
PBMC = {"B": "B cell", "NK": "natural killer cell", "Platelet": "platelet"}


def test_the_labels_of_real_sets(data: Path) -> None:
    """What matches is the author's own term or one that it is a kind of; the islets' letters are left."""
    real = on.read_ontology(data / "ontology" / "cell_ontology_2026-03-26.json.zst")
    obs = ad.read_h5ad(data / "cells" / "pancreas_baron_human.h5ad", backed="r").obs
    ids = dict(zip(obs["cell_type1"].astype(str), obs["cell_ontology_id"].astype(str), strict=True))
    found = on.match_labels(real, sorted(ids))
    assert {one: real.name(term_id) for one, term_id in found.ids.items()} == BARON
    assert all(real.is_a(ids[one], term_id) for one, term_id in found.ids.items())
    assert [one.label for one in found.by("ambiguous")] == ["alpha"]
    ductal = next(one for one in found.matches if one.label == "ductal")
    assert ductal.candidates[0] == ("CL:0002079", "pancreatic ductal cell")
    labels = ad.read_h5ad(data / "cells" / "pbmc3k.h5ad", backed="r").obs["classified"].astype(str)
    found = on.match_labels(real, sorted(set(labels)))
    assert {one: real.name(term_id) for one, term_id in found.ids.items()} == PBMC
    assert len(found.by("unmatched")) == 6


def test_every_real_name_is_found_and_leads_to_its_own_term(data: Path) -> None:
    """But for those of one letter, and synonyms that two terms have."""
    real = on.read_ontology(data / "ontology" / "cell_ontology_2026-03-26.json.zst")
    found = on.match_labels(real, (one.name for one in real.terms.values()))
    assert [found.ids[one.name] for one in real.terms.values()] == list(real.terms)
    found = on.match_labels(real, (one.name.upper().replace(" ", "_") for one in real.terms.values()))
    assert len(found.ids) > 0.99 * len(real)
    assert all(spelling(real.name(one.id)) == spelling(one.label) for one in found.matches if one.id)
