"""The trained modules: gene MLP, class token and readout MLP, as named tensors and functions of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec.interpret.readout.sentences import Sentences, lengths
from scvec.interpret.readout.spec import ReadoutSpec

if TYPE_CHECKING:
    import torch

    from scvec.interpret.readout.backbone import Backbone

Modules: TypeAlias = "Mapping[str, torch.Tensor]"
"""``gene.0``, ``gene.1``, ``readout.0``, ``readout.1``, each with ``.weight`` and ``.bias``; ``class_token``."""


def new_modules(dimension: int, n_labels: int, spec: ReadoutSpec, backbone: Backbone) -> dict[str, torch.Tensor]:
    """Return untrained modules: float32, on the backbone's device.

    Weights are Gaussian with variance 1 / (inputs of the layer), biases are zero. The class token has the mean norm of
    the backbone's tokens; there is none if the backbone takes none.
    """
    import torch

    draw = torch.Generator().manual_seed(spec.random_state)
    shapes = {
        "gene.0": (spec.hidden, dimension),
        "gene.1": (backbone.width, spec.hidden),
        "readout.0": (spec.readout_hidden, backbone.width),
        "readout.1": (n_labels, spec.readout_hidden),
    }
    modules = {}
    for name, (rows, columns) in shapes.items():
        modules[f"{name}.weight"] = torch.randn(rows, columns, generator=draw) / columns**0.5
        modules[f"{name}.bias"] = torch.zeros(rows)
    if backbone.takes_class_token:
        token = torch.randn(backbone.width, generator=draw)
        modules["class_token"] = token * (backbone.token_norm / token.norm())
    return {name: one.to(backbone.device) for name, one in modules.items()}


def project(modules: Modules, vectors: torch.Tensor, token_norm: float) -> torch.Tensor:
    """Return (u, width) tokens for genes, given their (u, d) vectors.

    They are scaled to `token_norm`, the mean norm of the model's own tokens. Its layers were trained on inputs of that
    norm: far shorter ones are lost in what the first layers add to them, far longer ones drown it out.
    """
    from torch.nn.functional import layer_norm

    found = layer_norm(_mlp(modules, "gene", vectors), (modules["gene.1.bias"].shape[0],))
    scaled: torch.Tensor = found * (token_norm / found.shape[1] ** 0.5)
    return scaled


def logits(modules: Modules, backbone: Backbone, vectors: torch.Tensor, rows: Sentences) -> torch.Tensor:
    """Return (b, L) logits of the labels; no cell may be empty.

    Parameters
    ----------
    modules, backbone
        The trained modules, and the backbone between them.
    vectors
        (g, d) vectors of the table's genes.
    rows
        (b, N) sentences.
    """
    import torch

    rows = rows[:, : int((rows >= 0).sum(axis=1).max())]
    there = rows >= 0
    # The gene MLP sees each gene of the batch once, not once per token.
    genes, inverse = np.unique(rows[there], return_inverse=True)
    places = np.full(rows.shape, -1, np.int64)
    places[there] = inverse
    found = vectors[torch.from_numpy(genes.astype(np.int64)).to(vectors.device)]
    tokens = project(modules, found, backbone.token_norm)
    read = backbone.read(tokens, torch.from_numpy(places).to(vectors.device), modules.get("class_token"))
    return _mlp(modules, "readout", read)


def probabilities(
    modules: Modules,
    backbone: Backbone,
    vectors: torch.Tensor,
    rows: Sentences,
    batch_cells: int,
    advance: Callable[[int], object],
) -> NDArray[np.float64]:
    """Return (n, L) the probability of each label, NaN for a cell without genes; batches have cells of similar length.

    `advance` is called with the number of cells done; for the other parameters, see `logits`.
    """
    import torch

    size = lengths(rows)
    found = np.full((len(rows), modules["readout.1.bias"].shape[0]), np.nan)
    order = np.argsort(size, kind="stable")
    order = order[size[order] > 0]
    advance(len(rows) - len(order))
    with torch.no_grad():
        for start in range(0, len(order), batch_cells):
            cells = order[start : start + batch_cells]
            found[cells] = logits(modules, backbone, vectors, rows[cells]).double().softmax(1).cpu().numpy()
            advance(len(cells))
    return found


def _mlp(modules: Modules, name: str, values: torch.Tensor) -> torch.Tensor:
    """Apply layer norm (inputs may have any scale), a hidden layer with GELU, and a linear layer."""
    from torch.nn.functional import gelu, layer_norm, linear

    values = layer_norm(values, (values.shape[1],))
    hidden = gelu(linear(values, modules[f"{name}.0.weight"], modules[f"{name}.0.bias"]))
    return linear(hidden, modules[f"{name}.1.weight"], modules[f"{name}.1.bias"])
