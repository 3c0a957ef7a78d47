"""What an encoder of gene texts is, and how one is requested."""

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
        """The canonical name, see `Address.canonical`."""
        ...

    @property
    def revision(self) -> str:
        """Identity of the weights: equal revisions give equal vectors. Letters, digits, '.', '-' and '_'."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors; row i depends only on text i."""
        ...


@runtime_checkable
class Partial(Protocol):
    """An encoder that has vectors for some texts only, such as those of a file."""

    def knows(self, text: str) -> bool:
        """Whether `encode` has a vector for this text."""
        ...


@runtime_checkable
class Priced(Protocol):
    """An encoder that costs money."""

    @property
    def usd_per_million_tokens(self) -> float | None:
        """The list price; None if it is unknown."""
        ...


@runtime_checkable
class Truncates(Protocol):
    """An encoder that counts a text's tokens, and reads only so many of them."""

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a text it reads; None: all."""
        ...

    def n_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the number of tokens of each text, were it read whole."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an encoder: ``kind``, ``kind:argument`` or ``kind:argument?option=value&option=value``.

    Attributes
    ----------
    kind
        Name in the registry.
    argument
        What to load: a model's name or a path; "" for a kind that needs none.
    options
        Values by name.
    of
        What it is the address of, as errors name it.
    """

    kind: str
    argument: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    of: str = "encoder"

    @classmethod
    def parse(cls, text: str, of: str = "encoder") -> Address:
        """Parse an address; raise `InputError` if an option has no value."""
        whole, _, query = text.partition("?")
        kind, _, argument = whole.partition(":")
        options: dict[str, str] = {}
        for part in filter(None, query.split("&")):
            key, equals, value = part.partition("=")
            if not (key and equals and value):
                raise InputError(f"{of} {text!r} has the malformed option {part!r}", "option=value")
            options[key] = value
        return cls(kind, argument, MappingProxyType(options), of)

    def canonical(self) -> str:
        """Return the name under which vectors are stored: options sorted, and only the last part of a path."""
        is_path = re.match(r"[~./\\]|[A-Za-z]:\\", self.argument) is not None or self.kind in ("file", "static")
        argument = PurePath(self.argument).name if is_path else self.argument
        options = "&".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return self.kind + (f":{argument}" if argument else "") + (f"?{options}" if options else "")

    def choice(self, option: str, known: Sequence[str]) -> str:
        """Return the value of an option, by default the first of the `known`; raise `InputError` for any other."""
        value = self.options.get(option, known[0])
        if value not in known:
            allowed = " or ".join(known)
            raise InputError(f"{self.of} {self.canonical()!r}: {option} must be {allowed} (got {value!r})")
        return value

    def only(self, *options: str) -> None:
        """Raise `InputError` if there is an option other than these."""
        for key in self.options:
            if key not in options:
                known = f"one of: {', '.join(options)}" if options else ""
                raise InputError(f"{self.of} {self.kind!r} has no option {key!r}", known, "leave it out")

    def alone(self) -> None:
        """Raise `InputError` if there is an argument."""
        if self.argument:
            raise InputError(f"{self.of} {self.kind!r} takes no argument (got {self.argument!r})", fix="leave it out")


@dataclass(frozen=True, slots=True)
class Request:
    """What an encoder is made from.

    Attributes
    ----------
    address
        The address requested.
    genes
        The genes of the release, columns `TEXT_COLUMNS` of `scvec.ingest.genes.template`: for an encoder that is
        fitted on the texts, or whose vectors belong to genes.
    download
        Whether weights may be downloaded.
    """

    address: Address
    genes: pl.DataFrame
    download: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """An entry of the registry; entry points of the group ``scvec.encoders`` must be of this type.

    Attributes
    ----------
    name
        The kind by which it is requested.
    make
        Makes the encoder.
    weights
        Where the weights come from, as shown to users.
    is_here
        Whether it can be used now, without a download. Must not import heavy packages.
    argument
        What follows the colon, as shown to users: ``"MODEL"``, ``"PATH"``; "" if nothing does.
    dimension, max_tokens
        Length of a vector, and how much of a text is read; None if it depends on the argument, or has no limit.
    revision_of
        Returns the revision of an address, if that is possible without loading it; else None.
    partial
        Whether its encoders are `Partial`.
    instant
        Whether it encodes a whole genome in seconds: missing vectors are then computed wherever they are needed.
    fitted
        Whether it is fitted on the texts of a release, and knows no others.
    local
        Whether it runs on this machine and costs nothing but time: a build then encodes the texts of its genes itself.
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
    fitted: bool = False
    local: bool = False
