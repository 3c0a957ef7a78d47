"""Suites: what they may say, what their tasks hold, and that no run is done twice or left out of the tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import scvec as sv
from benchmarks.peers import run as peers
from scvec.bench import HoldOut, Results, Suite, Task, plan, run
from scvec.bench.code import code_digest
from scvec.bench.methods import LOGISTIC, methods
from scvec.bench.records import figures
from scvec.bench.tasks import Prepared, prepare
from scvec.cli import main
from scvec.core.types import Progress
from scvec.embed.recipe import Recipe
from scvec.evaluation import plots
from tests import toy

SUITE = """
name = "toy suite"
seeds = [0, 1]
encoders = ["hash"]
recipes = ["genept-w", "small.toml"]

[[tasks]]
name = "donor {donor}"
reference = "$TOY/cells.h5ad"
hold_out = { key = "donor", values = ["d{donor}"] }
label_key = "cell_type"
batch_key = "donor"
vary = { donor = [2] }

[[tasks]]
name = "few"
group = "draws"
reference = "$TOY/cells.h5ad"
query = "$TOY/query.h5ad"
label_key = "cell_type"
cells_per_class = 12

[[tasks]]
name = "without beta"
reference = "$TOY/cells.h5ad"
hold_out = { key = "donor", values = ["d2"] }
label_key = "cell_type"
remove_class = "beta"
"""
SMALL = 'name = "small svd"\nweights = "svd"\ndimension = 5\n'
# The SVD of 50 dimensions fails on 48 cells.
N_RUNS = {"donor 2": 1 + 2 + 2 + 2 + 1, "few": 2 * 5, "without beta": 1 + 2 + 2 + 2 + 1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with suite.toml and the files that it names."""
    folder = tmp_path / "suite"
    folder.mkdir()
    toy.cells(180, seed=0).write_h5ad(folder / "cells.h5ad")
    toy.cells(41, seed=1).write_h5ad(folder / "query.h5ad")
    (folder / "suite.toml").write_text(SUITE)
    (folder / "small.toml").write_text(SMALL)
    monkeypatch.setenv("TOY", str(folder))
    return folder


def task(folder: Path, **values: Any) -> Task:
    """Return a task on the toy cells."""
    given = {"name": "a task", "reference": folder / "cells.h5ad", "label_key": "cell_type", **values}
    if "query" not in given:
        given["hold_out"] = given.get("hold_out", HoldOut(key="donor", values=("d2",)))
    return Task(**given)


def names(path: Path) -> set[str]:
    return set(ad.read_h5ad(path).obs_names)


def written(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "runs").glob("*.json")}


def test_a_suite_is_what_its_file_says(folder: Path) -> None:
    suite = Suite.read(folder / "suite.toml")
    assert (suite.name, suite.seeds, suite.encoders) == ("toy suite", (0, 1), ("hash",))
    assert [one.name for one in suite.recipes] == ["genept-w", "small svd"]
    assert [one.name for one in suite.tasks] == ["donor 2", "few", "without beta"]
    first, second, _ = suite.tasks
    assert first.hold_out == HoldOut(key="donor", values=("d2",))
    assert (first.reference, second.query) == (folder / "cells.h5ad", folder / "query.h5ad")
    assert (second.cells_per_class, second.group) == (12, "draws")
    assert [one.draws for one in suite.tasks] == [False, True, False]


def test_the_open_suite_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCVEC_DATA", "/data")
    suite = Suite.read(Path(__file__).parents[1] / "benchmarks" / "suites" / "open.toml")
    assert len(suite.tasks) == 4 + 1 + 1 + 3 + 3 + 5
    assert {one.hold_out.values for one in suite.tasks if one.group == "one donor held out" and one.hold_out} == {
        (f"human{i}",) for i in range(1, 5)
    }
    assert [(one.query_taxon, one.query_genes) for one in suite.tasks if one.panel] == [
        ("mouse", None),
        (None, 1000),
        (None, 500),
        (None, 200),
    ]


