"""Options as one frozen value, which a function also takes field by field, as keywords."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar

from scvec.errors import InputError

Options = TypeVar("Options")
Function = TypeVar("Function", bound=Callable[..., Any])


def merged(kind: type[Options], options: Options | None, changes: dict[str, Any]) -> Options:
    """Return the options with `changes` in place of their fields; None: the defaults of `kind`.

    Raises
    ------
    InputError
        If one of the changes is not a field; the message names the nearest.
    """
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # every kind of options is a dataclass
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            fix = f"`{near[0]}`" if near else f"one of {', '.join(known)}"
            raise InputError(f"there is no option `{name}`", fix=fix)
    return replace(options, **changes) if options is not None else kind(**changes)  # type: ignore[type-var]


def spells_out(kind: type[Any]) -> Callable[[Function], Function]:
    """Let a function's signature name the fields of `kind` in place of its ``**changes``, for help and completion."""

    def decorated(function: Function) -> Function:
        own = inspect.signature(function)
        kept = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        spelt = [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=one.default if one.default_factory is MISSING else one.default_factory(),
                annotation=one.type,
            )
            for one in fields(kind)
        ]
        function.__signature__ = own.replace(parameters=[*kept, *spelt])  # type: ignore[attr-defined]
        return function

    return decorated
