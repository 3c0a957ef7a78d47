"""Unexpected genes of doubtful cells: the labels that own them, and genes that are unexpected in many labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scvec.atlas import Atlas
from scvec.core.types import Ints, Strings

OWNED = 2.0
"""A label owns a gene if its cells express it this many times as much as those of any other label, on average."""

FEW_CELLS = 10
"""Labels with fewer reference cells own no genes and do not count in the comparison: their means are unreliable."""

FEWEST_LABELS, FEWEST_CELLS = 3, 5
"""A gene is shared if it is unexpected in doubtful cells of so many labels, and in so many cells."""

N_SHARED = 6


@dataclass(frozen=True, slots=True)
class UnexpectedGene:
    """A gene that cells express more than their label does.

    Attributes
    ----------
    symbol, n_cells
        The gene, and the number of cells in which it is one of the most unexpected.
    label
        The label that owns it; "" for none.
    """

    symbol: str
    n_cells: int
    label: str


@dataclass(frozen=True, slots=True)
class Shared:
    """A gene that is unexpected in cells of several labels."""

    symbol: str
    n_cells: int
    n_labels: int


@dataclass(frozen=True, slots=True)
class Mixture:
    """Doubtful cells that express genes of another label, counted by their own labels."""

    other: str
    cells: tuple[tuple[str, int], ...]

    @property
    def n_cells(self) -> int:
        """Number of cells in all."""
        return sum(n for _, n in self.cells)


def owners(atlas: Atlas) -> dict[str, str]:
    """Return the label that owns each gene, by the gene's symbol, without genes that no label owns."""
    profiles = atlas.profiles
    n_cells = np.bincount(atlas.label_codes, minlength=len(atlas.label_names))[: len(profiles.labels)]
    many = np.flatnonzero(n_cells >= FEW_CELLS)
    if len(many) < 2:
        return {}
    second, first = np.sort(profiles.labels[many], axis=0)[-2:]
    names = atlas.label_names[many[profiles.labels[many].argmax(axis=0)]]
    own = (first > 0) & (first >= OWNED * second)
    return dict(zip(atlas.gene_symbols[own].tolist(), names[own].tolist(), strict=True))


def others(called: Strings, unexpected_genes: Strings, cells: Ints, owner: Mapping[str, str]) -> Strings:
    """Return (n,) the other label that owns most of a cell's unexpected genes; "" for none, and outside `cells`."""
    found = np.full(len(called), "", dtype=object)
    for i in cells.tolist():
        genes = unexpected_genes[i].split(", ") if unexpected_genes[i] else []
        counts = Counter(owner.get(gene, "") for gene in genes)
        label, n = counts.most_common(1)[0] if counts else ("", 0)
        if label not in ("", called[i]) and 2 * n > len(genes):
            found[i] = label
    return found


def mixtures(called: Strings, other: Strings) -> tuple[Mixture, ...]:
    """Return the labels whose genes are found in cells of other labels, those with most cells first."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for label, one in zip(called.tolist(), other.tolist(), strict=True):
        if one:
            counted[one][label] += 1
    made = [Mixture(one, tuple(sorted(cells.items(), key=_most))) for one, cells in counted.items()]
    return tuple(sorted(made, key=lambda one: (-one.n_cells, one.other)))


def shared(called: Strings, unexpected_genes: Strings, cells: Ints, owner: Mapping[str, str]) -> tuple[Shared, ...]:
    """Return genes that no label owns and that are unexpected in `cells` of several labels, most labels first."""
    labels: dict[str, list[str]] = defaultdict(list)
    for i in cells.tolist():
        for gene in unexpected_genes[i].split(", ") if unexpected_genes[i] else ():
            labels[gene].append(called[i])
    made = [Shared(gene, len(of), len(set(of))) for gene, of in labels.items() if gene not in owner]
    made = [one for one in made if one.n_labels >= FEWEST_LABELS and one.n_cells >= FEWEST_CELLS]
    return tuple(sorted(made, key=lambda one: (-one.n_labels, -one.n_cells, one.symbol))[:N_SHARED])


def commonest(unexpected_genes: Sequence[str], owner: Mapping[str, str], n: int) -> tuple[UnexpectedGene, ...]:
    """Return the genes that are unexpected in most cells; genes of a single cell only if there are few cells."""
    counts = Counter(gene for one in unexpected_genes if one for gene in one.split(", "))
    least = 1 if len(unexpected_genes) < FEWEST_LABELS else 2
    genes = [UnexpectedGene(gene, n_cells, owner.get(gene, "")) for gene, n_cells in sorted(counts.items(), key=_most)]
    return tuple(one for one in genes if one.n_cells >= least)[:n]


def _most(one: tuple[str, int]) -> tuple[int, str]:
    return -one[1], one[0]
