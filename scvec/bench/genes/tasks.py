"""Tasks as genes, the sets they are in, and their texts: drawn once, the same for every model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import polars as pl

from scvec.bench.genes import masking
from scvec.bench.genes.families import families_of, kin_of
from scvec.bench.genes.probes import N_FOLDS
from scvec.bench.genes.sets import Sets, read_sets
from scvec.bench.genes.suite import FAMILIES, GeneSuite, GeneTask
from scvec.bench.suite import FIX
from scvec.core.text import counted
from scvec.core.types import Bools, Ints, freeze
from scvec.errors import InputError
from scvec.ingest import GeneTexts, open_cells, open_texts
from scvec.ingest.matching import match_genes
from scvec.store import Store

Variant: TypeAlias = Literal["plain", "masked", "name"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
"""A gene's text as the store has it; without what gives the answer away; its symbol and full name alone."""

MOST_SHARED = 0.5
"""The largest share of genes (of all that either has) that two sets of a task may have in common."""
NAME_SHARE = 0.5
"""The share of a family's names that a word is in which then is a word of the family's name."""


@dataclass(frozen=True)
class Side:
    """Genes of one species, and their texts.

    Attributes
    ----------
    taxon_id
        NCBI's number of the species.
    gene_ids
        (n,) the genes.
    texts
        (n,) texts of each variant.
    """

    taxon_id: int
    gene_ids: Ints
    texts: Mapping[Variant, tuple[str, ...]] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gene_ids", freeze(self.gene_ids))


@dataclass(frozen=True)
class Prepared:
    """A task's genes.

    Attributes
    ----------
    task
        What it was made from.
    genes
        The genes whose vectors are compared; of orthologs, those that are searched with.
    set_names, members
        (s,) the sets, and (s, n) which genes are in each; none for orthologs.
    kin
        (n,) equal for genes of one family.
    orthologs
        (n,) for each gene its ortholog, among which is searched; None for other tasks.
    """

    task: GeneTask
    genes: Side
    set_names: tuple[str, ...]
    members: Bools = field(repr=False)
    kin: Ints = field(repr=False)
    orthologs: Side | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """The genes, and those among which is searched if they are others."""
        return (self.genes,) if self.orthologs is None else (self.genes, self.orthologs)

    @property
    def units(self) -> tuple[str, ...]:
        """What a figure is the mean of: sets, or genes."""
        return self.set_names or tuple(map(str, self.genes.gene_ids.tolist()))

    @cached_property
    def digest(self) -> str:
        """Hash of all that decides a figure but the vectors."""
        about = {key: value for key, value in asdict(self.task).items() if key not in ("name", "sets")}
        sides = [[one.taxon_id, one.gene_ids.tolist(), dict(one.texts)] for one in self.sides]
        said = json.dumps([about, sides, self.set_names, self.kin.tolist()], sort_keys=True)
        return hashlib.sha256(said.encode() + np.packbits(self.members).tobytes()).hexdigest()


