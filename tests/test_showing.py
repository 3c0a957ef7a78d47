"""Values that show themselves, frames of pandas, the log, and progress where nobody asked for it."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.core.html import MOST_ROWS, table
from scvec.core.progress import in_notebook, shown
from scvec.core.tabular import Tabular
from scvec.core.types import silent
from scvec.report.findings.doubtful_calls import doubts
from tests import toy

N = 41
LONGEST = 200
"""Characters of a line that fits a screen, two rows of a terminal."""


@pytest.fixture(scope="module")
def toys(_built: Path) -> Atlas:
    return sv.atlas.open_atlas(sv.Store(_built), "toy")


@pytest.fixture(scope="module")
def called(toys: Atlas) -> sv.Annotation:
    return sv.annotate(toy.cells(N, seed=1), toys, max_error=0.05, sets=True)


class Page(HTMLParser):
    """The rows of a table, and the names of all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def values(toys: Atlas, called: sv.Annotation) -> dict[str, Any]:
    return {
        "Annotation: 41 cells, ": called,
        "Atlas toy, version 1: 120 cells, 4 labels, recipe refined, in ": toys,
        f"Store {toys.store.uri}: toy": toys.store,
        "Evaluation: 41 cells, accuracy ": sv.evaluate(called, "cell_type"),
        f"Attribution: 4 groups of {int((~called.rejected).sum())} cells, 240 genes": sv.explain.attributions(called),
        "Contrast: alpha (": sv.explain.contrast(called, "alpha", "beta"),
        "Coverage: 240 of 240 genes matched": called.query.match.coverage(np.ones(240)),
    }


def test_values_are_one_short_line(toys: Atlas, called: sv.Annotation) -> None:
    for begins, value in values(toys, called).items():
        assert repr(value).startswith(begins)
        assert len(repr(value)) < LONGEST
        assert len(repr(value).splitlines()) == 1
        page = Page(value._repr_html_())
        assert page.tags <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td"}
        assert 1 < len(page.rows) <= MOST_ROWS + 1
        assert len({len(row) for row in page.rows}) == 1


def test_the_line_about_calls(called: sv.Annotation) -> None:
    reason = np.array(["novel"] * 2 + ["low_confidence"] + ["no_expression"] * 3 + [""] * (N - 6), object)
    label = np.where(reason == "", "beta", sv.UNKNOWN).astype(object)
    made = replace(called, reason=reason, label=label, rejected=reason != "")
    assert repr(made) == "Annotation: 41 cells, 1 label, 6 unknown (3 no expression, 2 novel, 1 low confidence)"
    none = replace(made, reason=np.full(N, "", object), rejected=np.zeros(N, bool))
    assert repr(none).endswith(", 0 unknown")


def test_the_table_of_calls(called: sv.Annotation) -> None:
    made = replace(called, confidence=np.where(called.label == "beta", np.nan, called.confidence))
    header, *rows = Page(made._repr_html_()).rows
    assert header == ["label", "cells", "mean confidence"]
    assert [int(row[1]) for row in rows] == sorted((int(row[1]) for row in rows), reverse=True)
    counts = pd.Series(called.label).value_counts()
    assert {row[0]: int(row[1]) for row in rows} == counts.to_dict()
    for name, _, mean in rows:
        expected = called.confidence[called.label == name].mean()
        assert mean == ("" if name == "beta" else f"{expected:.3f}")


def test_many_labels_and_odd_names(called: sv.Annotation) -> None:
    label = np.array([f"<script>alert({i})</script>&" for i in range(N)], object)
    html = replace(called, label=label)._repr_html_()
    assert "<script" not in html
    page = Page(html)
    assert len(page.rows) == MOST_ROWS + 1
    assert page.rows[1][0] == "<script>alert(0)</script>&"
    assert f"and {N - MOST_ROWS} more" in html


def test_an_empty_store(tmp_path: Path) -> None:
    store = sv.Store(tmp_path / "none")
    assert repr(store) == f"Store {tmp_path / 'none'}"
    assert "<table" not in store._repr_html_()
    for i in range(12):
        (tmp_path / "none" / "atlases" / f"a{i:02}").mkdir(parents=True)
    assert repr(store).endswith(": a00, a01, a02, a03, a04, a05, a06, a07 and 4 more")


def test_an_atlas_after_a_change(atlas: Atlas) -> None:
    left = sv.atlas.remove(atlas, "label = 'beta'")
    assert repr(left).startswith("Atlas toy, version 2: 90 cells, ")
    assert [row[:2] for row in Page(left._repr_html_()).rows[1:]] == [
        [one, "30"] for one in ("alpha", "ductal", "immune")
    ]


