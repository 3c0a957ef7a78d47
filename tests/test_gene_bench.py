"""Gene-level tasks: what is drawn, what is masked, what is measured, and that a resumed run equals another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.bench.code import genes_digest
from scvec.bench.genes import GeneResults, GeneSuite, GeneTask, masking, run
from scvec.bench.genes.expression import expressed
from scvec.bench.genes.families import families_of, kin_of
from scvec.bench.genes.intervals import difference, interval
from scvec.bench.genes.probes import N_FOLDS, probe, splits
from scvec.bench.genes.results import Figure
from scvec.bench.genes.retrieval import paired, same_set
from scvec.bench.genes.sets import read_sets
from scvec.bench.genes.tasks import Prepared, Preparer
from scvec.cli import main
from scvec.embed.encoders import Truncates, make
from scvec.errors import FileError, InputError, KeyNotFoundError, MissingDependencyError, NotInStoreError
from tests import gene_world as world
from tests import toy

SUITE = """
name = "toy genes"
seeds = [0, 1]
encoders = ["hash", "file:planted.parquet"]
controls = ["tfidf", "name", "length", "permuted", "random"]

[[tasks]]
name = "family"
kind = "same set"
sets = "families"
across_families = false

[[tasks]]
name = "theme"
kind = "same set"
sets = "themes.gmt"

[[tasks]]
name = "probe of themes"
kind = "probe"
sets = "themes.gmt"
n_sets = 2

[[tasks]]
name = "orthologs"
kind = "orthologs"
n_genes = 60
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[sv.Store, Path]:
    """A store with texts of both species, and a folder with the suite and its files."""
    folder = tmp_path_factory.mktemp("genes")
    store = world.store_of(folder)
    world.write_sets(folder / "themes.gmt")
    world.write_planted(folder / "planted.parquet")
    (folder / "suite.toml").write_text(SUITE)
    return store, folder


@pytest.fixture(scope="module")
def results(made: tuple[sv.Store, Path]) -> GeneResults:
    store, folder = made
    return run(GeneSuite.read(folder / "suite.toml"), folder / "out", store)


def figure(results: GeneResults, row: str, task: str, texts: str = "plain", measure: str = "") -> Figure:
    measures = {one["name"]: one["measures"][0] for one in results.tasks}
    wanted = (row, task, texts, measure or measures[task])
    return next(one for one in results.figures if (one.row, one.task, one.texts, one.measure) == wanted)


def prepared(made: tuple[sv.Store, Path], **values: Any) -> Prepared:
    store, folder = made
    given: dict[str, Any] = {"name": "a task", "kind": "same set", "sets": str(folder / "themes.gmt"), **values}
    task = GeneTask(**given)
    return Preparer(store, GeneSuite(name="one", encoders=(), tasks=(task,))).prepare(task)


# What a suite says


def test_a_suite_is_what_its_file_says(made: tuple[sv.Store, Path], tmp_path: Path) -> None:
    _, folder = made
    suite = GeneSuite.read(folder / "suite.toml")
    assert (suite.name, suite.seeds, suite.taxon) == ("toy genes", (0, 1), "human")
    assert suite.encoders == ("hash", f"file:{folder / 'planted.parquet'}")
    assert [one.kind for one in suite.tasks] == ["same set", "same set", "probe", "orthologs"]
    assert suite.tasks[1].sets == str(folder / "themes.gmt")
    suite.keep(tmp_path)
    assert GeneSuite.of(tmp_path) == suite
    (tmp_path / "static.toml").write_text(SUITE.replace("file:planted.parquet", "static:words.txt"))
    assert GeneSuite.read(tmp_path / "static.toml").encoders == ("hash", f"static:{tmp_path / 'words.txt'}")
    with pytest.raises(FileError, match="no suite, and none was run"):
        GeneSuite.of(folder)


