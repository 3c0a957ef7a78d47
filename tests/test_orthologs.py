"""Orthologs one to many: HCOP's file in the store, shares of genes, and cells of a mouse on a human atlas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.cli import main
from scvec.embed.projection import aligner
from scvec.errors import ExistsError, FileError, InputError
from scvec.explain.gene_sets import match_sets
from scvec.ingest.genes.gene_sets import GeneSets
from scvec.ingest.genes.gene_table import open_table
from scvec.ingest.genes.ortholog_tables import import_orthologs, newest_orthologs, read_hcop
from scvec.ingest.genes.orthologs import Orthologs, of_pairs, supported, weighted_orthologs
from scvec.ingest.matching import match_names
from tests import toy

HUMAN, MOUSE, RAT = 1000, toy.FIRST_ID[toy.MOUSE], 10116


def mouse(i: int) -> str:
    return str(MOUSE + i)


def hcop(path: Path) -> Path:
    """Write pairs: mouse genes 0 and 1 are of human gene 0, mouse gene 2 of 2 and 3 in shares 2 to 1, 4 on of the same.

    Mouse gene 3 has none, and human gene 4 a distant second.
    """
    alike = [(str(HUMAN + i), mouse(i), "A,B,C,D") for i in range(4, 240)]
    several = [
        ("1000", mouse(0), "A,B"),
        ("1000", mouse(1), "A,B,C"),
        ("1002", mouse(2), "A,B"),
        ("1003", mouse(2), "A"),
    ]
    odd = [("1004", mouse(5), "A"), ("-", mouse(6), "A"), ("1006", "-", "A"), ("1000", mouse(0), "B,A")]
    return toy.write_hcop(path, [*alike, *several, *odd])


@pytest.fixture
def two_species(store: sv.Store, tmp_path: Path) -> sv.Store:
    """The toy store with mouse texts, one-to-one orthologs and orthologs one to many."""
    folder = tmp_path / "mouse"
    folder.mkdir()
    info, summary = toy.write_ncbi(folder, toy.MOUSE)
    pairs = toy.write_orthologs(folder / "orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=pairs)
    sv.ingest.orthologs(store, hcop(folder / "hcop.gz"), taxon="mouse")
    return store


def shares(pairs: Orthologs) -> dict[tuple[int, int], float]:
    each = zip(pairs.genes.tolist(), pairs.others.tolist(), pairs.weights.tolist(), strict=True)
    return {(gene, other): round(weight, 6) for gene, other, weight in each}


def test_reading_hcop(tmp_path: Path) -> None:
    """A pair stands once, whatever its Ensembl ids; one without Entrez ids is none."""
    rows = read_hcop(hcop(tmp_path / "h.gz"), toy.MOUSE).sort("gene_id", "human_gene_id").rows()
    assert len(rows) == 236 + 4 + 1
    assert rows[0] == (MOUSE, 1000, 2, ["A", "B"])
    plain = tmp_path / "h.txt"
    plain.write_bytes(b"human_entrez_gene\tsupport\trat_entrez_gene\r\n1\tB,A\t7\r\n1\tC\t7\r\n")
    assert read_hcop(plain, RAT).rows() == [(7, 1, 3, ["A", "B", "C"])]


@pytest.mark.parametrize(
    ("text", "taxon", "said"),
    [
        ("", toy.MOUSE, "has not the columns human_entrez_gene"),
        ("human_entrez_gene\tmouse_entrez_gene\n1\t2\n", toy.MOUSE, "has not the columns"),
        ("human_entrez_gene\tmouse_entrez_gene\tsupport\n1\t2\tA\n", RAT, "has genes of mouse, not of rat"),
        ("human_entrez_gene\tmouse_entrez_gene\tsupport\n1\t-\tA\n", toy.MOUSE, "no pair with Entrez ids"),
        ("human_entrez_gene\tmouse_entrez_gene\tsupport\n1\tx\tA\n", toy.MOUSE, "not whole numbers"),
        ("human_entrez_gene\tmouse_entrez_gene\tsupport\n1\n", toy.MOUSE, "HCOP's fifteen-column file"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, taxon: int, said: str) -> None:
    path = tmp_path / "h.txt"
    path.write_text(text)
    with pytest.raises(FileError, match=said):
        read_hcop(path, taxon)


def test_releases_of_orthologs(store: sv.Store, tmp_path: Path) -> None:
    """The same pairs are one release; other pairs need another tag."""
    assert newest_orthologs(store, toy.MOUSE) is None
    first = import_orthologs(store, hcop(tmp_path / "h.gz"), taxon="mouse")
    assert import_orthologs(store, tmp_path / "h.gz", taxon=toy.MOUSE).snapshot.version == first.snapshot.version
    other = toy.write_hcop(tmp_path / "o.gz", [("1000", mouse(0), "A")])
    with pytest.raises(ExistsError, match="with other pairs"):
        import_orthologs(store, other, taxon="mouse", release=first.release)
    second = import_orthologs(store, other, taxon="mouse", release="2026")
    newest = newest_orthologs(store, toy.MOUSE)
    assert newest is not None
    assert (newest.release, len(newest)) == (second.release, 1) == ("2026", 1)
    assert [one.release for one in sv.ingest.list_orthologs(store)] == [first.release, "2026"]
    with pytest.raises(InputError, match="`taxon` is human"):
        import_orthologs(store, other, taxon="human")


def test_shares_of_genes(two_species: sv.Store) -> None:
    """By sources; a distant relative has none; what the file lacks keeps its one-to-one ortholog, if that is free."""
    human, own = (open_table(two_species, taxon) for taxon in ("human", "mouse"))
    found = shares(weighted_orthologs(two_species, own, human))
    few = {pair: share for pair, share in found.items() if pair[1] < 1006}
    assert few == {
        (MOUSE, 1000): 1,
        (MOUSE + 1, 1000): 1,
        (MOUSE + 2, 1002): round(2 / 3, 6),
        (MOUSE + 2, 1003): round(1 / 3, 6),
        (MOUSE + 4, 1004): 1,
        (MOUSE + 5, 1005): 1,
    }
    back = shares(weighted_orthologs(two_species, human, own))
    assert {pair: share for pair, share in back.items() if pair[0] < 1004} == {
        (1000, MOUSE): 0.4,
        (1000, MOUSE + 1): 0.6,
        (1002, MOUSE + 2): 1,
        (1003, MOUSE + 2): 1,
    }
    among = weighted_orthologs(two_species, human, own).among(np.array([MOUSE, MOUSE + 2]))
    assert shares(among) == {(1000, MOUSE): 1, (1002, MOUSE + 2): 1, (1003, MOUSE + 2): 1}


def test_two_species_meet_through_human_genes(two_species: sv.Store, tmp_path: Path) -> None:
    folder = tmp_path / "rat"
    folder.mkdir()
    info, summary = toy.write_ncbi(folder, RAT)
    sv.ingest.texts(two_species, taxon="rat", gene_info=info, gene_summary=summary)
    first = int(open_table(two_species, "rat").genes["gene_id"][0])
    rows = [("1000", str(first), "A,B"), ("1002", str(first + 1), "A"), ("1003", str(first + 1), "A")]
    sv.ingest.orthologs(two_species, toy.write_hcop(folder / "h.gz", rows, "rat"), taxon="rat")
    own, other = (open_table(two_species, taxon) for taxon in ("rat", "mouse"))
    there = weighted_orthologs(two_species, own, other)
    assert shares(there) == {(first, MOUSE): 0.4, (first, MOUSE + 1): 0.6, (first + 1, MOUSE + 2): 1}
    assert "rat orthologs hcop-" in there.source
    assert "mouse orthologs hcop-" in there.source
    back = shares(weighted_orthologs(two_species, other, own))
    assert back == {(MOUSE, first): 1, (MOUSE + 1, first): 1, (MOUSE + 2, first + 1): 1}


pairs_of_genes = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30, unique=True)


@given(pairs_of_genes, st.data())
def test_shares_add_up_to_one(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    sources = data.draw(st.lists(st.integers(1, 12), min_size=len(pairs), max_size=len(pairs)))
    rows = [(gene, human, n) for (gene, human), n in zip(pairs, sources, strict=True)]
    frame = pl.DataFrame(rows, schema=["gene_id", "human_gene_id", "n_sources"], orient="row")
    for one in (frame, supported(frame)):
        found = of_pairs(one, "")
        some = found.among(np.arange(5))
        assert set(some.genes) == set(found.genes[found.others < 5])
        for made in (found, some):
            for gene in set(made.genes.tolist()):
                assert made.weights[made.genes == gene].sum() == pytest.approx(1, rel=1e-5)
        for gene, human in found.best().items():
            most = one.filter(pl.col("gene_id") == gene)["n_sources"].max()
            assert (gene, human, most) in one.rows()
    best = frame.group_by("gene_id").agg(pl.col("n_sources").max()).filter(pl.col("n_sources") == max(sources))
    assert set(best["gene_id"]) <= set(supported(frame)["gene_id"])  # the best of all pairs are never left out


def test_a_match_with_shares(two_species: sv.Store) -> None:
    """Coverage counts a column once, with what counts for its genes; a column of no atlas gene counts for none."""
    human, own = (open_table(two_species, taxon) for taxon in ("human", "mouse"))
    names = np.array([toy.symbol_of(i, toy.MOUSE) for i in range(8)], object)
    ids = np.array([1000, 1002, 1003, 1005, 1006])
    through = match_names(names, "var_names", own).through(weighted_orthologs(two_species, own, human), human)
    totals = np.array([8.0, 4.0, 3.0, 100.0, 50.0, 2.0, 1.0, 10.0])
    match = through.only(ids)
    assert match.columns.tolist() == [0, 1, 2, 2, 5, 6]
    assert match.share(totals) == pytest.approx((8 + 4 + 3 + 2 + 1) / 178)
    coverage = match.coverage(totals)
    assert (coverage.n_matched, coverage.n_merged, coverage.n_genes) == (5, 1, 8)
    assert coverage.routes["symbol"].n_genes == 5
    assert coverage.routes["symbol"].share == pytest.approx(coverage.share)
    assert sum(part.share for part in coverage.texts.values()) == pytest.approx(coverage.share)
    assert match.only(np.array([1002])).share(totals) == pytest.approx(2 / 178)
    columns = aligner(match, ids).toarray()
    expected = np.array([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 2 / 3, 1 / 3, 0, 0]])
    np.testing.assert_allclose(columns[:3], expected, rtol=1e-6)
    assert columns[3].sum() == columns[4].sum() == columns[7].sum() == 0
    one = match_names(names, "var_names", own).through(Orthologs.one_to_one({MOUSE + 1: 1000}), human)
    assert (one.weights, one.gene_ids.tolist()) == (None, [1000])
    assert match_names(names, "var_names", own).through(Orthologs.one_to_one({}), human).columns.tolist() == []


def as_mouse(cells: AnnData) -> AnnData:
    """Return cells with the counts of human gene 0 split over mouse genes 0 and 1, and of 2 and 3 added up in gene 2.

    Human gene 1 has no ortholog: its counts are those of mouse gene 3, which has none either.
    """
    x = cells.X.toarray()
    part = np.random.default_rng(0).binomial(x[:, 0].astype(int), 0.3)
    made = x.copy()
    made[:, 0], made[:, 1], made[:, 2], made[:, 3] = x[:, 0] - part, part, x[:, 2] + x[:, 3], x[:, 1]
    result = AnnData(sp.csr_matrix(made.astype(np.float32)), obs=cells.obs)
    result.var_names = [toy.symbol_of(i, toy.MOUSE) for i in range(240)]
    return result


def as_shared(cells: AnnData) -> AnnData:
    """Return human cells with two thirds of genes 2 and 3 in gene 2, and gene 1 under a name that is no gene's."""
    x = cells.X.toarray()
    both = x[:, 2] + x[:, 3]
    x[:, 2], x[:, 3] = both * 2 / 3, both / 3
    result = AnnData(sp.csr_matrix(x), obs=cells.obs, var=cells.var)
    result.var_names = [name if i != 1 else "nothing" for i, name in enumerate(toy.SYMBOLS)]
    return result


