"""What doubtful cells express beyond their labels: whose genes these are, and which are shared by many labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scvec.atlas import Atlas
from scvec.core.types import Ints, Strings

OWNED = 2.0
"""A gene is a label's own if its cells express it so many times as much as those of any other, on average."""

FEW_CELLS = 10
"""Labels of fewer reference cells own no gene, and dispute none: their means are a few cells'."""

FEWEST_LABELS, FEWEST_CELLS = 3, 5
"""Genes that are odd in doubtful cells of so many labels, and in so many cells, are no label's affair."""

N_SHARED = 6


@dataclass(frozen=True, slots=True)
class OddGene:
    """A gene that cells express beyond their label: in how many it is one of the oddest, and whose it is.

    Attributes
    ----------
    symbol, n_cells
        Its name, and in how many cells.
    label
        The label that it is a gene of; "" for none.
    """

    symbol: str
    n_cells: int
    label: str


@dataclass(frozen=True, slots=True)
class Shared:
    """A gene that is odd in cells of several labels."""

    symbol: str
    n_cells: int
    n_labels: int


@dataclass(frozen=True, slots=True)
class Mixture:
    """Doubtful cells that express genes of another label: how many of each label do."""

    other: str
    cells: tuple[tuple[str, int], ...]

    @property
    def n_cells(self) -> int:
        """How many in all."""
        return sum(n for _, n in self.cells)


def owners(atlas: Atlas) -> dict[str, str]:
    """Return the label that each gene is of, by the gene's symbol; genes of no label are left out."""
    profiles = atlas.profiles
    n_cells = np.bincount(atlas.label_codes, minlength=len(atlas.label_names))[: len(profiles.labels)]
    many = np.flatnonzero(n_cells >= FEW_CELLS)
    if len(many) < 2:
        return {}
    second, first = np.sort(profiles.labels[many], axis=0)[-2:]
    names = atlas.label_names[many[profiles.labels[many].argmax(axis=0)]]
    own = (first > 0) & (first >= OWNED * second)
    return dict(zip(atlas.gene_symbols[own].tolist(), names[own].tolist(), strict=True))


def others(nearest: Strings, unexpected_genes: Strings, cells: Ints, owner: Mapping[str, str]) -> Strings:
    """Return (n,) the other label that most of a cell's odd genes are of; "" for none, and outside of `cells`."""
    found = np.full(len(nearest), "", dtype=object)
    for i in cells.tolist():
        genes = unexpected_genes[i].split(", ") if unexpected_genes[i] else []
        counts = Counter(owner.get(gene, "") for gene in genes)
        label, n = counts.most_common(1)[0] if counts else ("", 0)
        if label not in ("", nearest[i]) and 2 * n > len(genes):
            found[i] = label
    return found


def mixtures(nearest: Strings, other: Strings) -> tuple[Mixture, ...]:
    """Return which labels' genes are found in cells of which others, those of most cells first."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for label, one in zip(nearest.tolist(), other.tolist(), strict=True):
        if one:
            counted[one][label] += 1
    made = [Mixture(one, tuple(sorted(cells.items(), key=_most))) for one, cells in counted.items()]
    return tuple(sorted(made, key=lambda one: (-one.n_cells, one.other)))


def shared(nearest: Strings, unexpected_genes: Strings, cells: Ints, owner: Mapping[str, str]) -> tuple[Shared, ...]:
    """Return genes of no label that are odd in `cells` of several ones, those of most labels first."""
    labels: dict[str, list[str]] = defaultdict(list)
    for i in cells.tolist():
        for gene in unexpected_genes[i].split(", ") if unexpected_genes[i] else ():
            labels[gene].append(nearest[i])
    made = [Shared(gene, len(of), len(set(of))) for gene, of in labels.items() if gene not in owner]
    made = [one for one in made if one.n_labels >= FEWEST_LABELS and one.n_cells >= FEWEST_CELLS]
    return tuple(sorted(made, key=lambda one: (-one.n_labels, -one.n_cells, one.symbol))[:N_SHARED])


def commonest(unexpected_genes: Sequence[str], owner: Mapping[str, str], n: int) -> tuple[OddGene, ...]:
    """Return the genes that are odd in most cells; in one alone, only where the cells are few."""
    counts = Counter(gene for one in unexpected_genes if one for gene in one.split(", "))
    least = 1 if len(unexpected_genes) < FEWEST_LABELS else 2
    genes = [OddGene(gene, n_cells, owner.get(gene, "")) for gene, n_cells in sorted(counts.items(), key=_most)]
    return tuple(one for one in genes if one.n_cells >= least)[:n]


def _most(one: tuple[str, int]) -> tuple[int, str]:
    return -one[1], one[0]
