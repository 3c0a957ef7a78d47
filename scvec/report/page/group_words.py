"""What a group of cells looks like, in words: the same on every page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scvec.core.text import counted
from scvec.naming import Suggestion
from scvec.naming.result import NO_NAME

BASIS = (
    "The names are terms of the Cell Ontology whose texts fit those of the genes that the cells express more than "
    "others; no reference cells support them."
)
SENTENCES = "A gene's link opens the sentence of its text nearest to the name."
NO_NAME_SAID = f"{NO_NAME[0].upper()}{NO_NAME[1:]}."


def group_block(
    heading: str,
    n_cells: int,
    first: Suggestion | None,
    others: Sequence[Suggestion],
    position: int,
    *,
    llm: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a group for the template `group`.

    Parameters
    ----------
    heading, n_cells
        What the group is called, as a heading, and its number of cells.
    first
        The name that stands out; None where none does.
    others
        The names after it, or, where none stands out, all.
    position
        Of the group on its page; it becomes a part of anchors.
    llm
        What a language model says of each name, in the same order.
    """
    ranked = [*([] if first is None else [first]), *others]
    shown = [suggestion(one, f"why-{position}-{rank}") for rank, one in enumerate(ranked)]
    shown = [one | {"llm": said} for one, said in zip(shown, llm or [""] * len(shown), strict=True)]
    stands_out = first is not None
    return {
        "heading": heading,
        "count": counted(n_cells, "cell"),
        "first": shown[0] if stands_out else None,
        "none": "" if stands_out else NO_NAME_SAID,
        "title": "Runners-up" if stands_out else "Names that do not stand out",
        "others": shown[stands_out:],
        "cited": [one for one in shown if one["cited"]],
    }


def suggestion(one: Suggestion, anchor: str) -> dict[str, Any]:
    """Return a name for the template; each gene with its sentence, "" for none, and the anchor of that."""
    sentences = one.evidence or ("",) * len(one.genes)
    genes = [
        {"symbol": symbol, "sentence": sentence, "anchor": f"{anchor}-{i}"}
        for i, (symbol, sentence) in enumerate(zip(one.genes, sentences, strict=True))
    ]
    return {
        "name": one.name,
        "id": one.term_id,
        "score": one.shown_score,
        "genes": genes,
        "cited": [gene for gene in genes if gene["sentence"]],
    }
