"""Whether the genes named by attributions make the call: they are deleted, and the cell is called again.

    python -m benchmarks.attribution --store STORE

From each cell's counts, the 1 to 100 genes that contribute most to its call are removed, or as many genes chosen in
other ways. A call has flipped if another label gets the most votes. Imports NCBI's texts, and encodes them once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp

import scvec as sv
from benchmarks.common import DATA, RESULTS, WORK, import_texts, make_parser, markdown, save
from benchmarks.deletion import NUMBERS, ORDERS, called_again, cells_of
from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.atlas import Atlas
from scvec.evaluation import plots
from scvec.explain import Attribution, attributions

RECIPES = ("refined", "genept-w")
ROUNDS, SEEDS, CELLS = 5, 3, 200
SHOWN = ("counts deleted at 10 / 50 / 100", "of the flips at 100, to the runner-up")
COLOURS = dict(zip(ORDERS, (*(plots.COLOURS[i] for i in (0, 5, 1, 2, 4)), plots.GREY, plots.COLOURS[3]), strict=True))
TEXT = """# Attributions, by deletion

Share of calls that flip to another label when this many genes are deleted from each cell: {n_cells} cells of the query.
Cells, halves and heads depend on the seed, of {seeds} seeds. Nothing is rejected.

{tables}

Deleting a gene removes its counts from the cell, which is then scaled and called as if measured that way. Only genes
that a cell expresses can be deleted: what a gene contributes by its absence is not tested. A cell with fewer genes in
an order than are to be deleted loses all of these; in the shortest order, {few} of {all} cells have fewer than {most}.
An order is made once, for the whole cell:

{orders}

The explained label is the called one, except in {other} of {all} cells.

![Share of calls that flip by genes deleted](attribution.png)

## Cost and completeness

`explain` of all cells of the query, grouped by called label, next to the query itself; medians of {rounds} turns per
seed. The error of a sum is how far contributions plus baseline are from the difference of the similarities, for the
cells above and for the labels. Other work ran on the machine, so that of the times only the ratio is informative.

{costs}"""


@dataclass(frozen=True)
class SplitCells:
    """Real cells, split into reference and query."""

    name: str
    file: str
    label_key: str
    layer: str | None
    batch_key: str | None
    held: str | None
    """The batch that is the query; None: a random half of the cells."""


SOURCES = (
    SplitCells("Baron, donors 1, 2, 4 to 3", "pancreas_baron_human", "cell_type1", None, "donor", "human3"),
    SplitCells("pbmc3k, half of the cells", "pbmc3k", "classified", "counts", None, None),
)


def panels() -> list[tuple[SplitCells, str]]:
    return [(source, recipe) for source in SOURCES for recipe in RECIPES]


def split(source: SplitCells, seed: int) -> tuple[Path, Path]:
    """Write the counts of a reference and a query, and return both paths."""
    cells = ad.read_h5ad(DATA / "cells" / f"{source.file}.h5ad")
    if source.held is None:
        drawn = np.random.default_rng(seed).permutation(cells.n_obs)[: cells.n_obs // 2]
        is_query = np.isin(np.arange(cells.n_obs), drawn)
    else:
        is_query = (cells.obs[source.batch_key].astype(str) == source.held).to_numpy()
    counts = cells.X if source.layer is None else cells.layers[source.layer]
    obs = cells.obs[[one for one in (source.label_key, source.batch_key) if one]]
    folder = WORK / "attribution"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{source.file}-{seed}-{part}.h5ad" for part in ("reference", "query")]
    for path, rows in zip(paths, (~is_query, is_query), strict=True):
        ad.AnnData(sp.csr_matrix(counts[rows]), obs=obs[rows], var=cells.var[[]]).write_h5ad(path)
    return paths[0], paths[1]


def incomplete(explained: Attribution) -> float:
    """Return the largest error of contributions plus baseline, against the difference that they add up to."""
    found = explained.contributions.sum(axis=1, dtype=np.float64) + explained.baseline
    return float(np.abs(found - (explained.similarity - explained.similarity_against)).max())


def seconds(query: Path, atlas: Atlas, calls: Annotation) -> dict[str, float]:
    """Return the median seconds of a query and of explaining its labels, and of their ratio within a turn."""
    turns = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        sv.annotate(query, atlas)
        middle = time.perf_counter()
        attributions(calls)
        turns.append((middle - start, time.perf_counter() - middle))
    query_s, explain_s = (median(one) for one in zip(*turns, strict=True))
    ratio = median(after / before for before, after in turns)
    return {"cells": len(calls), "query_s": query_s, "explain_s": explain_s, "ratio": ratio}


def measured(store: sv.Store, source: SplitCells, recipe: str, seed: int, n_cells: int) -> dict[str, Any]:
    """Build an atlas, explain some cells of the query, and delete their genes."""
    reference, query = split(source, seed)
    asked = replace(sv.RECIPES[recipe], random_state=seed)
    keys: dict[str, Any] = {"label_key": source.label_key, "batch_key": source.batch_key}
    atlas = sv.atlas.build(store, "bench-attribution", reference, recipe=asked, overwrite=True, **keys)
    calls = sv.annotate(query, atlas)
    names = np.random.default_rng(seed).permutation(calls.obs_names[calls.reason != NO_EXPRESSION])[:n_cells].tolist()
    explained, labels = attributions(calls, cells=names), attributions(calls)
    cells = cells_of(reference, query, source.label_key, atlas, explained, labels)
    place = dict(zip(calls.obs_names.tolist(), calls.label_before_rejection.tolist(), strict=True))
    about = {"source": source.name, "recipe": recipe, "seed": seed}
    rows = [{**about, **row} for order in ORDERS for row in called_again(cells, order, calls, atlas, seed)]
    found = {
        **about,
        "incomplete": max(incomplete(explained), incomplete(labels)),
        "other_label_than_called": sum(place[n] != one for n, one in zip(names, explained.label.tolist(), strict=True)),
        "seconds": seconds(query, atlas, calls),
    }
    print({**found, **{row["order"]: row["flipped"] / row["cells"] for row in rows if row["n"] == 20}}, flush=True)
    store.remove("atlases/bench-attribution")
    return {"rows": rows, "about": found}


def shares(rows: Sequence[Mapping[str, Any]], order: str, key: str) -> list[float]:
    """Return for each number of genes a figure's share of all cells, or its mean over the cells."""
    own = [row for row in rows if row["order"] == order]
    of = "cells" if isinstance(own[0][key], int) else None
    chosen = [[row for row in own if row["n"] == n] for n in NUMBERS]
    return [sum(row[key] for row in some) / sum(row[of] if of else 1 for row in some) for some in chosen]


