"""The training loop: steps of AdamW through the frozen model, and epochs judged on held-out cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import cos, isfinite, pi
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Ints, Progress
from scvec.errors import InputError
from scvec.interpret.readout.backbone import Backbone
from scvec.interpret.readout.checkpoint import Checkpoint
from scvec.interpret.readout.dataset import Dataset
from scvec.interpret.readout.modules import logits, new_modules, probabilities
from scvec.interpret.readout.sentences import Sentences, lengths
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.knn.folds import Fold
from scvec.models.weights import all_threads

if TYPE_CHECKING:
    import torch

SECONDS_A_CHECKPOINT = 60.0
"""Seconds of work that a killed process can lose; never more than an epoch."""

CLIP = 1.0
"""Norm to which gradients are clipped: through many frozen layers, some become far larger than others."""

POOL = 8
"""Batches that are formed together, from cells of similar length, to keep padding low."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """The result of a training.

    Attributes
    ----------
    modules
        Those of the epoch with the lowest loss on held-out cells.
    history
        For each epoch: its number and the mean loss of its steps; then loss, accuracy and macro-F1 on held-out cells;
        seconds.
    """

    modules: dict[str, torch.Tensor]
    history: tuple[dict[str, float], ...]


@dataclass
class _State:
    """How far a training got; every step changes it."""

    modules: dict[str, torch.Tensor]
    optimiser: torch.optim.AdamW
    best: dict[str, torch.Tensor]
    epoch: int = 0
    step: int = 0
    cells: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, checkpoint: Checkpoint) -> None:
        arrays = {f"part.{name}": one for name, one in self.modules.items()}
        arrays |= {f"best.{name}": one for name, one in self.best.items()}
        for name, one in self.modules.items():
            for key, value in self.optimiser.state.get(one, {}).items():
                arrays[f"{key}.{name}"] = value
        where = {key: getattr(self, key) for key in ("epoch", "step", "cells", "loss", "seconds", "history")}
        checkpoint.save({name: one.detach().cpu().numpy() for name, one in arrays.items()}, where)

    def restore(self, arrays: Mapping[str, NDArray[Any]], where: Mapping[str, Any]) -> None:
        import torch

        for key, value in where.items():
            setattr(self, key, value)
        for name, one in self.modules.items():
            with torch.no_grad():
                one.copy_(torch.from_numpy(arrays[f"part.{name}"]))
            # AdamW keeps its step count on the CPU.
            self.optimiser.state[one] = {
                key: torch.from_numpy(arrays[f"{key}.{name}"]).to("cpu" if key == "step" else one.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
            if f"best.{name}" in arrays:
                self.best[name] = torch.from_numpy(arrays[f"best.{name}"]).to(one.device)


@dataclass(frozen=True)
class _Setting:
    """What does not change during a training."""

    dataset: Dataset
    fold: Fold
    spec: ReadoutSpec
    backbone: Backbone
    vectors: torch.Tensor
    checkpoint: Checkpoint | None


def learn(
    dataset: Dataset, backbone: Backbone, spec: ReadoutSpec, checkpoint: Checkpoint | None, progress: Progress
) -> Learnt:
    """Train the modules of a readout; resume from a checkpoint if there is one, bit-identically on one thread.

    Raises
    ------
    LabelError
        If no label has two cells.
    InputError
        If the loss is not finite.
    """
    import torch

    fold = dataset.split(spec.validation, spec.random_state)
    vectors = torch.from_numpy(np.array(dataset.genes.vectors, np.float32)).to(backbone.device)
    modules = new_modules(vectors.shape[1], len(dataset.labels), spec, backbone)
    for one in modules.values():
        one.requires_grad_()
    optimiser = torch.optim.AdamW(modules.values(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
    state = _State(modules, optimiser, {})
    setting = _Setting(dataset, fold, spec, backbone, vectors, checkpoint)
    left = checkpoint.load() if checkpoint else None
    if left:
        state.restore(*left)
    n = len(fold.seen)
    with all_threads(), progress("training the readout", spec.epochs * n) as advance:
        advance(state.epoch * n + state.cells)
        while state.epoch < spec.epochs:
            for n_cells in _steps(state, setting):
                advance(n_cells)
            _judge(state, setting)
            if checkpoint:
                state.save(checkpoint)
    return Learnt(state.best, tuple(state.history))


def batches_of(rows: Sentences, cells: Ints, n: int, draw: np.random.Generator) -> list[Ints]:
    """Return `cells` in batches of n, in random order, cells of similar length together."""
    order = draw.permutation(cells)
    size = lengths(rows)
    pools = [order[start : start + POOL * n] for start in range(0, len(order), POOL * n)]
    alike = [pool[np.argsort(size[pool], kind="stable")] for pool in pools]
    batches = [pool[start : start + n] for pool in alike for start in range(0, len(pool), n)]
    return [batches[i] for i in draw.permutation(len(batches))]


def _steps(state: _State, setting: _Setting) -> Iterator[int]:
    """Take the remaining steps of an epoch; yield how many cells each one saw."""
    rows, fold, spec = setting.dataset.rows, setting.fold, setting.spec
    draw = np.random.default_rng((spec.random_state, state.epoch))
    batches = batches_of(rows, fold.seen, spec.batch_cells, draw)
    began = saved = monotonic()
    for cells in batches[state.step :]:
        done = (state.epoch + state.step / len(batches)) / spec.epochs
        state.optimiser.param_groups[0]["lr"] = spec.learning_rate * (1 + cos(pi * done)) / 2
        state.loss += _step(state, setting, cells) * len(cells)
        state.step, state.cells = state.step + 1, state.cells + len(cells)
        now = monotonic()
        if setting.checkpoint and now - saved > SECONDS_A_CHECKPOINT:
            state.seconds, began, saved = state.seconds + now - began, now, now
            state.save(setting.checkpoint)
        yield len(cells)
    state.seconds += monotonic() - began


def _step(state: _State, setting: _Setting, cells: Ints) -> float:
    """Take one step; return the mean loss before it."""
    import torch

    found = logits(state.modules, setting.backbone, setting.vectors, setting.dataset.rows[cells])
    wanted = torch.from_numpy(setting.dataset.codes[cells]).to(found.device)
    loss = torch.nn.functional.cross_entropy(found, wanted)
    value = float(loss.detach())
    _expect_number(value, state, setting)
    state.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.modules.values(), CLIP)
    state.optimiser.step()
    return value


def _expect_number(loss: float, state: _State, setting: _Setting) -> None:
    if not isfinite(loss):
        raise InputError(
            f"after step {state.step} of epoch {state.epoch + 1} the loss is {loss}",
            "a finite number",
            f"lower `learning_rate` ({setting.spec.learning_rate:g})",
        )


def _judge(state: _State, setting: _Setting) -> None:
    """End an epoch: measure it on held-out cells, and keep its modules if they are the best so far."""
    from sklearn.metrics import f1_score

    began, held, spec = monotonic(), setting.fold.held, setting.spec
    chances = probabilities(
        state.modules, setting.backbone, setting.vectors, setting.dataset.rows[held], spec.batch_cells, lambda _n: None
    )
    truth, called = setting.dataset.codes[held], chances.argmax(axis=1)
    loss = float(-np.log(np.maximum(chances[np.arange(len(truth)), truth], np.finfo(np.float32).tiny)).mean())
    _expect_number(loss, state, setting)  # No step follows the last one to notice it.
    if loss < min((one["validation_loss"] for one in state.history), default=float("inf")):
        state.best = {name: one.detach().clone() for name, one in state.modules.items()}
    state.history.append(
        {
            "epoch": state.epoch + 1,
            "loss": state.loss / len(setting.fold.seen),
            "validation_loss": loss,
            "accuracy": float((called == truth).mean()),
            "macro_f1": float(f1_score(truth, called, labels=np.unique(truth), average="macro", zero_division=0)),
            "seconds": round(state.seconds + monotonic() - began, 3),
        }
    )
    state.epoch, state.step, state.cells, state.loss, state.seconds = state.epoch + 1, 0, 0, 0.0, 0.0
