"""Sentences of a leaderboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scvec.bench.board.values import BoardTable
from scvec.core.text import counted


def better_than(against: Mapping[str, tuple[int, int]], names: Mapping[str, str]) -> str:
    """Return on how many tasks a row is better than some controls: ``"better than TF-IDF on 3 of 7 tasks"``."""
    parts = [f"{names[key]} on {better} of {n}" for key, (better, n) in against.items() if n]
    return f"better than {parts[0]} tasks" + "".join(f", than {one}" for one in parts[1:]) if parts else ""


def all_controls(above: int, n: int) -> str:
    """Return on how many tasks a row is above all controls."""
    return f"above every control on {above} of {n} tasks" if n else ""


def genes_lead(seeds: Sequence[int], tasks: Sequence[Any], table: BoardTable) -> Iterator[str]:
    """Yield what the figures of gene-level tasks are, and how many models are better than words alone."""
    sizes = sorted({one["n_genes"] for one in tasks})
    n_genes = f"{sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else f"{sizes[0]:,}"
    yield (
        f"{counted(len(tasks), 'task')} of {n_genes} genes, the same for every model; seeds "
        f"{', '.join(map(str, seeds))}. A bar is the mean over sets (of orthologs, over genes), its whisker the 95 % "
        "bootstrap interval. Lines are controls: a model that does not cross them knows no more than words, names, "
        "expression or chance do."
    )
    models = [one for one in table.rows if not one.is_control and one.better >= 0]
    if models:
        most_often = max(one.better for one in models)
        best = " and ".join(one.name for one in models if one.better == most_often)
        n = sum(one.better > 0 for one in models)
        most = f"; most often {best}, on {most_often} of {len(tasks)}" if n else ""
        are = "is" if n == 1 else "are"
        yield f"On {table.title.lower()}, {n} of {len(models)} models {are} better than TF-IDF on some task{most}."
    yield (
        "Masked texts lack a gene's own names and the words of all sets' names; plain texts have them, so that much of "
        "what is right there is spelling."
    )