@pytest.mark.parametrize("recipes", ['["genept-w"]', "[]", '["expression", "random"]', '["refined"]'])
def test_no_suite_is_without_controls(folder: Path, recipes: str) -> None:
    text = SUITE.replace('["genept-w", "small.toml"]', recipes)
    (folder / "suite.toml").write_text(text)
    suite = Suite.read(folder / "suite.toml")
    for one in suite.tasks:
        found = [method.name for method in methods(suite, one) if method.kind == "control"]
        assert {"expression (control)", "random (control)", LOGISTIC} <= set(found)
        assert len(found) == len(set(found))
        shuffled = "refined, hash, shuffled text (control)" in found
        assert shuffled == ("refined, random vectors (control)" in found) == ("refined" in recipes)


def test_a_head_and_its_controls_differ_in_the_text_alone(folder: Path) -> None:
    (folder / "suite.toml").write_text(SUITE.replace('["genept-w", "small.toml"]', '["refined"]'))
    suite = Suite.read(folder / "suite.toml")
    found = {one.name: one for one in methods(suite, task(folder, query_genes=20, panel=True))}
    own, shuffled = found["refined, hash"].at(3), found["refined, hash, shuffled text (control)"].at(3)
    drawn = found["refined, random vectors (control)"].at(3)
    free = found["refined, no text"].at(3)
    assert isinstance(free, Recipe)
    assert (free.weights, free.encoder, free.refine) == ("free", None, sv.RECIPES["refined"].refine)
    assert isinstance(own, Recipe)
    assert isinstance(shuffled, Recipe)
    assert isinstance(drawn, Recipe)
    assert own.refine == shuffled.refine == drawn.refine
    assert (own.weights, shuffled.weights, drawn.weights) == ("text", "shuffled", "random")
    assert own.random_state == shuffled.random_state == drawn.random_state == 3
    rebuilt = {name for name, one in found.items() if one.panel}
    assert rebuilt == {
        f"{name}, rebuilt for the query's genes"
        for name in (
            "refined, no text",
            "refined, hash",
            "refined, hash, shuffled text (control)",
            "refined, random vectors (control)",
            "expression (control)",
        )
    }


def test_no_query_cell_is_in_the_reference(folder: Path, store: sv.Store) -> None:
    whole = names(folder / "cells.h5ad")
    share = task(folder, name="share", hold_out=HoldOut(share=0.25))
    for one, seed in ((task(folder), None), (share, 0), (share, 1)):
        made = prepare(one, seed, folder, store)
        reference, query = names(made.reference), names(made.query)
        assert not reference & query
        assert reference | query == whole
    donors = ad.read_h5ad(folder / "cells.h5ad").obs["donor"]
    assert names(prepare(task(folder), None, folder, store).query) == set(donors.index[donors == "d2"])
    # A share of each label, of which there are 45 cells.
    labels = ad.read_h5ad(prepare(share, 0, folder, store).query).obs["label"]
    assert labels.value_counts().to_dict() == dict.fromkeys(toy.LABELS, 11)


def test_draws_are_of_their_seed(folder: Path, store: sv.Store) -> None:
    for asked in ({"hold_out": HoldOut(share=0.25)}, {"cells_per_class": 10}, {"query_genes": 30}):
        one = task(folder, **asked)
        drawn = [prepare(one, seed, folder / str(i), store) for i, seed in enumerate((0, 0, 1))]
        read = [(ad.read_h5ad(made.reference), ad.read_h5ad(made.query)) for made in drawn]
        said = [(ref.obs_names.tolist(), query.obs_names.tolist(), query.var_names.tolist()) for ref, query in read]
        assert said[0] == said[1]
        assert said[0] != said[2]
        assert drawn[0].digest == drawn[1].digest != drawn[2].digest
        # The reference does not depend on which genes the query is cut to, and its atlases are shared.
        assert (drawn[0].reference_digest == drawn[2].reference_digest) == ("query_genes" in asked)


