"""Two groups of cells: exact sums, what swapping changes, tests as SciPy's on dense data, texts, and the verb."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import anndata as ad
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, ttest_ind

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.query_cells import open_query, query_cells
from scvec.cli import main
from scvec.core.types import silent
from scvec.errors import InputError, KeyNotFoundError, LabelError
from scvec.explain import contrast, text_groups
from scvec.explain.streaming import Moments
from scvec.ingest.cells.options import ReadOptions
from tests import toy

SIDES: tuple[Literal["a", "b"], ...] = ("a", "b")


@pytest.fixture(scope="module")
def room(_built: Path, tmp_path_factory: pytest.TempPathFactory) -> sv.Store:
    """A store of this module's own."""
    folder = tmp_path_factory.mktemp("contrast") / "store"
    shutil.copytree(_built, folder)
    return sv.Store(folder)


@pytest.fixture(scope="module", params=["refined", "genept-w", "topn", "expression", "random"])
def other(request: pytest.FixtureRequest, room: sv.Store, files: Path) -> Atlas:
    """An atlas of each kind of recipe."""
    recipe = sv.RECIPES[request.param]
    if recipe.reads_text:
        recipe = recipe.with_encoder("hash")
    return sv.atlas.build(room, request.param, files / "reference.h5ad", label_key="cell_type", recipe=recipe)