def test_a_mouse_on_a_human_atlas(two_species: sv.Store) -> None:
    """Vectors, calls and evidence are those of the human cells with the same genes."""
    atlas = sv.atlas.open_atlas(two_species, "toy")
    cells = toy.cells(41, seed=1)
    calls = sv.annotate(as_mouse(cells), atlas, taxon="mouse")
    coverage = calls.provenance["query"]["coverage"]
    assert coverage["n_matched"] == 239
    assert coverage["n_merged"] == 1
    assert ", and as their orthologs, one to many, by the mouse orthologs hcop-" in coverage["names"]
    expected = sv.annotate(as_shared(cells), atlas, scale="counts")
    # What human cells lack of gene 1 is made up for by a share that other species do not have.
    cosines = np.einsum("nd,nd->n", calls.vectors, expected.vectors)
    assert cosines.min() > 0.999
    assert calls.label.tolist() == expected.label.tolist()
    assert np.mean(calls.label == cells.obs["cell_type"].to_numpy()) == 1


def test_evidence_adds_up_with_shares(two_species: sv.Store) -> None:
    atlas = sv.atlas.open_atlas(two_species, "toy")
    calls = sv.annotate(as_mouse(toy.cells(41, seed=1)), atlas, taxon="mouse")
    found = sv.explain.attributions(calls)
    total = found.contributions.sum(axis=1) + found.baseline
    np.testing.assert_allclose(total, found.similarity - found.similarity_against, atol=1e-5)
    name_of = dict(zip(found.gene_ids.tolist(), found.var_names.tolist(), strict=True))
    shown = [name_of.get(1000 + i) for i in range(5)]
    expected = [0, None, 2, 2, 4]
    assert shown == ["" if i is None else toy.symbol_of(i, toy.MOUSE) for i in expected]


