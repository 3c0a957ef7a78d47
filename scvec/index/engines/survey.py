"""What this machine has to search with, what would run for each kind of index, and what to install."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scvec.core.device import SearchEngine, choose, has_driver
from scvec.index.engines.lacks import Installed, Lack, broken, installed, packages
from scvec.index.engines.rule import NAMES, Kind, engine_for, lack_of
from scvec.index.lance import PREFIX
from scvec.index.make import EXACT

KINDS = (EXACT, "Flat", "IVF1024,Flat", "IVF1024,SQ8", "IVF1024,PQ16", "IVF1024,RaBitQ", "HNSW32", "lance:IVF_PQ")
"""Indexes to show: what ``--index`` takes, of about a million cells."""

DIMENSION = 32
CPU_TORCH = Lack("torch is built for the CPU", "pip install --force-reinstall torch")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that torch can use.

    Attributes
    ----------
    name
        Its product name.
    memory
        Its memory in bytes.
    """

    name: str
    memory: int


@dataclass(frozen=True, slots=True)
class EngineState:
    """An engine.

    Attributes
    ----------
    name
        Its name, as `search_engine` takes it.
    installed, runs
        Whether all that it needs is installed, and whether it can run on this machine.
    why, fix
        What it lacks, and what to do about it; "" where it runs.
    """

    name: str
    installed: bool
    runs: bool
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class IndexState:
    """What ``"auto"`` takes for a kind of index.

    Attributes
    ----------
    index
        The factory string.
    here, with_gpu
        The engine on this machine, and with what is installed on a machine with a GPU.
    """

    index: str
    here: str
    with_gpu: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to search with.

    Attributes
    ----------
    gpus
        GPUs that torch can use.
    driver
        Whether there is a file of a GPU driver.
    torch, torch_cuda
        Torch's version, and the CUDA that it was built with; None for none.
    faiss
        Installed wheels of FAISS, by name, with their versions.
    cuvs
        The same of cuVS.
    notes
        What is wrong with what is installed.
    engines, indexes
        All engines, and some kinds of index.
    """

    gpus: tuple[Gpu, ...]
    driver: bool
    torch: str | None
    torch_cuda: str | None
    faiss: dict[str, str]
    cuvs: dict[str, str]
    notes: tuple[str, ...]
    engines: tuple[EngineState, ...]
    indexes: tuple[IndexState, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)


def survey() -> Survey:
    """Look at what is installed. Torch is imported only where there is a GPU driver; FAISS and cuVS are imported."""
    torch, cuda = _torch()
    software, device = _software(cuda), choose("auto")[0]
    faiss, cuvs = _wheels("faiss"), _wheels("cuvs")
    kinds = _kinds(software)
    here = software if device == "cpu" else installed(device)
    there = replace(software, free_bytes=1)
    return Survey(
        gpus=() if device == "cpu" else _gpus(),
        driver=has_driver(),
        torch=torch,
        torch_cuda=cuda,
        faiss=faiss,
        cuvs=cuvs,
        notes=tuple(_notes(faiss, software)),
        engines=tuple(_state(name, software, here, device) for name in NAMES if name != "auto"),
        indexes=tuple(
            IndexState(
                kind.factory,
                engine_for(kind, device, "auto", here).name,
                engine_for(kind, "cuda", "auto", there).name,
            )
            for kind in kinds
        ),
    )


def _state(name: SearchEngine, software: Installed, here: Installed, device: str) -> EngineState:
    """Return the state of an engine, for an index that all can search."""
    kind = Kind("IVF1024,SQ8", clones=True)
    missing = lack_of(name, kind, "cuda", software)
    lack = missing or lack_of(name, kind, device, here)
    if lack is not None and device == "cpu" and missing is None:
        lack = Lack("there is no GPU here that can be used", "")
    return EngineState(name, missing is None, lack is None, lack.why if lack else "", lack.fix if lack else "")


def _software(cuda: str | None) -> Installed:
    """Return what the packages lack, which are imported here to see whether they can be."""
    found = packages()
    if found.torch is None and cuda is None and has_driver():
        found = replace(found, torch=CPU_TORCH)
    if found.cuvs is None:
        try:
            import cuvs.neighbors  # noqa: F401
        except ImportError as error:
            found = replace(found, cuvs=broken("cuvs", error))
    return found


def _kinds(software: Installed) -> list[Kind]:
    if _is_broken(software.faiss_gpu):
        return [Kind(one) for one in KINDS if one == EXACT]
    from scvec.index import faiss_gpu, kinds

    own = {one for one in KINDS if one != EXACT and not one.startswith(PREFIX)}
    return [Kind(one, one in own and faiss_gpu.clones(kinds.make(one, DIMENSION))) for one in KINDS]


def _notes(faiss: dict[str, str], software: Installed) -> Iterator[str]:
    if len(faiss) > 1:
        names = " and ".join(sorted(faiss))
        yield f"{names} share the import name faiss and overwrite each other: uninstall both, then install one"
    for lack in (software.faiss_gpu, software.cuvs):
        if lack is not None and _is_broken(lack):
            yield lack.why


def _is_broken(lack: Lack | None) -> bool:
    return lack is not None and "cannot be imported" in lack.why


def _torch() -> tuple[str | None, str | None]:
    """Return torch's version and its CUDA, from its file of these: importing it takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None, None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    found = {
        name: re.search(rf"^{name}\b[^=\n]*= *'([^'\n]*)'", text, re.MULTILINE) for name in ("__version__", "cuda")
    }
    version, cuda = found["__version__"], found["cuda"]
    return (version[1] if version else "unknown"), (cuda[1] if cuda else None)


def _wheels(prefix: str) -> dict[str, str]:
    """Return the versions of the packages whose name begins so, by name."""
    there = [one for one in distributions() if one.name.lower().startswith(prefix)]
    # A package that is on the path twice is imported from its first place.
    found = {one.name.lower(): one.version for one in reversed(there)}
    return dict(sorted(found.items()))


def _gpus() -> tuple[Gpu, ...]:
    import torch

    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return tuple(Gpu(one.name, int(one.total_memory)) for one in found)