def test_the_suite_of_the_repository_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCVEC_DATA", "/data")
    suite = GeneSuite.read(Path(__file__).parents[1] / "benchmarks" / "suites" / "genes.toml")
    assert len(suite.tasks) >= 9
    assert {one.kind for one in suite.tasks} == {"same set", "probe", "orthologs"}
    assert len(suite.controls) == 6
    assert all("/data/" in one.sets for one in suite.tasks if one.sets not in ("", "families"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "probe"', 'kind = "guess"', "'guess'"),
        ('sets = "families"', "", "sets = ''"),
        ('kind = "orthologs"', 'kind = "orthologs"\nsets = "themes.gmt"', "no sets"),
        ('name = "family"', 'name = "Theme"', "the task theme twice"),
        ("n_genes = 60", "n_genes = 0", "n_genes = 0"),
        ("n_genes = 60", "min_genes = 1", "min_genes = 1"),
        ("n_genes = 60", "genes_per_set = 3", "genes_per_set = 3"),
        ("n_sets = 2", "min_genes = 2\ngenes_per_set = 4", "genes_per_set = 4: expected at least 5"),
        ("across_families = false", "", "across_families = false"),
        ("n_genes = 60", "speed = 3", "task key 'speed'"),
        ("seeds = [0, 1]", "seeds = []", "no seeds"),
        ("seeds = [0, 1]", "seeds = 3", "seeds = 3"),
        ("seeds = [0, 1]", "lines = 3", "suite key 'lines'"),
        ('"length", "permuted"', '"width"', "'width'"),
        ('"length", "permuted"', '"expression"', "expression"),
        ('encoders = ["hash"', 'encoders = ["hash", "hash"', "the encoder hash twice"),
        ("file:planted.parquet", "file:$NOWHERE/x.parquet", "NOWHERE"),
    ],
)
def test_a_suite_that_is_wrong_is_one_line(
    made: tuple[sv.Store, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    old: str,
    new: str,
    said: str,
) -> None:
    assert old in SUITE
    path = tmp_path / "suite.toml"
    path.write_text(SUITE.replace(old, new, 1))
    code = main(["bench", "genes", str(path), "--out", str(tmp_path / "out"), "--store", made[0].uri])
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_sets_are_read_from_each_format(tmp_path: Path) -> None:
    rows = tmp_path / "types.tsv"
    rows.write_text("cell_type\tensembl_id\nB cells\tENSG1\nB cells\tENSG2\nT cells\tENSG1\n\t\n")
    assert dict(read_sets(rows)) == {"B cells": ("ENSG1", "ENSG2"), "T cells": ("ENSG1",)}
    tree = {"blood": {"T cell": {"positive_markers": ["CD3D"], "subtypes": {"Treg": {"positive_markers": ["FOXP3"]}}}}}
    (tmp_path / "tree.json").write_text(json.dumps({"version": 1, "tissues": tree}))
    assert dict(read_sets(tmp_path / "tree.json")) == {"T cell": ("CD3D",), "Treg": ("FOXP3",)}
    assert len(read_sets(world.write_sets(tmp_path / "a.gmt"))) == len(world.THEMES)
    (tmp_path / "none.tsv").write_text("cell_type\tensembl_id\n")
    (tmp_path / "bad.json").write_text("{")
    for name in ("none.tsv", "bad.json", "absent.tsv", "sets.xlsx"):
        with pytest.raises(FileError, match=re.escape(name)):
            read_sets(tmp_path / name)


# What is drawn


def test_families_are_stems_and_first_words() -> None:
    named = {
        "COL1A1": "collagen type I alpha 1 chain",
        "COL3A1": "collagen type III alpha 1 chain",
        "COLQ": "collagen like tail subunit",
        "ACTA1": "actin alpha 1",
        "ACTB": "actin beta",
        "TMEM1": "transmembrane protein 1",
        "TMEM2": "transmembrane protein 2",
        "INS": "insulin",
        "INSR": "insulin receptor",
        "GCG": "glucagon",
    }
    genes = pl.DataFrame({"symbol": list(named), "full_name": list(named.values())})
    kin = dict(zip(named, kin_of(genes).tolist(), strict=True))
    assert kin["COL1A1"] == kin["COL3A1"] == kin["COLQ"]
    assert kin["ACTA1"] == kin["ACTB"]
    assert kin["TMEM1"] == kin["TMEM2"]
    assert kin["INS"] == kin["INSR"]
    assert len(set(kin.values())) == 5
    # What is numbered because it is unknown is kin, but no family.
    families = dict(families_of(genes))
    assert families == {
        "collagen COL": ("COL1A1", "COL3A1", "COLQ"),
        "actin ACT": ("ACTA1", "ACTB"),
        "insulin INS": ("INS", "INSR"),
    }


def test_families_of_one_word_and_stem_are_told_apart() -> None:
    named = {
        "A2M": "alpha-2-macroglobulin",
        "A2ML1": "alpha-2-macroglobulin like 1",
        "A4GALT": "alpha 1,4-galactosyltransferase",
        "A4GNT": "alpha-1,4-N-acetylglucosaminyltransferase",
        "A4ALONE": "alone",
    }
    genes = pl.DataFrame({"symbol": list(named), "full_name": list(named.values())})
    assert families_of(genes) == {"alpha A (A2M)": ("A2M", "A2ML1"), "alpha A (A4GALT)": ("A4GALT", "A4GNT")}


def test_sets_and_genes_are_drawn_once_by_the_sample(made: tuple[sv.Store, Path]) -> None:
    whole, again, other = (prepared(made, genes_per_set=6, sample=one) for one in (0, 0, 1))
    assert whole.digest == again.digest != other.digest
    assert len(whole.genes.gene_ids) == 5 * 6
    # A member that was drawn for another set counts, too.
    themes = [world.theme_of(int(one) - toy.FIRST_ID[toy.HUMAN]) for one in whole.genes.gene_ids]
    assert whole.members.sum(axis=1).tolist() == [6] * 5
    assert [themes[i] for i in whole.members.argmax(axis=1)] == [
        next(k for k, words in enumerate(world.THEMES) if name.split("_")[1] == words.upper().split()[0])
        for name in whole.set_names
    ]
    assert len(prepared(made, n_sets=3).set_names) == 3
    with pytest.raises(InputError, match="0 sets of 50 to 60 genes"):
        prepared(made, min_genes=50, max_genes=60, genes_per_set=60)


def test_nearly_the_same_sets_are_drawn_once(made: tuple[sv.Store, Path], tmp_path: Path) -> None:
    text = world.write_sets(tmp_path / "sets.gmt").read_text()
    first = text.splitlines()[0].split("\t")
    (tmp_path / "sets.gmt").write_text(text + "\t".join(["TWIN", *first[1:-2]]) + "\n")
    assert len(prepared(made, sets=str(tmp_path / "sets.gmt")).set_names) == len(world.THEMES)


def test_only_genes_count_that_the_cells_measure(made: tuple[sv.Store, Path], tmp_path: Path) -> None:
    store, folder = made
    cells = toy.cells(60)[:, : world.N_GENES].copy()
    cells.var_names = [world.symbol_of(i) if i % 4 else f"OTHER{i}" for i in range(world.N_GENES)]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    task = GeneTask(name="theme", kind="same set", sets=str(folder / "themes.gmt"))
    suite = GeneSuite(
        name="one",
        encoders=(),
        tasks=(task,),
        controls=("expression",),
        expression=(str(tmp_path / "cells.h5ad"),),
    )
    genes = Preparer(store, suite).prepare(task).genes.gene_ids - toy.FIRST_ID[toy.HUMAN]
    assert set(genes.tolist()) == {i for i in range(world.N_GENES) if i % 4}
    found = run(suite, tmp_path / "out", store)
    # Genes of one toy cell type are expressed together; themes have nothing to do with it.
    assert 0 < figure(found, "expression SVD", "theme").value < 0.6


def test_expression_is_reduced_as_if_all_values_were_held(tmp_path: Path, made: tuple[sv.Store, Path]) -> None:
    store, _ = made
    texts = sv.ingest.open_texts(store, "human")
    files, dense = [], []
    for seed, n in ((1, 90), (2, 70)):
        cells = toy.cells(n, seed=seed)[:, :40].copy()
        cells.var_names = [world.symbol_of(i) for i in range(40)]
        cells.write_h5ad(tmp_path / f"{seed}.h5ad")
        files.append(str(tmp_path / f"{seed}.h5ad"))
        counts = np.asarray(cells.X.todense(), np.float64)
        values = np.log1p(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * 1e4)
        spread = values.std(axis=0)
        dense.append((values - values.mean(axis=0)) / np.where(spread > 1e-6, spread, np.inf))
    genes = np.arange(toy.FIRST_ID[toy.HUMAN], toy.FIRST_ID[toy.HUMAN] + 40)
    found = expressed(files, texts, genes).of(genes)
    left, sizes, _ = np.linalg.svd(np.concatenate(dense).T, full_matrices=False)
    wanted = (left * sizes)[:, : found.shape[1]]
    assert found.shape[1] == 39
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, rtol=1e-3, atol=1e-2)


