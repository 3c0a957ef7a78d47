"""What scales are recognised: in files as they are, and in what people make of counts, on many sets of real cells.

python -m benchmarks.value_scales [--sets baron pbmc3k ...]

Counts are scaled, cut to some genes, put on a scale and rounded. *Right*: the linear values that are read have the
shares of the values that were made (total variation at most .03 in 99 % of the cells), with no doubt. *Doubt*: calls
get no confidence, and the user is told to name the scale; *doubt, guess right*: they would have been right. *Wrong*: no
doubt, and other values; all are listed. Values that no scale describes can be in doubt, refused, or wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeAlias

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.common import DATA, make_parser, markdown, save
from scvec.errors import MatrixError
from scvec.ingest.cells.deciding import decide
from scvec.ingest.cells.scale import to_linear

Dense: TypeAlias = NDArray[np.float64]
Trial: TypeAlias = dict[str, str | int | float]

SETS = {
    "baron": ("pancreas_baron_human", "X"),
    "baron mouse": ("pancreas_baron_mouse", "X"),
    "pbmc3k": ("pbmc3k", "counts"),
    "pbmc frozen": ("pbmc_frozenA_unlabelled_human", "X"),
    "retina": ("retina_voigt2019_human_donors23", "X"),
    "RPE": ("rpe_choroid_voigt2019_human", "X"),
    "CEL-seq2": ("sc_celseq2_scmixology", "X"),
    "Drop-seq": ("sc_dropseq_scmixology", "X"),
    "cortex, 200 genes": ("cortex_zeisel2015_mouse_200genes", "X"),
    "retina, 259 genes": ("retina_macosko2015_mouse_six", "X"),
}
N_CELLS, SAMPLES, WITHIN, RARE = 40, (40, 10, 1), 0.03, 0.01
VERDICTS = ("right", "doubt, guess right", "doubt", "refused", "wrong")

SCALES: dict[str, Callable[[Dense], Dense]] = {
    "linear": lambda x: x,
    "ln": np.log1p,
    "log2": lambda x: np.log2(1 + x),
    "log10": lambda x: np.log10(1 + x),
    "ln twice": lambda x: np.log1p(np.log1p(x)),
    "square root": np.sqrt,
}
ROUNDED: dict[str, Callable[[Dense], Dense]] = {
    "float32": lambda x: x,
    "float16": lambda x: x.astype(np.float16).astype(np.float64),
    "3 decimals": lambda x: np.asarray(np.round(x, 3), np.float64),
    "2 decimals": lambda x: np.asarray(np.round(x, 2), np.float64),
}
ALSO_ROUNDED = ("counts", "CP10k", "CPM", "TPM", "FPKM", "shared reads")


def counts_of(name: str) -> Dense:
    """Return counts of some cells of a set, each with at least one."""
    file, layer = SETS[name]
    whole = ad.read_h5ad(DATA / "cells" / f"{file}.h5ad")
    x = sp.csr_matrix(whole.X if layer == "X" else whole.layers[layer])
    rows = np.random.default_rng(0).choice(x.shape[0], N_CELLS, replace=False)
    counts = np.asarray(x[np.sort(rows)].toarray(), np.float64)
    return np.asarray(counts[counts.sum(1) > 0])


def scaled(x: Dense, total: float = 1.0) -> Dense:
    """Return cells scaled to a total."""
    return np.asarray(x / np.maximum(x.sum(1, keepdims=True), 1e-12) * total)


def sources(counts: Dense) -> Iterator[tuple[str, Dense]]:
    """Yield linear values that are made of counts."""
    rng, depth = np.random.default_rng(1), counts.sum(1, keepdims=True)
    lengths = np.exp(rng.normal(0.7, 0.8, counts.shape[1]))
    effective = lengths * np.exp(rng.normal(0, 0.05, counts.shape))
    shared = np.where(rng.random(counts.shape) < 0.2, counts * rng.random(counts.shape), counts)
    shrunk = counts * rng.uniform(0.8, 1, counts.shape)
    yield "counts", counts
    yield "CP10k", scaled(counts, 1e4)
    yield "CPM", scaled(counts, 1e6)
    yield "scaled to the median", scaled(counts, float(np.median(depth)))
    yield "divided by size factors", counts / depth * depth.mean() / np.exp(rng.normal(0, 0.2, (len(counts), 1)))
    yield "TPM", scaled(counts / lengths, 1e6)
    yield "FPKM", scaled(counts, 1e6) / lengths
    yield "TPM, effective lengths", scaled(counts / effective, 1e6)
    yield "FPKM, effective lengths", scaled(counts, 1e6) / effective
    yield "shared reads", shared
    yield "shared reads, CP10k", scaled(shared, 1e4)
    yield "ambient removed", shrunk
    yield "ambient removed, CPM", scaled(shrunk, 1e6)


def genes(counts: Dense) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield genes to which values are cut after they were scaled."""
    rng, n = np.random.default_rng(2), counts.shape[1]
    yield "all", np.arange(n)
    if n > 2000:
        yield "2,000 most variable", np.argsort(-np.log1p(scaled(counts, 1e4)).var(0))[:2000]
    if n > 1000:
        yield "1,000 random", rng.choice(n, 1000, replace=False)
        yield "200 random", rng.choice(n, 200, replace=False)