def dense(path: Path, atlas: Atlas) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return (n, g) log-normalised cells, and their vectors."""
    with open_query(path, atlas, ReadOptions()) as cells:
        known = sp.vstack([one for *_, one in cells.batches("", silent)]).tocsr()
        vectors, _ = cells.vectors(np.arange(known.shape[0]), known)
    return known.toarray().astype(np.float64), vectors.astype(np.float64)


def test_contributions_add_up_to_the_distance_of_the_means(other: Atlas, files: Path) -> None:
    one = contrast(query_cells(files / "query.h5ad", other), "alpha", "beta", group_key="cell_type")
    labels = toy.cells(41, seed=1).obs["cell_type"].to_numpy()
    _, vectors = dense(files / "query.h5ad", other)
    way = vectors[labels == "alpha"].mean(axis=0) - vectors[labels == "beta"].mean(axis=0)
    np.testing.assert_allclose(one.distance, np.linalg.norm(way), rtol=1e-5)
    np.testing.assert_allclose(one.contribution.sum() + one.baseline, one.distance, atol=1e-5)
    assert abs(one.baseline) < 1e-6
    assert one.n_cells == (int((labels == "alpha").sum()), int((labels == "beta").sum()))
    assert one.gene_ids.tolist() == other.embedding.gene_ids.tolist()


def test_the_other_way_round(other: Atlas, files: Path) -> None:
    """What a gene contributes stays, whose it is turns round, and so does the order."""
    one, back = (
        contrast(query_cells(files / "query.h5ad", other), *names, group_key="cell_type")
        for names in (("alpha", "beta"), ("beta", "alpha"))
    )
    np.testing.assert_allclose(back.contribution, one.contribution, atol=1e-9)
    for name in ("attribution", "more", "t", "log2_fold_change"):
        np.testing.assert_allclose(getattr(back, name), -getattr(one, name), atol=1e-9)
    np.testing.assert_allclose(back.p_value, one.p_value)
    np.testing.assert_array_equal(back.means, one.means[::-1])
    assert one.top("expression", "a", 9).tolist() == back.top("expression", "b", 9).tolist()


def test_markers_come_first(other: Atlas, files: Path) -> None:
    """By expression in every atlas, by attribution in all that look at genes one by one."""
    one = contrast(query_cells(files / "query.h5ad", other), "alpha", "beta", group_key="cell_type")
    for by in ("attribution", "expression"):
        for side in SIDES:
            top = one.top(by, side, 15)
            themes = [toy.theme_of(toy.SYMBOLS.index(symbol)) for symbol in one.symbols[top].tolist()]
            assert themes.count(one.name(side)) >= 14, (by, side, themes)
            signs = np.sign(one.statistic(by)[top])
            assert set(signs.tolist()) == {1.0 if side == "a" else -1.0}


def test_expression_is_tested_as_scipy_does(atlas: Atlas, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch by batch, with five cells at once."""
    monkeypatch.setattr("scvec.ingest.cells.matrix.MAX_BATCH_CELLS", 5)
    one = contrast(query_cells(files / "query.h5ad", atlas), "ductal", "immune", group_key="cell_type")
    known, _ = dense(files / "query.h5ad", atlas)
    labels = toy.cells(41, seed=1).obs["cell_type"].to_numpy()
    a, b = known[labels == "ductal"], known[labels == "immune"]
    wanted = ttest_ind(a, b, equal_var=False)
    varied = (a.std(axis=0) > 0) | (b.std(axis=0) > 0)
    np.testing.assert_allclose(one.t[varied], wanted.statistic[varied], rtol=1e-8)
    np.testing.assert_allclose(one.p_value[varied], wanted.pvalue[varied], rtol=1e-7)
    np.testing.assert_allclose(one.fdr, false_discovery_control(one.p_value), rtol=1e-12)
    np.testing.assert_allclose(one.means, [a.mean(axis=0), b.mean(axis=0)], rtol=1e-9)
    np.testing.assert_allclose(one.shares, [(a > 0).mean(axis=0), (b > 0).mean(axis=0)])
    fold = np.log2(np.expm1(a).mean(axis=0) + 1) - np.log2(np.expm1(b).mean(axis=0) + 1)
    np.testing.assert_allclose(one.log2_fold_change, fold, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Precision loss occurred in moment calculation")  # SciPy's own, of a constant group
@settings(max_examples=60)
@given(st.integers(0, 9999), st.integers(1, 5))
def test_moments_are_those_of_all_batches(seed: int, n_batches: int) -> None:
    rng = np.random.default_rng(seed)
    n, g = 17, 6
    x = np.log1p(rng.poisson(rng.uniform(0, 3, g), (n, g))).astype(np.float32)
    x[:, 0], x[:, 1] = 0, np.float32(2.3)  # a gene that no cell has, and one that all have alike
    codes = rng.integers(-1, 2, n)
    codes[:4] = 0, 0, 1, 1
    moments = Moments.none(g)
    for rows in np.array_split(np.arange(n), n_batches):
        moments = moments.add(sp.csr_matrix(x[rows]), codes[rows])
    a, b = (x[codes == i].astype(np.float64) for i in (0, 1))
    assert moments.n_cells.tolist() == [len(a), len(b)]
    t, p = moments.welch()
    varied = (a.std(axis=0) > 1e-9) | (b.std(axis=0) > 1e-9)
    wanted = ttest_ind(a[:, varied], b[:, varied], equal_var=False)
    np.testing.assert_allclose(t[varied], wanted.statistic, rtol=1e-6)
    np.testing.assert_allclose(p[varied], wanted.pvalue, rtol=1e-6)
    assert not t[~varied].any()
    assert (p[~varied] == 1).all()


def test_a_gene_that_makes_the_groups_alike_is_nobodys(atlas: Atlas, files: Path) -> None:
    one = contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    against = one.contribution < 0
    assert against.any()
    assert not one.attribution[against].any()
    assert f"{int(against.sum()):,} genes make the groups more alike" in one.notes[-1]
    for side in SIDES:
        assert not np.isin(one.top("attribution", side, len(one)), np.flatnonzero(against)).any()


def test_genes_that_the_file_lacks_are_left_out(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(41, seed=1)
    cells[:, 40:].copy().write_h5ad(tmp_path / "few.h5ad")
    one = contrast(query_cells(tmp_path / "few.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    assert one.symbols.tolist() == [s for s in toy.SYMBOLS[40:] if s in set(one.symbols.tolist())]
    assert len(one) == 200
    np.testing.assert_allclose(one.contribution.sum() + one.baseline, one.distance, atol=1e-5)


def test_groups_of_labels_called(atlas: Atlas, files: Path) -> None:
    calls = sv.annotate(files / "query.h5ad", atlas)
    one = contrast(calls, "alpha", "beta")
    by_author = contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    assert calls.label.tolist() == toy.cells(41, seed=1).obs["cell_type"].tolist()
    np.testing.assert_array_equal(one.contribution, by_author.contribution)
    assert one.provenance["query"]["group"] == "labels called"
    of_calls = contrast(calls, "alpha", "beta", group_key="cell_type")
    np.testing.assert_array_equal(of_calls.contribution, by_author.contribution)
    assert of_calls.provenance["query"]["group"] == "cell_type"
    with pytest.raises(InputError, match="cells without calls have no groups: expected calls, or `group_key`"):
        contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta")


def test_cells_that_were_changed_since_are_refused(atlas: Atlas, tmp_path: Path) -> None:
    toy.cells(41, seed=1).write_h5ad(tmp_path / "q.h5ad")
    calls, cells = sv.annotate(tmp_path / "q.h5ad", atlas), query_cells(tmp_path / "q.h5ad", atlas)
    toy.cells(41, seed=2).write_h5ad(tmp_path / "q.h5ad")
    for one in (calls, cells):
        with pytest.raises(InputError, match="was changed since it was annotated"):
            contrast(one, "alpha", "beta", group_key="cell_type")


def test_groups_that_are_none(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(41, seed=1, form="dense")
    cells.obs["mine"] = ["one" if i == 3 else "two" if i in (4, 5) else "rest" for i in range(41)]
    cells.X[5] = 0
    path = tmp_path / "q.h5ad"
    cells.write_h5ad(path)
    with pytest.raises(InputError, match="both groups are 'rest'"):
        contrast(query_cells(path, atlas), "rest", "rest", group_key="mine")
    with pytest.raises(KeyNotFoundError, match=r"no group in obs\['mine'\] 'gone': .* one, rest, two"):
        contrast(query_cells(path, atlas), "rest", "gone", group_key="mine")
    with pytest.raises(KeyNotFoundError, match="`group_key` 'gone'"):
        contrast(query_cells(path, atlas), "rest", "one", group_key="gone")
    with pytest.raises(LabelError, match="1 cell in 'one'"):
        contrast(query_cells(path, atlas), "rest", "one", group_key="mine")
    with pytest.raises(LabelError, match="1 cell in 'two' with expression"):
        contrast(query_cells(path, atlas), "two", "rest", group_key="mine")


def test_groups_that_are_the_same(atlas: Atlas, tmp_path: Path) -> None:
    """The same cells twice: nothing lies between them, nothing is attributed, and that is said."""
    cells = toy.cells(40, seed=1)
    both = ad.concat([cells, cells], index_unique="-")
    both.obs["copy"] = ["one"] * 40 + ["two"] * 40
    both.write_h5ad(tmp_path / "q.h5ad")
    one = contrast(query_cells(tmp_path / "q.h5ad", atlas), "one", "two", group_key="copy")
    assert one.distance == 0
    assert not one.attribution.any()
    assert not len(one.top("attribution", "a", 5))
    assert "lie in the same place" in one.notes[-1]


def test_other_matrices(atlas: Atlas, tmp_path: Path) -> None:
    """A layer is read as it is asked for."""
    cells = toy.cells(41, seed=1)
    cells.layers["counts"], cells.X = cells.X, toy.cells(41, seed=1, form="dense", scale="scaled").X
    cells.write_h5ad(tmp_path / "q.h5ad")
    toy.cells(41, seed=1).write_h5ad(tmp_path / "plain.h5ad")
    one = contrast(query_cells(tmp_path / "q.h5ad", atlas, layer="counts"), "alpha", "beta", group_key="cell_type")
    plain = contrast(query_cells(tmp_path / "plain.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    np.testing.assert_array_equal(one.contribution, plain.contribution)
    assert (one.provenance["query"]["layer"], plain.provenance["query"]["layer"]) == ("counts", None)


def test_the_frame(atlas: Atlas, files: Path) -> None:
    one = contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    frame = one.to_frame()
    assert len(frame) == len(one)
    assert frame["attribution"].is_sorted(descending=True)
    assert frame["gene_id"].to_list() == one.gene_ids[one.order("attribution")].tolist()
    assert frame["symbol"][0] == one.symbols[one.top("attribution", "a", 1)[0]]


def test_text_groups_are_of_one_theme_each(atlas: Atlas, files: Path) -> None:
    one = contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    found = text_groups(one, atlas, n_genes=10, n_groups=3)
    assert (found.a, found.b, found.encoder) == ("alpha", "beta", "hash")
    assert sorted(len(group) for group in found.groups)[::-1] == [len(group) for group in found.groups]
    genes = [gene for group in found.groups for gene in (*group.genes_a, *group.genes_b)]
    tops = [one.symbols[one.top("attribution", side, 10)].tolist() for side in SIDES]
    assert sorted(genes) == sorted(tops[0] + tops[1])
    frame = found.to_frame()
    assert frame["n_a"].sum() == frame["n_b"].sum() == 10
    assert frame["genes_a"].to_list() == [list(group.genes_a) for group in found.groups]


def test_words_tell_what_texts_are_about(atlas: Atlas, files: Path) -> None:
    """With vectors of the texts' words, groups are the themes, and their words are the themes'."""
    one = contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    sv.embed.genes(atlas.store, atlas.texts, encoder="tfidf")
    groups = text_groups(one, atlas, n_genes=15, n_groups=3, n_words=3, encoder="tfidf").groups
    said = {word: group for group in groups for word in group.words}
    assert {"glucagon", "insulin"} <= said.keys()
    assert not said["glucagon"].genes_b
    assert not said["insulin"].genes_a
    assert not said.keys() & {"takes", "gene", "toy"}


def test_a_word_of_a_single_text_tells_nothing_of_a_group(atlas: Atlas, files: Path) -> None:
    one = contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    (whole,) = text_groups(one, atlas, n_genes=15, n_groups=1, n_words=50).groups
    symbols = {symbol.lower() for symbol in toy.SYMBOLS}
    assert whole.words
    assert not symbols & {*whole.words}
    single = text_groups(one, atlas, n_genes=5, n_groups=10, n_words=50).groups
    assert all(symbols & {*group.words} for group in single)


def test_text_groups_of_no_texts(other: Atlas, files: Path) -> None:
    one = contrast(query_cells(files / "query.h5ad", other), "alpha", "beta", group_key="cell_type")
    if not other.recipe.reads_text:
        with pytest.raises(InputError, match="made without gene texts"):
            text_groups(one, other)
    assert len(text_groups(one, other, n_groups=1, encoder="hash").groups) == 1
    with pytest.raises(InputError, match="`n_groups` must be from 1"):
        text_groups(one, other, n_genes=3, n_groups=7, encoder="hash")


# The verb.


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], store: sv.Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    monkeypatch.chdir(tmp_path)
    sets = {label: [s for i, s in enumerate(toy.SYMBOLS) if toy.theme_of(i) == label] for label in toy.LABELS}
    (tmp_path / "s.gmt").write_text("".join("\t".join((name, "-", *genes)) + "\n" for name, genes in sets.items()))

    def run(*arguments: object) -> tuple[int, str, str]:
        given = ("explain", files / "query.h5ad", "--atlas", "toy", "--store", store.uri, *arguments)
        code = main([str(one) for one in given])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield run


ALPHA_BETA = ("--group", "cell_type", "--contrast", "alpha", "beta")


def test_genes_pathways_and_groups_are_written(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    pytest.importorskip("gseapy")
    sets = ("--gene-sets", "s.gmt", "--gene-sets-version", "3", "--permutations", 100, "--top", 20)
    code, out, err = run(*ALPHA_BETA, *sets, "--text-groups", 3, "--out", "c.csv")
    assert code == 0, err
    assert "written to c.csv, c.pathways.csv, c.groups.csv, c.about.json" in out
    assert "s 3: 4 sets of 120 genes, 100.0% of them known; 4 sets tested" in err
    assert out.startswith("alpha against beta: ")
    genes, pathways, groups = (pl.read_csv(tmp_path / name) for name in ("c.csv", "c.pathways.csv", "c.groups.csv"))
    assert (len(genes), len(groups)) == (240, 3)
    first = pathways.filter(pl.col("fdr") < 0.05).filter(pl.col("set").is_in(["alpha", "beta"]))
    assert first["set"].to_list() == first["side"].to_list()
    about = json.loads((tmp_path / "c.about.json").read_text())
    assert about["pathways"]["gene_sets"][0]["version"] == "3"
    assert (about["a"], about["b"], about["query"]["group"]) == ("alpha", "beta", "cell_type")


def test_as_json_of_labels_called(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, err = run(
        "--contrast", "alpha", "beta", "--genes", 4, "--text-groups", 0, "--json", "--out", "c.parquet"
    )
    assert code == 0, err
    made = json.loads(out)
    assert [len(rows) for side in made["genes"].values() for rows in side.values()] == [4] * 4
    assert list(made["genes"]) == ["alpha", "beta"]
    assert not made.keys() & {"tested", "groups"}
    assert sorted(path.name for path in tmp_path.glob("c.*")) == ["c.about.json", "c.parquet"]
    assert len(pl.read_parquet(tmp_path / "c.parquet")) == 240


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--contrast", "alpha", "alpha", "--group", "cell_type"), "both groups are 'alpha'"),
        (("--contrast", "alpha", "gone", "--group", "cell_type"), "one of: alpha, beta, ductal, immune"),
        (("--contrast", "alpha", "beta", "--group", "gone"), "no obs column for --group 'gone'"),
        ((*ALPHA_BETA, "--cell", "s1c1"), "--contrast and --cell"),
        ((*ALPHA_BETA, "--against", "beta"), "--contrast and --against"),
        (("--gene-sets", "s.gmt"), "--gene-sets without --contrast"),
        ((*ALPHA_BETA, "--gene-sets", "gone.gmt"), "gene sets gone.gmt does not exist"),
        ((*ALPHA_BETA, "--gene-sets", "s.gmt", "--set-size", 9, 8), "--set-size"),
        ((*ALPHA_BETA, "--gene-sets-version", "1"), "one for each --gene-sets"),
        ((*ALPHA_BETA, "--out", "c.h5ad"), ".parquet, .csv"),
    ],
)
def test_what_is_asked_for_wrongly(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    if "s.gmt" in arguments and "--contrast" in arguments:
        pytest.importorskip("gseapy")
    before = sorted(tmp_path.iterdir())
    code, out, err = run(*arguments, "--quiet")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_without_gseapy_nothing_is_begun(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refusing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("scvec.explain.enrichment.import_module", refusing)
    code, out, err = run("--group", "gone", "--contrast", "alpha", "beta", "--gene-sets", "s.gmt", "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'scvec[pathways]'" in err  # said before the column is looked for
    assert run(*ALPHA_BETA, "--quiet")[0] == 0


def test_the_documented_example(
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every command of the bash block and all of the Python block, as they stand, on toy cells."""
    pytest.importorskip("gseapy")
    text = (Path(__file__).parents[1] / "docs" / "contrast.md").read_text(encoding="utf-8")
    commands, code = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("bash", "python"))
    assert commands is not None
    assert code is not None
    shutil.copy(files / "query.h5ad", tmp_path)
    shutil.move(tmp_path / "store", tmp_path / "scvec-store")
    shutil.move(tmp_path / "s.gmt", tmp_path / "sets.gmt")
    recipe = sv.RECIPES["refined"].with_encoder("hash")
    sv.atlas.build("scvec-store", "pancreas", files / "reference.h5ad", label_key="cell_type", recipe=recipe)
    monkeypatch.delenv("SCVEC_STORE", raising=False)
    for line in commands[1].splitlines():
        assert main(shlex.split(line)[1:]) == 0
    made = {path.name for path in tmp_path.glob("contrast.*")}
    assert {"contrast.csv", "contrast.groups.csv", "contrast.pathways.parquet", "contrast.about.json"} <= made
    capsys.readouterr()
    exec(compile(code[1], "contrast.md", "exec"), {})
    out = capsys.readouterr().out
    assert sum(line.startswith("0 ") for line in out.splitlines()) == 3  # the first rows of three frames
