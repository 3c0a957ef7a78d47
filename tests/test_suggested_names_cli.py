"""``--suggest-names`` on the command line: what it writes and says, and one line for what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import polars as pl
import pytest
import scipy.sparse as sp

import scvec as sv
from scvec.cli import main
from scvec.naming import with_names
from scvec.ontology.tables import write_ontology
from tests import toy, toy_ontology

Run = Callable[..., tuple[int, str, str]]
N_KNOWN, N_NEW = 40, 20
QUERY = ("query.h5ad", "--atlas", "known", "--max-error", "0.05")


def query() -> ad.AnnData:
    """Return cells of two types that the atlas knows, then cells of one that it does not, and an empty one."""
    made = toy.cells(120, seed=3)
    known, new = made[made.obs["cell_type"].isin(["ductal", "immune"])][:N_KNOWN], made[made.obs["cell_type"] == "beta"]
    cells = ad.concat([known, new[: N_NEW + 1]])
    x = sp.csr_matrix(cells.X).tolil()
    x[-1] = 0
    cells.X = x.tocsr()
    return cells


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCVEC_STORE", store.uri)
    reference = ad.read_h5ad(files / "reference.h5ad")
    reference[reference.obs["cell_type"].isin(["ductal", "immune"])].copy().write_h5ad("known.h5ad")
    sv.atlas.build(store, "known", "known.h5ad", label_key="cell_type", batch_key="donor", encoder="hash")
    query().write_h5ad("query.h5ad")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def named(store: sv.Store) -> None:
    """The store has the toy ontology."""
    write_ontology(store, toy_ontology.TOY, {})


@pytest.mark.usefixtures("named")
def test_unknown_cells_get_names_in_the_file_and_in_the_report(run: Run, store: sv.Store) -> None:
    code, out, err = run(
        "query", *QUERY, "--suggest-names", "--tissue", "islet", "--out", "a.parquet", "--report", "a.html"
    )
    assert code == 0, err
    frame = pl.read_parquet("a.parquet")
    unknown = (frame["label"] == sv.UNKNOWN).to_numpy()
    assert unknown[N_KNOWN:].all()
    calls = sv.annotate("query.h5ad", sv.atlas.open_atlas(store, "known"), max_error=0.05)
    names = sv.name(calls, tissue="islet", evidence=True)
    wanted = with_names(calls, names).to_polars()
    columns = [one for one in wanted.columns if one.startswith("suggested_")]
    assert len(columns) == 4
    assert frame[columns].equals(wanted[columns])
    assert frame["suggested_name"][-1] is None  # it expresses nothing
    n_named = int(names.stands_out.sum())
    assert out.count("looks like") == n_named
    assert f"a name stands out for {n_named} of {len(names)} group" in err
    page = Path("a.html").read_text(encoding="utf-8")
    assert page.count("Looks like: ") == n_named
    assert page.count('class="title"') == len(names)
    of_beta = int(names.member[N_KNOWN])
    best = names.suggestions[of_beta][0]
    assert best.term_id == toy_ontology.BETA
    assert f"<b>{best.name}</b> (CL:0000169), {best.shown_score}; because " in page
    assert f'<a class="gene" href="#why-{of_beta}-0-' in page
    assert "insulin secretion and glucose sensing" in page


@pytest.mark.usefixtures("named")
def test_the_report_takes_it_and_the_calls_stay(run: Run) -> None:
    assert run("query", *QUERY, "--out", "before.parquet")[0] == 0
    code, _, err = run("query", *QUERY, "--suggest-names", "--out", "after.parquet")
    assert code == 0, err
    before, after = pl.read_parquet("before.parquet"), pl.read_parquet("after.parquet")
    assert after[before.columns].equals(before)
    code, _, err = run("report", *QUERY, "--suggest-names", "--out", "b.html")
    assert code == 0, err
    assert "<h2>Unknown cells</h2>" in Path("b.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("named")
def test_columns_are_there_where_no_cell_is_unknown(run: Run) -> None:
    known = query()[:8].copy()
    known.write_h5ad("known_query.h5ad")
    code, _, err = run(
        *("query", "known_query.h5ad", "--atlas", "known", "--max-error", "0.05"),
        *("--suggest-names", "--out", "c.csv", "--report", "c.html"),
    )
    assert code == 0, err
    frame = pl.read_csv("c.csv")
    assert (frame["label"] != sv.UNKNOWN).all()
    assert frame["suggested_name"].null_count() == 8
    assert "no cell with expression is unknown" in Path("c.html").read_text(encoding="utf-8")
    assert "no cell with expression is unknown" in err


@pytest.mark.usefixtures("named")
def test_calls_are_written_where_there_is_nothing_to_compare_with(run: Run) -> None:
    query()[N_KNOWN : N_KNOWN + 5].copy().write_h5ad("few.h5ad")
    code, _, err = run(
        *("query", "few.h5ad", "--atlas", "known", "--max-error", "0.05"),
        *("--suggest-names", "--out", "d.csv", "--report", "d.html"),
    )
    assert code == 0, err
    assert "unknown cells are not named: " in err
    frame = pl.read_csv("d.csv")
    assert frame["label"].to_list() == [sv.UNKNOWN] * 5
    assert frame["suggested_name"].null_count() == 5


@pytest.mark.parametrize("verb", ["query", "report"])
def test_what_cannot_be_is_one_line_before_any_work(run: Run, verb: str) -> None:
    asked = (*QUERY[:3], "--suggest-names", "--out", "x.html" if verb == "report" else "x.csv")
    for more, said in (((), "--max-error"), (("--max-error", "0.05"), "scvec ontology pull")):
        code, out, err = run(verb, *asked, *more)
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1
    assert not list(Path().glob("x.*"))


@pytest.mark.usefixtures("named")
def test_a_tissue_is_of_words_and_for_something(run: Run) -> None:
    for more, said in (
        (("--suggest-names", "--tissue", " "), "--tissue must be words"),
        (("--tissue", "islet"), "--tissue without --rerank has no effect"),
    ):
        code, _, err = run("query", *QUERY, *more, "--out", "x.csv")
        assert code == 2
        assert said in err
