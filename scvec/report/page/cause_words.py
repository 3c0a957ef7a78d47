"""The sentences of the HTML report about causes of a doubt: one for each that stands out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scvec.annotation.result import NOVEL
from scvec.core.text import counted
from scvec.report.findings.causes import HIGH, LOW, SIZES, Ambient, Measure
from scvec.report.findings.doubtful_calls import Group
from scvec.report.findings.measuring import DOUBLET, MITOCHONDRIAL

WORDS: Mapping[str, tuple[str, str, str]] = {
    LOW: ("fewer", "more", "too little RNA of them was read, or they are damaged"),
    HIGH: ("more", "fewer", "they may be doublets, or larger cells"),
}
"""Of sizes that are low or high: what the cells have, what others have, what the cause may be."""


def causes(group: Group) -> list[str]:
    """Return what the cells differ in from others of their label, one sentence each."""
    found = {one.name: one for one in group.measures if one.stands_out}
    sizes = [found[name] for name in SIZES if name in found]
    said = [_sizes(group, out, [one for one in sizes if one.stands_out == out]) for out in (LOW, HIGH)]
    said += [_mitochondrial(group, found[MITOCHONDRIAL])] if MITOCHONDRIAL in found else []
    said += [_doublets(group, found[DOUBLET])] if DOUBLET in found else []
    return [one for one in said if one]


def _others(group: Group) -> str:
    """Return which cells a limit is of."""
    here = any(np.isfinite(one.beside) for one in group.measures)
    also = ", and of those here that are not doubtful," if here else ""
    return f"95 % of the reference's {group.label} cells{also}"


def _sizes(group: Group, out: str, sizes: list[Measure]) -> str:
    if not sizes:
        return ""
    have, others, cause = WORDS[out]
    parts = [(one.n_low, one.low) if out == LOW else (one.n_high, one.high) for one in sizes]
    said = [f"{n:,} {have} than {limit:,.0f} {one.name}" for one, (n, limit) in zip(sizes, parts, strict=True)]
    said[0] = f"{parts[0][0]:,} of {counted(group.n_cells, 'cell')} have {said[0].partition(' ')[2]}"
    return f"{' and '.join(said)}; {_others(group)} have {others}: {cause}."


def _mitochondrial(group: Group, one: Measure) -> str:
    return (
        f"In {one.n_high:,} of {counted(group.n_cells, 'cell')}, more than {one.high:.0%} of the expression is "
        f"mitochondrial; {_others(group)} have less: they may be damaged or dying."
    )


def _doublets(group: Group, one: Measure) -> str:
    new = ", or of a type that the reference lacks" if group.reason == NOVEL else ""
    return (
        f"{one.n_high:,} of {counted(group.n_cells, 'cell')} look like a mixture with another label, most often "
        f"{one.other}, more than {_others(group)} do: they may be doublets{new}."
    )


def ambient_line(one: Ambient) -> str:
    """Return what tells that a label's genes are in all other cells."""
    return (
        f"Genes of {one.label} are in the cells of all {one.n_labels} other labels, doubtful or not, more than in the "
        f"reference ({one.share:.1%} of the expression; in the reference {one.reference:.1%}): probably ambient RNA."
    )