def test_few_cells_are_some_of_more(folder: Path, store: sv.Store) -> None:
    drawn = [prepare(task(folder, name=str(n), cells_per_class=n), 4, folder, store) for n in (5, 10, 1000)]
    found = [names(one.reference) for one in drawn]
    assert [len(one) for one in found] == [20, 40, 120]
    assert found[0] < found[1] < found[2]
    assert ad.read_h5ad(drawn[0].reference).obs["label"].value_counts().to_dict() == dict.fromkeys(toy.LABELS, 5)


def test_a_panel_keeps_its_counts_and_nothing_else(folder: Path, store: sv.Store) -> None:
    # Half of the toy genes are no type's markers: they hardly vary, and the panel is not drawn from the query.
    made = prepare(task(folder, query=folder / "query.h5ad", query_genes=30), 0, folder, store)
    query, whole = ad.read_h5ad(made.query), ad.read_h5ad(folder / "query.h5ad")
    assert query.n_vars == 30
    assert np.array_equal(query.X.toarray(), whole[:, query.var_names].X.toarray())
    assert ad.read_h5ad(made.reference).n_vars == toy.N_GENES


def test_genes_are_drawn_from_those_that_vary(folder: Path, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    markers = sum(toy.theme_of(gene) is not None for gene in range(toy.N_GENES))
    monkeypatch.setattr("scvec.bench.tasks.N_VARIABLE", markers)
    made = prepare(task(folder, query_genes=markers), 0, folder, store)
    drawn = {toy.SYMBOLS.index(one) for one in ad.read_h5ad(made.query).var_names}
    assert drawn == {gene for gene in range(toy.N_GENES) if toy.theme_of(gene) is not None}
    with pytest.raises(sv.errors.InputError, match="most variable"):
        prepare(task(folder, query_genes=markers + 1), 0, folder, store)


def test_genes_may_be_any_of_the_query_or_the_most_variable_themselves(folder: Path, store: sv.Store) -> None:
    random = [prepare(task(folder, query_genes=40, genes_from="all"), seed, folder, store) for seed in (0, 1)]
    drawn = [ad.read_h5ad(one.query).var_names for one in random]
    assert set(drawn[0]) != set(drawn[1])
    # Half of the genes hardly vary: a draw from all of them has some.
    assert any(toy.theme_of(toy.SYMBOLS.index(one)) is None for one in drawn[0])
    asked = task(folder, query_genes=40, genes_from="top")
    assert not asked.draws
    top = set(ad.read_h5ad(prepare(asked, None, folder, store).query).var_names)
    assert len(top) == 40
    assert all(toy.theme_of(toy.SYMBOLS.index(one)) is not None for one in top)
    with pytest.raises(sv.errors.InputError, match="genes that the query has"):
        prepare(task(folder, query_genes=toy.N_GENES + 1, genes_from="all"), 0, folder, store)


def test_the_query_may_name_its_labels_otherwise(folder: Path, store: sv.Store) -> None:
    query = toy.cells(41, seed=1)
    truth = query.obs["cell_type"].astype(str).tolist()
    query.obs = query.obs.rename(columns={"cell_type": "author"})
    query.write_h5ad(folder / "other.h5ad")
    made = prepare(task(folder, query=folder / "other.h5ad", query_label_key="author"), None, folder, store)
    assert made.truth.tolist() == truth
    assert "label" in ad.read_h5ad(made.reference).obs


def test_a_record_has_the_calls(folder: Path, store: sv.Store) -> None:
    made = prepare(task(folder), None, folder, store)
    called = np.roll(made.truth, 1)
    found = figures(made, called, {})
    assert np.array_equal(np.array(found["labels"])[found["called"]], called.astype(str))


def test_changed_code_is_another_run(tmp_path: Path) -> None:
    (tmp_path / "knn").mkdir()
    module, beside = tmp_path / "knn" / "votes.py", tmp_path / "cli.py"

    def of(text: str) -> str:
        module.write_text(text)
        code_digest.cache_clear()
        return code_digest(tmp_path)

    first = of('def votes(n):\n    """Count."""\n    return n + 1\n')
    assert of('"""Votes."""\ndef votes(n):\n    # Why.\n    return (n + 1)\n') == first
    beside.write_text("x = 1\n")
    assert of("def votes(n):\n    return n + 1\n") == first
    other = of("def votes(n):\n    return n + 2\n")
    assert other != first
    # Views decide the calls of those recipes alone that have some.
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "rank.py").write_text("x = 1\n")
    assert of(module.read_text()) != other
    assert code_digest(tmp_path, views=False) == other
    code_digest.cache_clear()


