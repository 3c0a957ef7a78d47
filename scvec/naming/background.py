"""Mean profiles of many types of many tissues, which clusters are compared with beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scvec.atlas import Atlas
from scvec.core.text import counted
from scvec.core.types import Bools, Doubles, Ints, Strings, freeze
from scvec.errors import InputError, LabelError
from scvec.ingest.genes.gene_table import GeneTable
from scvec.ingest.genes.orthologs import orthologs
from scvec.naming.expression import TARGET_SUM
from scvec.naming.groups import Groups

OF_TOTAL = 0.65
"""What means of log1p(counts per 10,000) sum to once the logarithm is undone, as a share of 10,000: .55 to .78 for the
labels of Baron's human pancreas."""


@dataclass(frozen=True, slots=True)
class Background:
    """B types and what they express of g genes. Read one with `scvec.naming.background_files.read_background`.

    Attributes
    ----------
    names, tissues
        (B,) the types, and the tissue of each, "" where it is not known.
    gene_ids
        (g,) genes by Entrez id, ascending.
    means
        (B, g) mean of log1p(counts per 10,000); NaN where a type's file lacks the gene. Where only means of counts are
        known, what these are likely to be.
    taxon_id
        NCBI's number of the species whose genes these are.
    notes
        What a reader should know, one line each.
    """

    names: Strings
    tissues: Strings
    gene_ids: Ints
    means: Doubles = field(repr=False)
    taxon_id: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("names", "tissues", "gene_ids", "means"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        n_tissues = len(set(self.tissues.tolist()) - {""})
        tissues = f" of {counted(n_tissues, 'tissue')}" if n_tissues else ""
        return f"Background: {counted(len(self), 'type')}{tissues}, {counted(len(self.gene_ids), 'gene')}"

    @classmethod
    def of_groups(cls, groups: Groups, tissue: str = "") -> Background:
        """Return the groups of a labelled file that express anything, and those that they are compared with."""
        some = groups.expressing
        names = np.concatenate([groups.clusters[some], groups.contrast_names])
        means = np.concatenate([groups.means[some], groups.contrast])
        tissues = np.full(len(names), tissue, object)
        return cls(names, tissues, groups.gene_ids, means, groups.taxon_id)

    @classmethod
    def of_atlas(cls, atlas: Atlas, tissue: str = "") -> Background:
        """Return the labels of an atlas.

        An atlas keeps the mean of each label's cells after these were scaled to unit length, so that cells of few
        counts weigh as much as others, and how long they were is lost: each mean is scaled so that it has the usual
        total before the logarithm (`OF_TOTAL`), less the share of the genes that the atlas leaves out. It is nearly in
        proportion to the mean that `Groups` have. Labels added after the atlas was fitted have none.

        Raises
        ------
        InputError
            If it has no label with a mean.
        """
        profiles, labels = atlas.profiles, np.array(atlas.manifest["labels"], object)
        some: Bools = np.asarray(profiles.labels.any(axis=1))
        if not some.any():
            seen = f"atlas {atlas.name!r} keeps the mean expression of no label"
            raise InputError(seen, "an atlas whose labels have cells with expression", "give another `background`")
        order = np.argsort(profiles.gene_ids)
        total = OF_TOTAL * TARGET_SUM * float(profiles.composition.sum(dtype=np.float64))
        means = [_scaled(one[order].astype(np.float64), total) for one in profiles.labels[some]]
        tissues = np.full(int(some.sum()), tissue, object)
        note = f"background: {counted(int(some.sum()), 'label')} of atlas {atlas.name!r}"
        taxon = int(atlas.manifest["taxon_id"])
        return cls(labels[: len(some)][some], tissues, profiles.gene_ids[order], np.array(means), taxon, (note,))

    def on(self, gene_ids: Ints) -> Doubles:
        """Return (B, m) the means of (m,) genes, in their order; NaN for genes that a type lacks."""
        found = np.full((len(self), len(gene_ids)), np.nan)
        has = np.isin(gene_ids, self.gene_ids)
        found[:, has] = self.means[:, np.searchsorted(self.gene_ids, gene_ids[has])]
        return found

    def only(self, keep: Bools) -> Background:
        """Return some of the types; `keep` is (B,) True for these."""
        return Background(
            self.names[keep], self.tissues[keep], self.gene_ids, self.means[keep], self.taxon_id, self.notes
        )

    def in_genes_of(self, table: GeneTable, own: GeneTable) -> Background:
        """Return the means of the genes of another species, by one-to-one orthologs.

        Parameters
        ----------
        table
            That species' genes.
        own
            The genes of this background's species.

        Raises
        ------
        GeneMatchError
            If either has no orthologs.
        """
        if table.taxon_id == self.taxon_id:
            return self
        pairs = orthologs(own, table)
        there = np.array([pairs.get(gene, -1) for gene in self.gene_ids.tolist()], np.int64)
        order = np.argsort(there, kind="stable")
        order = order[there[order] >= 0]
        return Background(self.names, self.tissues, there[order], self.means[:, order], table.taxon_id, self.notes)


def joined(parts: Sequence[Background]) -> Background:
    """Return the types of several backgrounds of one species on all of their genes.

    Raises
    ------
    LabelError
        If a tissue has two types of one name.
    """
    gene_ids = np.unique(np.concatenate([one.gene_ids for one in parts]))
    names = np.concatenate([one.names for one in parts])
    tissues = np.concatenate([one.tissues for one in parts])
    pairs = list(zip(tissues.tolist(), names.tolist(), strict=True))
    if len(set(pairs)) < len(pairs):
        tissue, name = next(one for one in pairs if pairs.count(one) > 1)
        of = f" of tissue {tissue!r}" if tissue else ""
        raise LabelError(f"the `background` has type {name!r}{of} twice", "each type once", "rename or remove one")
    means = np.concatenate([one.on(gene_ids) for one in parts])
    notes = tuple(dict.fromkeys(note for one in parts for note in one.notes))
    return Background(names, tissues, gene_ids, means, parts[0].taxon_id, notes)


def _scaled(mean: Doubles, total: float) -> Doubles:
    """Return (g,) values times the factor with which they sum to `total` once the logarithm is undone."""
    from scipy.optimize import brentq

    most = 1.001 * np.log1p(total) / mean.max()
    factor = brentq(lambda one: np.expm1(mean * one).sum() - total, 0.0, most)
    return np.asarray(mean * factor)
