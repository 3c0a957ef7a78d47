"""What sorting by length saves: the same texts, in commits of 512, longest first against the order of NCBI's file.

    python -m benchmarks.encode_genes

Both orders in one run, in turn, three times; the ratio is of the medians.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from benchmarks.common import DATA, markdown, save
from scvec.embed.encoders import MiniLM
from scvec.embed.gene_vectors import COMMIT_TEXTS
from scvec.ingest.ncbi import read_genes

N_TEXTS, N_ROUNDS = 2048, 3


def seconds(model: MiniLM, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    for first in range(0, len(texts), COMMIT_TEXTS):
        model.encode(texts[first : first + COMMIT_TEXTS])
    return time.perf_counter() - start


def main() -> None:
    ncbi = DATA / "ncbi"
    genes, _ = read_genes(ncbi / "Homo_sapiens.gene_info.gz", ncbi / "gene_summary.gz", 9606)
    chosen = np.sort(np.random.default_rng(0).permutation(len(genes))[:N_TEXTS])
    as_filed = [genes["text"][int(i)] for i in chosen]
    longest_first = sorted(as_filed, key=len, reverse=True)
    model = MiniLM()
    model.encode(as_filed[:64])
    orders = {"order of the file": as_filed, "longest first": longest_first}
    timed: dict[str, list[float]] = {name: [] for name in orders}
    for _ in range(N_ROUNDS):
        for name, texts in orders.items():
            timed[name].append(seconds(model, texts))
    medians = {name: median(one) for name, one in timed.items()}
    ratio = medians["order of the file"] / medians["longest first"]
    rows = [
        (name, f"{N_TEXTS / one:.0f}", f"{min(timed[name]):.1f} to {max(timed[name]):.1f}")
        for name, one in medians.items()
    ]
    said = (
        f"{N_TEXTS:,} human texts drawn at random, encoded in commits of {COMMIT_TEXTS}; within a commit the library "
        f"sorts too. Longest first is {ratio:.2f} times as fast."
    )
    table = markdown(("order", "texts a second", "seconds, min to max"), rows)
    text = f"# Encoding gene texts with minilm on CPU\n\n{said}\n\n{table}"
    save("encode_genes", "python -m benchmarks.encode_genes", {"seconds": timed, "ratio": round(ratio, 3)}, text)


if __name__ == "__main__":
    main()
