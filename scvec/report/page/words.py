"""What the page says in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scvec.annotation.query import OTHER_VOTES
from scvec.annotation.result import LOW_CONFIDENCE, NO_EXPRESSION, NOVEL
from scvec.core.types import UNKNOWN
from scvec.report.findings import Overview
from scvec.report.findings.doubtful_calls import Doubts, Group
from scvec.report.findings.label_quality import OFTEN, LabelTrust

SPLIT = 0.9
"""Share of the votes below which neighbours are said not to agree."""

NAMED = 0.001
"""Share of the expression above which names without a gene are listed."""


def lead(overview: Overview) -> list[str]:
    """Return what came out, a paragraph each."""
    calls, doubts = overview.calls, overview.doubts
    named, counts = np.unique(calls.label[~calls.rejected].astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = [f"{named[i]} ({counts[i] / len(calls):.0%})" for i in order[:3]]
    n_reference = sum(one.n_reference for one in doubts.labels)
    name = calls.provenance["atlas"]["name"]
    said = f"{_counted(len(calls), 'cell')} compared with the {n_reference:,} cells of the reference atlas “{name}”. "
    said += f"{_counted(len(named), 'label')} called, mostly {_listed(shares)}." if shares else "None got a label."
    n_doubted = sum(one.n_cells for one in doubts.groups)
    if doubts.error is None:
        return [said, "The atlas has no calibration, so that nothing can be said of how far to trust the calls."]
    share = (
        f"{n_doubted:,} calls ({n_doubted / len(calls):.1%}) are to be doubted"
        if n_doubted
        else "No call is to be doubted"
    )
    unknown = UNKNOWN in set(calls.label[calls.reason != NO_EXPRESSION])
    kept = "they are labelled unknown" if unknown else "they keep their labels in this report"
    told = f"{share}, so that at most {doubts.error:.0%} of the others should be wrong" + (
        f"; {kept}." if n_doubted else "."
    )
    told += f" Mind that {OTHER_VOTES}." if OTHER_VOTES in calls.notes else ""
    weak = [one for one in doubts.labels if one.is_often_wrong]
    n_weak = sum(one.n_called - one.n_doubted for one in weak)
    if not n_weak:
        return [said, told]
    return [said, f"{told} Besides, look at all calls of {_listed([one.label for one in weak])}: see below."]


def tiles(overview: Overview) -> list[tuple[str, str]]:
    """Return a few figures, and what they are of."""
    calls, doubts = overview.calls, overview.doubts
    n_unsure, n_novel = (
        sum(one.n_cells for one in doubts.groups if one.reason == why) for why in (LOW_CONFIDENCE, NOVEL)
    )
    share = calls.provenance["query"]["coverage"]["share"]
    made = [(f"{len(calls):,}", "cells"), (f"{share:.1%}", "of the counts on genes that are known")]
    if doubts.error is not None:
        median = float(np.nanmedian(calls.confidence))
        made += [(f"{n_unsure:,}", "low confidence: such calls were wrong too often")]
        made += [(f"{n_novel:,}", "novel: unlike their label's cells")]
        made += [(f"{median:.2f}", "median confidence")]
    n_empty = int((calls.reason == NO_EXPRESSION).sum())
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
    if doubts.error is None or doubts.held_out is None:
        return ["The atlas has no calibration: its labels have too few cells to hold some out."]
    held = doubts.held_out
    share = f"{held.accuracy:.1%} were called right"
    tested = f"Of {held.n_cells:,} reference cells that were held out, and called by the others, {share}."
    unsure = f"Low confidence: of such calls of held-out cells, more than {doubts.error:.0%} were wrong."
    novel = f"Novel: its novelty is above {doubts.novelty_limit:.1f}, which 19 of 20 held-out cells stay below"
    why = "it is of a type that the reference lacks, or holds RNA of other cells, or is damaged"
    return [tested, f"{unsure} {novel}: {why}."]


def story(overview: Overview) -> list[str]:
    """Return what doubtful cells of several labels have in common, and which labels are weak as a whole."""
    doubts, lines = overview.doubts, []
    for one in doubts.mixtures:
        if one.n_cells > 1:
            where = _listed([f"{label} ({n})" if len(one.cells) > 1 else label for label, n in one.cells])
            cause = "perhaps two cells in one droplet, or RNA from outside the cell; a doublet caller can tell"
            lines.append(f"Genes of {one.other} in {one.n_cells} doubted cells of {where}: {cause}.")
    if doubts.shared:
        shown = _listed([f"{one.symbol} ({one.n_labels} labels)" for one in doubts.shared])
        cause = "rather a state of the cells, as stress, or RNA from outside them, than a type"
        lines.append(f"Odd in doubted cells of several labels: {shown}: {cause}.")
    return lines + [line for one in doubts.labels for line in _weak(one)]


def _weak(one: LabelTrust) -> list[str]:
    """Return why all calls of a label are to be looked at; nothing where they are not."""
    name, lines = one.label, []
    if one.is_thin:
        backed = f"{_counted(one.n_called, 'cell')} called by {_counted(one.n_reference, 'reference cell')}"
        lines.append(f"{name}: {backed}: neither the calls nor their confidence have much to stand on.")
    elif one.is_often_wrong:
        wrong = _wrong(one)
        cure = f"look at all {_counted(one.n_called, 'call')}, whatever their confidence, by the genes below"
        lines.append(f"{name}: {wrong}: {cure}.")
    if one.n_own and one.n_own - one.n_right > OFTEN * one.n_own and one.missed[1] > 1:
        seen = f"{one.n_right:,} of {one.n_own:,} held-out cells of it {_was(one.n_right)} recognised"
        lines.append(
            f"{name}: {seen}, {one.missed[1]:,} were called {one.missed[0]}: calls of {one.missed[0]} may be {name}."
        )
    return lines


def doubt(overview: Overview, group: Group) -> dict[str, Any]:
    """Return a group of doubts for the template."""
    found, genes, figure = overview.doubted_genes, "", None
    if found is not None and group.name in found.groups:
        row = found.groups.tolist().index(group.name)
        like = f"{found.similarity[row]:.2f} and {found.similarity_against[row]:.2f}"
        genes = f"Genes for {found.label[row]}, and for {found.against[row]}: the cells are {like} like the two, "
        genes += "and this is what each gene adds to the difference."
        figure = f"doubt {group.name}"
    why = (_held(overview, group), _far(overview, group), _votes(group), _odd(overview, group))
    return {
        "name": group.name,
        "label": group.label,
        "reason": group.reason,
        "count": f"{_counted(group.n_cells, 'cell')}, {group.share:.0%} of its calls",
        "why": [one for one in why if one],
        "genes": genes,
        "figure": figure,
    }


def _held(overview: Overview, group: Group) -> str:
    if group.reason != LOW_CONFIDENCE:
        return ""
    trust = next(one for one in overview.doubts.labels if one.label == group.label)
    if not np.isfinite(trust.threshold):
        return f"All calls of {group.label} are doubted: {_wrong(trust)}."
    said = (
        f"Confidence {group.confidence:.2f} (median); calls of {group.label} are doubted below {trust.threshold:.2f}."
    )
    if not trust.n_below:
        return f"{said} No held-out call of it had as low a confidence."
    n_wrong = trust.n_wrong_below
    return f"{said} {n_wrong:,} of {_counted(trust.n_below, 'held-out call')} below that {_was(n_wrong)} wrong."


def _far(overview: Overview, group: Group) -> str:
    if group.reason != NOVEL:
        return ""
    limit = overview.doubts.novelty_limit
    return f"Novelty {group.novelty:.1f} (median), above {limit:.1f}, which 19 of 20 held-out cells stay below."


def _votes(group: Group) -> str:
    if group.votes >= SPLIT:
        return f"Their nearest reference cells agree: {group.votes:.0%} of the votes are for {group.label}."
    against = f", {group.votes_against:.0%} for {group.against}" if group.against else ""
    return f"Their nearest reference cells do not agree: {group.votes:.0%} of the votes are for {group.label}{against}."


def _odd(overview: Overview, group: Group) -> str:
    """Return which genes they express beyond their label, and whose genes these are."""
    if not group.unexpected_genes:
        return ""
    whose = [f"{one.symbol} ({one.n_cells} of {group.n_cells})" for one in group.unexpected_genes]
    said = f"Beyond what {group.label} cells express: {_listed(whose)}."
    names, counts = np.unique(
        overview.doubts.other[overview.doubts.group == group.name].astype(str), return_counts=True
    )
    parts = [f"{n} of {group.n_cells} by genes of {name}" for name, n in zip(names, counts, strict=True) if name]
    return f"{said} Cell by cell, {_listed(parts)}." if parts else said


def map_note(overview: Overview) -> str:
    """Return what the map was made of."""
    places, n = overview.cell_map, int((overview.calls.reason != NO_EXPRESSION).sum())
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
            "all" if np.isinf(one.threshold) else "" if np.isnan(one.threshold) else f"{one.threshold:.2f}",
            f"{one.n_reference:,}",
            f"{one.n_right:,} of {one.n_held:,}" if one.n_held else "none",
            f"{one.n_right:,} of {one.n_own:,}" if one.n_own else "none",
        )
        for one in overview.doubts.labels
    ]


def gene_title(overview: Overview, row: int) -> str:
    """Return what a figure of genes compares."""
    found = overview.genes
    return f"{found.label[row]}, compared with {found.against[row]} ({_counted(int(found.n_cells[row]), 'cell')})"


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


def _wrong(one: LabelTrust) -> str:
    """Return how many held-out calls of a label were wrong, and what most of these really were."""
    n_wrong, (name, n) = one.n_held - one.n_right, one.wrong
    said = f"{n_wrong:,} of {_counted(one.n_held, 'held-out call')} {_was(n_wrong)} wrong"
    return f"{said} ({n:,} {_was(n)} {name})" if n else said


def _was(n: int) -> str:
    return "was" if n == 1 else "were"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