# What is masked


def test_names_are_removed_whole_and_short_symbols_unless_they_are_words() -> None:
    text = "SET is a set of SETs; insulin-like Growth Factor 1 (IGF1, IGF-1, igf1) binds SETD2. Somatomedin C too."
    bare = masking.without_names(text, ["SET", "IGF1", "IGF-1", "insulin-like growth factor 1", "somatomedin C"])
    assert bare == "is a set of SETs; binds SETD2. too."
    assert masking.without_names("COL1A1 and col1a1.", ["COL1A1"]) == "and."
    bare = masking.without_names("Rapamycin binds mTOR and (Mtor) p53.", ["MTOR", "TP53", "p53"])
    assert bare == "Rapamycin binds and."


def test_words_of_sets_are_removed_with_their_relatives() -> None:
    words = masking.words_of(["HALLMARK_PANCREAS_BETA_CELLS", "Regulation of signaling"])
    assert words == {"pancreas", "beta", "cells", "regulation", "signaling"}
    bare = masking.without_words(
        "Pancreatic beta-cells signal; the pancreas regulates a celery of lungs, a cellular one.", words
    )
    assert bare == "-; the a celery of lungs, a one."
    assert masking.without_words("Pancreas.", words) == masking.BLANK


def test_masked_texts_lose_the_same_words_whatever_sets_they_are_in(made: tuple[sv.Store, Path]) -> None:
    task = prepared(made)
    words = " ".join(task.genes.texts["masked"]).lower()
    for name in task.set_names:
        assert all(masking.stem(one) not in words for one in masking.words_of([name]))
    assert all(world.symbol_of(i).lower() not in words for i in range(world.N_GENES))
    assert "neurons" in words  # the third word of a theme is in no set's name
    assert task.genes.texts["name"][0] == "ABCX0: abcxin 0."
    family = prepared(made, sets="families", across_families=False)
    assert not any(word in " ".join(family.genes.texts["masked"]) for word in world.WORDS)


