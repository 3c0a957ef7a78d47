"""The open tasks on which views are chosen: other donors, studies, platforms, species, few genes, simulated shifts."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import anndata as ad
import numpy as np
import scipy.sparse as sp

from benchmarks.common import DATA
from scvec.core.types import Strings
from scvec.views import Labelled
from scvec.views.view import Cells

CELLS = DATA / "cells"
FEW = 1500
"""With fewer genes than this, a cell's total is that of these genes."""
BARON, RETINA, RPE = (
    "pancreas_baron_human.h5ad",
    "retina_voigt2019_human_donors23.h5ad",
    "rpe_choroid_voigt2019_human.h5ad",
)
Change: TypeAlias = Callable[[ad.AnnData], ad.AnnData]


@dataclass(frozen=True, slots=True)
class Part:
    """Cells of one file.

    Attributes
    ----------
    file, key
        The file, and the column of its labels.
    donors
        Donors that are kept; () means all.
    log2
        Whether its values are log2(x + 1).
    change
        What is done to the cells after that.
    """

    file: str
    key: str = "label"
    donors: tuple[str, ...] = ()
    log2: bool = False
    change: Change | None = None

    def read(self) -> ad.AnnData:
        """Read the cells; `obs` has `label` and, where known, `donor`."""
        cells = ad.read_h5ad(CELLS / self.file)
        cells.obs["label"] = cells.obs[self.key].astype(str)
        if self.donors:
            cells = cells[cells.obs["donor"].astype(str).isin(self.donors)].copy()
        if self.log2:
            dense = sp.csr_matrix(cells.X).toarray()
            cells.X = sp.csr_matrix(np.log1p(np.exp2(dense) - 1).astype(np.float32))
        return cells if self.change is None else self.change(cells)


@dataclass(frozen=True, slots=True)
class Task:
    """A reference and a query. `kind`: whole, few or simulated."""

    name: str
    kind: str
    reference: Part
    query: Part


@dataclass(frozen=True, slots=True)
class World:
    """A task's cells on the genes that both files have.

    Attributes
    ----------
    cells
        The reference.
    query
        (n, g) cells of the query, by the rule of the reference.
    names
        (L,) labels of the reference.
    truth
        (n,) authors' labels of the query, as text.
    """

    cells: Labelled
    query: Cells
    names: Strings
    truth: Strings


def world(task: Task) -> World:
    """Read a task."""
    reference, query = task.reference.read(), task.query.read()
    genes = np.array(sorted(set(reference.var_names) & set(query.var_names)))
    known, asked = (_logged(one)[:, one.var_names.get_indexer(genes)] for one in (reference, query))
    names, codes = np.unique(reference.obs["label"].to_numpy(str), return_inverse=True)
    donors = reference.obs["donor"].astype(str).to_numpy() if "donor" in reference.obs else np.zeros(len(codes), int)
    measured = np.ones(len(genes), bool)
    cells = Labelled(_sorted(known), codes, len(names), np.unique(donors, return_inverse=True)[1], measured)
    asked = _sorted(asked)
    if len(genes) < FEW:
        logged, asked = _on_their_own(cells.logged), _on_their_own(asked)
        filled = np.flatnonzero(np.diff(logged.indptr) > 0)
        cells = replace(cells, logged=logged).at(filled)
    return World(cells, asked, names.astype(object), query.obs["label"].to_numpy(object))


def _on_their_own(logged: Cells) -> Cells:
    """Return cells of few genes, scaled to the total that as many average genes of 20,000 would have."""
    kept = logged.copy()
    values = np.expm1(kept.data.astype(np.float64))
    owner = np.repeat(np.arange(kept.shape[0]), np.diff(kept.indptr))
    totals = np.bincount(owner, values, minlength=kept.shape[0])
    scale = 1e4 * kept.shape[1] / 20_000 / np.where(totals > 0, totals, 1.0)
    kept.data = np.log1p(values * scale[owner]).astype(np.float32)
    return kept


def _sorted(cells: Cells) -> Cells:
    cells = sp.csr_matrix(cells, dtype=np.float32)
    cells.sort_indices()
    return cells


def _logged(cells: ad.AnnData) -> Cells:
    values = sp.csr_matrix(cells.X, dtype=np.float32)
    if np.all(values.data == np.round(values.data)):
        totals = np.asarray(values.sum(axis=1)).ravel()
        values = sp.csr_matrix(sp.diags_array(1e4 / np.where(totals > 0, totals, 1)) @ values)
        values.data = np.log1p(values.data)
    return sp.csr_matrix(values, dtype=np.float32)


def drawn_genes(n: int, seed: int, cells: ad.AnnData) -> ad.AnnData:
    """Keep n genes at random."""
    return cells[:, np.sort(np.random.default_rng(seed).choice(cells.n_vars, n, replace=False))].copy()


def variable_genes(n: int, cells: ad.AnnData) -> ad.AnnData:
    """Keep the n genes of highest variance of log-normalised expression."""
    logged = _logged(cells)
    mean = np.asarray(logged.mean(axis=0)).ravel()
    variance = np.asarray(logged.multiply(logged).mean(axis=0)).ravel() - mean**2
    return cells[:, np.sort(np.argsort(-variance)[:n])].copy()


def half(which: int, cells: ad.AnnData) -> ad.AnnData:
    """Keep the first or second half of the cells in a random order."""
    cells.X = cells.layers.get("counts", cells.X)
    order = np.random.default_rng(0).permutation(cells.n_obs)
    middle = cells.n_obs // 2
    return cells[np.sort(order[middle:] if which else order[:middle])].copy()


