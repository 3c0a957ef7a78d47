"""The methods that run on a task: a suite's recipes, and the controls that every suite includes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal, TypeAlias, get_args

from scvec.bench.suite import Suite, Task
from scvec.embed.recipe import RECIPES, Recipe
from scvec.embed.sentences import reads_any_text
from scvec.errors import InputError
from scvec.interpret.readout import ReadoutSpec
from scvec.interpret.readout.spec import Ablation

Kind: TypeAlias = Literal["recipe", "control", "peer"]
Model: TypeAlias = Recipe | ReadoutSpec
CONTROLS = ("expression", "random")
LOGISTIC = "logistic regression (control)"
REBUILT = ", rebuilt for the query's genes"
ABLATIONS: tuple[Ablation, ...] = tuple(one for one in get_args(Ablation) if one != "none")
RANDOM_DIMENSION = 384
"""That of minilm's vectors."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to label a query.

    Attributes
    ----------
    name, kind
        As in the tables.
    model
        A recipe for cell vectors, which are searched; a readout of a language model; None: logistic regression.
    panel
        Whether the atlas is built on the query's genes only.
    """

    name: str
    kind: Kind
    model: Model | None
    panel: bool = False

    @property
    def seeded(self) -> bool:
        """Whether its calls depend on the seed."""
        if isinstance(self.model, Recipe):
            return self.model.weights not in ("text", "sentence") or self.model.refine is not None or self.model.centre
        return self.model is not None

    def at(self, seed: int | None) -> Model | None:
        """Return its model with that seed, if it takes one."""
        return replace(self.model, random_state=seed or 0) if self.model is not None and self.seeded else self.model


def methods(suite: Suite, task: Task) -> list[Method]:
    """Return the methods that run on a task, controls last."""
    found = [*_recipes(suite), *_without_text(suite), *_readouts(suite)]
    found += [Method(f"{name} (control)", "control", RECIPES[name]) for name in CONTROLS]
    if task.panel:
        found = [version for one in found for version in _with_rebuilt(one)]
    found.append(Method(LOGISTIC, "control", None))
    names = [one.name for one in found]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise InputError(f"suite {suite.name!r} has two methods named {twice!r}", fix="rename one")
    return sorted(found, key=lambda one: one.kind == "control")


def _with_rebuilt(method: Method) -> Iterator[Method]:
    yield method
    if isinstance(method.model, Recipe) and (method.model.refine or method.model.weights == "svd"):
        yield replace(method, name=method.name + REBUILT, panel=True)


def _recipes(suite: Suite) -> Iterator[Method]:
    for recipe in suite.recipes:
        if recipe in (RECIPES[name] for name in CONTROLS):
            continue
        if recipe.weights == "auto":
            yield Method(f"{recipe.name}, no text", "recipe", recipe.without_text())
        elif not recipe.has_encoder:
            yield Method(recipe.name, "recipe", recipe)
        for encoder in _encoders(suite, recipe):
            yield Method(f"{recipe.name}, {encoder}", "recipe", recipe.with_encoder(encoder))


def _without_text(suite: Suite) -> Iterator[Method]:
    """Yield each recipe that trains a head on text, but without the text: what still works is not due to the text."""
    for recipe in suite.recipes:
        if recipe.refine is None or recipe.weights not in ("text", "auto") or not _encoders(suite, recipe):
            continue
        for encoder in _encoders(suite, recipe):
            shuffled = replace(recipe.with_encoder(encoder), weights="shuffled")
            yield Method(f"{recipe.name}, {encoder}, shuffled text (control)", "control", shuffled)
        drawn = replace(recipe, weights="random", encoder=None, encoder_revision=None, dimension=RANDOM_DIMENSION)
        yield Method(f"{recipe.name}, random vectors (control)", "control", drawn)


def _readouts(suite: Suite) -> Iterator[Method]:
    """Yield each readout and its ablations, each of which lacks one part: they show what that part is worth."""
    for spec in suite.readouts:
        name = f"readout of {PurePath(spec.model or 'no LLM').name}"
        yield Method(name, "recipe", replace(spec, ablation="none"))
        for ablation in ABLATIONS:
            yield Method(f"{name}, {ablation} (control)", "control", replace(spec, ablation=ablation))


def _encoders(suite: Suite, recipe: Recipe) -> tuple[str, ...]:
    if recipe.weights == "auto":
        return suite.encoders
    if not recipe.has_encoder:
        return ()
    there = suite.encoders or (recipe.encoder or "",)
    return tuple(one for one in there if recipe.reads_text or reads_any_text(one))
