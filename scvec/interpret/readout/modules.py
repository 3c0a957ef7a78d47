"""What is trained: the gene MLP, the class token and the readout MLP, as named tensors and functions over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec.interpret.readout.sentences import Sentences, lengths
from scvec.interpret.readout.spec import ReadoutSpec

if TYPE_CHECKING:
    import torch

    from scvec.interpret.readout.backbone import Body

Parts: TypeAlias = "Mapping[str, torch.Tensor]"
"""``gene.0``, ``gene.1``, ``readout.0``, ``readout.1``, each with ``.weight`` and ``.bias``; ``class_token``."""


def new_parts(dimension: int, n_labels: int, spec: ReadoutSpec, body: Body) -> dict[str, torch.Tensor]:
    """Return parts as they are before training: float32, on the body's device.

    Weights are Gaussian, of variance one by the inputs of a layer, and biases zero. The class token has the mean length
    of the body's tokens, and there is none where the body takes none.
    """
    import torch

    draw = torch.Generator().manual_seed(spec.random_state)
    shapes = {
        "gene.0": (spec.hidden, dimension),
        "gene.1": (body.width, spec.hidden),
        "readout.0": (spec.readout_hidden, body.width),
        "readout.1": (n_labels, spec.readout_hidden),
    }
    parts = {}
    for name, (rows, columns) in shapes.items():
        parts[f"{name}.weight"] = torch.randn(rows, columns, generator=draw) / columns**0.5
        parts[f"{name}.bias"] = torch.zeros(rows)
    if body.takes_class_token:
        token = torch.randn(body.width, generator=draw)
        parts["class_token"] = token * (body.token_norm / token.norm())
    return {name: one.to(body.device) for name, one in parts.items()}


def project(parts: Parts, vectors: torch.Tensor, token_norm: float) -> torch.Tensor:
    """Return (u, width) genes as tokens, given (u, d) their vectors.

    They are brought to `token_norm`, the mean length of the model's own tokens. Its layers were trained on inputs of
    that size: far shorter ones are lost beside what the first layers add to them, far longer ones drown that.
    """
    from torch.nn.functional import layer_norm

    found = layer_norm(_mlp(parts, "gene", vectors), (parts["gene.1.bias"].shape[0],))
    scaled: torch.Tensor = found * (token_norm / found.shape[1] ** 0.5)
    return scaled


def logits(parts: Parts, body: Body, vectors: torch.Tensor, rows: Sentences) -> torch.Tensor:
    """Return (b, L) logits of the labels of cells, none of which is empty.

    Parameters
    ----------
    parts, body
        What is trained, and what lies between.
    vectors
        (g, d) of the table's genes.
    rows
        (b, N) sentences.
    """
    import torch

    rows = rows[:, : int((rows >= 0).sum(axis=1).max())]
    there = rows >= 0
    # The gene MLP sees each gene of the batch once, and not each token.
    genes, inverse = np.unique(rows[there], return_inverse=True)
    places = np.full(rows.shape, -1, np.int64)
    places[there] = inverse
    found = vectors[torch.from_numpy(genes.astype(np.int64)).to(vectors.device)]
    tokens = project(parts, found, body.token_norm)
    read = body.read(tokens, torch.from_numpy(places).to(vectors.device), parts.get("class_token"))
    return _mlp(parts, "readout", read)


def probabilities(
    parts: Parts,
    body: Body,
    vectors: torch.Tensor,
    rows: Sentences,
    batch_cells: int,
    advance: Callable[[int], object],
) -> NDArray[np.float64]:
    """Return (n, L) the probability of each label, NaN for a cell without genes; cells of like length go together.

    `advance` is told how many cells are done; for the others, see `logits`.
    """
    import torch

    size = lengths(rows)
    found = np.full((len(rows), parts["readout.1.bias"].shape[0]), np.nan)
    order = np.argsort(size, kind="stable")
    order = order[size[order] > 0]
    advance(len(rows) - len(order))
    with torch.no_grad():
        for start in range(0, len(order), batch_cells):
            cells = order[start : start + batch_cells]
            found[cells] = logits(parts, body, vectors, rows[cells]).double().softmax(1).cpu().numpy()
            advance(len(cells))
    return found


def _mlp(parts: Parts, name: str, values: torch.Tensor) -> torch.Tensor:
    """Return layer norm, a hidden layer with GELU, and a linear one: what comes in is of any size."""
    from torch.nn.functional import gelu, layer_norm, linear

    values = layer_norm(values, (values.shape[1],))
    hidden = gelu(linear(values, parts[f"{name}.0.weight"], parts[f"{name}.0.bias"]))
    return linear(hidden, parts[f"{name}.1.weight"], parts[f"{name}.1.bias"])