# What is measured


def test_recall_and_rank_by_hand() -> None:
    # On a line: a b | c d e; sets {a, c}, {b, d, e}; the order from each gene is by the angle.
    angles = np.array([0, 10, 25, 30, 60]) * np.pi / 180
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    members = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 1, 1]], bool)
    found = same_set(vectors, members, np.arange(5), across_families=False)
    # a: b c -> c second. c: d b a -> third. b: a c d e -> d third. d: c b -> b second. e: d first.
    np.testing.assert_allclose(found["mrr"], [(1 / 2 + 1 / 3) / 2, (1 / 3 + 1 / 2 + 1) / 3])
    np.testing.assert_allclose(found["recall@10"], [1, 1])
    # c and d of one family: c's neighbour d does not count, nor d's c.
    apart = same_set(vectors, members, np.array([0, 1, 2, 2, 4]), across_families=True)
    np.testing.assert_allclose(apart["mrr"], [(1 / 2 + 1 / 2) / 2, (1 / 3 + 1 + 1) / 3])


def test_recall_counts_as_many_as_there_can_be() -> None:
    n = 30
    angles = np.linspace(0, 1, n)
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    members = np.zeros((2, n), bool)
    members[0, :20], members[1, [0, 29]] = True, True
    found = same_set(vectors, members, np.arange(n), across_families=False)
    # Gene 0 has 20 right ones (19, and gene 29), 10 of which are the first 10; gene 29 has one, the farthest of all.
    by_gene = [np.sort([j for j in range(n) if j != i], kind="stable") for i in range(n)]
    by_gene = [one[np.argsort(np.abs(angles[one] - angles[i]), kind="stable")][:10] for i, one in enumerate(by_gene)]
    hits = [np.isin(one, np.arange(20)).sum() / 10 for one in by_gene[:20]]
    assert hits[0] == 1
    np.testing.assert_allclose(found["recall@10"], [np.mean(hits), (1 + 0) / 2], atol=0.01)


