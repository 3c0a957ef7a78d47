"""Calls of the same cells from counts, and from what people make of counts: logarithms, TPM, fractions, mixtures.

python -m benchmarks.values

For each form: how many calls are right, the mean confidence, what ``max_error=0.05`` accepts, and gets wrong of that.
Forms whose scale cannot be found, and those that do not measure expression, must have no confidence.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

import scvec as sv
from benchmarks.common import DATA, make_parser, markdown, save
from scvec.errors import InputError

Dense = NDArray[np.float64]
MAX_ERROR, N_REFERENCE, N_QUERY, N_KEPT = 0.05, 1200, 300, 2000
RECIPES = ("expression", "refined")
SETS = {
    "baron": ("pancreas_baron_human.h5ad", None, "cell_type1", "donor", "human3"),
    "pbmc3k": ("pbmc3k.h5ad", "counts", "classified", None, None),
}
"""File, layer, label, batch, and the batch that is the query; without batches, every other cell is."""


def cells(name: str) -> tuple[ad.AnnData, ad.AnnData]:
    """Return the reference and the query."""
    file, layer, label, batch, held = SETS[name]
    whole = ad.read_h5ad(DATA / "cells" / file)
    x = whole.X if layer is None else whole.layers[layer]
    batches = whole.obs[batch].astype(str).to_numpy() if batch else (np.arange(len(whole)) % 2).astype(str)
    obs = whole.obs[[label]].astype(str).rename(columns={label: "label"}).assign(batch=batches)
    whole = ad.AnnData(sp.csr_matrix(x, dtype=np.float32), obs=obs, var=whole.var[[]])
    query, rng = batches == (held or "1"), np.random.default_rng(0)

    def some(here: NDArray[np.bool_], n: int) -> ad.AnnData:
        rows = np.flatnonzero(here)
        return whole[np.sort(rng.choice(rows, min(n, len(rows)), replace=False))].copy()

    return some(~query, N_REFERENCE), some(query, N_QUERY)


def scaled(x: Dense, total: float) -> Dense:
    """Return cells scaled to a total."""
    return np.asarray(x / np.maximum(x.sum(1, keepdims=True), 1e-12) * total)


def forms(counts: Dense) -> Iterator[tuple[str, Dense]]:
    """Yield what people make of counts."""
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.normal(0.7, 0.8, counts.shape[1]))
    tpm, fpkm = scaled(counts / lengths, 1e6), scaled(counts, 1e6) / lengths
    shrunk = counts * rng.uniform(0.8, 1, counts.shape)
    shared = np.where(rng.random(counts.shape) < 0.2, counts * rng.random(counts.shape), counts)
    first = np.arange(len(counts))[:, None] % 2 == 0
    logged = np.log1p(scaled(counts, 1e4))
    kept = np.zeros(counts.shape[1])
    kept[np.argsort(-logged.var(0))[:N_KEPT]] = 1
    yield "counts", counts
    for name, base in (("ln", np.e), ("log2", 2.0), ("log10", 10.0)):
        factor = 1 / np.log(base)
        yield f"{name}(CP10k + 1)", logged * factor
        yield f"{name}(CPM + 1)", np.log1p(scaled(counts, 1e6)) * factor
        yield f"{name}(TPM + 1)", np.log1p(tpm) * factor
        yield f"{name}(counts + 1)", np.log1p(counts) * factor
        yield f"{name}(FPKM + 1)", np.log1p(fpkm) * factor
    yield "log1p twice, CP10k", np.log1p(logged)
    yield "log1p twice, CPM", np.log1p(np.log1p(scaled(counts, 1e6)))
    yield "square roots of CP10k", np.sqrt(scaled(counts, 1e4))
    yield "CP10k", scaled(counts, 1e4)
    yield "CPM", scaled(counts, 1e6)
    yield "TPM", tpm
    yield "FPKM", fpkm
    yield "proportions", scaled(counts, 1)
    yield "counts with fractions (ambient removed)", shrunk
    yield "counts with fractions (shared reads)", shared
    yield "ln(CP10k + 1) of counts with fractions", np.log1p(scaled(shrunk, 1e4))
    yield "ln, 3 decimals", np.asarray(np.round(logged, 3), np.float64)
    yield "ln, float16", logged.astype(np.float16).astype(np.float64)
    yield "half CP10k, half CPM, ln", np.where(first, logged, np.log1p(scaled(counts, 1e6)))
    yield "half counts, half ln", np.where(first, counts, logged)
    yield "half counts, half log10(CPM + 1)", np.where(first, counts, np.log10(1 + scaled(counts, 1e6)))
    yield "half ln(TPM + 1), half log2(TPM + 1)", np.where(first, np.log1p(tpm), np.log2(1 + tpm))
    yield f"counts, {N_KEPT:,} genes", counts * kept
    yield f"ln(CP10k + 1), {N_KEPT:,} genes", logged * kept
    yield f"log10(CPM + 1), {N_KEPT:,} genes", np.log10(1 + scaled(counts, 1e6)) * kept
    yield "0 and 1", (counts > 0).astype(np.float64)
    yield "5 bins", np.ceil(logged / logged.max(1, keepdims=True) * 5)
    yield "rounded logarithms", np.asarray(np.round(logged), np.float64)
    yield "ln, each gene scaled to 0..1", logged / np.maximum(logged.max(0), 1e-9)


def called(query: ad.AnnData, atlas: sv.Atlas) -> tuple[object, ...]:
    """Return accuracy, mean confidence, the share accepted, the share wrong of these, and what was said."""
    truth = query.obs["label"].to_numpy()
    try:
        calls = sv.annotate(query, atlas, max_error=MAX_ERROR)
    except InputError:
        calls = sv.annotate(query, atlas)
        return float((calls.label == truth).mean()), "none", "none", "none", calls.notes[0].partition(" taken as ")[2]
    right, kept = calls.label_before_rejection == truth, ~calls.rejected
    said = calls.notes[0].partition(" taken as ")[2]
    return (
        float(right.mean()),
        float(np.nanmean(calls.confidence)),
        float(kept.mean()),
        float((~right[kept]).mean()),
        said,
    )


def main() -> None:
    make_parser("values", __doc__).parse_args()
    header = ("values", "accuracy", "confidence", "accepted", "wrong of these", "taken as")
    text, found = "", []
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            reference, query = cells(name)
            made = dict(forms(np.asarray(query.X.toarray(), np.float64)))
            for recipe in RECIPES:
                atlas = sv.atlas.build(
                    Path(folder), f"{name}-{recipe}", reference, label_key="label", batch_key="batch", recipe=recipe
                )
                rows = []
                for form, x in made.items():
                    one = ad.AnnData(sp.csr_matrix(x, dtype=np.float32), obs=query.obs, var=query.var)
                    rows.append((form, *called(one, atlas)))
                text += f"\n\n## {name}, {recipe}\n\n" + markdown(header, rows)
                found += [dict(zip(header, row, strict=True)) | {"set": name, "recipe": recipe} for row in rows]
    save(
        "values",
        "python -m benchmarks.values",
        {"rows": found},
        "# Calls from counts and from what is made of them" + text,
    )


if __name__ == "__main__":
    main()
