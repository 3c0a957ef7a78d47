"""The course of a training: steps of AdamW through the frozen model, epochs judged on cells held out."""

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
from scvec.interpret.readout.backbone import Body
from scvec.interpret.readout.checkpoint import Checkpoint
from scvec.interpret.readout.dataset import Lesson
from scvec.interpret.readout.modules import logits, new_parts, probabilities
from scvec.interpret.readout.sentences import Sentences, lengths
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.knn.folds import Fold
from scvec.models.weights import all_threads

if TYPE_CHECKING:
    import torch

SECONDS_A_CHECKPOINT = 60.0
"""What a kill can cost, in seconds of work; and at most an epoch."""

CLIP = 1.0
"""Length to which a step's gradient is cut: through many frozen layers, some are far longer than the others."""

POOL = 8
"""Batches that are made together, of cells of like length, so that little is padded."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of a training.

    Attributes
    ----------
    parts
        Of the epoch with the lowest loss on the cells held out.
    history
        Of each epoch: its number, the mean loss of its steps; loss, accuracy and macro-F1 on the cells held out after
        it; seconds.
    """

    parts: dict[str, torch.Tensor]
    history: tuple[dict[str, float], ...]


@dataclass
class _Course:
    """Where a training is: changed by every step."""

    parts: dict[str, torch.Tensor]
    optimiser: torch.optim.AdamW
    best: dict[str, torch.Tensor]
    epoch: int = 0
    step: int = 0
    cells: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, checkpoint: Checkpoint) -> None:
        arrays = {f"part.{name}": one for name, one in self.parts.items()}
        arrays |= {f"best.{name}": one for name, one in self.best.items()}
        for name, one in self.parts.items():
            for key, value in self.optimiser.state.get(one, {}).items():
                arrays[f"{key}.{name}"] = value
        where = {key: getattr(self, key) for key in ("epoch", "step", "cells", "loss", "seconds", "history")}
        checkpoint.save({name: one.detach().cpu().numpy() for name, one in arrays.items()}, where)

    def restore(self, arrays: Mapping[str, NDArray[Any]], where: Mapping[str, Any]) -> None:
        import torch

        for key, value in where.items():
            setattr(self, key, value)
        for name, one in self.parts.items():
            with torch.no_grad():
                one.copy_(torch.from_numpy(arrays[f"part.{name}"]))
            # The count of steps stays on the CPU, where AdamW has it.
            self.optimiser.state[one] = {
                key: torch.from_numpy(arrays[f"{key}.{name}"]).to("cpu" if key == "step" else one.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
            if f"best.{name}" in arrays:
                self.best[name] = torch.from_numpy(arrays[f"best.{name}"]).to(one.device)


@dataclass(frozen=True)
class _Setting:
    """What stays as it is in a training."""

    lesson: Lesson
    fold: Fold
    spec: ReadoutSpec
    body: Body
    vectors: torch.Tensor
    checkpoint: Checkpoint | None


def learn(lesson: Lesson, body: Body, spec: ReadoutSpec, checkpoint: Checkpoint | None, progress: Progress) -> Learnt:
    """Train the parts of a readout; with a checkpoint, from where it was left, and to the same bits on one thread.

    Raises
    ------
    LabelError
        If no label has two cells.
    InputError
        If the loss is no longer a number.
    """
    import torch

    fold = lesson.parted(spec.validation, spec.random_state)
    vectors = torch.from_numpy(np.array(lesson.genes.vectors, np.float32)).to(body.device)
    parts = new_parts(vectors.shape[1], len(lesson.labels), spec, body)
    for one in parts.values():
        one.requires_grad_()
    optimiser = torch.optim.AdamW(parts.values(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
    course = _Course(parts, optimiser, {})
    setting = _Setting(lesson, fold, spec, body, vectors, checkpoint)
    left = checkpoint.load() if checkpoint else None
    if left:
        course.restore(*left)
    n = len(fold.seen)
    with all_threads(), progress("training the readout", spec.epochs * n) as advance:
        advance(course.epoch * n + course.cells)
        while course.epoch < spec.epochs:
            for n_cells in _steps(course, setting):
                advance(n_cells)
            _judge(course, setting)
            if checkpoint:
                course.save(checkpoint)
    return Learnt(course.best, tuple(course.history))


def batches_of(rows: Sentences, cells: Ints, n: int, draw: np.random.Generator) -> list[Ints]:
    """Return `cells` in batches of n, in an order that is drawn, cells of like length together."""
    order = draw.permutation(cells)
    size = lengths(rows)
    pools = [order[start : start + POOL * n] for start in range(0, len(order), POOL * n)]
    alike = [pool[np.argsort(size[pool], kind="stable")] for pool in pools]
    batches = [pool[start : start + n] for pool in alike for start in range(0, len(pool), n)]
    return [batches[i] for i in draw.permutation(len(batches))]


def _steps(course: _Course, setting: _Setting) -> Iterator[int]:
    """Take the steps of an epoch that are left; yield how many cells each one saw."""
    rows, fold, spec = setting.lesson.rows, setting.fold, setting.spec
    draw = np.random.default_rng((spec.random_state, course.epoch))
    batches = batches_of(rows, fold.seen, spec.batch_cells, draw)
    began = saved = monotonic()
    for cells in batches[course.step :]:
        done = (course.epoch + course.step / len(batches)) / spec.epochs
        course.optimiser.param_groups[0]["lr"] = spec.learning_rate * (1 + cos(pi * done)) / 2
        course.loss += _step(course, setting, cells) * len(cells)
        course.step, course.cells = course.step + 1, course.cells + len(cells)
        now = monotonic()
        if setting.checkpoint and now - saved > SECONDS_A_CHECKPOINT:
            course.seconds, began, saved = course.seconds + now - began, now, now
            course.save(setting.checkpoint)
        yield len(cells)
    course.seconds += monotonic() - began


def _step(course: _Course, setting: _Setting, cells: Ints) -> float:
    """Take one step; return the mean loss before it."""
    import torch

    found = logits(course.parts, setting.body, setting.vectors, setting.lesson.rows[cells])
    wanted = torch.from_numpy(setting.lesson.codes[cells]).to(found.device)
    loss = torch.nn.functional.cross_entropy(found, wanted)
    value = float(loss.detach())
    _expect_number(value, course, setting)
    course.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(course.parts.values(), CLIP)
    course.optimiser.step()
    return value


def _expect_number(loss: float, course: _Course, setting: _Setting) -> None:
    if not isfinite(loss):
        raise InputError(
            f"after {course.step} steps of epoch {course.epoch + 1} the loss is {loss}",
            "a number",
            f"train more slowly than with --learning-rate {setting.spec.learning_rate:g}",
        )


def _judge(course: _Course, setting: _Setting) -> None:
    """Close an epoch: see what the cells held out make of it, and keep its parts if they are the best so far."""
    from sklearn.metrics import f1_score

    began, held, spec = monotonic(), setting.fold.held, setting.spec
    chances = probabilities(
        course.parts, setting.body, setting.vectors, setting.lesson.rows[held], spec.batch_cells, lambda _n: None
    )
    truth, called = setting.lesson.codes[held], chances.argmax(axis=1)
    loss = float(-np.log(np.maximum(chances[np.arange(len(truth)), truth], np.finfo(np.float32).tiny)).mean())
    _expect_number(loss, course, setting)  # The last step of all is followed by no other that would find it.
    if loss < min((one["validation_loss"] for one in course.history), default=float("inf")):
        course.best = {name: one.detach().clone() for name, one in course.parts.items()}
    course.history.append(
        {
            "epoch": course.epoch + 1,
            "loss": course.loss / len(setting.fold.seen),
            "validation_loss": loss,
            "accuracy": float((called == truth).mean()),
            "macro_f1": float(f1_score(truth, called, labels=np.unique(truth), average="macro", zero_division=0)),
            "seconds": round(course.seconds + monotonic() - began, 3),
        }
    )
    course.epoch, course.step, course.cells, course.loss, course.seconds = course.epoch + 1, 0, 0, 0.0, 0.0
