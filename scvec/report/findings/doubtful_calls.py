"""Doubtful calls, and the reasons for the doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.annotation.rejection import TOO_NOVEL, reject
from scvec.annotation.result import LOW_CONFIDENCE, NO_EXPRESSION, NOVEL, Annotation
from scvec.atlas import Atlas
from scvec.atlas.query_cells import OpenCells
from scvec.core.tabular import Tabular
from scvec.core.types import Ints, Progress, Strings, silent
from scvec.errors import must_be
from scvec.report.findings.causes import LOW, Ambient, Measure, ambient, measures_of
from scvec.report.findings.label_quality import HeldOutCalls, LabelQuality, held_out_calls, label_qualities
from scvec.report.findings.measuring import DOUBLET, MEASURES, measured_in
from scvec.report.findings.unexpected_genes import (
    Mixture,
    Shared,
    UnexpectedGene,
    commonest,
    mixtures,
    others,
    owners,
    shared,
)

if TYPE_CHECKING:
    import polars as pl

N_GENES = 5
"""Unexpected genes that are named for a group."""


@dataclass(frozen=True, slots=True)
class Doubts(Tabular):
    """Calls that would be rejected at an accepted error, in groups of one label and one reason each.

    Attributes
    ----------
    error
        The accepted share of wrong calls; None if the calls have no confidence, and doubtful ones are not known.
    reason
        (n,) what `Annotation.reason` would be with `error` as `max_error`.
    group
        (n,) each cell's group, as ``"ductal, low confidence"``; "" if not doubtful, or without expression.
    other
        (n,) the other label that owns most of a doubtful cell's unexpected genes; "" for none.
    groups
        The groups, the largest first.
    mixtures
        Labels whose genes are found in doubtful cells of other labels.
    shared
        Genes that are unexpected in doubtful cells of several labels.
    ambient
        Labels whose genes are in the cells of all other labels, doubtful or not, more than in the reference.
    labels
        The quality of each label of the query or the atlas.
    held_out
        What held-out reference cells were called; None if the atlas has no calibration.
    novelty_limit
        The novelty above which a cell is `NOVEL`; NaN if `error` is None.
    """

    error: float | None
    reason: Strings
    group: Strings
    other: Strings
    groups: tuple[Group, ...]
    mixtures: tuple[Mixture, ...]
    shared: tuple[Shared, ...]
    ambient: tuple[Ambient, ...]
    labels: tuple[LabelQuality, ...]
    held_out: HeldOutCalls | None
    novelty_limit: float

    def to_polars(self) -> pl.DataFrame:
        """Return one row for each group, the largest first."""
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
                "views_apart": one.n_apart,
                "views": "; ".join(f"{view}: {label} ({n})" for view, label, n in one.views),
                "unexpected_genes": ", ".join(f"{gene.symbol} ({gene.n_cells})" for gene in one.unexpected_genes),
                **_columns(one),
            }
            for one in self.groups
        ]
        types = {"label": pl.String, "reason": pl.String, "n_cells": pl.Int64}
        types |= dict.fromkeys(("share_of_label", "confidence", "novelty", "votes"), pl.Float64)
        types |= {"against": pl.String, "votes_against": pl.Float64, "views_apart": pl.Int64, "views": pl.String}
        types |= {"unexpected_genes": pl.String}
        types |= {column: pl.Float64 for name in MEASURES for column in (name, f"{name}_reference")}
        types |= {"doublets": pl.Int64, "doublets_with": pl.String, "stands_out": pl.String}
        return pl.DataFrame(rows, schema=types)


@dataclass(frozen=True, slots=True)
class Group:
    """Doubtful cells of one label, for one reason.

    Attributes
    ----------
    name, label, reason
        The group's name; the label before rejection; `NOVEL` or `LOW_CONFIDENCE`.
    n_cells, share
        Number of cells, and their share of all cells of the label.
    confidence, novelty, votes
        Median confidence and novelty; the label's mean share.
    against, votes_against
        The label with the second largest share, "" if there is none, and its mean share.
    n_apart, views
        Number of cells to which the views of the atlas give different labels, and what each view says of these: its
        name, the label that it gives most of them, and to how many. Without further views: 0, and none.
    unexpected_genes
        Genes expressed more than in the label's cells, those of most cells first.
    measures
        Counts, genes, mitochondrial share and doublet score of the cells, beside the reference's cells of the label.
        () if the atlas keeps no cells, as one of an earlier version.
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
    n_apart: int
    views: tuple[tuple[str, str, int], ...]
    unexpected_genes: tuple[UnexpectedGene, ...]
    measures: tuple[Measure, ...] = ()


