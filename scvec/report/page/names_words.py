"""The sentences of the page of names."""

from __future__ import annotations

from typing import Any

from scvec.core.text import counted
from scvec.naming import Names
from scvec.naming.result import HOW_RIGHT, HOW_RIGHT_AMONG, NO_NAME, SCORE_MEANS, SHARE_MEANS
from scvec.naming.suggested import titled
from scvec.report.page.group_words import BASIS, SENTENCES, group_block
from scvec.report.page.values import flat, listed

N_GENES = 5
"""Genes in a row of the table of all clusters."""

ORDER = (
    "Names are ordered by the chance that the name itself is right: a broad name, with many children, may have a "
    "higher number and stand further down."
)
HINTS = "Where none stands out, the first names are hints of what to check, not names."


def of(names: Names) -> str:
    """Return what is named: a cluster, or a group of the cells that an atlas leaves unknown."""
    return "group" if names.provenance.get("atlas") else "cluster"


def heading(names: Names, i: int) -> str:
    """Return what a cluster is called above its names: its name as it is, but for a number."""
    cluster = str(names.clusters[i])
    if of(names) == "group":
        group = titled(cluster)
        return f"{group[0].upper()}{group[1:]}"
    return f"Cluster {cluster}" if cluster.isdecimal() else cluster


def lead(names: Names) -> list[str]:
    """Return the main result."""
    if not len(names):
        return ["There is nothing to name."]
    n, n_named = counted(len(names), of(names)), int(names.stands_out.sum())
    atlas = names.provenance.get("atlas")
    whose = f" of cells that the atlas “{atlas}” leaves unknown" if atlas else ""
    said = [f"{n}{whose}, {n_named:,} with a name that stands out."]
    if names.cells is not None:
        n_called, n_cells = int((names.cells.label != "").sum()), counted(len(names.cells), "cell")
        said.append(f"{n_called:,} of {n_cells} called one by one among the types that were given.")
    return said


def tiles(names: Names) -> list[tuple[str, str]]:
    """Return key figures with their captions."""
    if not len(names):
        return []
    n_cells, n_named = int(names.n_cells.sum()), int(names.n_cells[names.stands_out].sum())
    return [
        (f"{len(names):,}", f"{of(names)}s"),
        (f"{int(names.stands_out.sum()):,}", "with a name that stands out"),
        (f"{n_cells:,}", "cells in them"),
        (f"{n_named / max(n_cells, 1):.0%}", f"of these cells in a {of(names)} whose name stands out"),
    ]


def sections(names: Names) -> list[tuple[str, str]]:
    """Return anchors and titles of the sections."""
    reading, provenance = ("reading", "How to read it"), ("provenance", "Provenance")
    if not len(names):
        return [reading, provenance]
    return [("table", f"All {of(names)}s"), reading, ("names", "Names and genes"), provenance]


def reading(names: Names) -> list[str]:
    """Return what names rest on, and which to believe; one paragraph each."""
    if not len(names):
        return [BASIS]
    given = names.provenance.get("candidates")
    cited = any(any(one.evidence) for found in names.suggestions for one in found)
    check = "Look at the genes before you believe a name: markers that you know, with texts that speak of the type?"
    return [
        BASIS,
        f"{SCORE_MEANS} {ORDER}" if given is None else f"{SHARE_MEANS} They are {listed(list(given))}.",
        f"{HOW_RIGHT if given is None else HOW_RIGHT_AMONG} {HINTS}",
        f"{check} {SENTENCES}" if cited else check,
    ]


def rows(names: Names) -> list[dict[str, Any]]:
    """Return a row of the table for each cluster; where no name stands out, the first is left out."""
    made = []
    for i, first in enumerate(map(names.first, range(len(names)))):
        about = {"cluster": str(names.clusters[i]), "n_cells": f"{int(names.n_cells[i]):,}", "anchor": _anchor(i)}
        found = {"stands_out": False, "none": NO_NAME, "id": "", "score": "", "genes": ""}
        if first is not None:
            genes = ", ".join(first.genes[:N_GENES])
            found = {"stands_out": True, "name": first.name, "id": first.term_id, "score": first.shown_score}
            found |= {"genes": genes}
        made.append(about | found)
    return made


def blocks(names: Names) -> list[dict[str, Any]]:
    """Return each cluster for the template `group`."""
    made = []
    for i in range(len(names)):
        first, ranked = names.first(i), names.suggestions[i]
        ranks = () if names.llm_ranks is None else names.llm_ranks[i]
        block = group_block(
            heading(names, i),
            int(names.n_cells[i]),
            first,
            ranked[first is not None :],
            i,
            llm=[f"the language model's rank {one}" for one in ranks],
        )
        empty = "" if ranked else "It expresses no gene by which it could be named."
        # Hints are all that is known of a cluster without a name: they are not folded away.
        made.append(block | {"anchor": _anchor(i), "before": empty, "open": first is None})
    return made


def provenance(names: Names) -> list[tuple[str, str]]:
    """Return every version and setting, one row each."""
    return [(key, value) for key, value in flat(dict(names.provenance)).items() if value not in ("", "None")]


def _anchor(i: int) -> str:
    return f"cluster-{i}"
