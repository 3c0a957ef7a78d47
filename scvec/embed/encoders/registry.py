"""The registry of encoders: the built-in ones, and those that other packages add by entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

import polars as pl

from scvec.embed.encoders.api import OPENAI_MODELS
from scvec.embed.encoders.base import Address, Encoder, Model, Request
from scvec.embed.encoders.given import GIVEN_MODELS
from scvec.embed.encoders.simple import SIMPLE_MODELS
from scvec.embed.encoders.static import STATIC_MODELS
from scvec.embed.encoders.text_models import TEXT_MODELS
from scvec.errors import InputError, unknown

GROUP = "scvec.encoders"
"""The entry point group: each entry's name is an encoder's kind, its object a `Model` of that name."""

BUILT_IN: Mapping[str, Model] = MappingProxyType(
    {model.name: model for model in (*SIMPLE_MODELS, *TEXT_MODELS, *OPENAI_MODELS, *STATIC_MODELS, *GIVEN_MODELS)}
)


def models() -> dict[str, Model]:
    """Return all available encoders, by kind.

    Raises
    ------
    InputError
        If another package's encoder cannot be loaded, or has the name of a built-in one.
    """
    return {**BUILT_IN, **{point.name: _loaded(point) for point in entry_points(group=GROUP)}}


def find(kind: str) -> Model:
    """Return the encoder of that kind; raise `KeyNotFoundError` if there is none."""
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    points = entry_points(group=GROUP)
    if kind not in points.names:
        raise unknown("encoder", kind, [*BUILT_IN, *sorted(points.names)])
    return _loaded(points[kind])


def make(name: str, genes: pl.DataFrame, *, download: bool = False) -> Encoder:
    """Return the encoder at an address, for the genes of a release (the rows of ``gene_texts``).

    Raises
    ------
    KeyNotFoundError
        If there is no such kind.
    InputError
        If its argument or an option is invalid.
    MissingDependencyError
        If it needs a package that is not installed.
    """
    address = Address.parse(name)
    return find(address.kind).make(Request(address, genes, download))


def _loaded(point: EntryPoint) -> Model:
    package = point.dist.name if point.dist else point.value
    fix = f"update or uninstall the package {package}"
    if point.name in BUILT_IN:
        raise InputError(f"package {package} has an encoder {point.name!r}, the name of a built-in one", fix=fix)
    try:
        model = point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"encoder {point.name!r} of package {package} cannot be loaded ({error})", fix=fix) from error
    if not isinstance(model, Model) or model.name != point.name:
        raise InputError(f"encoder {point.name!r} of package {package} is {model!r:.80}", "a Model of that name", fix)
    return model