def test_a_removed_class_is_unseen_and_in_the_query(folder: Path, store: sv.Store) -> None:
    made = prepare(task(folder, remove_class="beta"), None, folder, store)
    assert set(ad.read_h5ad(made.reference).obs["label"]) == {"alpha", "ductal", "immune"}
    assert "beta" in made.truth
    called = np.array([one if one != "beta" else "alpha" for one in made.truth], dtype=object)
    sure = np.where(made.truth == "beta", 0.9, 0.1)
    found = figures(made, called, {"score": sure, "other": -sure})
    assert (found["auroc_score"], found["auroc_other"]) == (1, 0)
    assert (found["accuracy"], found["accuracy_known"], found["macro_f1_known"]) == (0.75, 1, 1)
    assert found["not_in_reference"] == ["beta"]
    # alpha is found with half of its calls wrong: precision 1/2, F1 2/3.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0 + 1 + 1) / 4, abs=1e-4)
    with pytest.raises(sv.errors.KeyNotFoundError, match="gamma"):
        prepare(task(folder, remove_class="gamma"), None, folder, store)


def test_labels_may_meet_by_their_ids(folder: Path, store: sv.Store) -> None:
    query = toy.cells(41, seed=1)
    query.obs["cell_type"] = query.obs["cell_type"].astype(str).str.upper()
    query.write_h5ad(folder / "upper.h5ad")
    given = {"query": folder / "upper.h5ad", "label_id_key": "cl_id"}
    made = prepare(task(folder, **given, compare_ids=True), None, folder, store)
    called = np.array([one.lower() for one in query.obs["cell_type"]], dtype=object)
    assert figures(made, called, {})["macro_f1"] == 1
    by_name = prepare(task(folder, name="by name", **given), None, folder, store)
    with pytest.raises(sv.errors.LabelError):
        figures(by_name, called, {})


def test_a_query_of_another_species_has_the_reference_s_names(
    folder: Path, store: sv.Store, ncbi: tuple[Path, Path]
) -> None:
    orthologs = toy.write_orthologs(folder / "orthologs.gz")
    (folder / "mouse").mkdir()
    info, summary = toy.write_ncbi(folder / "mouse", toy.MOUSE)
    for taxon, one, two in (("human", *ncbi), ("mouse", info, summary)):
        sv.ingest.texts(store, taxon=taxon, gene_info=one, gene_summary=two, gene_orthologs=orthologs)
    query = toy.cells(41, seed=1)
    query.var_names = [toy.symbol_of(i, toy.MOUSE) for i in range(toy.N_GENES)]
    query.write_h5ad(folder / "mouse.h5ad")
    made = prepare(task(folder, query=folder / "mouse.h5ad", query_taxon="mouse"), None, folder, store)
    renamed = ad.read_h5ad(made.renamed_query)
    assert made.renamed_query != made.query
    # Genes 0 and 1 share an ortholog, and so have none.
    assert renamed.var_names[2:].tolist() == list(toy.SYMBOLS[2:])
    assert not set(renamed.var_names[:2]) & set(toy.SYMBOLS)
    assert np.array_equal(renamed.X.toarray(), query.X.toarray())
    assert ad.read_h5ad(made.query).var_names.tolist() == query.var_names.tolist()


