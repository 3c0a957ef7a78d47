"""Which calls to doubt, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scvec.annotation.rejection import TOO_NOVEL, reject
from scvec.annotation.result import LOW_CONFIDENCE, NO_EXPRESSION, NOVEL, Annotation
from scvec.atlas import Atlas
from scvec.core.types import Ints, Strings
from scvec.errors import InputError
from scvec.report.findings.label_quality import HeldOutCalls, LabelTrust, held_out_calls, label_trust
from scvec.report.findings.unexpected_genes import Mixture, OddGene, Shared, commonest, mixtures, others, owners, shared

if TYPE_CHECKING:
    import polars as pl

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
        (n,) the group that a cell is in, as ``"ductal, low confidence"``; "" for a cell that is not doubted or has no
        expression.
    other
        (n,) the other label that most of a doubted cell's odd genes are of; "" for none.
    groups
        Those of most cells first.
    mixtures
        Which labels' genes are found in doubted cells of which others.
    shared
        Genes that are odd in doubted cells of several labels.
    labels
        What stands behind each label that the query has or the atlas knows.
    held_out
        What reference cells that were held out were called; None where the atlas has no calibration.
    novelty_limit
        The novelty above which a call is far; NaN likewise.
    """

    error: float | None
    reason: Strings
    group: Strings
    other: Strings
    groups: tuple[Group, ...]
    mixtures: tuple[Mixture, ...]
    shared: tuple[Shared, ...]
    labels: tuple[LabelTrust, ...]
    held_out: HeldOutCalls | None
    novelty_limit: float

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
                "novelty": one.novelty,
                "votes": one.votes,
                "against": one.against,
                "votes_against": one.votes_against,
                "unexpected_genes": ", ".join(f"{gene.symbol} ({gene.n_cells})" for gene in one.unexpected_genes),
            }
            for one in self.groups
        ]
        types = {"label": pl.String, "reason": pl.String, "n_cells": pl.Int64}
        types |= dict.fromkeys(("share_of_label", "confidence", "novelty", "votes"), pl.Float64)
        types |= {"against": pl.String, "votes_against": pl.Float64, "unexpected_genes": pl.String}
        return pl.DataFrame(rows, schema=types)


@dataclass(frozen=True, slots=True)
class Group:
    """Doubtful cells of one label, for one reason.

    Attributes
    ----------
    name, label, reason
        What it is called; the nearest label; `NOVEL` or `LOW_CONFIDENCE`.
    n_cells, share
        How many, and of all cells that are nearest to the label, which share.
    confidence, novelty, votes
        The median confidence and novelty; the mean share of the votes that the label has.
    against, votes_against
        The label with the second most votes, "" where there is none, and its mean share.
    unexpected_genes
        Genes expressed beyond the label, those of most cells first.
    """

    name: str
    label: str
    reason: str
    n_cells: int
    share: float
    confidence: float
    novelty: float
    votes: float
    against: str
    votes_against: float
    unexpected_genes: tuple[OddGene, ...]


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
    empty = calls.reason == NO_EXPRESSION
    fresh = replace(calls, reason=np.where(empty, NO_EXPRESSION, "").astype(object), rejected=empty)
    reason = fresh.reason if atlas.calibration is None else reject(fresh, atlas, error).reason
    doubted = (reason == NOVEL) | (reason == LOW_CONFIDENCE)
    pairs = zip(calls.label_before_rejection.tolist(), reason.tolist(), doubted.tolist(), strict=True)
    group = np.array([f"{label}, {why.replace('_', ' ')}" if yes else "" for label, why, yes in pairs], dtype=object)
    cells, owner = np.flatnonzero(doubted), owners(atlas)
    groups = [
        _group(calls, name, np.flatnonzero(group == name), reason, owner) for name in sorted(set(group.tolist()) - {""})
    ]
    other = others(calls.label_before_rejection, calls.unexpected_genes, cells, owner)
    return Doubts(
        error=None if atlas.calibration is None else error,
        reason=reason,
        group=group,
        other=other,
        groups=tuple(sorted(groups, key=lambda one: -one.n_cells)),
        mixtures=mixtures(calls.label_before_rejection, other),
        shared=shared(calls.label_before_rejection, calls.unexpected_genes, cells, owner),
        labels=label_trust(calls, atlas, error, doubted),
        held_out=held_out_calls(atlas),
        novelty_limit=float("nan") if atlas.calibration is None else atlas.calibration.too_novel(TOO_NOVEL),
    )


def _group(calls: Annotation, name: str, cells: Ints, reason: Strings, owner: Mapping[str, str]) -> Group:
    label = str(calls.label_before_rejection[cells[0]])
    own = calls.labels.index(label)
    votes = calls.scores[cells].mean(axis=0, dtype=np.float64)
    others = np.where(np.arange(len(votes)) == own, -1.0, votes)
    second = int(others.argmax())
    return Group(
        name,
        label,
        str(reason[cells[0]]),
        len(cells),
        len(cells) / int((calls.label_before_rejection == label).sum()),
        float(np.median(calls.confidence[cells])),
        float(np.median(calls.novelty[cells])),
        float(votes[own]),
        calls.labels[second] if others[second] > 0 else "",
        max(0.0, float(others[second])),
        commonest(calls.unexpected_genes[cells].tolist(), owner, N_ODD),
    )
