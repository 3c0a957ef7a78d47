"""The page of names: what it says of each cluster, and that no name from a file becomes a part of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec.cli import main
from scvec.errors import InputError
from scvec.naming import Names, Suggestion
from scvec.naming.cell_calls import CELL_STANDS_OUT, CLUSTER_STANDS_OUT
from scvec.naming.ranker import STANDS_OUT
from scvec.naming.result import HOW_RIGHT, CellCalls
from scvec.ontology.tables import write_ontology
from scvec.report.page.names_page import render_names
from tests import toy_ontology
from tests.opened import CHROMIUM, QUIET, WIDE
from tests.parsed import Parsed
from tests.reported import HOSTILE

Run = Callable[..., tuple[int, str, str]]
SAID = " ".join(HOSTILE.split())


def names() -> Names:
    """Return names of four clusters: one stands out, one does not, one has no expression; one is called as HTML is."""
    rod = Suggestion("CL:0000604", "retinal rod cell", 0.54, ("RHO", "<i>ROM1"), ("It <b>absorbs</b> light.", ""))
    cone = Suggestion("CL:0000573", "retinal cone cell", 0.61, ("ARR3",), ("Of cones.",))
    neuron = Suggestion("CL:0000540", HOSTILE, 0.31, ("VGF",), (HOSTILE,))
    return Names(
        clusters=np.array(["7", "hESC", "empty", HOSTILE], object),
        n_cells=np.array([3, 2, 1, 2]),
        suggestions=((rod, cone), (neuron,), (), (rod,)),
        stands_out=np.array([True, False, False, False]),
        member=np.array([0, 0, 0, 1, 1, 2, 3, 3]),
        obs_names=np.array([f"c{i}" for i in range(8)], object),
        notes=(f"about {HOSTILE}",),
        provenance={"scvec": "1", "file": HOSTILE, "atlas": None, "ontology": "2026-03-26", "encoder": "tfidf"},
    )


@pytest.fixture(scope="module")
def page() -> Parsed:
    return Parsed(render_names(names(), "scvec name <q>", "2026-01-02"))


def test_the_page_says_how_many_names_stand_out_and_which(page: Parsed) -> None:
    assert "4 clusters, 1 with a name that stands out." in page.text
    assert "38% of these cells in a cluster whose name stands out" in page.spaced
    assert "7 3 retinal rod cell CL:0000604 0.54 RHO, <i>ROM1 hESC 2 no name stands out empty 1" in page.spaced
    assert "Cluster 7, 3 cells Looks like: retinal rod cell (CL:0000604), 0.54; because RHO, <i>ROM1." in page.text
    assert "hESC, 2 cells No name stands out. Names that do not stand out" in page.text  # as the file writes it
    assert "empty, 1 cell No name stands out. It expresses no gene by which it could be named." in page.text
    assert HOW_RIGHT in page.text
    assert f"{STANDS_OUT}" in HOW_RIGHT
    assert "Made on 2026-01-02" in page.text
    assert "2026-03-26" in page.text
    assert "None" not in page.text


def test_hints_are_unfolded_and_runners_up_are_not() -> None:
    text = render_names(names())
    assert text.count("<details open><summary>Names that do not stand out") == 2
    assert text.count("<details><summary>Runners-up") == 1


def test_the_page_is_one_file_in_which_names_are_text(page: Parsed) -> None:
    assert [one for one in page.addresses if not one.startswith(("#", "data:"))] == []
    assert page.handlers == []
    assert not {"img", "iframe", "base", "object", "i"} & set(page.tags)
    assert page.tags.count("script") == 1
    assert f"{SAID}, 2 cells" in page.text
    assert f"about {SAID}" in page.text
    assert "It <b>absorbs</b> light." in page.text
    assert "scvec name <q>" in page.text


def test_each_link_leads_to_a_part_of_the_page() -> None:
    text = render_names(names())
    links = {one for one in Parsed(text).addresses if one.startswith("#")}
    assert {"#cluster-0", "#cluster-3", "#why-0-0-0", "#why-0-1-0", "#why-1-0-0", "#reading"} <= links
    assert "#why-0-0-1" not in links  # a gene without a sentence
    assert not [one for one in links if text.count(f'id="{one[1:]}"') != 1]


def test_names_without_sentences_have_no_links_to_them() -> None:
    plain = tuple(tuple(replace(one, evidence=()) for one in found) for found in names().suggestions)
    page = Parsed(render_names(replace(names(), suggestions=plain)))
    assert not [one for one in page.addresses if one.startswith("#why")]
    assert not [one for one in ("A gene's link", "What the genes' texts say") if one in page.text]


def test_a_language_model_s_ranks_are_beside_the_scores() -> None:
    page = Parsed(render_names(replace(names(), llm_ranks=((2, 1), (1,), (), ()))))
    assert "(CL:0000604), 0.54, the language model's rank 2; because" in page.text
    assert page.text.count("the language model's rank") == 3


def test_calls_among_given_types_say_what_their_number_is() -> None:
    made = names()
    cells = CellCalls(
        np.array(["rod", "", *["hESC"] * 6], object), np.array(["CL:0000604"] * 8, object), np.ones(8, np.float32)
    )
    about = dict(made.provenance) | {"candidates": {"rod": "CL:0000604", "hESC": "CL:0000000"}}
    page = Parsed(render_names(replace(made, cells=cells, provenance=about)))
    assert "7 of 8 cells called one by one among the types that were given." in page.text
    assert "its share among the types that were given; no other type can be called. They are rod and hESC." in page.text
    assert f"from a share of {CLUSTER_STANDS_OUT}, a single cell from {CELL_STANDS_OUT}:" in page.text
    assert HOW_RIGHT not in page.text


def test_nothing_to_name_is_said() -> None:
    none = Names(
        clusters=np.empty(0, object),
        n_cells=np.empty(0, np.int64),
        suggestions=(),
        stands_out=np.empty(0, bool),
        member=np.full(8, -1),
        obs_names=names().obs_names,
        notes=("no cell is unknown",),
    )
    page = Parsed(render_names(none))
    assert "There is nothing to name." in page.text
    assert "no cell is unknown" in page.text
    assert "table" not in {one.removeprefix("#") for one in page.addresses}


def test_a_page_that_cannot_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    out = tmp_path / "made" / "names.html"
    sv.report.write_names(names(), out, made_on="2026-01-02")
    before = out.read_text(encoding="utf-8")
    assert before == render_names(names(), made_on="2026-01-02")
    with pytest.raises(UnicodeEncodeError):
        sv.report.write_names(replace(names(), notes=("\ud800",)), out)
    assert [one.name for one in out.parent.iterdir()] == ["names.html"]
    assert out.read_text(encoding="utf-8") == before
    with pytest.raises(InputError, match=r"ends in \.html"):
        sv.report.write_names(names(), tmp_path / "names.pdf")


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.chdir(tmp_path)
    write_ontology(store, toy_ontology.TOY, {})
    Path("query.h5ad").write_bytes((files / "query.h5ad").read_bytes())

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["name", *map(str, arguments), "--encoder", "hash", "--store", store.uri])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_verb_writes_a_page_with_sentences(run: Run, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scvec", "name", "query.h5ad", "--tissue", "two words"])
    code, out, err = run("query.h5ad", "--cluster-key", "cell_type", "--report", "a/names.html")
    assert code == 0, err
    assert out.endswith("\nHTML report written to a/names.html\n")
    assert "written to None" not in out
    found = sv.name("query.h5ad", store, cluster_key="cell_type", encoder="hash", evidence=True)
    text = Path("a/names.html").read_text(encoding="utf-8")
    page = Parsed(text)
    assert f"4 clusters, {int(found.stands_out.sum())} with a name that stands out." in page.text
    sentences = {one for ranked in found.suggestions for name in ranked for one in name.evidence if one}
    assert sentences
    assert not [one for one in sentences if " ".join(one.split()) not in page.text]
    assert "scvec name query.h5ad --tissue 'two words'" in page.text
    # The terminal shows sentences where they are asked for.
    assert not [one for one in sentences if one in out]


def test_the_verb_writes_a_page_of_what_an_atlas_leaves_unknown(run: Run, store: sv.Store, files: Path) -> None:
    sv.atlas.build(store, "few", files / "reference.h5ad", label_key="cell_type", only="cell_type != 'immune'")
    code, out, err = run(
        *("query.h5ad", "--atlas", "few", "--cluster-key", "cell_type", "--report", "names.html", "--json"),
    )
    assert code == 0, err
    made = json.loads(out)
    assert (made["report"], made["out"], made["atlas"]) == ("names.html", None, "few")
    page = Parsed(Path("names.html").read_text(encoding="utf-8"))
    assert "of cells that the atlas “few” leaves unknown, " in page.text
    assert "Group immune, " in page.text


@pytest.mark.parametrize(
    ("out", "why"),
    [("names.pdf", "ends in .html"), ("folder.html", "is a folder"), ("query.h5ad/names.html", "is a file")],
)
def test_a_page_that_cannot_be_written_is_one_line_before_any_work(run: Run, out: str, why: str) -> None:
    Path("folder.html").mkdir()
    there = set(Path().iterdir())
    code, said, err = run("no such file.h5ad", "--cluster-key", "cell_type", "--report", out, "--quiet")
    assert (code, said) == (2, "")
    assert len(err.splitlines()) == 1
    assert why in err
    assert set(Path().iterdir()) == there


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_gene_opens_its_sentence_in_a_browser(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sv.report.write_names(names(), tmp_path / "names.html")
    asked: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=QUIET)
        page = browser.new_context(viewport=WIDE, color_scheme="dark").new_page()
        page.on("request", lambda one: asked.append(one.url))
        page.on("pageerror", lambda one: asked.append(str(one)))
        page.goto((tmp_path / "names.html").as_uri())
        sentence = page.locator("#why-0-0-0 + dd")
        assert not sentence.is_visible()
        page.locator("#cluster-0 p a.gene").click()
        assert sentence.inner_text() == "It <b>absorbs</b> light."
        assert page.evaluate("[document.documentElement.dataset.theme, window.hit]") == ["dark", None]
        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        browser.close()
    assert asked == [(tmp_path / "names.html").as_uri()]
