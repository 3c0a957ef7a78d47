"""The sentences of the HTML report about causes of a doubt: one for each that stands out."""

from __future__ import annotations

from collections.abc import Mapping

from scvec.annotation.result import NOVEL
from scvec.core.text import counted
from scvec.report.findings.causes import HIGH, LOW, Ambient, Measure
from scvec.report.findings.cell_measures import COUNTS, DOUBLET, GENES, MITOCHONDRIAL
from scvec.report.findings.doubtful_calls import Group

SIZES = (COUNTS, GENES)

WORDS: Mapping[str, tuple[str, str, str]] = {
    LOW: ("fewer", "more", "too little RNA of them was read, or they are damaged"),
    HIGH: ("more", "fewer", "they may be doublets, or larger cells"),
}
"""Of sizes that are low or high: what the cells have, what the reference's cells have, what the cause may be."""


def causes(group: Group) -> list[str]:
    """Return what the cells differ in from the reference's cells of their label, one sentence each."""
    found = {one.name: one for one in group.measures if one.stands_out}
    said = [
        _sizes(group, out, [found[name] for name in SIZES if name in found and found[name].stands_out == out])
        for out in (LOW, HIGH)
    ]
    said += [_mitochondrial(group, found[MITOCHONDRIAL])] if MITOCHONDRIAL in found else []
    said += [_doublets(group, found[DOUBLET])] if DOUBLET in found else []
    return [one for one in said if one]


def _sizes(group: Group, out: str, sizes: list[Measure]) -> str:
    if not sizes:
        return ""
    have, usual, cause = WORDS[out]
    own = " and ".join(f"{one.median:,.0f} {one.name}" for one in sizes)
    theirs = " and ".join(f"{one.low if out == LOW else one.high:,.0f}" for one in sizes)
    return (
        f"Half of these cells have {have} than {own}, where 90 % of the reference's {group.label} cells have {usual} "
        f"than {theirs}: {cause}."
    )


def _mitochondrial(group: Group, one: Measure) -> str:
    return (
        f"In half of these cells, more than {one.median:.0%} of the expression is mitochondrial, where 90 % of the "
        f"reference's {group.label} cells have less than {one.high:.0%}: they may be damaged or dying."
    )


def _doublets(group: Group, one: Measure) -> str:
    many = f"{one.n_high:,} of {counted(group.n_cells, 'cell')} look"
    new = ", or of a type that the reference lacks" if group.reason == NOVEL else ""
    return (
        f"{many} more like a mixture of two labels, most often with {one.other}, than 95 % of the {group.label} "
        f"cells of the reference, and of those here that are not doubtful: they may be doublets{new}."
    )


def ambient_line(one: Ambient) -> str:
    """Return what tells that a label's genes are in all other cells."""
    return (
        f"Genes of {one.label} are in the cells of all {one.n_labels} other labels, doubtful or not, more than in the "
        f"reference ({one.share:.1%} of the expression; in the reference {one.reference:.1%}): probably ambient RNA."
    )
