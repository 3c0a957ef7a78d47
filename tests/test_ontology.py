"""The Cell Ontology: from its files to terms, what is a kind of what, and its releases in the store."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec import ontology as on
from scvec.errors import ExistsError, FileError, KeyNotFoundError, NotInStoreError, StoreError
from scvec.ontology import Ontology, Term
from scvec.ontology.tables import TABLE
from tests import toy_ontology as toy
from tests.toy_ontology import (
    ALPHA,
    B_CELL,
    BETA,
    CD4,
    CELL,
    ENDOCRINE,
    EUKARYOTIC,
    LEUKOCYTE,
    LYMPHOCYTE,
    NKT,
    T_CELL,
    TOY,
)

LINE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool)
PROSE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))


@st.composite
def ontologies(draw: st.DrawFn, max_terms: int = 9) -> Ontology:
    """Terms that are kinds of earlier ones, all of them of *cell*; some have several parents."""
    n_terms = draw(st.integers(1, max_terms))
    ids = [CELL, *(f"CL:{i * 7:07d}" for i in range(1, n_terms))]
    terms = {}
    for i, one in enumerate(ids):
        parents = draw(st.lists(st.sampled_from(ids[:i]), min_size=1, max_size=3, unique=True)) if i else []
        synonyms = draw(st.lists(LINE, max_size=2, unique=True))
        terms[one] = Term(one, draw(LINE), draw(PROSE), tuple(sorted(synonyms)), tuple(sorted(parents)))
    return Ontology("2026-01-02", terms, {})


@pytest.mark.parametrize("compression", toy.COMPRESSIONS)
@pytest.mark.parametrize("form", toy.FORMS)
def test_every_form_gives_the_same_terms(tmp_path: Path, form: str, compression: str) -> None:
    found = on.read_ontology(toy.write(tmp_path, TOY, form, compression))
    assert found == TOY
    assert found.terms[CELL].description == 'A "cell" with its membrane.\nNo more, \\ no less: [that] {is} all!'
    assert found.terms[T_CELL].synonyms == ("T lymphocyte", "T-cell")
    assert found.obsolete["CL:0000044"].replaced_by == LYMPHOCYTE


@pytest.mark.parametrize("form", toy.FORMS)
@settings(max_examples=40)
@given(ontology=ontologies())
def test_whatever_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, form: str, ontology: Ontology
) -> None:
    assert on.read_ontology(toy.write(tmp_path_factory.mktemp("form"), ontology, form)) == ontology


@given(ontology=ontologies())
def test_ancestors_and_depth_are_those_found_by_walking_up(ontology: Ontology) -> None:
    for one in ontology.terms:
        steps = ontology.ancestors(one)
        assert dict(steps) == toy.steps_up(ontology, one)
        assert list(steps.values()) == sorted(steps.values())
        assert ontology.depth(one) == toy.longest_way(ontology, one)
        assert all(ontology.depth(above) < ontology.depth(one) for above in steps if above != one)


def test_kinds_of_cells() -> None:
    assert (TOY.name(BETA), len(TOY), str(TOY)) == ("type B pancreatic cell", 13, "Cell Ontology 2026-03-26")
    assert BETA in TOY
    assert "CL:0000044" not in TOY
    assert TOY.ancestors(CD4) == {CD4: 0, T_CELL: 1, LYMPHOCYTE: 2, LEUKOCYTE: 3, EUKARYOTIC: 4, CELL: 5}
    assert (TOY.ancestors(NKT)[LEUKOCYTE], TOY.depth(NKT)) == (1, 5)
    assert TOY.is_a(BETA, ENDOCRINE)
    assert TOY.is_a(BETA, BETA)
    assert not TOY.is_a(ENDOCRINE, BETA)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (BETA, BETA),
        ("CL_0000169", BETA),
        (" cl:0000169 ", BETA),
        ("http://purl.obolibrary.org/obo/CL_0000169", BETA),
        ("CL:0000044", LYMPHOCYTE),
        ("CL_0000073", BETA),
    ],
)
def test_an_id_in_any_spelling_and_what_took_its_place(text: str, found: str) -> None:
    assert TOY.resolve(text) == found


def test_unknown_and_obsolete_ids_are_said_to_be_so() -> None:
    for ask in (TOY.name, TOY.ancestors, TOY.depth, TOY.resolve, lambda one: TOY.is_a(one, CELL), TOY.__getitem__):
        with pytest.raises(KeyNotFoundError, match=r"no term 'CL:0000168' in Cell Ontology 2026-03-26.*CL:0000169"):
            ask("CL:0000168")
        with pytest.raises(KeyNotFoundError, match=r"no term 'B cells'.*use CL:0000236 \(B cell\)"):
            ask("B cells")
        with pytest.raises(KeyNotFoundError, match=r"fusiform initial\) is obsolete.*use PO:0000079"):
            ask("CL:0000009")
        with pytest.raises(KeyNotFoundError, match=r"CL:0000012 \(obsolete cell by class\) is obsolete"):
            ask("CL:0000012")
    with pytest.raises(KeyNotFoundError, match=r"CL:0000044 is obsolete.*use CL:0000542 \(lymphocyte\)"):
        TOY.name("CL:0000044")


def test_ids_that_replace_each_other_lead_nowhere() -> None:
    round_and_round = {
        one: on.Obsolete(one, "x", other) for one, other in (("CL:0000001", "CL:0000002"), ("CL:0000002", "CL:0000001"))
    }
    with pytest.raises(KeyNotFoundError, match="obsolete"):
        Ontology("1", {CELL: Term(CELL, "cell")}, round_and_round).resolve("CL:0000001")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "begins with '<'"),
        (b"label,id\n", "begins with 'label,id"),
        (b"\xff\xfe\x00\x01", "not a text file"),
        (toy.as_graphs(TOY).encode()[:-200], "JSON that is truncated"),
        (b'{"a": 1}', "without a term of the Cell Ontology"),
        (b'{"graphs": [{}]}', "malformed entry"),
        (b'{"CL:0000000": {"label": "cell"}}', "malformed entry"),
        (b'{"CL:0000000": 7}', "malformed entry"),
        (toy.as_obo(TOY).split("[Term]\nid: CL:0000163")[0].encode(), "lacks the term CL:0000542"),
        (toy.as_obo(TOY).encode()[:600], "middle of a line"),
        (toy.as_obo(TOY).replace("is_a: CL:0000084 ", "is_a: CL:84 ").encode(), "'CL:84'"),
        (toy.as_obo(TOY).replace('def: "White', "def: White").encode(), "without quotes"),
        (b"format-version: 1.2\n", "lacks the term CL:0000000"),
        (
            toy.as_obo(TOY).replace("name: cell\n", "name: cell\nis_a: CL:0000738\n").encode(),
            " is a CL:0000738",
        ),
        (toy.as_obo(TOY).replace("id: CL:0000236\n", "id: CL:0000084\n", 1).encode(), "CL:0000084 twice"),
        (toy.as_obo(TOY).replace("name: B cell\n", "").encode(), "no name for CL:0000236"),
        (toy.as_obo(TOY).replace("name: B cell\n", "name B cell\n").encode(), "not 'tag: value'"),
        *((toy.COMPRESSIONS[one](toy.as_obo(TOY).encode())[:300], "cut short or damaged") for one in ("gz", "zst")),
    ],
)
def test_what_is_no_cell_ontology_is_said_to_be_none_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "cl").write_bytes(content)
    with pytest.raises(FileError) as caught:
        on.read_ontology(tmp_path / "cl", "tag")
    assert said in str(caught.value)
    assert str(tmp_path / "cl") in str(caught.value)
    assert "scvec ontology pull" in str(caught.value)


def test_a_path_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        on.read_ontology(tmp_path / "none.obo")
    with pytest.raises(FileError, match="is a folder"):
        on.read_ontology(tmp_path)


def test_a_file_that_was_cut_is_refused_or_has_whole_terms(tmp_path: Path) -> None:
    """A text that ends where a line does may have lost what came after; what it has is then as it was."""
    whole, n_read = toy.as_obo(TOY), 0
    for end in range(len(whole)):
        (tmp_path / "cl").write_text(whole[:end], encoding="utf-8")
        try:
            found = on.read_ontology(tmp_path / "cl", "tag")
        except FileError:
            continue
        n_read += 1
        assert whole[end - 1] == "\n"
        *earlier, last = re.findall(r"^id: (CL:\d{7})$", whole[:end], re.MULTILINE)
        assert set(found.terms) - {last} == {one for one in earlier if one in TOY}
        assert all(found.terms[one] == TOY.terms[one] for one in earlier if one in TOY)
    assert 0 < n_read < whole.count("\n") / 2


def test_an_id_that_is_in_use_is_not_obsolete_too(tmp_path: Path) -> None:
    text = toy.as_obo(TOY).replace("name: cell\n", f"name: cell\nalt_id: {T_CELL}\n")
    (tmp_path / "cl").write_text(text, encoding="utf-8")
    assert on.read_ontology(tmp_path / "cl", "2026-03-26") == TOY


@pytest.mark.parametrize(
    ("version", "name", "release"),
    [
        ("cl/releases/2022-08-16/cl-basic.owl", "cl-2020-01-01.obo", "2022-08-16"),
        ("releases/2026-03-26", "cl.obo", "2026-03-26"),
        ("4.2", "cl-2020-01-01.obo", "4.2"),
        ("", "cl-2020-01-01.obo", "2020-01-01"),
    ],
)
def test_a_file_tells_its_release(tmp_path: Path, version: str, name: str, release: str) -> None:
    head = f"data-version: {version}\n" if version else ""
    (tmp_path / name).write_text(f"format-version: 1.2\n{head}\n[Term]\nid: CL:0000000\nname: cell\n")
    assert on.read_ontology(tmp_path / name).release == release
    assert on.read_ontology(tmp_path / name, "mine").release == "mine"


def test_a_file_that_tells_no_release_needs_one(tmp_path: Path) -> None:
    (tmp_path / "cl.obo").write_text("format-version: 1.2\n\n[Term]\nid: CL:0000000\nname: cell\n")
    with pytest.raises(FileError, match="`release`"):
        on.read_ontology(tmp_path / "cl.obo")


@pytest.mark.parametrize("form", toy.FORMS)
def test_the_store_gives_back_what_was_imported(tmp_path: Path, form: str) -> None:
    store = sv.Store(tmp_path / "store")
    assert on.import_ontology(store, toy.write(tmp_path, TOY, form)) == TOY
    assert on.open_ontology(store) == TOY
    (manifest,) = on.list_ontologies(store)
    assert (manifest["release"], manifest["n_terms"], manifest["n_obsolete"]) == ("2026-03-26", 13, 5)
    assert manifest["files"][0]["file"] == "ontology-2026-03-26"


def test_an_ontology_s_release_is_one_tagged_commit(tmp_path: Path) -> None:
    store = sv.Store(tmp_path / "store")
    path = toy.write(tmp_path)
    for form in (*toy.FORMS, "obo"):
        on.import_ontology(store, toy.write(tmp_path, TOY, form))
    first = store.table(TABLE).latest().version
    assert store.table(TABLE).tags() == {"2026-03-26": first}
    path.write_text(toy.as_obo(TOY).replace("name: B cell", "name: B lymphocyte"), encoding="utf-8")
    with pytest.raises(ExistsError, match=r"2026-03-26, with other terms.*`release`"):
        on.import_ontology(store, path)
    assert store.table(TABLE).latest().version == first
    on.import_ontology(store, path, "later")
    assert [one["release"] for one in on.list_ontologies(store)] == ["2026-03-26", "later"]
    assert on.open_ontology(store).name(B_CELL) == "B lymphocyte"
    assert on.open_ontology(store, "2026-03-26") == TOY
    with pytest.raises(StoreError, match="tag 'not a tag'"):
        on.import_ontology(store, path, "not a tag")
    with pytest.raises(NotInStoreError, match=r"1999.*2026-03-26, later"):
        on.open_ontology(store, "1999")


def test_a_store_without_an_ontology_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotInStoreError, match="scvec ontology pull"):
        on.open_ontology(sv.Store(tmp_path / "store"))
    (tmp_path / "words").write_text("words")
    with pytest.raises(FileError):
        on.import_ontology(sv.Store(tmp_path / "store"), tmp_path / "words", "x")
    assert not (tmp_path / "store").exists()


def test_the_real_ontology(data: Path, tmp_path: Path) -> None:
    path = data / "ontology" / "cell_ontology_2026-03-26.json.zst"
    real = on.import_ontology(sv.Store(tmp_path / "store"), path)
    assert real == on.read_ontology(path)
    assert (real.release, len(real), len(real.obsolete)) == ("2026-03-26", 3324, 272)
    assert real.name(BETA) == "type B pancreatic cell"
    assert "pancreatic beta cell" in real[BETA].synonyms
    assert real.is_a(BETA, ENDOCRINE)
    assert real.is_a(CD4, T_CELL)
    assert not real.is_a(T_CELL, CD4)
    pancreatic = next(one.id for one in real.terms.values() if one.name == "pancreatic endocrine cell")
    assert real.is_a(BETA, pancreatic)
    assert real.is_a(ALPHA, pancreatic)
    assert real.resolve("CL:0000044") == "CL:0000051"
    assert real.depth(CELL) == 0


def test_the_real_ontology_s_steps_are_those_of_its_file(data: Path, tmp_path: Path) -> None:
    """But for eight terms that are parts of cells and kinds of none."""
    path = data / "ontology" / "cell_ontology_2026-03-26.json.zst"
    real = on.read_ontology(path)
    with pa.input_stream(str(path), compression="zstd") as stream:
        said = json.loads(stream.read())
    others = [one for one in real.terms if dict(real.ancestors(one)) != {one: 0, **said[one]["ancestors"]}]
    assert len(others) == 8
    assert {real.name(one).split()[-1] for one in others} == {"cytoplasm", "nucleus", "heterochromatin"}
    assert all((list(said[one]["ancestors"]), list(real.ancestors(one))) == ([CELL], [one]) for one in others)
