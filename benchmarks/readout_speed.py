"""How fast a readout trains and predicts, as a share of the machine's rate of matrix multiplication.

    python -m benchmarks.readout_speed --device cuda --shapes 1b 7b --genes 2048 --cells 8
    python -m benchmarks.readout_speed --device cpu --shapes smollm2 --genes 64 512 --cells 16

``smollm2`` has real weights, the other shapes are Llamas with random ones: speed does not depend on the weights. Only
operations with the layers' weights are counted, not attention: two per weight and token, and twice as many in training,
because gradients pass through the frozen layers but not into their weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import smollm2
from benchmarks.common import make_parser, markdown, save
from benchmarks.on_device import seconds_of
from scvec.core.device import choose
from scvec.interpret.readout.backbone import FrozenLLM
from scvec.interpret.readout.modules import logits, new_modules
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.models.causal_lm import CausalLM, Precision, load_llm
from scvec.models.weights import all_threads

SHAPES = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
}
"""Shapes of Llama 3.2 with 1 B and Llama 2 with 7 B weights, except for the vocabulary."""
VOCABULARY, INSTRUCTION_TOKENS = 1000, 24
N_GENES, DIMENSION, N_LABELS = 20_000, 1536, 14
SQUARE = {"cpu": 2048, "cuda": 16_384}


def shaped(shape: str, precision: Precision, device: str, room: int) -> CausalLM:
    """Return a model of a shape."""
    if shape == "smollm2":
        return load_llm(str(smollm2.folder()), precision=precision, device=device)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = SHAPES[shape]["num_attention_heads"]
    asked: dict[str, Any] = {**SHAPES[shape], "vocab_size": VOCABULARY, "max_position_embeddings": room}
    config = LlamaConfig(num_key_value_heads=max(1, heads // 4), **asked)
    with torch.device(device):
        model = LlamaForCausalLM(config).to(getattr(torch, precision)).eval().requires_grad_(False)
    return CausalLM(shape, model, lambda _text: {"input_ids": list(range(INSTRUCTION_TOKENS))})


def matrix_rate(device: str, precision: Precision) -> float:
    """Return operations per second in a product of two square matrices."""
    import torch

    n = SQUARE[device.split(":")[0]]
    one = torch.randn(n, n, device=device, dtype=getattr(torch, precision))
    return 2 * n**3 / seconds_of(_waited(lambda: one @ one, device))[0]


def rates(llm: CausalLM, n_genes: int, n_cells: int) -> dict[str, float]:
    """Return cells per second in training and prediction, and operations per second of both."""
    import torch

    spec, device = ReadoutSpec(model="shape", n_genes=n_genes), str(llm.device)
    backbone = FrozenLLM(llm, spec.instruction)
    modules = new_modules(DIMENSION, N_LABELS, spec, backbone)
    for one in modules.values():
        one.requires_grad_(True)
    rng = np.random.default_rng(0)
    rows = np.array([rng.choice(N_GENES, n_genes, replace=False) for _ in range(n_cells)], np.int32)
    vectors = torch.randn(N_GENES, DIMENSION, device=device)
    labels = torch.from_numpy(rng.integers(0, N_LABELS, n_cells)).to(device)

    def train() -> None:
        loss = torch.nn.functional.cross_entropy(logits(modules, backbone, vectors, rows), labels)
        loss.backward()  # type: ignore[no-untyped-call]

    def predict() -> None:
        with torch.no_grad():
            logits(modules, backbone, vectors, rows)

    layers = sum(one.numel() for one in llm.model.base_model.layers.parameters())
    operations = 2 * layers * (n_genes + 1)
    with all_threads():
        trained, predicted = (seconds_of(_waited(one, device))[0] / n_cells for one in (train, predict))
    return {
        "weights": layers,
        "trained": 1 / trained,
        "predicted": 1 / predicted,
        "operations_trained": 2 * operations / trained,
        "operations_predicted": operations / predicted,
    }


def _waited(way: Callable[[], object], device: str) -> Callable[[], object]:
    """Return `way` followed by a wait until the device is done."""
    if not device.startswith("cuda"):
        return way
    import torch

    def wait() -> None:
        way()
        torch.cuda.synchronize(device)

    return wait


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("readout_speed", __doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", nargs="+", default=["1b", "7b"], choices=["smollm2", *SHAPES])
    parser.add_argument("--genes", nargs="+", type=int, default=[2048])
    parser.add_argument("--cells", type=int, default=8, help="in a batch")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    args = parser.parse_args(arguments)
    device, lacking = choose(args.device)
    if device != args.device:
        print(f"benchmarks.readout_speed: {lacking or 'this needs a GPU'}; nothing was measured", file=sys.stderr)
        return 2
    rate, rows = matrix_rate(device, args.precision), []
    found: list[dict[str, Any]] = []
    for shape in args.shapes:
        llm = shaped(shape, args.precision, device, max(args.genes) + 64)
        for n_genes in args.genes:
            one = rates(llm, n_genes, args.cells)
            found.append({"shape": shape, "n_genes": n_genes, **one})
            shares = (one["operations_trained"] / rate, one["operations_predicted"] / rate)
            speeds = (f"{one['trained']:,.1f}", f"{one['predicted']:,.1f}")
            rows.append((shape, f"{one['weights'] / 1e6:,.0f} M", n_genes, *speeds, *shares))
    header = ("model", "weights of its layers", "genes a cell", "cells a second, training", "prediction")
    head = f"{device}, {args.precision}; the rate for square matrices is {rate / 1e12:,.2f} TFLOP/s."
    shares_header = ("share of that rate, training", "prediction")
    text = f"# How fast is a readout?\n\n{head}\n\n{markdown((*header, *shares_header), rows)}"
    values = {"device": device, "precision": args.precision, "matrix_rate": rate, "cells": args.cells, "rows": found}
    asked_for = f"--device {device} --shapes {' '.join(args.shapes)} --genes {' '.join(map(str, args.genes))}"
    save("readout_speed", f"python -m benchmarks.readout_speed {asked_for} --cells {args.cells}", values, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