def test_files_are_written_once_and_again_when_their_source_changes(folder: Path, store: sv.Store) -> None:
    first = prepare(task(folder), None, folder, store)
    before = first.reference.stat().st_mtime_ns
    assert prepare(task(folder), None, folder, store).digest == first.digest
    assert first.reference.stat().st_mtime_ns == before
    toy.cells(150, seed=5).write_h5ad(folder / "cells.h5ad")
    again = prepare(task(folder), None, folder, store)
    assert again.digest != first.digest
    assert names(again.reference) | names(again.query) == names(folder / "cells.h5ad")


def test_the_whole_suite(folder: Path, store: sv.Store, capsys: pytest.CaptureFixture[str]) -> None:
    out, before = folder / "out", set(store.children("atlases"))
    asked = ["bench", str(folder / "suite.toml"), "--out", str(out), "--store", store.uri]
    assert main(asked) == 0
    said = capsys.readouterr()
    assert len(written(out)) == sum(N_RUNS.values())
    assert set(store.children("atlases")) == before
    rows = {(row["task"], row["method"]): row for row in json.loads((out / "results.json").read_text())["rows"]}
    by_text, svd = "genept-w, hash", "small svd"
    controls = ("expression (control)", "random (control)", LOGISTIC)
    assert {method for _, method in rows} == {by_text, svd, *controls}
    assert len(rows) == 3 * 5
    assert rows["donor 2", by_text]["n_runs"] == 1
    assert rows["donor 2", svd]["n_runs"] == rows["few", by_text]["n_runs"] == 2
    assert rows["donor 2", svd]["macro_f1"][0] == rows["donor 2", LOGISTIC]["macro_f1"][0] == 1
    # What a method cannot do is said, and the rest goes on.
    failed = rows["few", "expression (control)"]
    assert failed["n_runs"] == 0
    assert "50 dimensions" in failed["failed"][0]
    assert "expression (control) failed on few" in said.err
    lacking = rows["without beta", svd]
    assert lacking["accuracy"][0] == pytest.approx(0.75, abs=0.01)
    assert lacking["accuracy_known"][0] == 1
    assert min(lacking[f"auroc_{name}"][0] for name in ("score", "distance", "novelty")) > 0.8
    text = (out / "results.md").read_text()
    for name in (by_text, svd, *controls):
        assert f"| {name} | " in text
        assert name in said.out
    assert "| failed |" in text
    assert text.count("## ") == 2
    assert {path.name for path in out.glob("*.png")} == {"macro_f1-toy-suite.png", "macro_f1-draws.png"}
    # Once more: nothing is run again. A task that changed is, and it alone.
    first = written(out)
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == list(rows.values())
    assert written(out) == first
    (folder / "suite.toml").write_text(SUITE.replace("cells_per_class = 12", "cells_per_class = 14"))
    assert main([*asked, "--quiet"]) == 0
    assert first.items() <= written(out).items()
    assert {name.split("-")[0] for name in written(out).keys() - first.keys()} == {"few"}
    assert len(written(out)) == len(first) + N_RUNS["few"]
    # The tables are of the task as it is now: 56 cells are enough for 50 dimensions, and the failures are not shown.
    again = {(row["task"], row["method"]): row for row in json.loads((out / "results.json").read_text())["rows"]}
    now = again[("few", "expression (control)")]
    assert (now["n_runs"], now["failed"]) == (2, [])
    assert "| failed |" not in (out / "results.md").read_text()