def test_frames_of_pandas(called: sv.Annotation) -> None:
    frame = called.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.tolist() == called.obs_names.tolist()
    assert frame["label"].tolist() == called.label.tolist()
    np.testing.assert_array_equal(frame["confidence"].to_numpy(), called.confidence)
    assert called.to_pandas(0).columns.tolist() == called.to_polars(0).columns[1:]
    assert called.to_frame().equals(called.to_polars())
    adata = toy.cells(N, seed=1)
    joined = adata.obs.join(frame)
    assert joined["label"].tolist() == called.label.tolist()


def test_every_result_has_both_frames(toys: Atlas, called: sv.Annotation) -> None:
    pairs = [
        sv.evaluate(called, "cell_type"),
        sv.explain.attributions(called),
        sv.explain.contrast(called, "alpha", "beta"),
        doubts(called, toys, 0.05),
    ]
    for one in pairs:
        assert isinstance(one, Tabular)
        theirs, ours = one.to_pandas(), one.to_polars()
        assert isinstance(ours, pl.DataFrame)
        assert theirs.columns.tolist() == ours.columns
        assert len(theirs) == len(ours)
        assert len(ours) > 0
    assert len(sv.explain.attributions(called).to_pandas(n_genes=2)) <= 4 * len(called.labels)


def test_notes_are_logged(called: sv.Annotation, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "scvec")
    adata = toy.cells(N, seed=1)
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories({"beta": "B cell"})
    found = sv.evaluate(called, adata.obs["cell_type"])
    assert found.notes
    assert [one.getMessage() for one in caplog.records] == [f"evaluate: {note}" for note in found.notes]


def test_progress_is_logged_at_start_and_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "scvec")
    with shown(None)("searching", 2000) as advance:
        advance(1000)
    said = [one.getMessage() for one in caplog.records]
    assert said[0] == "searching: 2,000 to do"
    assert said[1].startswith("searching: done in ")
    assert len(said) == 2
    caplog.clear()
    with pytest.raises(ValueError), shown(None)("searching", 1):
        raise ValueError
    assert len(caplog.records) == 1
    assert shown(silent) is silent
    assert not in_notebook()


def test_nothing_is_printed_until_it_is_asked_for(tmp_path: Path) -> None:
    """A script sees the log when it configures logging, and nothing before."""
    script = (
        "import logging, sys\n"
        "from scvec.core.progress import shown\n"
        "if sys.argv[1:]: logging.basicConfig(level='INFO', format='%(name)s %(message)s')\n"
        "with shown(None)('searching', 3) as advance: advance(3)\n"
    )
    for arguments, begins in (([], ""), (["loud"], "scvec searching: 3 to do")):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout == ""
        assert done.stderr.startswith(begins) if begins else done.stderr == ""


@pytest.mark.slow
def test_a_bar_in_a_notebook(tmp_path: Path) -> None:
    """A real kernel draws it, without ipywidgets, once a step takes long; the last drawing stays."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    code = (
        "from time import sleep\n"
        "from scvec.core.progress import shown\n"
        "with shown(None)('quick', 2000) as advance:\n"
        "    advance(2000)\n"
        "with shown(None)('searching <all>', 2000) as advance:\n"
        "    sleep(0.6)\n"
        "    advance(1500)\n"
        "    advance(500)\n"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = book.cells[0].outputs
    assert output.output_type == "display_data"
    html = output.data["text/html"]
    assert "searching &lt;all&gt;" in html
    assert '<progress value="2000" max="2000">' in html
    assert "2,000 of 2,000" in html


def test_tables_of_html() -> None:
    rows: list[tuple[object, ...]] = [("a<b", 1234, 0.5, float("nan"), True)]
    page = Page(table("A & B", ("x", "n", "p", "q", "yes"), rows))
    assert page.rows == [["x", "n", "p", "q", "yes"], ["a<b", "1,234", "0.500", "", "True"]]


def test_a_search_shows_itself(atlas: Atlas) -> None:
    found = sv.search.words(atlas, "insulin secretion of beta cells, " * 4)
    shown_words = "insulin secretion of beta cells, insulin secretion of beta c..."
    assert repr(found).startswith(f"Found: 4 labels for {shown_words!r}, first ")
    header, *rows = Page(found._repr_html_()).rows
    assert header == ["label", "cells", "score", "genes"]
    assert [row[0] for row in rows] == found.labels.tolist() == found.to_pandas()["label"].tolist()
