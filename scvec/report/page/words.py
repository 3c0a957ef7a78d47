"""What the page says in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scvec.overview import Overview
from scvec.overview.doubts import Doubts, Group, OddGene
from scvec.types import UNKNOWN

SPLIT = 0.9
"""Share of the votes below which neighbours are said not to agree."""

OFTEN = 0.2
"""Share of wrong calls of held-out cells above which a whole label is to be looked at."""

NAMED = 0.001
"""Share of the expression above which names without a gene are listed."""


def lead(overview: Overview) -> str:
    """Return what came out, in a sentence or two."""
    calls, doubts = overview.calls, overview.doubts
    named, counts = np.unique(calls.label[~calls.rejected].astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = [f"{named[i]} {counts[i] / len(calls):.0%}" for i in order[:3]]
    atlas = calls.provenance["atlas"]["name"]
    first = f"{len(calls):,} cells were labelled by their nearest cells in the atlas {atlas}: "
    first += f"{_counted(len(named), 'label')}, most of all {_listed(shares)}." if shares else "none got a label."
    n_doubted = sum(one.n_cells for one in doubts.groups)
    if doubts.error is None:
        return f"{first} The atlas has no calibration, so that nothing can be said of how far to trust them."
    if not n_doubted:
        return f"{first} None is to be doubted."
    unknown = UNKNOWN in set(calls.label[calls.reason != "empty"])
    they = "These are labelled unknown" if unknown else "These keep their labels here"
    wrong = f"if {doubts.error:.0%} of the calls may be wrong"
    return f"{first} {n_doubted:,} calls ({n_doubted / len(calls):.1%}) are to be doubted, {wrong}. {they}."


def tiles(overview: Overview) -> list[tuple[str, str]]:
    """Return a few figures, and what they are of."""
    calls, doubts = overview.calls, overview.doubts
    n_unsure, n_far = (sum(one.n_cells for one in doubts.groups if one.reason == why) for why in ("unsure", "far"))
    share = calls.provenance["query"]["coverage"]["share"]
    made = [(f"{len(calls):,}", "cells"), (f"{share:.1%}", "of the expression on known genes")]
    if doubts.error is not None:
        median = float(np.nanmedian(calls.confidence))
        made += [(f"{n_unsure:,}", "unsure: too many such calls were wrong")]
        made += [(f"{n_far:,}", "far: unlike the reference's cells")]
        made += [(f"{median:.2f}", "median confidence")]
    n_empty = int((calls.reason == "empty").sum())
    made += [(f"{n_empty:,}", "without expression on the atlas's genes")] if n_empty else []
    if overview.evaluation is not None:
        made += [(f"{overview.evaluation.accuracy:.3f}", "accuracy against the author's labels")]
    return made


def sections(overview: Overview) -> list[tuple[str, str]]:
    """Return anchors and titles."""
    made = [
        ("doubts", "Doubts"),
        ("map", "Map"),
        ("composition", "Labels"),
        ("genes", "Genes"),
        ("scores", "Confidence"),
    ]
    made += [("truth", "Author's labels")] if overview.evaluation is not None else []
    return [*made, ("coverage", "Coverage"), ("provenance", "Provenance")]


def doubts_lead(doubts: Doubts) -> list[str]:
    """Return what is meant by a doubt, a paragraph each."""
    if doubts.error is None:
        return ["The atlas has no calibration: its labels have too few cells to hold some out."]
    unsure = (
        f"of the reference cells that were held out, more than {doubts.error:.0%} of the calls of that label at that"
    )
    far = (
        "the cell is less like its label than 19 of 20 held-out cells were like theirs. Either it is of a type that the"
    )
    rest = "reference lacks, or it holds RNA of other cells, or it is damaged."
    meant = f"Unsure: {unsure} confidence were wrong. Far: {far} {rest}"
    if not doubts.groups:
        return [f"No call is to be doubted. {meant}"]
    bars = "Bars to the right are genes that speak for the label, to the left for the runner-up; hatched ones"
    return [meant, f"{bars} are genes that the cells express less than the reference does on average."]


def doubt(overview: Overview, group: Group) -> dict[str, Any]:
    """Return a group of doubts for the template."""
    found, genes, figure = overview.doubted_genes, "", None
    if found is not None and group.name in found.groups:
        row = found.groups.tolist().index(group.name)
        genes = f"Genes for {found.label[row]} and against it, compared with {found.against[row]}:"
        figure = f"doubt {group.name}"
    return {
        "name": group.name,
        "label": group.label,
        "reason": group.reason,
        "count": f"{_counted(group.n_cells, 'cell')}, {group.share:.0%} of its calls",
        "why": [one for one in (_held(overview, group), _votes(group), _odd(group)) if one],
        "genes": genes,
        "figure": figure,
    }


def _held(overview: Overview, group: Group) -> str:
    if group.reason != "unsure":
        return ""
    trust = next(one for one in overview.doubts.labels if one.label == group.label)
    said = f"Confidence {group.confidence:.2f} (median)."
    if not trust.n_held:
        return f"{said} No held-out reference cell was called {group.label}, so that nothing backs these calls."
    wrong = trust.n_held - trust.n_right
    return f"{said} Of {trust.n_held:,} held-out reference cells called {group.label}, {wrong:,} were something else."


def _votes(group: Group) -> str:
    if group.votes >= SPLIT:
        return f"Their neighbours agree: {group.votes:.0%} of the votes are for {group.label}."
    against = f", {group.votes_against:.0%} for {group.against}" if group.against else ""
    return f"Their neighbours do not agree: {group.votes:.0%} of the votes are for {group.label}{against}."


def _odd(group: Group) -> str:
    """Return which genes they express beyond their label, and whose genes these are."""
    if not group.odd_genes:
        return ""
    shown = [f"{one.symbol} ({one.n_cells} of {group.n_cells})" for one in group.odd_genes]
    said = f"Beyond what {group.label} cells express: {_listed(shown)}."
    other = _owner(group.odd_genes, group.label)
    if not other:
        return said
    return f"{said} Most of these are genes of {other}: perhaps two cells in one droplet, or RNA from outside the cell."


def _owner(genes: Sequence[OddGene], label: str) -> str:
    """Return the other label that more than half of the genes are most expressed in; "" for none."""
    labels = [one.label for one in genes]
    most = max(set(labels), key=lambda one: (labels.count(one), one))
    return most if most not in ("", label) and 2 * labels.count(most) > len(labels) else ""


def thin(doubts: Doubts) -> list[str]:
    """Return labels that hardly any reference cell backs, or that held-out cells were called wrongly."""
    lines = []
    for one in doubts.labels:
        n_wrong = one.n_held - one.n_right
        if one.is_thin:
            backed = f"{_counted(one.n_called, 'cell')} called by {_counted(one.n_reference, 'reference cell')}"
            lines.append(f"{one.label}: {backed}: neither the calls nor their confidence have much to stand on.")
        elif one.n_called and n_wrong > OFTEN * one.n_held:
            held = f"of {one.n_held:,} held-out reference cells called so, {n_wrong:,} were something else"
            lines.append(f"{one.label}: {held}: look at its {_counted(one.n_called, 'call')} again, trusted ones too.")
    return lines


def map_note(overview: Overview) -> str:
    """Return what the map was made of."""
    places, n = overview.cell_map, int((overview.calls.reason != "empty").sum())
    said = f"Grey: {len(places.rows):,} reference cells. "
    if places.n_fitted == n:
        return f"{said}UMAP of these and of all {n:,} cells."
    others = f"the other {n - places.n_fitted:,} stand by the nearest of them"
    return f"{said}UMAP of these and of {places.n_fitted:,} cells; {others}."


def label_rows(overview: Overview) -> list[tuple[str, ...]]:
    """Return the table of labels, those of the query first."""
    n = len(overview.calls)
    return [
        (
            one.label,
            f"{one.n_called:,}",
            f"{one.n_called / n:.1%}",
            f"{one.n_doubted:,}",
            f"{one.n_reference:,}",
            f"{one.n_right:,} of {one.n_held:,}" if one.n_held else "none was called so",
        )
        for one in overview.doubts.labels
    ]


def gene_title(overview: Overview, row: int) -> str:
    """Return what a figure of genes compares."""
    found = overview.genes
    return f"{found.label[row]}, against {found.against[row]} ({_counted(int(found.n_cells[row]), 'cell')})"


def coverage(overview: Overview) -> list[str]:
    """Return what is known of the query's genes, a line each."""
    found = overview.calls.provenance["query"]["coverage"]
    n_genes, n_matched, share = found["n_genes"], found["n_matched"], found["share"]
    lines = [f"{found['names']}: {n_matched:,} of {n_genes:,} have a gene, with {share:.1%} of the expression."]
    for key, said in (("unmatched", "No gene is called"), ("ambiguous", "Could be several genes, and are left out:")):
        named = [f"{name} ({part:.1%})" for name, part in found[key] if part >= NAMED]
        lines += [f"{said} {_listed(named)}."] if named else []
    return lines


def provenance(overview: Overview) -> list[tuple[str, str]]:
    """Return every version and hash, a row each."""
    made = {"scvec": overview.calls.provenance["scvec"], **_flat(overview.calls.provenance)}
    return [(key, value) for key, value in made.items() if value not in ("", "None")]


def _flat(values: Any, key: str = "") -> dict[str, str]:
    """Return nested values by their paths; the query's coverage has a section of its own."""
    if isinstance(values, dict):
        made: dict[str, str] = {}
        for name, value in values.items():
            made |= {} if name == "coverage" else _flat(value, f"{key}.{name}" if key else str(name))
        return made
    if isinstance(values, (list, tuple)) and any(isinstance(one, dict) for one in values):
        made = {}
        for i, value in enumerate(values[:20]):
            made |= _flat(value, f"{key}.{i + 1}")
        return made
    text = ", ".join(map(str, values)) if isinstance(values, (list, tuple)) else str(values)
    return {key: text}


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