def test_batches_and_order_change_nothing(two_species: sv.Store) -> None:
    atlas = sv.atlas.open_atlas(two_species, "toy")
    cells = as_mouse(toy.cells(30, seed=3))
    whole = sv.annotate(cells, atlas, taxon="mouse")
    order = np.random.default_rng(1).permutation(30)
    mixed = sv.annotate(cells[order].copy(), atlas, taxon="mouse")
    np.testing.assert_array_equal(mixed.vectors, whole.vectors[order])
    alone = sv.annotate(cells[[4]].copy(), atlas, taxon="mouse")
    np.testing.assert_array_equal(alone.vectors, whole.vectors[[4]])


def test_a_panel_of_another_species_keeps_genes_of_several(two_species: sv.Store, tmp_path: Path) -> None:
    """An atlas on the genes of a mouse's file has human gene 0, which one to one has no ortholog."""
    cells = as_mouse(toy.cells(20, seed=1))
    cells.write_h5ad(tmp_path / "panel.h5ad")
    atlas = sv.atlas.build(
        two_species,
        "panel",
        toy.cells(120),
        label_key="cell_type",
        recipe="genept-w",
        panel=tmp_path / "panel.h5ad",
        panel_taxon="mouse",
    )
    assert {1000, 1002, 1003} <= set(atlas.embedding.gene_ids.tolist())
    assert 1001 not in atlas.embedding.gene_ids


