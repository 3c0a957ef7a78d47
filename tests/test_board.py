"""Leaderboards: what stands in results stands on the page and in Markdown, with controls as lines and a verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from scvec.bench.board import Board, BoardRow, BoardTable, Cell, Column, read_boards, write_board
from scvec.bench.board.page import render
from scvec.bench.board.words import genes_lead
from scvec.bench.genes import GeneResults, GeneSuite, run
from scvec.cli import main
from scvec.errors import FileError, InputError
from tests import gene_world as world
from tests.opened import CHROMIUM, NARROW, QUIET, WAIT, WIDE

SUITE = """
name = "toy <b>genes"
seeds = [0]
encoders = ["hash", "random", "file:planted.parquet", "text-embedding-3-small"]
controls = ["tfidf", "name", "random"]

[[tasks]]
name = "theme"
kind = "same set"
sets = "themes.gmt"

[[tasks]]
name = "probe"
kind = "probe"
sets = "themes.gmt"
n_sets = 2
"""
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
FLAT = [
    {
        "suite": "words",
        "task": "labels",
        "model": "minilm",
        "revision": "r1",
        "measure": "mrr",
        "value": 0.7,
        "low": 0.6,
    },
    {"suite": "words", "task": "labels", "model": "tfidf", "measure": "mrr", "value": 0.5, "control": True},
    {"suite": "words", "task": "labels", "model": "random", "measure": "mrr", "value": 0.2, "control": True},
    {"suite": "words", "task": "genes", "model": "minilm", "measure": "mrr", "value": 0.4, "low": 0.3, "high": 0.5},
    {"suite": "words", "task": "genes", "model": "tfidf", "measure": "mrr", "value": 0.35, "control": True},
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GeneResults, Path]]:
    """The results of a small suite, and the folder in which its folder is."""
    folder = tmp_path_factory.mktemp("board")
    store = world.store_of(folder)
    world.write_sets(folder / "themes.gmt")
    world.write_planted(folder / "planted.parquet")
    (folder / "suite.toml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            patch.delenv(name, raising=False)
        yield run(GeneSuite.read(folder / "suite.toml"), folder / "runs" / "out", store), folder / "runs"


@pytest.fixture(scope="module")
def board(ran: tuple[GeneResults, Path]) -> Board:
    (alone,) = read_boards([ran[1] / "out" / "results.json"])
    (board,) = read_boards([ran[1]])
    assert alone == board
    return board


def test_a_board_has_the_figures_and_verdicts_of_the_results(ran: tuple[GeneResults, Path], board: Board) -> None:
    results, _ = ran
    assert board.name == "toy <b>genes"
    masked, plain = board.tables
    assert [one.title for one in board.tables] == ["Masked texts", "Plain texts"]
    assert [(one.task, one.measure) for one in plain.columns] == [("theme", "recall@10"), ("probe", "auroc")]
    assert board.lead[0].startswith("2 tasks of ")
    rows = {one.name: one for one in plain.rows}
    assert list(rows) == ["hash", "random", "file:planted.parquet", "tfidf", "random vectors"]
    found = {(one.row, one.task, one.texts, one.measure): one for one in results.figures}
    figure = found["hash", "theme", "plain", "recall@10"]
    assert rows["hash"].cells[0] == Cell(figure.value, figure.low, figure.high)
    alone = found["hash, name only", "theme", "name", "recall@10"]
    assert rows["hash"].own["names alone"][0] == Cell(alone.value, alone.low, alone.high)
    assert plain.lines == ("tfidf", "random vectors")
    assert rows["file:planted.parquet"].verdict == "better than TF-IDF on 2 of 2 tasks"
    assert rows["random"].verdict.startswith("better than TF-IDF on 0 of 2 tasks, than its names alone on ")
    # Ready-made vectors were made from other texts: on masked ones they have no figure, and no verdict.
    assert [one.cells for one in masked.rows if one.name.startswith("file")] == [(None, None)]
    assert [one.verdict for one in masked.rows if one.name.startswith("file")] == [""]
    # A control that reads no text stands in both.
    assert masked.rows[-1].cells == plain.rows[-1].cells != (None, None)
    assert [(name, command) for name, _, command in board.missing] == [
        ("text-embedding-3-small", f"scvec bench genes --out {ran[1] / 'out'} --encoder text-embedding-3-small")
    ]
    assert {one[0] for one in board.facts} == {"hash", "random", "file:planted.parquet", "tfidf"}
    for one in plain.columns:
        assert one.start <= 0.4 < one.end <= 1


def test_the_page_says_it_in_words_and_in_lines(board: Board, tmp_path: Path) -> None:
    page, text = write_board([board], tmp_path / "board.html", command="scvec bench show out", made_on="2026-01-02")
    html = page.read_text()
    assert "<b>genes" not in html
    assert unescape(html).count("toy <b>genes") >= 2
    assert "better than TF-IDF on 2 of 2 tasks" in html
    assert "--encoder text-embedding-3-small" in html
    assert not re.search(r"""(?:src|href)=["']https?:""", html)
    row = html[html.index('data-value="hash"') : html.index('data-value="random"')]
    # Two tasks: TF-IDF, random vectors and names alone are lines in each.
    assert len(re.findall(r'class="tick s\d"', row)) == 2 * 3
    assert 'class="bar above"' in html[html.index('data-value="file:planted.parquet"', html.index("Plain texts")) :]
    markdown = text.read_text()
    assert "| hash | " in markdown
    assert "| *tfidf* | " in markdown
    assert "## toy <b>genes" in markdown
    cell = board.tables[1].rows[0].cells[0]
    assert cell is not None
    assert f"{cell.value:.3f} ({cell.low:.3f} to {cell.high:.3f})" in markdown


