"""What all verbs' options are made of: panels, values that are spread into options, and those every verb has."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from scvec.cli.app import Ui, open_store
from scvec.core.device import SearchEngine

if TYPE_CHECKING:
    from scvec.atlas import Atlas

DEFAULT_STORE = "scvec-store"


def panel(title: str) -> Callable[..., Any]:
    """Return `typer.Option` for options that the help lists under this title."""
    return functools.partial(typer.Option, rich_help_panel=title)


OutputOption = panel("Output")
InputOption = panel("Input")
LabelsOption = panel("Labels")
GeneralOption = panel("General")

DeviceOption = Annotated[str, GeneralOption(help="auto (a GPU if there is one), cpu, cuda, or one GPU as cuda:1.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFlags:
    """How a verb prints."""

    json: Annotated[bool, GeneralOption("--json", help="Print the result as JSON.")] = False
    quiet: Annotated[bool, GeneralOption("--quiet", help="Print neither progress nor notes.")] = False

    @property
    def ui(self) -> Ui:
        """Where results, notes and progress go."""
        return Ui(self.json, self.quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonFlags(OutputFlags):
    """The options of every verb that uses a store."""

    store: Annotated[
        str, GeneralOption("--store", envvar="SCVEC_STORE", help="Store: a folder or an object-store URI.")
    ] = DEFAULT_STORE


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFlags(CommonFlags):
    """The options of every verb that computes, too."""

    device: DeviceOption = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborFlags(DeviceFlags):
    """The options of every verb that finds neighbours in an atlas, too."""

    search_engine: Annotated[
        SearchEngine, GeneralOption(help="What finds neighbours: auto (see scvec models --devices), or one by name.")
    ] = "auto"

    def atlas(self, name: str, device: str | None = None) -> Atlas:
        """Open an atlas of the store on the device, and with the engine, that were asked for."""
        from scvec.atlas import open_atlas

        where = self.ui.device(self.device) if device is None else device
        return open_atlas(open_store(self.store), name, device=where, search_engine=self.search_engine)


def keywords(flags: Any, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the flags that are parameters of a function, by name; those not given are left to its defaults."""
    taken = inspect.signature(function).parameters
    given = {one.name: getattr(flags, one.name) for one in fields(flags) if one.name in taken}
    return {name: value for name, value in given.items() if value is not None}


def spreads(verb: Callable[..., None]) -> Callable[..., None]:
    """Have each parameter of a verb whose type is a dataclass be given as the options that are its fields."""
    signature = inspect.signature(verb, eval_str=True)
    kinds: dict[str, Any] = {
        one.name: one.annotation for one in signature.parameters.values() if is_dataclass(one.annotation)
    }
    options = {name: _options(kind) for name, kind in kinds.items()}

    @functools.wraps(verb)
    def with_options(**given: Any) -> None:
        made = {name: kind(**{one.name: given.pop(one.name) for one in options[name]}) for name, kind in kinds.items()}
        verb(**made, **given)

    parameters: list[inspect.Parameter] = []
    for one in signature.parameters.values():
        parameters += options.get(one.name, [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)])
    with_options.__dict__["__signature__"] = inspect.Signature(parameters)
    return with_options


def _options(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(kind)
    ]