def foreign(counts: Dense) -> Iterator[tuple[str, Dense, Dense]]:
    """Yield values that no scale describes, and what they are of."""
    n, rng = scaled(counts, 1e4), np.random.default_rng(3)
    ln, again = np.log1p(n), np.log1p(scaled(counts, float(counts.sum(1).mean())))
    near = [ln[rng.choice(len(ln), 5, replace=False)].mean(0) * 0.5 + ln[i] * 0.5 for i in range(len(ln))]
    cpm = scaled(counts, 1e6)
    yield "ln(CP10k + 1), scaled to one total after", scaled(again, float(again.sum(1).mean())), counts
    yield "ln(CP10k + 1), unit length", ln / np.linalg.norm(ln, axis=1, keepdims=True), counts
    yield "ln(CP10k + 1) x 1,000", ln * 1000, counts
    yield "ln(CP10k + 1), each gene / its deviation", ln / np.maximum(ln.std(0), 1e-9), counts
    yield "ln(CP10k + 1), smoothed", np.array(near), np.expm1(np.array(near))
    yield "log2(CPM + 5), zeros too", np.log2(cpm + 5), counts
    yield "log2(CPM + .5) of what is expressed", np.where(counts > 0, np.log2(cpm + 0.5), 0), counts
    yield "log2(CPM) of what is expressed", np.where(counts > 0, np.log2(np.maximum(cpm, 1)), 0), counts
    yield "arsinh(CP10k)", np.arcsinh(n), counts
    yield "arsinh(counts / 5)", np.arcsinh(counts / 5), counts
    yield "ln of square roots", np.log1p(np.sqrt(n)), counts
    yield "2 sqrt(CP10k + 3/8), zeros 0", 2 * np.sqrt(n + 0.375) - 2 * np.sqrt(0.375), counts
    yield "CP10k to the power of .75", n**0.75, counts
    yield "CLR over cells", np.log1p(counts / np.exp(np.log1p(counts).mean(0))), counts
    yield "TF-IDF", np.log1p(n * np.log(1 + len(n) / (1 + (counts > 0).sum(0)))), counts
    yield "z-scores cut at 0", np.clip((ln - ln.mean(0)) / np.maximum(ln.std(0), 1e-9), 0, 10), counts
    yield "z-scores", (ln - ln.mean(0)) / np.maximum(ln.std(0), 1e-9), counts
    yield "ranks", np.argsort(np.argsort(counts, axis=1), axis=1).astype(np.float64) * (counts > 0), counts
    yield "50 bins", np.ceil(ln / ln.max(1, keepdims=True) * 50), counts


def verdict(values: Dense, truth: Dense) -> tuple[str, str]:
    """Return what comes of values, and what they were taken as."""
    matrix = sp.csr_matrix(values, dtype=np.float32)
    try:
        taken = decide(matrix, "auto", "X")
        read = to_linear(matrix, taken, "X").toarray().astype(np.float64)
    except MatrixError as error:
        return "refused", str(error)
    filled = truth.sum(1) > 0
    off = 0.5 * np.abs(scaled(read[filled]) - scaled(truth[filled])).sum(1)
    right = (off > WITHIN).mean() <= RARE
    if taken.doubt:
        return "doubt, guess right" if right else "doubt", str(taken)
    return "right" if right else "wrong", str(taken)