class Preparer:
    """Draws the genes and sets of tasks from the gene texts of a store.

    Only protein-coding genes with a summary of their own species count: other texts are names, or another's.

    Parameters
    ----------
    store
        The store with the gene texts.
    suite
        Which species, and which files of cells have to measure a gene.

    Raises
    ------
    NotInStoreError
        If the store has no gene texts of the species.
    """

    def __init__(self, store: Store, suite: GeneSuite) -> None:
        self._store = store
        self.texts = open_texts(store, suite.taxon)
        files = suite.expression if "expression" in suite.controls else ()
        measured = [_measured(one, self.texts) for one in files]
        self._frame = _with_summaries(self.texts)
        for genes in measured:
            self._frame = self._frame.filter(pl.col("gene_id").is_in(genes))

    @property
    def gene_ids(self) -> Ints:
        """(g,) all genes that may be drawn."""
        return self._frame["gene_id"].to_numpy()

    def prepare(self, task: GeneTask) -> Prepared:
        """Return the genes of a task.

        Raises
        ------
        FileError
            If a file of sets is invalid.
        InputError
            If too few genes or sets are left.
        NotInStoreError
            If the store has no texts of the other species.
        """
        return self._orthologs(task) if task.kind == "orthologs" else self._sets(task)

    def _sets(self, task: GeneTask) -> Prepared:
        of_families = task.sets == FAMILIES
        named = families_of(self._frame) if of_families else read_sets(task.sets)
        known = self._known(named)
        rng = np.random.default_rng(task.sample)
        kin = dict(zip(self._frame["gene_id"].to_list(), kin_of(self._frame).tolist(), strict=True))
        chosen = _chosen(task, known, kin, rng)
        drawn = [rng.permutation(known[name])[: task.genes_per_set] for name in chosen]
        genes = np.unique(np.concatenate(drawn)).astype(np.int64)
        frame = self._frame.filter(pl.col("gene_id").is_in(genes.tolist())).sort("gene_id")
        words = masking.words_of(chosen)
        if of_families:
            words |= _words_of_families(frame, [set(known[name].tolist()) for name in chosen])
        members = np.array([np.isin(genes, known[name]) for name in chosen])
        side = Side(self.texts.taxon_id, genes, _variants(frame, words))
        return Prepared(task, side, tuple(chosen), members, np.array([kin[one] for one in genes.tolist()]))

    def _known(self, named: Sets) -> dict[str, Ints]:
        """Return the ids of the genes of each set that are measured here, ascending."""
        here = set(self._frame["gene_id"].to_list())
        names = list(dict.fromkeys(gene for genes in named.values() for gene in genes))
        found = self.texts.identifiers.resolve(np.array(names, object))
        id_of = dict(zip([names[i] for i in found.columns], found.gene_ids.tolist(), strict=True))
        ids = {name: {id_of[one] for one in genes if one in id_of} & here for name, genes in named.items()}
        return {name: np.array(sorted(some), np.int64) for name, some in ids.items()}

    def _orthologs(self, task: GeneTask) -> Prepared:
        other = open_texts(self._store, task.other)
        theirs = _with_summaries(other).drop_nulls("human_ortholog").unique("human_ortholog", keep="none")
        both = self._frame.select("gene_id").join(
            theirs.select("human_ortholog", other_id="gene_id"), left_on="gene_id", right_on="human_ortholog"
        )
        if len(both) < task.min_genes:
            seen = f"task {task.name!r}: {len(both):,} genes have a summary in both species"
            raise InputError(seen, f"at least {task.min_genes}", "import the texts of both with their orthologs")
        pairs = both.sort("gene_id")[np.random.default_rng(task.sample).permutation(len(both))[: task.n_genes]]
        sides = []
        for frame, column, taxon in (
            (self._frame, "gene_id", self.texts.taxon_id),
            (theirs, "other_id", other.taxon_id),
        ):
            rows = pairs.select(gene_id=column).join(frame, on="gene_id", maintain_order="left")
            sides.append(Side(taxon, rows["gene_id"].to_numpy(), _variants(rows, frozenset())))
        none = np.zeros((0, len(pairs)), bool)
        return Prepared(task, sides[0], (), none, np.arange(len(pairs)), sides[1])


def _with_summaries(texts: GeneTexts) -> pl.DataFrame:
    coding = pl.col("gene_type") == "protein-coding"
    return texts.frame.filter(coding & pl.col("summary").is_not_null()).sort("gene_id")


def _measured(path: str, texts: GeneTexts) -> list[int]:
    with open_cells(path) as file, file.matrix() as matrix:
        return [int(one) for one in match_genes(matrix, [texts]).genes]


def _chosen(task: GeneTask, known: Mapping[str, Ints], kin: Mapping[int, int], rng: np.random.Generator) -> list[str]:
    """Return the names of the sets that are drawn: of the right size, of several families, and not nearly the same."""
    apart = N_FOLDS if task.kind == "probe" else 2
    wanted = {name: set(genes.tolist()) for name, genes in sorted(known.items())}
    fit = [name for name, genes in wanted.items() if task.min_genes <= len(genes) <= task.max_genes]
    if task.kind == "probe" or task.across_families:
        fit = [name for name in fit if len({kin[one] for one in wanted[name]}) >= apart]
    chosen: list[str] = []
    for i in rng.permutation(len(fit)):
        genes = wanted[fit[i]]
        if len(chosen) < task.n_sets and all(_shared(genes, wanted[one]) <= MOST_SHARED for one in chosen):
            chosen.append(fit[i])
    if len(chosen) < 2:
        found = counted(len(chosen), "set")
        seen = f"task {task.name!r}: {found} of {task.min_genes} to {task.max_genes} genes with a text"
        raise InputError(seen, "at least 2", FIX)
    return sorted(chosen)


def _shared(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)


def _words_of_families(frame: pl.DataFrame, families: Sequence[set[int]]) -> frozenset[str]:
    """Return the words that are in the names of at least `NAME_SHARE` of a family's genes."""
    names = dict(frame.select("gene_id", "full_name").iter_rows())
    found: set[str] = set()
    for family in families:
        here = [masking.words_of([names[one] or ""]) for one in family if one in names]
        words = set().union(*here)
        found |= {word for word in words if sum(word in one for one in here) >= NAME_SHARE * len(here)}
    return frozenset(found)


def _variants(frame: pl.DataFrame, words: frozenset[str]) -> dict[Variant, tuple[str, ...]]:
    """Return the texts of genes; of the masked ones, all lose the words of all sets, whatever sets they are in."""
    rows: list[dict[str, Any]] = frame.to_dicts()
    bare = [masking.without_names(one["summary"], masking.names_of(one)) for one in rows]
    return {
        "plain": tuple(one["text"] for one in rows),
        "masked": tuple(masking.without_words(one, words) for one in bare),
        "name": tuple(f"{one['symbol']}: {one['full_name'] or ''}".strip(": ") + "." for one in rows),
    }
