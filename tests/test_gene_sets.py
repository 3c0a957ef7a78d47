"""Gene sets: files read and refused, genes found, tests that agree with an independent reckoning."""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, hypergeom

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.query_cells import query_cells
from scvec.errors import FileError, GeneMatchError, InputError, MissingDependencyError, NotInStoreError
from scvec.explain import Contrast, Enrichment, GeneSets, contrast, pathways, read_gene_sets
from scvec.explain.gene_sets import match_sets
from tests import toy

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters=","), min_size=1)


@given(st.dictionaries(NAMES, st.lists(NAMES, min_size=1, unique=True), min_size=1), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read(sets: dict[str, list[str]], end: str) -> None:
    lines = ["\t".join([name, "about it", *genes]) for name, genes in sets.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.sets.gmt"
        path.write_bytes((end.join(lines) + end).encode())
        found = read_gene_sets(path, "7.1")
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert dict(found.sets) == {name: tuple(genes) for name, genes in sets.items()}
    assert list(found.sets) == list(sets)
    assert (found.name, found.version, found.to_dict()["n_sets"]) == ("some.sets", "7.1", len(sets))


def test_what_other_programs_write(tmp_path: Path) -> None:
    """A byte order mark, empty fields at the end, weights behind commas, one gene twice, empty lines."""
    path = tmp_path / "x.gmt"
    path.write_text("\ufeffA\t\tINS,1.0\tGCG,0.5\tINS\t\n\nB\thttp://x\tGCG\n", encoding="utf-8")
    assert dict(read_gene_sets(path).sets) == {"A": ("INS", "GCG"), "B": ("GCG",)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no set"),
        (b"A\tabout\n", "line 1 has no gene"),
        (b"A\tabout\tG1\nset,G1,G2\n", "line 2 has no gene"),
        (b"\tabout\tG1\n", "line 1 has no name"),
        (b"A\tx\tG1\nB\tx\tG1\nA\tx\tG2\n", "line 3 has the name of an earlier set"),
        (b"A\tx\t\xff\xfe\n", "not text in UTF-8"),
        (None, "does not exist"),
    ],
)
def test_what_is_no_gmt_file(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.gmt").write_bytes(content)
    with pytest.raises(FileError, match=said) as error:
        read_gene_sets(tmp_path / "x.gmt")
    assert "\n" not in str(error.value)


def of(sets: dict[str, list[str]]) -> GeneSets:
    return GeneSets("mine", "", "0", {name: tuple(genes) for name, genes in sets.items()})


def test_genes_are_found_by_every_route(atlas: Atlas) -> None:
    names = ["TOY0", "toy1", "OLD2", "1003", "ENSG00000000004", "NOTHING"]
    found = match_sets(of({"A": names, "B": ["TOY0"]}), atlas)
    assert found.genes == {"A": frozenset({1000, 1001, 1002, 1003, 1004}), "B": frozenset({1000})}
    assert (found.n_names, found.n_known) == (6, 5)
    with pytest.raises(GeneMatchError, match=r"such as NOTHING\) is among .*species of the sets"):
        match_sets(of({"A": ["NOTHING"]}), atlas)
    with pytest.raises(NotInStoreError, match="no gene texts of rat"):
        match_sets(of({"A": ["TOY0"]}), atlas, "rat")


def test_sets_of_another_species(store: sv.Store, tmp_path: Path) -> None:
    """Mouse sets on a human atlas by one-to-one orthologs; genes 0 and 1 have none."""
    info, summary = toy.write_ncbi(tmp_path, toy.MOUSE)
    pairs = toy.write_orthologs(tmp_path / "gene_orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=pairs)
    found = match_sets(of({"A": ["Toy0", "Toy5", "Toy6"]}), sv.atlas.open_atlas(store, "toy"), "mouse")
    assert found.genes == {"A": frozenset({1005, 1006})}


def made(seed: int, g: int = 200) -> Contrast:
    """A contrast of numbers drawn, whose first genes are A's and last ones B's."""
    rng = np.random.default_rng(seed)
    value = np.linspace(3, -3, g) + rng.normal(0, 0.3, g)
    two = np.ones((2, g))
    return Contrast(
        a="one",
        b="other",
        n_cells=(9, 9),
        distance=1.0,
        baseline=0.0,
        gene_ids=1000 + np.arange(g),
        symbols=np.array(toy.SYMBOLS[:g], object),
        contribution=np.abs(value) - 0.5,
        more=np.sign(value),
        means=two,
        shares=two,
        log2_fold_change=value,
        t=value,
        p_value=np.ones(g),
        fdr=np.ones(g),
        notes=(),
        provenance={},
    )


def drawn(seed: int, n: int = 12, g: int = 200) -> dict[str, list[str]]:
    rng = np.random.default_rng(seed)
    sets = {f"S{i}": rng.choice(g, int(rng.integers(5, 30)), replace=False) for i in range(n)}
    sets |= {"FIRST": np.arange(12), "LAST": g - 1 - np.arange(12), "MIDDLE": g // 2 + np.arange(5)}
    return {name: [toy.SYMBOLS[i] for i in genes] for name, genes in sets.items()}


@pytest.fixture(scope="module")
def gseapy() -> Any:
    return pytest.importorskip("gseapy")


QUICK = Enrichment(n_top=25, permutations=200)


@pytest.mark.parametrize("seed", range(3))
def test_over_representation_is_the_hypergeometric_test(gseapy: Any, atlas: Atlas, seed: int) -> None:
    """And the false discovery rate counts the sets without any top gene, which gseapy leaves out."""
    one, sets = made(seed), drawn(seed)
    rows = pathways(one, atlas, [of(sets)], QUICK).rows
    for by in ("attribution", "expression"):
        for side in ("a", "b"):
            top = {toy.SYMBOLS[i] for i in one.top(by, side, 25)}
            wanted = {name: hypergeom.sf(len(top & {*genes}) - 1, 200, len(genes), 25) for name, genes in sets.items()}
            fdr = dict(zip(wanted, false_discovery_control(list(wanted.values())), strict=True))
            own = [row for row in rows if (row.test, row.by, row.side) == ("over-representation", by, one.name(side))]
            assert {row.set for row in own} == {name for name, genes in sets.items() if top & {*genes}}
            assert any(not top & {*genes} for genes in sets.values())
            for row in own:
                assert set(row.genes) == top & {*sets[row.set]}
                assert (row.n_found, row.n_genes) == (len(row.genes), len(sets[row.set]))
                np.testing.assert_allclose([row.p_value, row.fdr], [wanted[row.set], fdr[row.set]], rtol=1e-9)


def enrichment_score(order: list[str], genes: set[str]) -> float:
    """Return the largest deviation of the running sum, as Subramanian et al. have it, with ranks alone."""
    hits = np.array([gene in genes for gene in order])
    running = np.cumsum(np.where(hits, 1 / hits.sum(), -1 / (~hits).sum()))
    return float(running[np.argmax(np.abs(running))])


def test_rank_enrichment(gseapy: Any, atlas: Atlas) -> None:
    """The sign says which side, the leading edge is of that side, seeds and not threads make the difference."""
    one, sets = made(0), drawn(0)
    found = pathways(one, atlas, [of(sets)], QUICK)
    rank = {(row.by, row.set): row for row in found.rows if row.test == "rank"}
    assert len(rank) == 2 * len(sets)
    for by in ("attribution", "expression"):
        order = [toy.SYMBOLS[i] for i in one.order(by)]
        for name, genes in sets.items():
            score, row = enrichment_score(order, {*genes}), rank[by, name]
            assert np.sign(row.statistic) == np.sign(score)
            assert row.side == ("one" if score > 0 else "other")
            assert set(row.genes) <= {*genes}
        assert rank[by, "FIRST"].side == "one"
        assert rank[by, "LAST"].side == "other"
        assert rank[by, "FIRST"].p_value == rank[by, "LAST"].p_value == 0
        assert rank[by, "FIRST"].fdr < 0.05 < rank[by, "MIDDLE"].p_value
        assert rank[by, "FIRST"].statistic > 1.5
        assert rank[by, "LAST"].statistic < -1.5
    assert pathways(one, atlas, [of(sets)], replace(QUICK, threads=3)).rows == found.rows
    assert pathways(one, atlas, [of(sets)], replace(QUICK, random_state=1)).rows != found.rows


def test_random_sets_are_found_no_more_often_than_said(gseapy: Any, atlas: Atlas) -> None:
    rng = np.random.default_rng(5)
    sets = {f"S{i}": [toy.SYMBOLS[j] for j in rng.choice(200, 12, replace=False)] for i in range(300)}
    rows = pathways(made(1), atlas, [of(sets)], replace(QUICK, permutations=500)).rows
    for by in ("attribution", "expression"):
        p_values = np.array([row.p_value for row in rows if (row.test, row.by) == ("rank", by)])
        assert 0.02 < np.mean(p_values < 0.05) < 0.09
        assert np.mean([row.fdr < 0.05 for row in rows if row.by == by]) < 0.02


def test_files_are_families_and_recorded(gseapy: Any, atlas: Atlas) -> None:
    one, first, second = made(0), of(drawn(0)), replace(of(drawn(1)), name="other", version="2", sha256="1")
    both = pathways(one, atlas, [first, second], QUICK)
    alone = pathways(one, atlas, [first], QUICK)
    assert tuple(row for row in both.rows if row.gene_sets == "mine") == alone.rows
    assert [one["version"] for one in both.provenance["gene_sets"]] == ["", "2"]
    assert both.provenance["gseapy"] == gseapy.__version__
    assert both.provenance["how"]["permutations"] == 200
    assert both.notes[1].startswith("other 2: 15 sets of")
    frame = both.to_frame()
    assert len(frame) == len(both.rows)
    assert frame["genes"].to_list() == [list(row.genes) for row in both.rows]


def test_gseapy_says_nothing(
    gseapy: Any, atlas: Atlas, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say that values are tied, that no set was hit, and how it goes on."""
    one = made(0)
    one = replace(one, contribution=np.round(one.contribution))
    rows = pathways(one, atlas, [of({"MIDDLE": drawn(0)["MIDDLE"]})], replace(QUICK, n_top=5)).rows
    assert {row.test for row in rows} == {"rank"}
    assert capfd.readouterr() == ("", "")


def test_names_in_other_letters(gseapy: Any, atlas: Atlas) -> None:
    """Sets in small letters, or of numbers, give what those of symbols give."""
    one, sets = made(0), drawn(0)
    wanted = pathways(one, atlas, [of(sets)], QUICK).rows
    small = {name: [gene.lower() for gene in genes] for name, genes in sets.items()}
    numbers = {name: [str(1000 + toy.SYMBOLS.index(gene)) for gene in genes] for name, genes in sets.items()}
    for other in (small, numbers):
        assert pathways(one, atlas, [of(other)], QUICK).rows == wanted


def test_sets_of_no_use(gseapy: Any, atlas: Atlas) -> None:
    with pytest.raises(InputError, match="none has 5 to 500 measured genes; the largest has 2"):
        pathways(made(0), atlas, [of({"A": ["TOY1", "TOY2"]})])
    for wrong in ({"n_top": 0}, {"permutations": 0}, {"min_size": 9, "max_size": 8}):
        with pytest.raises(InputError):
            Enrichment(**wrong)


def test_without_gseapy(monkeypatch: pytest.MonkeyPatch, atlas: Atlas) -> None:
    real = importlib.import_module

    def refusing(name: str, *rest: Any) -> Any:
        if name == "gseapy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr("scvec.explain.enrichment.import_module", refusing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'scvec\[pathways\]'"):
        pathways(made(0), atlas, [of(drawn(0))])


def test_of_real_cells(gseapy: Any, atlas: Atlas, files: Path) -> None:
    """The markers of the toy world's types are found for their type."""
    one = contrast(query_cells(files / "query.h5ad", atlas), "alpha", "beta", group_key="cell_type")
    sets = {
        label: [toy.SYMBOLS[i] for i in range(toy.N_GENES) if toy.theme_of(i) == label] for label in ("alpha", "beta")
    }
    sets["none"] = [toy.SYMBOLS[i] for i in range(toy.N_GENES) if toy.theme_of(i) is None][:40]
    rows = [row for row in pathways(one, atlas, [of(sets)], replace(QUICK, n_top=20)).rows if row.fdr < 0.01]
    assert {(row.set, row.side) for row in rows} == {("alpha", "alpha"), ("beta", "beta")}
    assert len(rows) == 8  # by two tests, in two orders