def main() -> None:
    parser = make_parser("attribution", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--cells", type=int, default=CELLS, help="of each query, drawn by each seed")
    args = parser.parse_args()
    store = sv.Store(args.store)
    sv.embed.genes(store, import_texts(store, "human"), encoder="minilm")
    args.told = "" if (args.seeds, args.cells) == (SEEDS, CELLS) else f" --seeds {args.seeds} --cells {args.cells}"
    made = [measured(store, *one, seed, args.cells) for one in panels() for seed in range(args.seeds)]
    rows, about = [row for one in made for row in one["rows"]], [one["about"] for one in made]
    report(rows, about, args)


def report(rows: Sequence[Mapping[str, Any]], about: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> None:
    """Write tables and picture."""
    assert not any(row["flipped"] for row in rows if row["n"] == 0), "a call changed with nothing deleted"
    header = ("order", *(str(n) for n in NUMBERS[1:]), *SHOWN)
    parts, last = [], [row for row in rows if row["n"] == NUMBERS[-1]]
    for source, recipe in panels():
        own = [row for row in rows if (row["source"], row["recipe"]) == (source.name, recipe)]
        lines: list[tuple[object, ...]] = []
        for order in ORDERS:
            counts = dict(zip(NUMBERS, shares(own, order, "counts"), strict=True))
            n_flipped, n_to = (
                sum(row[key] for row in last if row in own and row["order"] == order)
                for key in ("flipped", "flipped_to_runner_up")
            )
            to_runner_up = f"{n_to / n_flipped:.0%}" if n_flipped else "-"
            taken = " / ".join(f"{counts[n]:.0%}" for n in (10, 50, 100))
            lines.append((order, *shares(own, order, "flipped")[1:], taken, to_runner_up))
        parts.append(f"## {source.name}: {recipe}\n\n{markdown(header, lines)}")
    text = TEXT.format(
        n_cells=args.cells,
        seeds=args.seeds,
        orders="\n".join(f"- *{order}*: {what};" for order, what in ORDERS.items())[:-1] + ".",
        tables="\n\n".join(parts),
        costs=costs(about),
        rounds=ROUNDS,
        few=max(sum(row["ran_out"] for row in last if row["order"] == order) for order in ORDERS),
        most=NUMBERS[-1],
        other=sum(one["other_label_than_called"] for one in about),
        all=sum(row["cells"] for row in rows if row["n"] == 0 and row["order"] == "random"),
    )
    picture(rows, RESULTS / "attribution.png")
    save("attribution", f"python -m benchmarks.attribution{args.told}", {"rows": rows, "about": about}, text)


def costs(about: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of what explaining costs, and how exact it is."""
    lines = []
    for source, recipe in panels():
        own = [one for one in about if (one["source"], one["recipe"]) == (source.name, recipe)]
        query, explain, ratio = (
            median(one["seconds"][key] for one in own) for key in ("query_s", "explain_s", "ratio")
        )
        worst = max(one["incomplete"] for one in own)
        lines.append((source.name, recipe, own[0]["seconds"]["cells"], query, explain, f"{ratio:.1f}", f"{worst:.0e}"))
    return markdown(
        ("cells", "recipe", "number", "query, s", "explaining, s", "ratio", "largest error of a sum"), lines
    )


def picture(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the share of flipped calls by number of deleted genes, with the range over seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(8.6, 7.2), sharex=True, sharey=True, layout="constrained")
    places = range(len(NUMBERS))
    for axis, (source, recipe) in zip(axes.ravel(), panels(), strict=True):
        own = [row for row in rows if (row["source"], row["recipe"]) == (source.name, recipe)]
        for order, colour in COLOURS.items():
            seeds = sorted({row["seed"] for row in own})
            each = [shares([row for row in own if row["seed"] == seed], order, "flipped") for seed in seeds]
            axis.fill_between(places, np.min(each, axis=0), np.max(each, axis=0), color=colour, alpha=0.15, lw=0)
            style = {"lw": 2.2, "ms": 6} if order == "attribution" else {"lw": 1.2, "ms": 4}
            axis.plot(places, shares(own, order, "flipped"), marker="o", color=colour, label=order, **style)
        axis.set_title(f"{source.name}: {recipe}", fontsize=10, loc="left")
        axis.set_xticks(places, [str(n) for n in NUMBERS])
        axis.set_ylim(-0.02, 1.02)
        axis.grid(color=plots.FAINT, linewidth=0.7)
        axis.tick_params(length=0, labelsize=8)
        axis.spines[:].set_visible(False)
    for axis in axes[1]:
        axis.set_xlabel("genes deleted from each cell", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("share of calls that flip", fontsize=9)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=plots.DPI)
    plt.close(figure)


if __name__ == "__main__":
    main()