def upper_case(cells: ad.AnnData) -> ad.AnnData:
    """Spell mouse symbols as human ones."""
    cells.var_names = [name.upper() for name in cells.var_names]
    cells.var_names_make_unique()
    return cells


def other_platform(cells: ad.AnnData) -> ad.AnnData:
    """Multiply each gene by a random factor, log-normal with a spread of 1, and draw counts again."""
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(cells.X).toarray()
    cells.X = sp.csr_matrix(rng.poisson(counts * np.exp(rng.normal(0, 1, counts.shape[1]))).astype(np.float32))
    return cells


def stimulated(share: float, cells: ad.AnnData) -> ad.AnnData:
    """Add counts of the interferon response to a share of the cells, by label and cell more or less."""
    rng, counts = np.random.default_rng(0), sp.csr_matrix(cells.X).toarray()
    genes = cells.var_names.get_indexer(_interferon())
    genes = genes[genes >= 0]
    on = rng.random(len(counts)) < share
    labels, own = np.unique(cells.obs["label"], return_inverse=True)
    amount = np.exp(rng.normal(0, 0.4, len(counts))) * np.exp(rng.normal(0, 0.3, len(labels)))[own]
    rates = (amount * counts.sum(axis=1) / 1e4)[:, None] * np.exp(rng.normal(0.7, 1, len(genes)))
    counts[on] = rng.poisson(counts[on] * np.exp(rng.normal(0, 0.4, counts.shape[1])))
    counts[np.ix_(on, genes)] += rng.poisson(rates[on])
    cells.X = sp.csr_matrix(counts.astype(np.float32))
    return cells


def _interferon() -> list[str]:
    with gzip.open(DATA / "genesets" / "h.all.v2023.2.Hs.symbols.gmt.gz", "rt", encoding="utf-8") as lines:
        sets = {name: genes for name, _, *genes in (line.rstrip("\n").split("\t") for line in lines)}
    return sets["HALLMARK_INTERFERON_ALPHA_RESPONSE"]


def tasks() -> tuple[Task, ...]:
    """Return all tasks."""
    return (*_whole(), *_few(), *_simulated())


HUMANS = tuple(f"human{i}" for i in (1, 2, 3, 4))


def _baron(i: int, change: Change | None = None) -> tuple[Part, Part]:
    others = tuple(one for one in HUMANS if one != HUMANS[i])
    return Part(BARON, "cell_type1", others), Part(BARON, "cell_type1", (HUMANS[i],), change=change)


def _xin(change: Change | None = None) -> tuple[Part, Part]:
    query = Part("pancreas_xin_scClassify.h5ad", "cell_type", log2=True, change=change)
    return Part(BARON, "cell_type1"), query


def _donors(file: str) -> tuple[str, ...]:
    return tuple(sorted(ad.read_h5ad(CELLS / file, backed="r").obs["donor"].astype(str).unique()))


def _retina(change: Change | None = None) -> tuple[Part, Part]:
    one, other = _donors(RETINA)
    return Part(RETINA, donors=(one,)), Part(RETINA, donors=(other,), change=change)


def _whole() -> Iterator[Task]:
    for i in range(4):
        yield Task(f"baron-{i + 1}", "whole", *_baron(i))
    yield Task("xin", "whole", *_xin())
    one, other = _retina()
    yield Task("retina-ab", "whole", one, other)
    yield Task("retina-ba", "whole", other, one)
    people = _donors(RPE)
    for i, person in enumerate(people):
        others = tuple(each for each in people if each != person)
        yield Task(f"rpe-{i + 1}", "whole", Part(RPE, donors=others), Part(RPE, donors=(person,)))
    cel, drop = (Part(f"sc_{name}_scmixology.h5ad", "cell_line") for name in ("celseq2", "dropseq"))
    yield Task("celseq2-dropseq", "whole", cel, drop)
    yield Task("dropseq-celseq2", "whole", drop, cel)
    human = Part(BARON, "cell_ontology_id")
    mouse = Part("pancreas_baron_mouse.h5ad", "cell_ontology_id", change=upper_case)
    yield Task("human-mouse", "whole", human, mouse)
    yield Task("mouse-human", "whole", mouse, human)
    yield Task("pbmc3k-split", "whole", _blood(0), _blood(1))


def _blood(which: int) -> Part:
    return Part("pbmc3k.h5ad", "classified", change=partial(half, which))


def _few() -> Iterator[Task]:
    for n in (1000, 500, 200):
        for seed in range(3):
            yield Task(f"baron-3-{n}-genes-s{seed}", "few", *_baron(2, partial(drawn_genes, n, seed)))
        yield Task(f"baron-3-{n}-variable", "few", *_baron(2, partial(variable_genes, n)))
    for seed in range(3):
        yield Task(f"retina-ab-1000-genes-s{seed}", "few", *_retina(partial(drawn_genes, 1000, seed)))
        yield Task(f"xin-200-genes-s{seed}", "few", *_xin(partial(drawn_genes, 200, seed)))


def _simulated() -> Iterator[Task]:
    def then(first: Change, second: Change) -> Change:
        return lambda cells: second(first(cells))

    for name, share in (("all", 1.0), ("half", 0.5)):
        change = then(partial(half, 1), partial(stimulated, share))
        yield Task(f"interferon-{name}", "simulated", _blood(0), Part("pbmc3k.h5ad", "classified", change=change))
    yield Task("platform-baron", "simulated", *_baron(2, other_platform))
    yield Task("platform-retina", "simulated", *_retina(other_platform))
