"""Which calls to doubt, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from scvec.annotation import Annotation
from scvec.atlas import Atlas
from scvec.embed.projection import Mask
from scvec.errors import InputError
from scvec.trust import reject
from scvec.types import UNKNOWN, Ints, Strings

if TYPE_CHECKING:
    import polars as pl

FEW_CELLS = 10
"""Reference cells of a label below which calls of it are hardly backed."""

N_ODD = 5
"""Odd genes that are named of a group."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """Calls that are not to be trusted to an error, in G groups of one label and one reason each.

    Attributes
    ----------
    error
        The share of wrong calls that is accepted; None where the atlas has no calibration, and nothing can be said.
    reason
        (n,) as `Annotation.reason` is, had `error` been asked for.
    group
        (n,) the group that a cell is in, as ``"ductal, unsure"``; "" for one that is not doubted, or empty.
    groups
        (G,) their names, those with most cells first.
    labels
        Of each label that the query has or the atlas knows: how many reference cells back it, how many of the reference
        cells that were held out and called so were so.
    """

    error: float | None
    reason: Strings
    group: Strings
    groups: tuple[Group, ...]
    labels: tuple[LabelTrust, ...]

    def to_frame(self) -> pl.DataFrame:
        """Return one row a group, the largest first."""
        import polars as pl

        rows = [
            {
                "label": one.label,
                "reason": one.reason,
                "n_cells": one.n_cells,
                "share_of_label": one.share,
                "confidence": one.confidence,
                "votes": one.votes,
                "against": one.against,
                "votes_against": one.votes_against,
                "odd_genes": ", ".join(f"{gene.symbol} ({gene.n_cells})" for gene in one.odd_genes),
            }
            for one in self.groups
        ]
        types = {"label": pl.String, "reason": pl.String, "n_cells": pl.Int64}
        types |= dict.fromkeys(("share_of_label", "confidence", "votes"), pl.Float64)
        types |= {"against": pl.String, "votes_against": pl.Float64, "odd_genes": pl.String}
        return pl.DataFrame(rows, schema=types)


@dataclass(frozen=True, slots=True)
class Group:
    """Doubtful cells of one label, for one reason.

    Attributes
    ----------
    name, label, reason
        What it is called; the nearest label; ``"far"`` or ``"unsure"``.
    n_cells, share
        How many, and of all cells that are nearest to the label, which share.
    confidence, votes
        The median confidence; the mean share of the votes that the label has.
    against, votes_against
        The label with the second most votes, "" where there is none, and its mean share.
    odd_genes
        Genes expressed beyond the label, those of most cells first.
    """

    name: str
    label: str
    reason: str
    n_cells: int
    share: float
    confidence: float
    votes: float
    against: str
    votes_against: float
    odd_genes: tuple[OddGene, ...]


@dataclass(frozen=True, slots=True)
class OddGene:
    """A gene that cells express beyond their label: in how many it is one of the oddest, and whose it is.

    Attributes
    ----------
    symbol, n_cells
        Its name, and in how many cells.
    label
        The label whose reference cells express it most on average; "" where none does.
    """

    symbol: str
    n_cells: int
    label: str


@dataclass(frozen=True, slots=True)
class LabelTrust:
    """What stands behind a label.

    Attributes
    ----------
    label
        Its name.
    n_called, n_doubted
        Cells of the query nearest to it, and how many of these are doubted.
    n_reference
        Its cells in the atlas.
    n_held, n_right
        Of the reference cells that were held out, how many were called so, and how many of these rightly.
    """

    label: str
    n_called: int
    n_doubted: int
    n_reference: int
    n_held: int
    n_right: int

    @property
    def is_thin(self) -> bool:
        """Whether so few reference cells back it that a call of it is to be looked at."""
        return self.n_called > 0 and self.n_reference < FEW_CELLS


def doubts(calls: Annotation, atlas: Atlas, error: float) -> Doubts:
    """Say which calls cannot be trusted to an error, whether or not the query asked for one.

    Raises
    ------
    InputError
        If `error` is no share.
    """
    if not 0 < error < 1:
        raise InputError(f"error = {error!r}", "a share between 0 and 1, as 0.05", "give another")
    # What another error has rejected is judged anew.
    empty = calls.reason == "empty"
    fresh = replace(calls, reason=np.where(empty, "empty", "").astype(object), rejected=empty)
    reason = fresh.reason if atlas.calibration is None else reject(fresh, atlas, error).reason
    doubted = (reason == "far") | (reason == "unsure")
    pairs = zip(calls.nearest.tolist(), reason.tolist(), doubted.tolist(), strict=True)
    group = np.array([f"{label}, {why}" if yes else "" for label, why, yes in pairs], dtype=object)
    names, whose = sorted(set(group.tolist()) - {""}), _whose(atlas)
    groups = [_group(calls, name, np.flatnonzero(group == name), reason, whose) for name in names]
    return Doubts(
        None if atlas.calibration is None else error,
        reason,
        group,
        tuple(sorted(groups, key=lambda one: -one.n_cells)),
        _labels(calls, atlas, doubted),
    )


def _whose(atlas: Atlas) -> dict[str, str]:
    """Return for each gene, by its symbol, the label whose cells express it most in the reference."""
    profiles = atlas.profiles
    symbol_of = dict(atlas.texts.genes.select("gene_id", "symbol").iter_rows())
    names, most = atlas.label_names[profiles.labels.argmax(axis=0)], profiles.labels.max(axis=0)
    rows = zip(profiles.gene_ids.tolist(), names.tolist(), most.tolist(), strict=True)
    return {symbol_of[gene] or "": name for gene, name, value in rows if value > 0}


def _group(calls: Annotation, name: str, cells: Ints, reason: Strings, whose: Mapping[str, str]) -> Group:
    label = str(calls.nearest[cells[0]])
    own = calls.labels.index(label)
    votes = calls.scores[cells].mean(axis=0, dtype=np.float64)
    others = np.where(np.arange(len(votes)) == own, -1.0, votes)
    second = int(others.argmax())
    odd = Counter(chain.from_iterable(one.split(", ") for one in calls.odd_genes[cells].tolist() if one))
    return Group(
        name,
        label,
        str(reason[cells[0]]),
        len(cells),
        len(cells) / int((calls.nearest == label).sum()),
        float(np.median(calls.confidence[cells])),
        float(votes[own]),
        calls.labels[second] if others[second] > 0 else "",
        max(0.0, float(others[second])),
        tuple(
            OddGene(gene, n, whose.get(gene, ""))
            for gene, n in sorted(odd.items(), key=lambda one: (-one[1], one[0]))[:N_ODD]
        ),
    )


def _labels(calls: Annotation, atlas: Atlas, doubted: Mask) -> tuple[LabelTrust, ...]:
    names = atlas.label_names.tolist()
    reference = np.bincount(atlas.label_codes, minlength=len(names))
    held = right = np.zeros(len(names), np.int64)
    if atlas.calibration is not None:
        one = atlas.calibration.held
        held = np.bincount(one.called, minlength=len(names))
        right = np.bincount(one.called[one.right], minlength=len(names))
    called, in_doubt = Counter(calls.nearest.tolist()), Counter(calls.nearest[doubted].tolist())
    made = [
        LabelTrust(name, called[name], in_doubt[name], int(reference[i]), int(held[i]), int(right[i]))
        for i, name in enumerate(names)
    ]
    return tuple(sorted((one for one in made if one.label != UNKNOWN), key=lambda one: (-one.n_called, one.label)))
