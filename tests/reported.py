"""A query of all kinds of cells, with names that a page could stumble on, looked at from all sides."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

import scvec as sv
from scvec.atlas import Atlas
from scvec.explain import Attribution
from scvec.naming import Names, Suggestion
from scvec.report.findings import Overview, overview
from scvec.report.page import write_report
from tests import toy, unsure

HOSTILE = """</script><img src=x onerror=hit=1>"'&amp; δ"""
"""A label, an author's label and a cell's name."""

N_KNOWN, N_MIXED, N_NEW = 40, 24, 8
N_UNSURE = 10
"""Mixed cells that are a group of unknown cells."""

N_CELLS = N_KNOWN + N_MIXED + N_NEW + 1
"""The last one is empty."""


def symbol(gene: int) -> str:
    """Return a gene's symbol; those of immune cells look like HTML."""
    return f"<i>{toy.SYMBOLS[gene]}" if gene % 8 == 3 else toy.SYMBOLS[gene]


def label(name: str) -> str:
    return HOSTILE if name == "immune" else name


def named(cells: AnnData) -> AnnData:
    """Return cells with the world's names of labels and genes."""
    cells.obs["cell_type"] = [label(one) for one in cells.obs["cell_type"]]
    cells.var_names = [symbol(i) for i in range(toy.N_GENES)]
    return cells


def reference() -> AnnData:
    """Return cells of the four types, a third of them mixed: held out, some of these are called wrongly."""
    parts = [toy.cells(160, 0), unsure.cells(80, 5)]
    made = AnnData(sp.csr_matrix(np.vstack([sp.csr_matrix(one.X).toarray() for one in parts])), var=parts[0].var)
    made.obs["cell_type"] = [one for part in parts for one in part.obs["cell_type"]]
    return named(made)


def cells() -> AnnData:
    """Return cells of the four types, mixed ones, some of a fifth type, and an empty one."""
    known, mixed = toy.cells(N_KNOWN, 1), unsure.cells(N_MIXED, 2)
    rng = np.random.default_rng(7)
    rates = np.where(np.arange(toy.N_GENES) % 8 == 5, 6.0, 0.3)
    new = rng.poisson(np.tile(rates, (N_NEW, 1)))
    x = np.vstack([known.X.toarray(), mixed.X, new, np.zeros((1, toy.N_GENES))]).astype(np.float32)
    made = AnnData(sp.csr_matrix(x), var=known.var)
    made.obs["cell_type"] = [*known.obs["cell_type"], *mixed.obs["cell_type"], *["fifth"] * N_NEW, "sixth"]
    made.obs_names = [HOSTILE, "ζ<b>1", *(f"q{i}" for i in range(2, N_CELLS))]
    return named(made)


def names(calls: sv.Annotation) -> Names:
    """Return names of the new cells, which stand out, of some mixed ones, which do not, and of the empty one: none."""
    member = np.full(N_CELLS, -1)
    member[N_KNOWN + N_MIXED : N_CELLS - 1], member[N_KNOWN : N_KNOWN + N_UNSURE], member[-1] = 0, 1, 2
    fifth = Suggestion("CL:0000164", HOSTILE, 0.71, (symbol(3), "TOY5"), (f"It <b>secretes</b>. {HOSTILE}", ""))
    other = Suggestion("CL:0000169", "type B pancreatic cell", 0.32, ("TOY1",), ("It senses glucose.",))
    return Names(
        clusters=np.array([HOSTILE, "1", "2"], object),
        n_cells=np.array([N_NEW, N_UNSURE, 1]),
        suggestions=((fifth, other), (other,), ()),
        stands_out=np.array([True, False, False]),
        member=member,
        obs_names=calls.obs_names,
    )


@dataclass(frozen=True, slots=True)
class World:
    """A store with the atlas "various", a query, its calls, what is said of them, and the page; not to be changed."""

    store: sv.Store
    atlas: Atlas
    query: Path
    calls: sv.Annotation
    overview: Overview
    page: Path

    @property
    def genes(self) -> Attribution:
        """The genes behind the calls, which there are."""
        assert self.overview.genes is not None
        return self.overview.genes


def build(folder: Path) -> World:
    info, summary = toy.write_ncbi(folder)
    lines = gzip.decompress(info.read_bytes()).decode().splitlines()
    rows = [line.split("\t") for line in lines]
    at = rows[0].index("Symbol")
    for i, row in enumerate(rows[1:]):
        row[at] = symbol(i)
    toy.write_lines(info, ["\t".join(row) for row in rows])
    reference().write_h5ad(folder / "reference.h5ad")
    store = sv.Store(folder / "store")
    texts = sv.ingest.texts(store, taxon="human", gene_info=info, gene_summary=summary)
    genes = sv.embed.genes(store, texts, encoder="hash")
    atlas = sv.atlas.build(store, "various", folder / "reference.h5ad", genes=genes, label_key="cell_type")
    query, page = folder / "query.h5ad", folder / "report.html"
    cells().write_h5ad(query)
    calls = sv.annotate(query, atlas)
    seen = overview(calls, labels="cell_type", names=names(calls), command="scvec report <query>")
    write_report(seen, page)
    return World(store, atlas, query, calls, seen, page)