def test_a_gene_without_a_right_answer_does_not_count() -> None:
    vectors = np.eye(4, dtype=np.float32)
    members = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)
    found = same_set(vectors, members, np.array([0, 0, 1, 2]), across_families=True)
    assert np.isnan(found["mrr"][0])
    assert interval(found["mrr"])[0] == found["mrr"][1]


def test_orthologs_are_ranked_among_all() -> None:
    pool = np.eye(3, dtype=np.float32)
    queries = np.array([[1, 0, 0], [0.9, 0.5, 0], [0, 0, 0]], np.float32)
    found = paired(queries, pool)
    # A vector of zeros is similar to nothing: its order is that of the pool.
    np.testing.assert_allclose(found["mrr"], [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(found["recall@1"], [1, 0, 0])


def test_a_probe_by_hand() -> None:
    rng = np.random.default_rng(3)
    members = np.zeros((2, 60), bool)
    members[0, :15], members[1, 40:] = True, True
    kin = np.arange(60) // 2
    vectors = (members[0] + rng.normal(0, 1, 60)).astype(np.float32)[:, None]
    found = probe(vectors, members, kin, 0)["auroc"]
    for inside, folds, value in zip(members, splits(members, kin, 0), found, strict=True):
        aurocs = []
        assert len(folds) == N_FOLDS
        for learnt, asked in folds:
            assert not set(kin[learnt]) & set(kin[asked])
            # One dimension: the regression only says which way is up.
            up = np.sign(vectors[learnt][inside[learnt]].mean() - vectors[learnt][~inside[learnt]].mean())
            ins, outs = vectors[asked][inside[asked]] * up, vectors[asked][~inside[asked]] * up
            aurocs.append(np.mean([(one > other) + (one == other) / 2 for one in ins for other in outs]))
        assert value == pytest.approx(np.mean(aurocs))
    assert found[0] > 0.6


def test_a_probe_is_the_same_in_more_dimensions_than_genes() -> None:
    rng = np.random.default_rng(0)
    members = np.zeros((1, 80), bool)
    members[0, :20] = True
    vectors = rng.normal(size=(80, 40)).astype(np.float32)
    vectors[:20, :5] += 1
    wide = np.concatenate([vectors] * 10, axis=1)
    one, other = (probe(x, members, np.arange(80), 0)["auroc"] for x in (vectors, wide))
    np.testing.assert_allclose(one, other, atol=0.01)


def test_intervals_hold_the_mean_and_pair_what_they_compare() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    mean, low, high = interval(values)
    assert mean == pytest.approx(values.mean())
    # Against theory: 1.96 standard errors.
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([mean - low, high - mean], half, rtol=0.1)
    better = difference(values + 0.05, values)
    np.testing.assert_allclose(better, 0.05)
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_a_planted_model_is_right_and_chance_is_chance(results: GeneResults) -> None:
    for measure in ("recall@10", "mrr"):
        assert figure(results, "file:planted.parquet", "theme", measure=measure).value == 1
    assert figure(results, "file:planted.parquet", "probe of themes").value == 1
    # 21 of 105 genes of other families are of the same theme.
    for row in ("random vectors", "tfidf, permuted genes"):
        assert figure(results, row, "theme").value == pytest.approx(0.2, abs=0.05)
        assert figure(results, row, "probe of themes").value == pytest.approx(0.5, abs=0.1)
        assert figure(results, row, "orthologs").value < 0.2
    # Names tell the family and the ortholog, and not the theme.
    assert figure(results, "hash, name only", "family", "name").value > 0.9
    assert figure(results, "hash, name only", "theme", "name").value < 0.4
    assert figure(results, "hash", "family").value > 2 * figure(results, "hash", "family", "masked").value


def test_the_table_has_each_row_and_its_verdict(results: GeneResults) -> None:
    rows = {one["row"]: one for one in results.rows}
    controls = ["tfidf", "hash, name only", "random vectors", "text length", "tfidf, permuted genes"]
    assert list(rows) == ["hash", "file:planted.parquet", *controls]
    assert [rows[one]["kind"] for one in controls] == ["control"] * 5
    assert (rows["hash"]["dimension"], rows["hash"]["revision"], rows["hash"]["covered"]) == (384, "1", 1)
    assert rows["hash"]["n_encoded"] > rows["hash"]["n_texts"] > 0
    assert rows["hash"]["timed_tokens"] > 0
    # Planted are the themes; orthologs are of another species, and the family is not told.
    assert results.verdict("file:planted.parquet", "plain") == (2, 3)
    assert results.verdict("file:planted.parquet", "masked") == (0, 0)
    text = results.files[1].read_text()
    assert "| *tfidf* |" in text
    assert re.search(r"\| hash \|.*\| \d of 4 \|", text)
    assert json.loads(results.files[0].read_text())["seeds"] == [0, 1]


# Runs


def rid(results: GeneResults) -> str:
    """Return the figures as text: what has to be equal."""
    return json.dumps([results.to_dict()["figures"], [one["row"] for one in results.rows]])


def written(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "runs").glob("*.json")}


def test_rows_of_an_earlier_run_of_the_same_tasks_stay(
    made: tuple[sv.Store, Path], results: GeneResults, tmp_path: Path
) -> None:
    store, folder = made
    suite = GeneSuite.read(folder / "suite.toml")
    one = run(suite, tmp_path / "one", store, encoders=["file:" + str(folder / "planted.parquet")])
    assert "missing" in next(row for row in one.rows if row["row"] == "hash")
    both = one.beside(json.loads((folder / "out" / "results.json").read_text()))
    assert {row["row"]: row.get("missing") for row in both.rows} == {row["row"]: None for row in results.rows}
    assert set(map(repr, both.figures)) == set(map(repr, results.figures))
    assert both.verdict("hash", "masked") == results.verdict("hash", "masked")
    assert "| hash | 0." in both.markdown()
    other = {**results.to_dict(), "code": "other"}
    assert one.beside(other) is one
    assert one.beside({"figures": []}) is one


def test_a_resumed_run_equals_an_uninterrupted_one(
    made: tuple[sv.Store, Path], results: GeneResults, tmp_path: Path
) -> None:
    suite = GeneSuite.read(made[1] / "suite.toml")
    store = world.store_of(tmp_path / "again")

    @contextmanager
    def stopped(title: str, total: int) -> Iterator[Callable[[int], None]]:
        def advance(step: int) -> None:
            # Once some of hash's texts have been encoded.
            if title.startswith("hash:") and "to encode" in title:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        run(suite, tmp_path / "out", store, progress=stopped)
    before = written(tmp_path / "out")
    assert before
    again = run(suite, tmp_path / "out", store)
    assert rid(again) == rid(results)
    after = written(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)
    # Nothing is left to be done.
    assert rid(run(suite, tmp_path / "out", store)) == rid(results)
    assert written(tmp_path / "out") == after


def test_records_of_other_code_or_other_texts_do_not_count(
    made: tuple[sv.Store, Path], results: GeneResults, tmp_path: Path
) -> None:
    store, folder = made
    suite = GeneSuite.read(folder / "suite.toml")
    run(suite, tmp_path / "out", store)
    for path in (tmp_path / "out" / "runs").glob("theme-hash-*.json"):
        record = json.loads(path.read_text())
        path.write_text(
            json.dumps({**record, "code": "other", "digest": "0" * 64, "values": {"mrr": [], "recall@10": []}})
        )
    assert rid(run(suite, tmp_path / "out", store)) == rid(results)


def test_figures_are_of_the_seeds_and_vectors_asked_for(
    made: tuple[sv.Store, Path], results: GeneResults, tmp_path: Path
) -> None:
    store, folder = made
    suite, out = GeneSuite.read(folder / "suite.toml"), tmp_path / "out"
    run(suite, out, store)
    # Records of other seeds and of another revision of a model, written later.
    other = run(replace(suite, seeds=(7,)), out, store)
    assert rid(other) != rid(results)
    for path in (out / "runs").glob("theme-hash-*.json"):
        record = json.loads(path.read_text())
        none = {key: [0.0] * len(values) for key, values in record["values"].items()}
        record |= {"digest": "0" * 64, "revision": "0", "seeds": [*suite.seeds], "values": none}
        path.with_name(f"{path.stem}-later.json").write_text(json.dumps(record))
    assert rid(run(suite, out, store)) == rid(results)


def test_changed_code_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "bench" / "genes").mkdir(parents=True)
    module = tmp_path / "bench" / "genes" / "probes.py"

    def of(text: str) -> str:
        module.write_text(text)
        genes_digest.cache_clear()
        return genes_digest(tmp_path)

    first = of('def f(n):\n    """Count."""\n    return n + 1\n')
    assert of("def f(n):\n    # Why.\n    return n + 1\n") == first
    assert of("def f(n):\n    return n + 2\n") != first
    genes_digest.cache_clear()


