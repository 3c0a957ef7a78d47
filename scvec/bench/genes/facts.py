"""What is known of a model besides its figures: tokens that it does not read, speed, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from scvec.bench.genes.sources import Encoded
from scvec.bench.genes.tasks import Prepared, Variant
from scvec.core.types import Ints, Progress
from scvec.embed.encoders import Address, Encoder, Partial, Priced, Truncates, find
from scvec.embed.encoders.api import estimate_tokens

N_TIMED = 64
"""Texts that are encoded for the speed alone, if all vectors are in the store."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model is, and what it took.

    Attributes
    ----------
    revision, dimension
        As of the encoder.
    max_tokens
        How much of a text it reads; None if there is no limit, or none is known.
    n_texts, n_tokens, tokens_lost
        Of the plain texts of all tasks: distinct texts, their tokens, and the share beyond the limit.
    counted
        Whether tokens were counted by the model's own tokenizer; else they are estimated from the length.
    n_encoded, seconds, timed_tokens
        How many texts were encoded, plain and others, the seconds that it took, and the tokens that were read in them;
        of a sample, if all vectors were in the store.
    usd
        List price of encoding the plain texts once: 0 for what runs here; None if no price is known.
    covered
        Share of the plain texts for which there is a vector.
    """

    revision: str
    dimension: int
    max_tokens: int | None
    n_texts: int
    n_tokens: int
    tokens_lost: float
    counted: bool
    n_encoded: int
    seconds: float
    timed_tokens: int
    usd: float | None
    covered: float


def encode(
    source: Encoded,
    tasks: Sequence[Prepared],
    variants: Sequence[Variant],
    *,
    timed: bool = False,
    progress: Progress | None = None,
) -> Facts:
    """Encode all texts of the tasks that have no vector, and return what is known of the model.

    If none lacks one, some are encoded for the speed, unless it is known (`timed`) or costs money.

    Raises
    ------
    ScvecError
        If the encoder fails.
    """
    model = source.model
    spent, n_read, n_encoded = 0.0, 0, 0
    for variant in variants:
        texts = list(dict.fromkeys(text for one in tasks for side in one.sides for text in side.texts[variant]))
        left = source.missing(texts, variant)
        start = perf_counter()
        source.encode(texts, variant, progress)
        spent += perf_counter() - start if left else 0.0
        n_read += _read(model, left)
        n_encoded += len(left)
    plain = list(dict.fromkeys(text for one in tasks for side in one.sides for text in side.texts["plain"]))
    known = [one for one in plain if not isinstance(model, Partial) or model.knows(one)]
    if not n_read and not timed and not isinstance(model, (Partial, Priced)):
        some = plain[:: -(-len(plain) // N_TIMED)]
        start = perf_counter()
        model.encode(some)
        spent, n_read = perf_counter() - start, _read(model, some)
    sizes, most = counts(model, plain), limit_of(model)
    lost = 0 if most is None else int(np.maximum(sizes - most, 0).sum())
    price = model.usd_per_million_tokens if isinstance(model, Priced) else 0.0
    total = int(sizes.sum())
    return Facts(
        revision=model.revision,
        dimension=model.dimension,
        max_tokens=most,
        n_texts=len(plain),
        n_tokens=total,
        tokens_lost=lost / total if total else 0.0,
        counted=isinstance(model, Truncates),
        n_encoded=n_encoded,
        seconds=0.0 if isinstance(model, Partial) else spent,
        timed_tokens=n_read,
        usd=None if price is None else total * price / 1e6,
        covered=len(known) / len(plain),
    )


def counts(model: Encoder, texts: Sequence[str]) -> Ints:
    """Return (n,) tokens of texts: by the model's tokenizer, or estimated; none for ready-made vectors."""
    if isinstance(model, Partial):
        return np.zeros(len(texts), np.int64)
    sizes = model.n_tokens(texts) if isinstance(model, Truncates) else [estimate_tokens(one) for one in texts]
    return np.array(sizes, np.int64)


def limit_of(model: Encoder) -> int | None:
    """Return how many tokens of a text a model reads; None if there is no limit, or none is known."""
    if isinstance(model, Truncates):
        return model.max_tokens
    return find(Address.parse(model.name).kind).max_tokens


def _read(model: Encoder, texts: Sequence[str]) -> int:
    """Return how many tokens of texts a model reads."""
    sizes, most = counts(model, texts), limit_of(model)
    return int((sizes if most is None else np.minimum(sizes, most)).sum())


def said(values: Mapping[str, Any]) -> Facts | None:
    """Return facts that were written as JSON types; None if they are of another form."""
    try:
        return Facts(**values)
    except TypeError:
        return None