def test_sets_of_genes_of_several(two_species: sv.Store) -> None:
    """A gene of a set stands for the ortholog with the most sources; two genes may stand for one."""
    sets = GeneSets("mine", "", "0", {"A": tuple(toy.symbol_of(i, toy.MOUSE) for i in (0, 1, 2, 3, 4))})
    found = match_sets(sets, sv.atlas.open_atlas(two_species, "toy"), "mouse")
    assert found.genes == {"A": frozenset({1000, 1002, 1004})}
    assert found.n_known == 4


def test_what_one_to_one_orthologs_leave_out_is_told(store: sv.Store, tmp_path: Path) -> None:
    info, summary = toy.write_ncbi(tmp_path, toy.MOUSE)
    pairs = toy.write_orthologs(tmp_path / "orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=pairs)
    atlas, cells = sv.atlas.open_atlas(store, "toy"), as_mouse(toy.cells(41, seed=1))
    assert not [note for note in sv.annotate(cells, atlas, taxon="mouse").notes if "import-orthologs" in note]
    x = cells.X.toarray()
    x[:, :2] *= 20
    cells.X = sp.csr_matrix(x)
    told = [note for note in sv.annotate(cells, atlas, taxon="mouse").notes if "import-orthologs" in note]
    totals = x.sum(axis=0)
    assert f"genes with {totals[:2].sum() / totals.sum():.0%} of the expression have no one-to-one ortholog" in told[0]
    sv.ingest.orthologs(store, hcop(tmp_path / "hcop.gz"), taxon="mouse")
    assert not [note for note in sv.annotate(cells, atlas, taxon="mouse").notes if "import-orthologs" in note]


def test_on_the_command_line(store: sv.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = hcop(tmp_path / "h.gz")
    assert main(["genes", "import-orthologs", str(path), "--taxon", "mouse", "--store", str(store.uri)]) == 0
    assert "241 pairs of 239 genes and 239 human genes" in capsys.readouterr().out
    assert main(["genes", "list", "--store", str(store.uri)]) == 0
    assert "orthologs, one to many: mouse orthologs hcop-" in capsys.readouterr().err
    assert main(["genes", "import-orthologs", str(path), "--taxon", "rat", "--store", str(store.uri)]) == 2
    assert "has genes of mouse, not of rat" in capsys.readouterr().err
