"""The sentences of the HTML report."""

from __future__ import annotations

from typing import Any

import numpy as np

from scvec.annotation.query import OTHER_VOTES
from scvec.annotation.result import LOW_CONFIDENCE, NO_EXPRESSION, NOVEL
from scvec.core.text import counted
from scvec.core.types import UNKNOWN
from scvec.naming import Suggestion
from scvec.naming.result import NO_NAME, SCORE_MEANS
from scvec.naming.suggested import titled
from scvec.report.findings import Overview
from scvec.report.findings.doubtful_calls import Doubts, Group
from scvec.report.findings.label_quality import OFTEN, LabelQuality
from scvec.report.findings.suggested_names import UnknownGroup
from scvec.report.page.cause_words import ambient_line, causes
from scvec.report.page.group_words import BASIS, SENTENCES, group_block
from scvec.report.page.values import flat, listed

SPLIT = 0.9
"""The runner-up is named where a label has less than this share."""

SAYS = {"neighbors": "neighbors say", "rank": "ranks say", "corrected": "components say"}
"""What a view says, by its name."""

N_BEFORE = 3
"""Labels before rejection that are named for a group of unknown cells."""

NAMED = 0.001
"""Names without a gene are listed from this share of the expression."""


def lead(overview: Overview) -> list[str]:
    """Return the main results, one paragraph each."""
    calls, doubts = overview.calls, overview.doubts
    named, counts = np.unique(calls.label[~calls.rejected].astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = [f"{named[i]} ({counts[i] / len(calls):.0%})" for i in order[:3]]
    n_reference = sum(one.n_reference for one in doubts.labels)
    name = calls.provenance["atlas"]["name"]
    said = f"{counted(len(calls), 'cell')} compared with the {n_reference:,} cells of the reference atlas “{name}”. "
    said += f"{counted(len(named), 'label')} called, mostly {listed(shares)}." if shares else "No cell got a label."
    n_doubted = sum(one.n_cells for one in doubts.groups)
    if doubts.error is None:
        why = OTHER_VOTES if OTHER_VOTES in calls.notes else "the atlas has no calibration"
        return [said, f"The report cannot tell which calls are doubtful: {why}."]
    if n_doubted:
        unknown = UNKNOWN in set(calls.label[calls.reason != NO_EXPRESSION])
        kept = "are labelled unknown" if unknown else "keep their labels in this report"
        are = "is" if n_doubted == 1 else "are"
        told = f"{counted(n_doubted, 'call')} ({n_doubted / len(calls):.1%}) {are} doubtful. "
        told += f"Of the others, at most {doubts.error:.0%} should be wrong. Doubtful calls {kept}."
    else:
        told = f"No call is doubtful: at most {doubts.error:.0%} of the calls should be wrong."
    weak = [one for one in doubts.labels if one.is_often_wrong]
    n_weak = sum(one.n_called - one.n_doubted for one in weak)
    if not n_weak:
        return [said, told]
    return [said, f"{told} Also check all calls of {listed([one.label for one in weak])}: see below."]


def tiles(overview: Overview) -> list[tuple[str, str]]:
    """Return key figures with their captions."""
    calls, doubts = overview.calls, overview.doubts
    n_unsure, n_novel = (
        sum(one.n_cells for one in doubts.groups if one.reason == why) for why in (LOW_CONFIDENCE, NOVEL)
    )
    share = calls.provenance["query"]["coverage"]["share"]
    made = [(f"{len(calls):,}", "cells"), (f"{share:.1%}", "of the counts on known genes")]
    if doubts.error is not None:
        median = float(np.nanmedian(calls.confidence))
        made += [(f"{n_unsure:,}", "low confidence: such held-out calls were wrong too often")]
        made += [(f"{n_novel:,}", "novel: unlike the reference cells of their label")]
        made += [(f"{median:.2f}", "median confidence")]
    n_empty = int((calls.reason == NO_EXPRESSION).sum())
    made += [(f"{n_empty:,}", "without expression of the atlas's genes")] if n_empty else []
    if overview.evaluation is not None:
        made += [(f"{overview.evaluation.accuracy:.3f}", "accuracy against the author's labels")]
    return made


def sections(overview: Overview) -> list[tuple[str, str]]:
    """Return anchors and titles of the sections."""
    made = [
        ("doubts", "Doubtful calls"),
        *([] if overview.names is None else [("unknown", "Unknown cells")]),
        ("map", "Map"),
        ("composition", "Labels"),
        ("genes", "Genes"),
        ("scores", "Confidence"),
    ]
    made += [("truth", "Author's labels")] if overview.evaluation is not None else []
    return [*made, ("coverage", "Coverage"), ("provenance", "Provenance")]


def doubts_lead(doubts: Doubts) -> list[str]:
    """Return what makes a call doubtful, one paragraph each."""
    if doubts.held_out is None:
        return ["The atlas has no calibration: its labels have too few cells to hold some out."]
    if doubts.error is None:
        return ["No call has a confidence: the votes are not those that were calibrated."]
    held = doubts.held_out
    tested = (
        f"Of {held.n_cells:,} held-out reference cells, which the others called, {held.accuracy:.1%} were called right."
    )
    unsure = f"Low confidence: more than {doubts.error:.0%} of such calls of held-out cells were wrong."
    novel = f"Novel: the novelty is above {doubts.novelty_limit:.1f}, the limit for 19 of 20 held-out cells"
    why = "the cell may be of a type that the reference lacks, contain RNA of other cells, or be damaged"
    return [tested, f"{unsure} {novel}; {why}."]


def story(overview: Overview) -> list[str]:
    """Return what doubtful cells of several labels have in common, and which labels need a check as a whole."""
    doubts, lines = overview.doubts, [ambient_line(one) for one in overview.doubts.ambient]
    ambient = {one.label for one in doubts.ambient}
    for one in doubts.mixtures:
        if one.n_cells > 1:
            where = listed([f"{label} ({n})" if len(one.cells) > 1 else label for label, n in one.cells])
            doublets = "possibly doublets, which a doublet caller can find, or ambient RNA"
            cause = "probably the ambient RNA, or doublets" if one.other in ambient else doublets
            lines.append(f"{one.n_cells} doubtful cells of {where} express genes of {one.other}: {cause}.")
    if doubts.shared:
        shown = listed([f"{one.symbol} ({one.n_labels} labels)" for one in doubts.shared])
        cause = "more likely a cell state, such as stress, or ambient RNA than a cell type"
        lines.append(f"Unexpected in doubtful cells of several labels: {shown}. This is {cause}.")
    return lines + [line for one in doubts.labels for line in _weak(one)]


def _weak(one: LabelQuality) -> list[str]:
    """Return why all calls of a label need a check; nothing if they do not."""
    name, lines = one.label, []
    if one.is_thin:
        backed = f"{counted(one.n_called, 'cell')} called from {counted(one.n_reference, 'reference cell')}"
        lines.append(f"{name}: {backed}, too few to support the calls or their confidence.")
    elif one.is_often_wrong:
        n_calls = "the one call" if one.n_called == 1 else f"all {one.n_called:,} calls"
        lines.append(f"{name}: {_wrong(one)}. Check {n_calls} by the genes below, whatever the confidence.")
    if one.n_own and one.n_own - one.n_right > OFTEN * one.n_own and one.missed[1] > 1:
        seen = f"{one.n_right:,} of its {one.n_own:,} held-out cells {_was(one.n_right)} recognised"
        lines.append(
            f"{name}: {seen} and {one.missed[1]:,} called {one.missed[0]}, so calls of {one.missed[0]} may be {name}."
        )
    return lines


def doubt(overview: Overview, group: Group) -> dict[str, Any]:
    """Return a group of doubtful calls for the template."""
    found, genes, figure = overview.doubted_genes, "", None
    if found is not None and group.name in found.groups:
        row = found.groups.tolist().index(group.name)
        like = f"{found.similarity[row]:.2f} and {found.similarity_against[row]:.2f}"
        genes = (
            f"Genes for {found.label[row]} and for {found.against[row]}. The cells' mean similarities with the two are "
        )
        genes += f"{like}; bars show what each gene adds to the difference."
        figure = f"doubt {group.name}"
    why = [_held(overview, group), _novel(overview, group), *_votes(overview, group), *causes(group)]
    why += [_unexpected(overview, group), *_named(overview, group)]
    return {
        "name": group.name,
        "label": group.label,
        "reason": group.reason,
        "count": f"{counted(group.n_cells, 'cell')}, {group.share:.0%} of its calls",
        "why": [one for one in why if one],
        "genes": genes,
        "figure": figure,
    }


def _held(overview: Overview, group: Group) -> str:
    if group.reason != LOW_CONFIDENCE:
        return ""
    trust = next(one for one in overview.doubts.labels if one.label == group.label)
    if not np.isfinite(trust.threshold):
        return f"All calls of {group.label} are doubtful: {_wrong(trust)}."
    limit = f"calls of {group.label} are doubtful below {trust.threshold:.2f}"
    said = f"Median confidence {group.confidence:.2f}; {limit}."
    if not trust.n_below:
        return f"{said} No held-out call of the label had so low a confidence."
    n_wrong = trust.n_wrong_below
    return f"{said} {n_wrong:,} of {counted(trust.n_below, 'held-out call')} below this {_was(n_wrong)} wrong."


def _novel(overview: Overview, group: Group) -> str:
    if group.reason != NOVEL:
        return ""
    limit = overview.doubts.novelty_limit
    return f"Median novelty {group.novelty:.1f}, above {limit:.1f}, the limit for 19 of 20 held-out cells."


def _votes(overview: Overview, group: Group) -> list[str]:
    """Return what shares the group's label has, and what the views say apart from each other."""
    whose = "The views together" if overview.calls.by_view else "Their nearest reference cells"
    against = f", {group.votes_against:.0%} to {group.against}" if group.against and group.votes < SPLIT else ""
    said = [f"{whose} give {group.votes:.0%} to {group.label}{against}."]
    if group.n_apart:
        says = [f"{SAYS.get(view, f'{view} says')} {label} ({n:,})" for view, label, n in group.views]
        said.append(f"The views disagree in {group.n_apart:,} of {counted(group.n_cells, 'cell')}: {listed(says)}.")
    return said


def _unexpected(overview: Overview, group: Group) -> str:
    """Return the genes that the cells express more than their label does, and the labels that own them."""
    if not group.unexpected_genes:
        return ""
    whose = [f"{one.symbol} ({one.n_cells} of {group.n_cells})" for one in group.unexpected_genes]
    said = f"Unexpected in {group.label} cells: {listed(whose)}."
    names, counts = np.unique(
        overview.doubts.other[overview.doubts.group == group.name].astype(str), return_counts=True
    )
    parts = [
        f"of {name} in {n} of {counted(group.n_cells, 'cell')}" for name, n in zip(names, counts, strict=True) if name
    ]
    return f"{said} Most of a cell's unexpected genes are genes {listed(parts)}." if parts else said


def _named(overview: Overview, group: Group) -> list[str]:
    """Return what its unknown cells look like, one line for each of their groups that has a name."""
    lines = []
    for one in overview.unknown:
        n = dict(one.doubts).get(group.name, 0)
        if n and one.looks_like is not None:
            many = f"{n:,} of {counted(group.n_cells, 'cell')} look" if n > 1 else "1 cell looks"
            lines.append(f"By texts, {many} like {_name(one.looks_like)}: {titled(one.name)} of the unknown cells.")
    return lines


def unknown_lead(overview: Overview) -> list[str]:
    """Return what names of unknown cells rest on, one paragraph each; nothing if there are no such names."""
    if overview.names is None:
        return []
    groups = overview.unknown
    if not groups:
        return [*overview.names.notes] or ["No cell is unknown: there is nothing to name."]
    n_named = sum(one.looks_like is not None for one in groups)
    said = f"A name stands out for {n_named:,} of {counted(len(groups), 'group')} of unknown cells. "
    return [said + f"{BASIS} {SCORE_MEANS} {SENTENCES}"]


def looks_like(group: UnknownGroup) -> str:
    """Return the name of a group for the card of a cell."""
    return NO_NAME if group.looks_like is None else _name(group.looks_like)


def unknown(group: UnknownGroup, position: int) -> dict[str, Any]:
    """Return a group of unknown cells for the template."""
    called = [f"{label} ({n:,})" for label, n in group.before[:N_BEFORE]]
    more = len(group.before) - N_BEFORE
    called += [counted(more, "further label")] if more > 0 else []
    title = titled(group.name)
    return {
        "name": title,
        "before": f"Without rejection, its cells would be called {listed(called)}." if called else "",
        **group_block(f"{title[0].upper()}{title[1:]}", group.n_cells, group.looks_like, group.others, position),
    }


def _name(one: Suggestion) -> str:
    return f"{one.name} ({one.term_id}), {one.shown_score}"


def map_note(overview: Overview) -> str:
    """Return what the map was made from."""
    places, n = overview.cell_map, int((overview.calls.reason != NO_EXPRESSION).sum())
    said = f"Grey points are {len(places.rows):,} reference cells. "
    if places.n_fitted == n:
        return f"{said}UMAP of these and all {n:,} cells of the query."
    others = f"the other {n - places.n_fitted:,} are placed at their nearest neighbours"
    return f"{said}UMAP of these and {places.n_fitted:,} cells of the query; {others}."


def label_rows(overview: Overview) -> list[tuple[str, ...]]:
    """Return the rows of the table of labels, the query's labels first."""
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


def gene_figures(overview: Overview) -> list[tuple[str, str]]:
    """Return the name of each figure of genes, and its title: the labels compared. None without attributions."""
    found = overview.genes
    if found is None:
        return []
    return [
        (f"label {name}", f"{found.label[i]}, compared with {found.against[i]} ({counted(int(n), 'cell')})")
        for i, (name, n) in enumerate(zip(found.groups, found.n_cells, strict=True))
    ]


def coverage(overview: Overview) -> list[str]:
    """Return how the query's genes were matched, one line each."""
    found = overview.calls.provenance["query"]["coverage"]
    n_genes, n_matched, share = found["n_genes"], found["n_matched"], found["share"]
    lines = [f"{found['names']}: {n_matched:,} of {n_genes:,} match a gene, with {share:.1%} of the expression."]
    for key, said in (("unmatched", "Names without a gene:"), ("ambiguous", "Names of several genes, left out:")):
        named = [f"{name} ({part:.1%})" for name, part in found[key] if part >= NAMED]
        lines += [f"{said} {listed(named)}."] if named else []
    return lines


def provenance(overview: Overview) -> list[tuple[str, str]]:
    """Return every version, setting and hash, one row each."""
    made = {"scvec": overview.calls.provenance["scvec"], **flat(overview.calls.provenance)}
    return [(key, value) for key, value in made.items() if value not in ("", "None")]


def _wrong(one: LabelQuality) -> str:
    """Return how many held-out calls of a label were wrong, and the most frequent true label of these."""
    n_wrong, (name, n) = one.n_held - one.n_right, one.wrong
    said = f"{n_wrong:,} of {counted(one.n_held, 'held-out call')} {_was(n_wrong)} wrong"
    return f"{said} ({n:,} {_was(n)} {name})" if n else said


def _was(n: int) -> str:
    return "was" if n == 1 else "were"
