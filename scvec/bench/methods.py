"""What runs on a task: a suite's recipes, and the controls that no suite can leave out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from scvec.bench.suite import CURE, Suite, Task
from scvec.errors import InputError
from scvec.spec import RECIPES, Recipe

Kind: TypeAlias = Literal["recipe", "control", "peer"]
CONTROLS = ("expression", "random")
LOGISTIC = "logistic regression (control)"
REBUILT = ", rebuilt for the query's genes"
RANDOM_DIMENSION = 384
"""As many as minilm's vectors have."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to label a query.

    Attributes
    ----------
    name, kind
        As in the tables.
    recipe
        None: logistic regression.
    panel
        Whether the atlas is built on the query's genes alone.
    """

    name: str
    kind: Kind
    recipe: Recipe | None
    panel: bool = False

    @property
    def seeded(self) -> bool:
        """Whether its answer depends on the seed."""
        if self.recipe is None:
            return False
        return self.recipe.weights != "text" or self.recipe.refine is not None or self.recipe.centre

    def at(self, seed: int | None) -> Recipe | None:
        """Return the recipe with that seed, where it has one."""
        if self.recipe is None or not self.seeded:
            return self.recipe
        return replace(self.recipe, random_state=seed or 0)


def methods(suite: Suite, task: Task) -> list[Method]:
    """Return what runs on a task, controls last."""
    found = [*_asked(suite), *_without_text(suite)]
    found += [Method(f"{name} (control)", "control", RECIPES[name]) for name in CONTROLS]
    if task.panel:
        found = [version for one in found for version in _with_rebuilt(one)]
    found.append(Method(LOGISTIC, "control", None))
    names = [one.name for one in found]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise InputError(f"suite {suite.name!r} has two methods called {twice!r}", "names that differ", CURE)
    return sorted(found, key=lambda one: one.kind == "control")


def _with_rebuilt(method: Method) -> Iterator[Method]:
    yield method
    if method.recipe and (method.recipe.refine or method.recipe.weights == "svd"):
        yield replace(method, name=method.name + REBUILT, panel=True)


def _asked(suite: Suite) -> Iterator[Method]:
    for recipe in suite.recipes:
        if recipe in (RECIPES[name] for name in CONTROLS):
            continue
        if not recipe.reads_text:
            yield Method(recipe.name, "recipe", recipe)
        for encoder in _encoders(suite, recipe):
            yield Method(f"{recipe.name}, {encoder}", "recipe", recipe.with_encoder(encoder))


def _without_text(suite: Suite) -> Iterator[Method]:
    """Yield each recipe that trains a head on text, the same but for the text: what is left is not the text's doing."""
    for recipe in suite.recipes:
        if recipe.refine is None or recipe.weights != "text":
            continue
        for encoder in _encoders(suite, recipe):
            shuffled = replace(recipe.with_encoder(encoder), weights="shuffled")
            yield Method(f"{recipe.name}, {encoder}, shuffled text (control)", "control", shuffled)
        drawn = replace(recipe, weights="random", encoder=None, encoder_revision=None, dimension=RANDOM_DIMENSION)
        yield Method(f"{recipe.name}, random vectors (control)", "control", drawn)


def _encoders(suite: Suite, recipe: Recipe) -> tuple[str, ...]:
    if not recipe.reads_text:
        return ()
    return suite.encoders or (recipe.encoder or "",)
