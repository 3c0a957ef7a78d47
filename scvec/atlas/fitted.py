"""Files of what was fitted on a reference, shared by all versions of an atlas with the same fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from scvec.atlas.likeness import Likeness
from scvec.core.files import sha256
from scvec.core.reading import reading
from scvec.embed.given import Given
from scvec.embed.profiles import Profiles
from scvec.embed.projection import Embedding, Projection
from scvec.embed.recipe import Recipe
from scvec.embed.refine import Head
from scvec.embed.sample import Sample
from scvec.embed.sample_files import load_sample, save_sample
from scvec.embed.sentences import Sentences
from scvec.errors import MismatchError, StoreError
from scvec.knn.calibration import Calibration
from scvec.store import Store
from scvec.views import Views


@dataclass(frozen=True, slots=True)
class Fitted:
    """Everything that is fitted on a reference.

    Attributes
    ----------
    embedding
        Maps expression to cell vectors.
    profiles
        What each label expresses.
    calibration
        From held-out cells; None if none can be held out, as in a reference of one cell.
    views
        Further views of a cell, and how their shares are joined with the neighbours' votes; None for these alone.
    training
        How the head was trained, as JSON types; None without a head.
    labels
        The labels of the reference, sorted: those of the profiles' rows and the calibration's codes.
    likeness
        How much cells are like the labels that they are called; None in atlases of earlier versions.
    sample
        The cells on which it was fitted, where it can be fitted again on fewer genes; else None.
    """

    embedding: Embedding
    profiles: Profiles
    calibration: Calibration | None
    views: Views | None
    training: dict[str, Any] | None
    labels: tuple[str, ...]
    likeness: Likeness | None = None
    sample: Sample | None = None


PROJECTION, PROFILES, CALIBRATION = "projection.safetensors", "profiles.safetensors", "calibration.safetensors"
KEPT_CELLS = 300
"""Cells of each label that an atlas keeps, at most: some hundred are enough for a fit on fewer genes."""

VIEWS, LIKENESS, SAMPLE = "views.safetensors", "likeness.safetensors", "sample.parquet"


def save_fitted(store: Store, folder: str, fitted: Fitted) -> dict[str, Any]:
    """Write what was fitted into a folder, and return its entry in the manifest."""
    writers: dict[str, Callable[[Path], None]] = {PROJECTION: fitted.embedding.save, PROFILES: fitted.profiles.save}
    if fitted.calibration is not None:
        writers[CALIBRATION] = fitted.calibration.save
    if fitted.views is not None:
        writers[VIEWS] = fitted.views.save
    if fitted.likeness is not None:
        writers[LIKENESS] = fitted.likeness.save
    if fitted.sample is not None:
        writers[SAMPLE] = partial(save_sample, sample=fitted.sample)

    def write(path: Path) -> dict[str, str]:
        for name, save in writers.items():
            save(path / name)
        return {name: sha256(path / name) for name in writers}

    views = [] if fitted.views is None else list(fitted.views.of)
    return {"folder": folder, "hashes": store.put_folder(folder, write), "views": views}


def keeping(fitted: Fitted, sample: Sample) -> Fitted:
    """Return what was fitted, with the cells that are kept to fit it again on the genes of a query of few."""
    return replace(fitted, sample=sample.at_most(KEPT_CELLS, fitted.embedding.recipe.random_state))


def load_embedding(store: Store, made: Mapping[str, Any], recipe: Recipe) -> Embedding:
    """Return the fitted recipe."""

    def load(path: Path) -> Embedding:
        if recipe.weights == "sentence":
            return Sentences.load(path, recipe, store.address)
        kind = Given if recipe.weights == "given" else Projection if recipe.refine is None else Head
        return kind.load(path, recipe)

    found: Embedding = _load(store, made, PROJECTION, load)
    return found


def load_profiles(store: Store, made: Mapping[str, Any]) -> Profiles:
    """Return what the labels express."""
    found: Profiles = _load(store, made, PROFILES, Profiles.load)
    return found


def load_calibration(store: Store, made: Mapping[str, Any]) -> Calibration | None:
    """Return the calibration; None if nothing could be held out."""
    return _load(store, made, CALIBRATION, Calibration.load) if CALIBRATION in made["hashes"] else None


def load_views(store: Store, made: Mapping[str, Any]) -> Views | None:
    """Return the further views; None if there are none."""
    return _load(store, made, VIEWS, Views.load) if VIEWS in made["hashes"] else None


def load_likeness(store: Store, made: Mapping[str, Any]) -> Likeness | None:
    """Return how much cells are like their labels; None if an earlier version fitted it."""
    return _load(store, made, LIKENESS, Likeness.load) if LIKENESS in made["hashes"] else None


def load_kept_sample(store: Store, made: Mapping[str, Any]) -> Sample | None:
    """Return the cells on which it was fitted; None if they were not kept."""
    return _load(store, made, SAMPLE, load_sample) if SAMPLE in made["hashes"] else None


def load_fitted(
    store: Store, made: Mapping[str, Any], recipe: Recipe, training: dict[str, Any] | None, labels: Sequence[str]
) -> Fitted:
    """Return everything that was fitted, without the sample."""
    embedding, profiles = load_embedding(store, made, recipe), load_profiles(store, made)
    calibration, views = load_calibration(store, made), load_views(store, made)
    likeness = load_likeness(store, made)
    return Fitted(embedding, profiles, calibration, views, training, tuple(labels), likeness)


def faulty_files(store: Store, made: Mapping[str, Any]) -> list[str]:
    """Return the files that are missing or have changed."""
    found = []
    for name, wanted in made["hashes"].items():
        path = f"{made['folder']}/{name}"
        if not store.has_file(path):
            found.append(path)
            continue
        with store.local_file(path) as local:
            if sha256(local) != wanted:
                found.append(path)
    return found


def _load(store: Store, made: Mapping[str, Any], name: str, load: Callable[[Path], Any]) -> Any:
    with store.local_file(f"{made['folder']}/{name}") as path:
        if sha256(path) != made["hashes"][name]:
            raise MismatchError(
                f"{path} has changed since the atlas was built",
                fix="restore it from a copy, or build the atlas again with `overwrite`",
            )
        with reading(str(path), "what a build wrote", "build the atlas again with `overwrite`", raised=StoreError):
            return load(path)
