"""What distinguishes alpha from beta cells: genes by attribution and by expression, and gene sets, with the controls.

    python -m benchmarks.contrast --store STORE [--gene-sets FILE.gmt ...]

Baron human pancreas: the atlases are built from donors 1, 2 and 4, and donor 3 is compared. Without --gene-sets the
sets are toys of a dozen genes each, from common knowledge about islets: they show that the tests work, and nothing
about pathways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from scipy.stats import spearmanr

import scvec as sv
from benchmarks.common import DATA, WORK, import_texts, make_parser, markdown, save
from scvec.atlas.query_cells import query_cells
from scvec.explain import Contrast, Enrichment, GeneSets, contrast, pathways, read_gene_sets, text_groups
from scvec.explain.contrasts import By, Side

RECIPES = ("refined", "genept-w", "topn", "expression", "random")
A, B = "alpha", "beta"
GROUP_KEY, DONOR = "cell_type1", "human3"
SHOWN, TOP = 10, 50
HORMONES = ("GCG", "INS")
BOTH: tuple[By, ...] = ("attribution", "expression")
SIDES: tuple[Side, ...] = ("a", "b")

TOY_SETS = {
    "alpha cell": "GCG TTR ARX IRX1 IRX2 GC PCSK2 LOXL4 DPP4 TM4SF4 CRYBA2 FEV",
    "beta cell": "INS IAPP MAFA PDX1 NKX6-1 G6PC2 ADCYAP1 SLC2A2 PCSK1 HADH DLK1 ABCC8",
    "delta cell": "SST HHEX RBP4 LEPR GHSR PRG4 UNC5B PCP4 CASR GABRG2",
    "exocrine enzymes": "PRSS1 CPA1 CPA2 CELA3A CTRB1 AMY2A PNLIP CEL CLPS CTRC SPINK1 REG1A",
    "ribosome": "RPL3 RPL4 RPL5 RPS3 RPS4X RPS6 RPL10 RPL11 RPS8 RPS12 RPL7 RPL13A",
    "collagens": "COL1A1 COL1A2 COL3A1 COL4A1 COL4A2 COL5A1 COL5A2 COL6A1 COL6A2 COL6A3",
    "endothelium": "PECAM1 VWF CDH5 KDR FLT1 CLDN5 ESAM PLVAP TIE1 ROBO4",
    "cell cycle": "MKI67 TOP2A CCNB1 CCNB2 CDK1 BUB1 AURKA AURKB PLK1 CENPF TPX2 UBE2C",
}


def split(folder: Path) -> tuple[Path, Path]:
    """Write the cells of the reference's donors and of the query's donor."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = ad.read_h5ad(DATA / "cells" / "pancreas_baron_human.h5ad")
    held = (cells.obs["donor"].astype(str) == DONOR).to_numpy()
    paths = folder / "reference.h5ad", folder / "query.h5ad"
    for path, rows in zip(paths, (~held, held), strict=True):
        cells[rows].copy().write_h5ad(path)
    return paths


def agreement(one: Contrast) -> dict[str, float]:
    """Return how well both orders agree: rank correlation over all expressed genes, and genes shared at the top."""
    expressed = one.shares.any(axis=0)
    by, other = one.attribution[expressed], one.t[expressed]
    shared = [
        len(np.intersect1d(one.top("attribution", side, TOP), one.top("expression", side, TOP))) for side in SIDES
    ]
    back = -float(np.minimum(one.contribution, 0).sum() / one.contribution.sum())
    five = float(np.sort(np.abs(one.attribution))[-5:].sum() / np.abs(one.attribution).sum())
    hormones = {
        f"{symbol}_share": float(one.contribution[one.symbols.tolist().index(symbol)] / one.distance)
        for symbol in HORMONES
    }
    return {
        **hormones,
        "distance": one.distance,
        "spearman": float(spearmanr(by, other).statistic),
        "shared_a": float(shared[0]),
        "shared_b": float(shared[1]),
        "taken_back": back,
        "five_genes": five,
    }


def genes_of(one: Contrast) -> dict[str, list[str]]:
    """Return the top genes of both groups, in both orders."""
    return {
        f"{one.name(side)} by {by}": one.symbols[one.top(by, side, SHOWN)].tolist()
        for by in BOTH
        for side in ("a", "b")
    }


def sets_of(one: Contrast, atlas: sv.atlas.Atlas, sets: list[GeneSets], how: Enrichment) -> list[dict[str, Any]]:
    """Return the results of the tests of gene sets."""
    return [dict(row) for row in pathways(one, atlas, sets, how).to_frame().iter_rows(named=True)]


