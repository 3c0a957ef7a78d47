"""How much of each data set's expression maps to a gene with a text, and what each step adds.

python -m benchmarks.coverage
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import scvec as sv
from benchmarks.common import DATA, WORK, import_texts, make_parser, markdown, save
from scvec.ingest.cells.scale import expression
from scvec.ingest.genes.template import NAMES, SUMMARY
from scvec.ingest.matching import match_genes

SETS = {
    "pbmc3k": ("pbmc3k.h5ad", "counts"),
    "Baron human": ("pancreas_baron_human.h5ad", None),
    "Baron mouse": ("pancreas_baron_mouse.h5ad", None),
}
STEPS = ("by symbol, with a summary", "and by spelling", "and by alias", "and an ortholog's summary", "and names only")


def steps(store: sv.Store, path: Path, layer: str | None) -> tuple[dict[str, float], sv.Coverage]:
    """Return the share of the counts that has a text after each step, and the whole coverage report."""
    with sv.ingest.open_cells(path) as file, file.matrix(layer) as matrix:
        match = match_genes(matrix, sv.ingest.newest_texts(store))
        totals = sum((expression(batch) for _, batch in matrix.batches("reading")), np.zeros(1))
    source = dict(match.gene_table.genes.select("gene_id", "source").iter_rows())
    frame = pl.DataFrame(
        {
            "share": totals[match.columns] / totals.sum(),
            "route": match.routes.astype(str),
            "source": [source[gene] for gene in match.gene_ids.tolist()],
        }
    )
    own, symbol = pl.col("source") == SUMMARY, pl.col("route").is_in(["symbol", "ensembl", "entrez"])
    having = (
        own & symbol,
        own & (symbol | (pl.col("route") == "spelling")),
        own,
        pl.col("source") != NAMES,
        pl.lit(value=True),
    )
    shares = {step: float(frame.filter(one)["share"].sum()) for step, one in zip(STEPS, having, strict=True)}
    return shares, match.coverage(totals)


def main() -> None:
    make_parser("coverage", __doc__).parse_args()
    store = sv.Store(WORK / "coverage")
    for taxon in ("human", "mouse"):
        import_texts(store, taxon)
    found = {name: steps(store, DATA / "cells" / file, layer) for name, (file, layer) in SETS.items()}
    cumulative = markdown(
        ("share of the counts", *found), [(s, *(f"{one[0][s]:.1%}" for one in found.values())) for s in STEPS]
    )
    parts: list[dict[str, Any]] = [
        {"set": name, "by": by, **part.to_dict(), "kind": kind}
        for name, (_, report) in found.items()
        for by, kinds in (("route", report.routes), ("text", report.texts))
        for kind, part in kinds.items()
    ]

    def table(by: str) -> str:
        rows = [(p["set"], p["kind"], f"{p['n_genes']:,}", f"{p['share']:.1%}") for p in parts if p["by"] == by]
        return markdown(("data", by, "genes", "of the counts"), rows)

    left = markdown(
        ("data", "genes", "ambiguous", "of the counts", "added to another column", "most expressed of those left out"),
        [
            (
                name,
                f"{report.n_genes:,}",
                len(report.ambiguous),
                f"{sum(share for _, share in report.ambiguous):.2%}",
                report.n_merged,
                ", ".join(gene for gene, _ in report.unmatched[:4]),
            )
            for name, (_, report) in found.items()
        ],
    )
    text = (
        "# Genes and texts\n\nNCBI Gene texts of 2021-07-11. Cumulative: the share with a text when genes are found "
        f"only by symbol and texts are only summaries, and what each further step adds.\n\n{cumulative}\n\n## How "
        f"genes were found\n\n{table('route')}\n\n## What their texts consist of\n\n{table('text')}\n\n"
        f"## Not matched\n\n{left}"
    )
    values = {"steps": {name: one[0] for name, one in found.items()}, "parts": parts}
    save("coverage", "python -m benchmarks.coverage", values, text)


if __name__ == "__main__":
    main()
