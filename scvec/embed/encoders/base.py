"""What an encoder of gene texts is, and how one is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from scvec.core.types import Floats
from scvec.errors import InputError

if TYPE_CHECKING:
    import polars as pl

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """Its canonical name, see `Address.canonical`."""
        ...

    @property
    def revision(self) -> str:
        """Identity of its weights: equal revisions give equal vectors. Letters, digits, '.', '-' and '_'."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors; row i depends on text i alone."""
        ...


@runtime_checkable
class Partial(Protocol):
    """An encoder that has vectors of some texts only: those of a file, say."""

    def knows(self, text: str) -> bool:
        """Whether `encode` takes this text."""
        ...


@runtime_checkable
class Priced(Protocol):
    """An encoder that costs money."""

    @property
    def usd_per_million_tokens(self) -> float | None:
        """The list price; None where it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """An encoder as it is asked for: ``kind``, ``kind:argument`` or ``kind:argument?option=value&option=value``.

    Attributes
    ----------
    kind
        Name in the registry.
    argument
        What the kind is to load: a model's name, a path; "" for a kind that needs none.
    options
        By name.
    of
        What it is an address of, as errors name it.
    """

    kind: str
    argument: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    of: str = "encoder"

    @classmethod
    def parse(cls, text: str, of: str = "encoder") -> Address:
        """Read an address; raise `InputError` if an option has no value."""
        whole, _, query = text.partition("?")
        kind, _, argument = whole.partition(":")
        options: dict[str, str] = {}
        for part in filter(None, query.split("&")):
            key, equals, value = part.partition("=")
            if not (key and equals and value):
                raise InputError(f"{of} {text!r} has the option {part!r}", "option=value", "mend the name")
            options[key] = value
        return cls(kind, argument, MappingProxyType(options), of)

    def canonical(self) -> str:
        """Return the name under which vectors are kept: options in order, of a path its last part only."""
        is_path = re.match(r"[~./\\]|[A-Za-z]:\\", self.argument) is not None or self.kind == "file"
        argument = PurePath(self.argument).name if is_path else self.argument
        options = "&".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return self.kind + (f":{argument}" if argument else "") + (f"?{options}" if options else "")

    def choice(self, option: str, known: Sequence[str]) -> str:
        """Return the value of an option, by default the first of the `known`; raise `InputError` for another."""
        value = self.options.get(option, known[0])
        if value not in known:
            raise InputError(
                f"{option}={value!r} in {self.of} {self.canonical()!r}", " or ".join(known), "mend the name"
            )
        return value

    def only(self, *options: str) -> None:
        """Raise `InputError` if there is an option beside these."""
        for key in self.options:
            if key not in options:
                wanted = f"one of: {', '.join(options)}" if options else "no options"
                raise InputError(f"option {key!r} in {self.of} {self.canonical()!r}", wanted, "leave it out")


@dataclass(frozen=True, slots=True)
class Request:
    """What an encoder is made with.

    Attributes
    ----------
    address
        As it was asked for.
    genes
        The genes of the release, columns `TEXT_COLUMNS` of `scvec.ingest.genes.template`: for an encoder that is
        fitted on texts, or whose vectors are of genes.
    download
        Whether weights may be fetched.
    """

    address: Address
    genes: pl.DataFrame
    download: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """An entry of the registry; what an entry point of the group ``scvec.encoders`` is to give.

    Attributes
    ----------
    name
        The kind it is asked for by.
    make
        Makes the encoder.
    weights
        Where its weights come from, in words.
    is_here
        Whether it could be used now, without a download. Must not import what is heavy.
    argument
        What follows the colon, as it is shown: ``"MODEL"``, ``"PATH"``; "" where nothing does.
    dimension, max_tokens
        Length of a vector, and how much of a text is read; None where it depends on the argument, or has no limit.
    revision_of
        Returns the revision of what an address means, where that takes no loading; else None.
    partial
        Whether its encoders are `Partial`.
    instant
        Whether it takes seconds for a whole genome: an atlas build then runs it itself where vectors are missing.
    """

    name: str
    make: Callable[[Request], Encoder]
    weights: str
    is_here: Callable[[], bool]
    argument: str = ""
    dimension: int | None = None
    max_tokens: int | None = None
    revision_of: Callable[[Address], str | None] = lambda _address: None
    partial: bool = False
    instant: bool = False