def set_rows(name: str, rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a line for each of the sets found: which group they support, by each test."""
    shown: dict[str, dict[tuple[str, str], tuple[float, str]]] = {}
    for row in rows:
        said = f"{row['side']} {row['fdr']:.1g} ({row['n_found']}/{row['n_genes']})"
        best = shown.setdefault(row["set"], {}).setdefault((row["test"], row["by"]), (row["fdr"], said))
        if row["fdr"] < best[0]:
            shown[row["set"]][row["test"], row["by"]] = (row["fdr"], said)
    keys = [(test, by) for test in ("over-representation", "rank") for by in BOTH]
    ordered = sorted(shown.items(), key=lambda one: min(fdr for fdr, _ in one[1].values()))
    return [(name, one, *(found.get(key, (1.0, "-"))[1] for key in keys)) for one, found in ordered[:12]]


def main() -> None:
    parser = make_parser("contrast", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"), help="with gene texts and vectors of minilm")
    parser.add_argument("--gene-sets", type=Path, nargs="*", default=[], help="GMT files; default: toy sets")
    args = parser.parse_args()
    store = sv.Store(args.store)
    sv.embed.genes(store, import_texts(store, "human"), encoder="minilm")
    reference, query = split(WORK / "contrast")
    toy = GeneSets("toy", "", "", {name: tuple(genes.split()) for name, genes in TOY_SETS.items()})
    sets = [read_gene_sets(path) for path in args.gene_sets] or [toy]
    figures: dict[str, Any] = {}
    orders: list[tuple[object, ...]] = []
    tops: list[tuple[str, ...]] = []
    tested: list[tuple[str, ...]] = []
    groups: list[tuple[str, ...]] = []
    silhouette = 0.0
    for name in RECIPES:
        atlas = sv.atlas.build(
            store, f"bench-contrast-{name}", reference, label_key=GROUP_KEY, recipe=sv.RECIPES[name], overwrite=True
        )
        one = contrast(query_cells(query, atlas), A, B, group_key=GROUP_KEY)
        agreed, genes, rows = agreement(one), genes_of(one), sets_of(one, atlas, sets, Enrichment())
        figures[name] = {"n_cells": one.n_cells, **agreed, "genes": genes, "sets": rows}
        orders.append(
            (name, *(agreed[key] for key in ("distance", "spearman")), *(f"{agreed[f'shared_{s}']:.0f}" for s in "ab"),
             *(f"{agreed[key]:.1%}" for key in ("taken_back", "five_genes", "GCG_share", "INS_share")))
        )  # fmt: skip
        if not tops:
            tops += [(f"{side}, t", ", ".join(genes[f"{side} by expression"])) for side in (A, B)]
        tops += [(f"{side}, {name}", ", ".join(genes[f"{side} by attribution"])) for side in (A, B)]
        tested += set_rows(name, rows)
        if name == "refined":
            found = text_groups(one, atlas)
            figures["text_groups"] = {"silhouette": found.silhouette, "rows": found.to_frame().to_dicts()}
            groups = [
                (", ".join(part.words), ", ".join(part.genes_a[:5]), ", ".join(part.genes_b[:5]))
                for part in found.groups
            ]
            silhouette = found.silhouette
        store.remove(f"atlases/bench-contrast-{name}")
    counted = figures["refined"]["n_cells"]
    head = (
        f"Baron human pancreas, donor 3: {counted[0]} {A} and {counted[1]} {B} cells, in atlases of donors 1, 2 and 4."
    )
    header = ("recipe", "distance", "Spearman", f"of {TOP} shared, {A}", B, "taken back", "five genes", *HORMONES)
    note = (
        "*Spearman*: between attribution and Welch's t, over the genes that either group expresses. *Shared*: genes "
        f"among the top {TOP} by both. *Taken back*: what genes that make the groups more similar take from the "
        "distance. *Five genes*: the share of the top five in all attribution. *GCG*, *INS*: what each adds to the "
        "distance; below zero, the gene makes alpha and beta cells more similar, as when both hormones' texts say "
        "much the same. `expression` and `random` are controls without text."
    )
    own = "toy sets" if not args.gene_sets else ", ".join(one.name for one in sets)
    test_header = ("recipe", "set", *(f"{test}, {by}" for test in ("over-represented", "rank") for by in BOTH))
    tables = [
        f"# What distinguishes {A} from {B} cells\n\n{head}",
        markdown(header, orders),
        note,
        f"## The first {SHOWN} genes\n\n" + markdown(("order", "genes"), tops),
        f"## Gene sets: {own}\n\nThe group that a set supports, its false discovery rate, and how many of its genes "
        "are among the top 100, or in the leading edge; 0 means less than one permutation in 1,000.\n\n"
        + markdown(test_header, tested),
        f"## What the genes' texts are about\n\nThe top 50 of each group by `refined`, in 8 clusters of their texts' "
        f"vectors (silhouette {silhouette:.2f}: no clear clusters).\n\n"
        + markdown(("characteristic words", f"{A}'s first", f"{B}'s first"), groups),
    ]
    save("contrast", "python -m benchmarks.contrast", figures, "\n\n".join(tables))


if __name__ == "__main__":
    main()
