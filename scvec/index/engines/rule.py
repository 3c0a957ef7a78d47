"""Which engine answers a search: one frozen value, decided here by the index, the device, and what is installed.

An engine proposes candidates; `scvec.index.search` computes their distances, whichever it is.

With ``"auto"``:

- on the CPU, the index itself is searched there;
- exact search runs on a GPU in torch, and its answers are those of the CPU;
- a FAISS index that FAISS has for GPUs is copied there, if the installed FAISS computes on GPUs;
- for every other FAISS index, torch compares all vectors on the GPU, exactly, if they fit into three quarters of its
  free memory: on paper, a GPU does so faster than the CPU searches the index;
- an index that Lance keeps in a table is searched on the CPU.

Where a GPU was asked for and is not used, `Engine.note` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from scvec.core.device import SearchEngine
from scvec.errors import InputError, must_be
from scvec.index.device_vectors import FREE
from scvec.index.engines.lacks import Installed, Lack
from scvec.index.lance import PREFIX
from scvec.index.make import EXACT

NAMES: tuple[SearchEngine, ...] = get_args(SearchEngine)


@dataclass(frozen=True, slots=True)
class Engine:
    """What answers a search, and where.

    Attributes
    ----------
    name
        One of `NAMES`, but not ``"auto"``.
    device
        ``"cpu"``, ``"cuda"``, or one of several GPUs, such as ``"cuda:1"``.
    note
        A note for the user: why a GPU is not used, or that the index is not; "" for none.
    """

    name: SearchEngine
    device: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of an index before it is opened.

    Attributes
    ----------
    factory
        Its factory string.
    clones
        Whether FAISS has a GPU version of it.
    n_bytes
        Bytes of its vectors, as they are stored.
    """

    factory: str
    clones: bool = False
    n_bytes: int = 0


CPU = Engine("cpu", "cpu")


def check(search_engine: str) -> None:
    """Raise `InputError` if no engine has this name."""
    if search_engine not in NAMES:
        raise must_be("search_engine", f"one of {', '.join(NAMES)}", search_engine)


def engine_for(
    kind: Kind, device: str, search_engine: SearchEngine, here: Installed, *, as_index: bool = False
) -> Engine:
    """Return the engine that searches an index.

    Parameters
    ----------
    kind
        The index.
    device
        The device asked for: ``"cpu"``, ``"cuda"``, or one of several GPUs, such as ``"cuda:1"``.
    search_engine
        ``"auto"``, see the module's rule; or the name of an engine.
    here
        What is installed.
    as_index
        Whether the index itself has to be searched, to measure it: ``"auto"`` then compares no vectors in its place.

    Raises
    ------
    InputError
        If the engine's name is unknown, or it was named and cannot search this index here.
    """
    check(search_engine)
    if search_engine == "auto":
        return _auto(kind, device, here, as_index)
    lack = lack_of(search_engine, kind, device, here)
    if lack is not None:
        raise unusable(search_engine, lack)
    return Engine(search_engine, "cpu" if search_engine == "cpu" else device)


def _auto(kind: Kind, device: str, here: Installed, as_index: bool) -> Engine:
    if device == "cpu":
        return CPU
    if kind.factory == EXACT:
        lack = lack_of("torch", kind, device, here)
        return Engine("torch", device) if lack is None else on_cpu(kind.factory, lack)
    own = lack_of("faiss-gpu", kind, device, here)
    if own is None:
        return Engine("faiss-gpu", device)
    if as_index:
        return on_cpu(kind.factory, own, how="measured")
    if kind.factory.startswith(PREFIX):
        return on_cpu(kind.factory, own)
    other = lack_of("torch", kind, device, here) or _too_large(kind, here)
    if other is None:
        how = f"all cells are compared on the GPU, exactly; the index {kind.factory} is not used ({own.why})"
        return Engine("torch", device, how)
    return on_cpu(kind.factory, own, other)


def on_cpu(factory: str, *lacks: Lack, how: str = "searched") -> Engine:
    """Return the CPU as the engine, with a note on what a GPU lacks."""
    what = "exact search runs" if factory == EXACT else f"the index {factory} is {how}"
    why = "; ".join(lack.why + (f" ({lack.fix})" if lack.fix else "") for lack in lacks)
    return Engine("cpu", "cpu", f"{what} on the CPU: {why}")


def unusable(name: str, lack: Lack) -> InputError:
    """Return the error for an engine that was named and cannot search an index here."""
    return InputError(
        f"`search_engine` {name!r} cannot be used: {lack.why}", fix=lack.fix or "use the engine auto, or `device` cpu"
    )


def lack_of(name: SearchEngine, kind: Kind, device: str, here: Installed) -> Lack | None:
    """Return why an engine cannot search an index; None if it can."""
    if name == "cpu":
        return None
    if kind.factory.startswith(PREFIX):
        return Lack("Lance searches its index in the table, on the CPU", "rebuild the atlas with --index auto")
    if name == "torch":
        return here.torch  # on the CPU too
    if device == "cpu":
        return Lack(
            "it needs a GPU, and the search is on the CPU", "use `device` cuda where there is a GPU, or the engine auto"
        )
    if name == "faiss-gpu" and not kind.clones:
        what = "exact search has no FAISS index" if kind.factory == EXACT else f"FAISS has no {kind.factory} for GPUs"
        return Lack(what, "use torch, or rebuild the atlas with an index such as IVF1024,SQ8")
    found: dict[SearchEngine, Lack | None] = {
        "faiss-gpu": here.faiss_gpu,
        "faiss-cagra": here.faiss_cagra or here.faiss_gpu,
        "cuvs-brute-force": here.torch or here.cuvs,
        "cuvs-cagra": here.torch or here.cuvs,
    }
    return found[name]


def _too_large(kind: Kind, here: Installed) -> Lack | None:
    room = FREE * here.free_bytes
    if kind.n_bytes <= room:
        return None
    return Lack(f"its vectors take {kind.n_bytes / 1e9:,.1f} GB, and {room / 1e9:,.1f} GB are free on the GPU", "")
