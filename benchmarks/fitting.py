"""How long it takes to build a `refined` atlas of a small reference, which is nearly all fitting.

Three of Baron's human donors (1,228 cells) with the encoder tfidf, built once to compile and then three times. It uses
the public face only, so that it also runs in an older checkout, if it is copied there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import anndata as ad

import scvec as sv

DATA = Path(os.environ.get("SCVEC_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
N_RUNS = 3


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    cells = ad.read_h5ad(DATA / "cells" / "pancreas_baron_human.h5ad")
    recipe = sv.RECIPES["refined"].with_encoder("tfidf")
    with tempfile.TemporaryDirectory() as folder:
        reference, store = Path(folder) / "reference.h5ad", sv.Store(Path(folder) / "store")
        cells[cells.obs["donor"] != "human3"].copy().write_h5ad(reference)
        texts = sv.ingest.texts(
            store,
            taxon="human",
            gene_info=DATA / "ncbi" / "Homo_sapiens.gene_info.gz",
            gene_summary=DATA / "ncbi" / "gene_summary.gz",
        )
        sv.embed.genes(store, texts, encoder="tfidf")
        seconds = []
        for _ in range(N_RUNS + 1):
            start = time.perf_counter()
            sv.atlas.build(
                store, "timed", reference, label_key="cell_type1", batch_key="donor", recipe=recipe, overwrite=True
            )
            seconds.append(time.perf_counter() - start)
    median, shown = statistics.median(seconds[1:]), ", ".join(f"{one:.1f}" for one in seconds[1:])
    print(f"scvec {sv.__version__}: first {seconds[0]:.1f} s, then {shown} s, median {median:.1f} s")


if __name__ == "__main__":
    main()