def _columns(one: Group) -> dict[str, Any]:
    """Return what was measured of a group; None where it is not known."""
    made: dict[str, Any] = dict.fromkeys(column for name in MEASURES for column in (name, f"{name}_reference"))
    made |= {"doublets": None, "doublets_with": ""}
    for each in one.measures:
        pairs = ((each.name, each.median), (f"{each.name}_reference", each.reference))
        made |= {column: value for column, value in pairs if np.isfinite(value)}
        if each.name == DOUBLET:
            made |= {"doublets": each.n_high, "doublets_with": each.other}
    out = [(each, each.n_low if each.stands_out == LOW else each.n_high) for each in one.measures if each.stands_out]
    return made | {"stands_out": ", ".join(f"{each.stands_out} {each.name} ({n})" for each, n in out)}


def doubts(calls: Annotation, atlas: Atlas, error: float) -> Doubts:
    """Find the calls that cannot be trusted to an error, whether or not the query asked for one.

    The doubtful cells are read again, and some others.

    Raises
    ------
    InputError
        If `error` is not between 0 and 1, or the query was changed since it was annotated.
    """
    with calls.query.opened() as cells:
        return doubts_in(cells, calls, atlas, error)


def doubts_in(
    cells: OpenCells, calls: Annotation, atlas: Atlas, error: float, progress: Progress = silent, random_state: int = 0
) -> Doubts:
    """Return what `doubts` does, of an open query."""
    if not 0 < error < 1:
        raise must_be("error", "between 0 and 1, as 0.05", error)
    # Calls that were rejected with another error are judged anew.
    empty = calls.reason == NO_EXPRESSION
    fresh = replace(calls, reason=np.where(empty, NO_EXPRESSION, "").astype(object), rejected=empty)
    # Without a calibration, or with votes that were not calibrated, no call has a confidence.
    calibration = atlas.calibration if np.isfinite(calls.confidence).any() else None
    reason = fresh.reason if calibration is None else reject(fresh, atlas, error).reason
    doubted = (reason == NOVEL) | (reason == LOW_CONFIDENCE)
    pairs = zip(calls.label_before_rejection.tolist(), reason.tolist(), doubted.tolist(), strict=True)
    group = np.array([f"{label}, {why.replace('_', ' ')}" if yes else "" for label, why, yes in pairs], dtype=object)
    rows, owner = np.flatnonzero(doubted), owners(atlas)
    found = None if calibration is None else measured_in(cells, calls, doubted, random_state, progress)
    groups = []
    for name in sorted(set(group.tolist()) - {""}):
        own = np.flatnonzero(group == name)
        one = _group(calls, name, own, reason, owner)
        groups.append(replace(one, measures=measures_of(found, one.label, own, doubted)))
    other = others(calls.label_before_rejection, calls.unexpected_genes, rows, owner)
    return Doubts(
        error=None if calibration is None else error,
        reason=reason,
        group=group,
        other=other,
        groups=tuple(sorted(groups, key=lambda one: -one.n_cells)),
        mixtures=mixtures(calls.label_before_rejection, other),
        shared=shared(calls.label_before_rejection, calls.unexpected_genes, rows, owner),
        ambient=ambient(found),
        labels=label_qualities(calls, atlas, error, doubted),
        held_out=held_out_calls(atlas),
        novelty_limit=float("nan") if calibration is None else calibration.too_novel(TOO_NOVEL),
    )


def _group(calls: Annotation, name: str, cells: Ints, reason: Strings, owner: Mapping[str, str]) -> Group:
    label = str(calls.label_before_rejection[cells[0]])
    own = calls.labels.index(label)
    votes = calls.scores[cells].mean(axis=0, dtype=np.float64)
    others = np.where(np.arange(len(votes)) == own, -1.0, votes)
    second = int(others.argmax())
    apart = cells[~calls.views_agree[cells]]
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
        len(apart),
        tuple((view, *_commonest_label(labels[apart])) for view, labels in calls.by_view.items()) if len(apart) else (),
        commonest(calls.unexpected_genes[cells].tolist(), owner, N_GENES),
    )


def _commonest_label(labels: Strings) -> tuple[str, int]:
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return str(names[counts.argmax()]), int(counts.max())