def test_one_more_model_is_one_command(
    made: tuple[sv.Store, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, folder = made
    out = tmp_path / "out"
    common = ["--out", str(out), "--store", store.uri, "--quiet"]
    assert main(["bench", "genes", str(folder / "suite.toml"), *common]) == 0
    capsys.readouterr()
    assert main(["bench", "genes", "--encoder", "random", *common, "--json"]) == 0
    rows = [one["row"] for one in json.loads(capsys.readouterr().out)["rows"] if one["kind"] == "model"]
    assert rows == ["hash", "file:planted.parquet", "random"]
    # It stays in the table of a later run.
    assert main(["bench", "genes", *common]) == 0
    text = capsys.readouterr().out
    assert "random, name only" in text
    assert f"Written:\n{out / 'results.json'}" in text


@pytest.fixture
def nothing_at_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_out_of_reach_has_a_row_that_says_so(
    made: tuple[sv.Store, Path], nothing_at_openai: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, _ = made
    suite = tmp_path / "suite.toml"
    world.write_planted(tmp_path / "planted.parquet")
    world.write_sets(tmp_path / "themes.gmt")
    away = '"text-embedding-3-small", "st:./none", "file:none.parquet", "of-another-package"'
    suite.write_text(SUITE.replace('"hash"', f'"hash", {away}'))
    common = ["--out", str(tmp_path / "out"), "--store", store.uri]
    assert main(["bench", "genes", str(suite), *common]) == 0
    _, err = capsys.readouterr()
    assert "text-embedding-3-small was not measured here: " in err
    assert "OPENAI_API_KEY" in err
    text = (tmp_path / "out" / "results.md").read_text()
    assert f"Then: `scvec bench genes --out {tmp_path / 'out'} --encoder text-embedding-3-small`" in text
    assert text.count("not measured here: ") == 4
    assert f"`scvec bench genes --out {tmp_path / 'out'} --encoder st:./none`" in text
    assert "not measured here: no encoder 'of-another-package'" in text
    # Whoever asks for it by name gets the error.
    assert main(["bench", "genes", "--encoder", "text-embedding-3-small", *common]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_a_model_that_is_gone_keeps_its_figures_and_says_why_it_has_no_new_ones(
    made: tuple[sv.Store, Path], tmp_path: Path
) -> None:
    store, _ = made
    planted = world.write_planted(tmp_path / "planted.parquet")
    world.write_sets(tmp_path / "themes.gmt")
    (tmp_path / "suite.toml").write_text(SUITE)
    suite = GeneSuite.read(tmp_path / "suite.toml")
    first = run(suite, tmp_path / "out", store)
    planted.unlink()
    assert rid(run(suite, tmp_path / "out", store)) == rid(first)
    other = run(replace(suite, seeds=(7,)), tmp_path / "out", store)
    (row,) = (one for one in other.rows if "missing" in one)
    assert (row["row"], row["dimension"]) == ("file:planted.parquet", len(world.THEMES))
    assert "does not exist" in row["missing"]
    planted = world.write_planted(tmp_path / "planted.parquet")
    assert not [one for one in run(suite, tmp_path / "out", store).rows if "missing" in one]


def test_without_texts_the_command_that_brings_them_is_named(made: tuple[sv.Store, Path], tmp_path: Path) -> None:
    suite = GeneSuite.read(made[1] / "suite.toml")
    with pytest.raises(NotInStoreError, match="scvec genes pull --taxon human"):
        run(suite, tmp_path / "out", sv.Store(tmp_path / "empty"))


def test_an_unknown_encoder_is_an_error(made: tuple[sv.Store, Path], tmp_path: Path) -> None:
    suite = GeneSuite.read(made[1] / "suite.toml")
    with pytest.raises(KeyNotFoundError, match="hush"):
        run(suite, tmp_path / "out", made[0], encoders=["hush"])
    assert not (tmp_path / "out").exists()


def test_vectors_of_plain_texts_are_those_of_embed(made: tuple[sv.Store, Path], tmp_path: Path) -> None:
    store = world.store_of(tmp_path / "own")
    texts = sv.ingest.open_texts(store, "human")
    assert sv.embed.genes(store, texts, encoder="hash").n_encoded == world.N_GENES
    suite = GeneSuite.read(made[1] / "suite.toml")
    run(suite, tmp_path / "out", store, encoders=["hash"])
    # The other species' are there now, and nothing of the first was encoded twice.
    assert len(store.table("gene_vectors/hash/1").latest()) == world.N_GENES + 60
    assert len(store.table("bench_vectors/hash/1").latest()) > 0


def test_tokens_that_a_model_does_not_read_are_counted() -> None:
    try:
        model = make("minilm", pl.DataFrame({"text": []}, {"text": pl.String}))
    except MissingDependencyError as error:
        pytest.skip(str(error))
    assert isinstance(model, Truncates)
    assert model.max_tokens == 256
    # One token a word, and the two around the text.
    assert model.n_tokens(["gene", "gene " * 500]) == [3, 502]
    assert model.n_tokens([]) == []