def test_what_was_done_outlasts_an_interruption(folder: Path, store: sv.Store) -> None:
    suite, out = Suite.read(folder / "suite.toml"), folder / "out"
    before = set(store.children("atlases"))

    def stopping(n: int) -> Progress:
        @contextmanager
        def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
            done = 0

            def advance(step: int) -> None:
                nonlocal done
                done += step
                if title == suite.name and done >= n:
                    raise KeyboardInterrupt

            yield advance

        return progress

    with pytest.raises(KeyboardInterrupt):
        run(suite, out, store, progress=stopping(4))
    first = written(out)
    assert len(first) == 4
    assert set(store.children("atlases")) == before
    results = run(suite, out, store)
    assert first.items() <= written(out).items()
    assert sum(row["n_runs"] + len(row["failed"]) * 2 for row in results.rows) == sum(N_RUNS.values())


def test_runs_that_share_an_atlas_build_it_once(folder: Path, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SUITE[: SUITE.index("[[tasks]]")] + "".join(
        f"""
[[tasks]]
name = "{n} genes"
reference = "cells.h5ad"
hold_out = {{ key = "donor", values = ["d2"] }}
label_key = "cell_type"
query_genes = {n}
"""
        for n in (60, 120)
    )
    (folder / "suite.toml").write_text(text)
    built: list[str] = []
    build = sv.atlas.build

    def counted(store: sv.Store, name: str, *arguments: Any, **options: Any) -> sv.atlas.Atlas:
        built.append(name)
        return build(store, name, *arguments, **options)

    monkeypatch.setattr(sv.atlas, "build", counted)
    results = run(Suite.read(folder / "suite.toml"), folder / "out", store)
    # genept-w draws nothing; the others have a seed each. Two tasks, two seeds.
    assert len(built) == len(set(built)) == 1 + 3 * 2
    assert sum(row["n_runs"] for row in results.rows) == 5 * 2 * 2


def test_other_tools_stand_in_the_same_tables(
    folder: Path, store: sv.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, out = Suite.read(folder / "suite.toml"), folder / "out"
    asked = [str(folder / "suite.toml"), "--out", str(out), "--store", store.uri, "--python", sys.executable]
    peers.main([*asked, "--methods", "logistic-regression"])
    first = written(out)
    assert len(first) == 1 + 2 + 1
    peers.main([*asked, "--methods", "logistic-regression"])
    assert written(out) == first
    results = run(suite, out, store)
    rows = {(row["task"], row["method"]): row for row in results.rows}
    for one in suite.tasks:
        theirs, ours = rows[one.name, "logistic-regression (peer)"], rows[one.name, LOGISTIC]
        assert theirs["kind"] == "peer"
        assert theirs["accuracy"] == ours["accuracy"]
    assert rows["without beta", "logistic-regression (peer)"]["auroc_score"][0] > 0.9
    assert "| logistic-regression (peer) | " in (out / "results.md").read_text()
    # Records of a task that is no more are not in its tables.
    (folder / "suite.toml").write_text(SUITE.replace('["d{donor}"]', '["d1"]'))
    made = plan(Suite.read(folder / "suite.toml"), out, store)
    assert ("donor 2", "logistic-regression (peer)") not in {
        (row["task"], row["method"]) for row in Results.write(made).rows
    }
    capsys.readouterr()


WRONG = {
    "an unknown key": (("seeds =", "sedes ="), "'sedes': expected one of: name, seeds"),
    "an unknown key of a task": (("cells_per_class", "cells_per_label"), "'cells_per_label': expected one of: name"),
    "a suite of genes": (("cells_per_class", 'kind = "probe"\ncells_per_class'), "Fix: scvec bench genes "),
    "an unknown key of hold_out": (("{ key =", "{ column ="), "'column': expected one of: key, values, share"),
    "no TOML": (("seeds = [0, 1]", "seeds = [0, 1"), "a suite in TOML"),
    "no seed": (("seeds = [0, 1]", "seeds = []"), "no seeds"),
    "a wrong seed": (("seeds = [0, 1]", "seeds = [0.5]"), "whole numbers of at least 0"),
    "no such recipe": (('"genept-w"', '"magic"'), "no recipe 'magic'"),
    "no recipe file": (('"small.toml"', '"large.toml"'), "large.toml"),
    "no such encoder": (('["hash"]', '["ada"]'), "'ada'"),
    "no vectors": (('["hash"]', '["text-embedding-3-small"]'), "scvec embed"),
    "no label key": (('label_key = "cell_type"\nbatch', "batch"), "lacks label_key"),
    "a missing file": (("/query.h5ad", "/none.h5ad"), "none.h5ad does not exist"),
    "no such column": (('"cell_type"', '"type"'), "cell_type"),
    "no such donor": (("donor = [2]", "donor = [7]"), "'d7'"),
    "no such variable": (("$TOY", "$TOI"), "export it"),
    "two sources of a query": (("remove_class", 'query = "query.h5ad"\nremove_class'), "one of them"),
    "a wrong number": (("cells_per_class = 12", "cells_per_class = 0"), "at least 1"),
    "one name twice": (('name = "few"', 'name = "donor 2"'), "the task donor-2 twice"),
    "genes from nowhere": (("cells_per_class = 12", 'genes_from = "best"'), "variable, all or top"),
    "a query's label key alone": (("remove_class", 'query_label_key = "a"\nremove_class'), "also query"),
    "panel alone": (("cells_per_class = 12", "panel = true"), "also query_genes or query_taxon"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_suite_is_one_line_and_exit_code_2(
    folder: Path, store: sv.Store, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (old, new), word = WRONG[name]
    assert old in SUITE
    (folder / "suite.toml").write_text(SUITE.replace(old, new))
    asked = [str(folder / "suite.toml"), "--out", str(folder / "out"), "--store", store.uri, "--quiet"]
    assert main(["bench", *asked]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert word in said.err
    assert said.err.startswith("scvec: ")
    assert said.err.count("\n") == 1
    assert not (folder / "out" / "runs").exists()


def test_a_missing_suite_and_an_empty_store(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(folder / "none.toml"), "--store", str(tmp_path / "store")]) == 2
    assert "none.toml" in capsys.readouterr().err
    asked = [str(folder / "suite.toml"), "--out", str(folder / "out"), "--store", str(tmp_path / "empty"), "--quiet"]
    assert main(["bench", *asked]) == 2
    assert "scvec genes pull" in capsys.readouterr().err


def test_a_picture_of_many_methods(tmp_path: Path) -> None:
    methods = [(f"{kind} {i}", kind) for kind in ("recipe", "control", "peer") for i in range(9)]
    values = np.random.default_rng(0).uniform(0.3, 1, (len(methods), 3, 3))
    values[0, 0] = np.nan
    plots.dots(["a", "b", "c"], methods, values, tmp_path / "dots.png", "all of them")
    assert (tmp_path / "dots.png").stat().st_size > 1000
    plots.dots(["a"], methods[:1], np.full((1, 1, 3), np.nan), tmp_path / "none.png", "nothing as yet")
    assert (tmp_path / "none.png").stat().st_size > 1000


def test_prepared_files_are_of_one_form(folder: Path, store: sv.Store) -> None:
    cells = toy.cells(60, seed=2)
    cells.layers["umi"], cells.X = cells.X.copy(), cells.X.toarray() / 3
    cells.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(toy.N_GENES)]
    cells.write_h5ad(folder / "layered.h5ad")
    asked = task(folder, reference=folder / "layered.h5ad", layer="umi", batch_key="donor", label_id_key="cl_id")
    made: Prepared = prepare(asked, None, folder, store)
    reference = ad.read_h5ad(made.reference)
    assert list(reference.obs.columns) == ["label", "batch", "label_id"]
    assert list(reference.var.columns) == ["gene_ids"]
    assert np.array_equal(reference.X.toarray(), cells[reference.obs_names].layers["umi"].toarray())