def test_suites_of_cells_and_other_benchmarks_stand_beside(ran: tuple[GeneResults, Path], tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(json.dumps({"command": "a command", "figures": FLAT}))
    (tmp_path / "open.json").write_bytes((RESULTS / "open.json").read_bytes())
    (tmp_path / "other.json").write_text('{"rows": 3}')
    (tmp_path / "broken.json").write_text("{")
    values = json.loads((RESULTS / "open.json").read_text())
    values["rows"][0]["macro_f1"] = ["much", 0, 1]
    (tmp_path / "words of figures.json").write_text(json.dumps(values))
    boards = {one.name: one for one in read_boards([tmp_path, ran[1]])}
    assert set(boards) == {"words", "open", "toy <b>genes"}
    (table,) = boards["words"].tables
    assert [one.name for one in table.rows] == ["minilm", "tfidf", "random"]
    # Above both controls on the labels; on the genes its interval holds that of TF-IDF.
    assert table.rows[0].verdict == "above every control on 1 of 2 tasks"
    assert boards["words"].facts == (("minilm", "r1"),)
    cells = boards["open"].tables[0]
    values = json.loads((RESULTS / "open.json").read_text())["rows"]
    wanted = next(one for one in values if one["method"] == "refined, minilm" and one["task"] == "baron, donor 1")
    row = next(one for one in cells.rows if one.name == "refined, minilm")
    assert row.cells[0] == Cell(*wanted["macro_f1"])
    assert "expression (control)" in cells.lines
    assert not row.is_control


def test_all_that_lead_are_named_and_a_model_counts_once() -> None:
    column = Column("one", "mrr", 0.0, 1.0)
    rows = [BoardRow(name, False, (Cell(0.5, 0.4, 0.6),), "", "said", n) for name, n in (("a", 1), ("b", 1), ("c", 0))]
    table = BoardTable("Masked texts", (column,), (*rows, BoardRow("tfidf", True, (Cell(0.1, 0.1, 0.1),))))
    said = list(genes_lead([0], [{"n_genes": 5}], table))
    assert (
        said[1] == "On masked texts, 2 of 3 models are better than TF-IDF on some task; most often a and b, on 1 of 1."
    )
    page = render([Board("one", (), (table,)), Board("two", (), (table,))])
    assert "<b>3</b> models and recipes measured" in page
    assert "<b>1</b> controls" in page


def test_the_command(ran: tuple[GeneResults, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "pages" / "board.html"
    assert main(["bench", "show", str(ran[1]), "--out", str(page)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "file:planted.parquet: better than" not in out  # the first table is that of masked texts
    assert f"Written: {page}, {page.with_suffix('.md')}" in out
    assert f"scvec bench show {ran[1]} --out {page}" in page.read_text()
    assert main(["bench", "show", str(ran[1]), "--out", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boards"][0]["name"] == "toy <b>genes"
    for arguments, said in (
        ([str(tmp_path / "empty")], "has no results of a suite"),
        ([str(ran[1]), "--out", str(tmp_path / "board.pdf")], "ends in .html"),
    ):
        assert main(["bench", "show", *arguments]) == 2
        assert said in capsys.readouterr().err


def test_what_cannot_be_shown_is_an_error(tmp_path: Path, board: Board) -> None:
    with pytest.raises(FileError, match="has no results"):
        read_boards([tmp_path])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(FileError, match=r"other\.json has no results"):
        read_boards([tmp_path / "other.json"])
    with pytest.raises(InputError, match=r"\.html"):
        write_board([board], tmp_path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=QUIET)
        yield one
        one.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_sorts_and_fits(
    browser: Any, board: Board, tmp_path: Path, viewport: dict[str, int], scheme: str
) -> None:
    page, _ = write_board([board, *read_boards([RESULTS])[:1]], tmp_path / "board.html")
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    opened, errors, requests = context.new_page(), [], []
    opened.on("pageerror", lambda one: errors.append(str(one)))
    opened.on("request", lambda one: requests.append(one.url))
    opened.goto(page.as_uri())
    opened.wait_for_selector("html[data-ready=yes]", timeout=WAIT)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    names = "[...document.querySelectorAll('table.board')[1].tBodies[0].rows].map((row) => row.cells[0].dataset.value)"
    before = opened.evaluate(names)
    head = opened.locator("table.board").nth(1).locator("thead button")
    head.filter(has_text="theme").click()
    by_theme = [one.cells[0].value for one in board.tables[1].rows if one.cells[0]]
    order = opened.evaluate(names)
    assert order[0] == "file:planted.parquet"
    assert sorted(order) == sorted(before)
    found = {one.name: one.cells[0].value for one in board.tables[1].rows if one.cells[0]}
    assert [found[one] for one in order] == sorted(by_theme, reverse=True)
    head.filter(has_text="theme").click()
    assert opened.evaluate(names)[-1] == "file:planted.parquet"
    head.filter(has_text="row").click()
    assert opened.evaluate(names)[0] == "file:planted.parquet"
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert (errors, requests) == ([], [page.as_uri()])
    context.close()