def forms(counts: Dense) -> Iterator[tuple[dict[str, str], Dense, Dense]]:
    """Yield values with their description and the linear values that they were made of."""
    for kept, columns in genes(counts):
        for source, linear in sources(counts):
            truth = linear[:, columns]
            for scale, function in SCALES.items():
                for rounding, rounded in ROUNDED.items():
                    if rounding != "float32" and source not in ALSO_ROUNDED:
                        continue
                    with np.errstate(over="ignore"):
                        made = rounded(function(truth))
                    if np.isfinite(made).all():  # a float16 has at most 65,504
                        yield {"genes": kept, "values": source, "scale": scale, "rounding": rounding}, made, truth
        for name, made, linear in foreign(counts):
            about = {"genes": kept, "values": name, "scale": "none", "rounding": "float32"}
            yield about, made[:, columns], linear[:, columns]


def trials(name: str) -> Iterator[Trial]:
    """Yield all trials on a set."""
    for about, made, truth in forms(counts_of(name)):
        for n in SAMPLES:
            found, said = verdict(made[:n], truth[:n])
            yield {"set": name, **about, "cells": n, "verdict": found, "taken as": said}


def all_of(name: str) -> list[Trial]:
    """Return all trials on a set, as another process can."""
    return list(trials(name))


def counted_by(rows: list[Trial]) -> list[Trial]:
    """Return how many trials of each values, scale and rounding came to what."""
    keys = ("values", "scale", "rounding", "verdict")
    counted = Counter(tuple(row[key] for key in keys) for row in rows)
    return [dict(zip(keys, key, strict=True)) | {"trials": n} for key, n in counted.items()]


def table(rows: list[Trial], *by: str) -> str:
    """Return how many trials came to what."""
    counted: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row in rows:
        counted[tuple(str(row[key]) for key in by)][str(row["verdict"])] += 1
    return markdown((*by, *VERDICTS), [(*key, *(of[one] for one in VERDICTS)) for key, of in counted.items()])


def wrongs(rows: list[Trial]) -> str:
    """Return what is wrong, with the number of trials and the sets."""
    sets: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in rows:
        if row["verdict"] == "wrong":
            sets[tuple(str(row[key]) for key in ("values", "scale", "rounding"))].append(str(row["set"]))
    found = [(*key, len(names), ", ".join(sorted(set(names)))) for key, names in sets.items()]
    return markdown(("values", "scale", "rounding", "trials", "sets"), found)


def as_they_are() -> Iterator[tuple[str, str, str]]:
    """Yield what the data's own matrices are taken as."""
    for path in sorted((DATA / "cells").glob("*.h5ad")):
        whole = ad.read_h5ad(path)
        for key, matrix in (("X", whole.X), *whole.layers.items()):
            rows = np.linspace(0, whole.n_obs - 1, min(256, whole.n_obs)).astype(int)
            yield path.stem, key, _said(sp.csr_matrix(matrix[rows], dtype=np.float32))
    for path in sorted((DATA / "reference").glob("*.parquet")):
        numbers = pd.read_parquet(path).select_dtypes("number").to_numpy(np.float32)
        yield path.stem, "means", _said(sp.csr_matrix(numbers.T))


def _said(matrix: sp.csr_matrix[np.float32]) -> str:
    try:
        return str(decide(matrix, "auto", "X"))
    except MatrixError as error:
        return str(error)


def main() -> None:
    parser = make_parser("value_scales", __doc__)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--at-once", type=int, default=2, help="sets that are tried at a time")
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.at_once) as pool:
        rows = [row for found in pool.map(all_of, asked.sets) for row in found]
    known, none = [row for row in rows if row["scale"] != "none"], [row for row in rows if row["scale"] == "none"]
    exact = [row for row in known if row["rounding"] == "float32"]
    parts = {
        "Files as they are": markdown(("file", "matrix", "taken as"), list(as_they_are())),
        "By values, exact to float32": table(exact, "values"),
        "By scale, exact to float32": table(exact, "scale"),
        "By scale and rounding": table(known, "scale", "rounding"),
        "By genes and cells that are looked at": table(known, "genes", "cells"),
        "By set": table(known, "set"),
        "Values that no scale describes": table(none, "values"),
        "What is wrong": wrongs(known),
    }
    text = f"# What scales are recognised\n\n{' '.join(str(__doc__).split(chr(10) * 2)[-1].split())}"
    text += "".join(f"\n\n## {title}\n\n{part}" for title, part in parts.items())
    save("value_scales", "python -m benchmarks.value_scales", {"counted": counted_by(rows)}, text)


if __name__ == "__main__":
    main()
