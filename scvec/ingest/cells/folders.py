"""The matrix that a folder of another program holds, also some floors down: Cell Ranger's outs, STARsolo's Solo.out."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from scvec.errors import FileError
from scvec.ingest.cells.locations import Place, Uri
from scvec.ingest.cells.market_layout import is_market, names_in
from scvec.ingest.cells.refusals import WANTED

MATRICES = ("matrix.mtx.gz", "matrix.mtx")
"""The names of programs' main matrix; others beside it are variants."""

TENX_H5 = re.compile(r"(?i).*(feature_bc|gene_bc|cell_feature)_matrix.*\.h5$")
CELLS = (".h5ad", ".h5mu", ".loom", ".h5", ".h5ad.gz")
MAX_FLOORS, MAX_FOLDERS, N_SHOWN = 5, 2_000, 6

FILTERED, RAW = re.compile(r"(?i)(?<!un)filtered"), re.compile(r"(?i)unfiltered|(?<![a-z])raw(?![a-z])")


@dataclass(frozen=True, slots=True)
class Inside:
    """What a folder is read as.

    Attributes
    ----------
    where
        A matrix in text, or a 10x ``.h5``.
    notes
        Notes for the user on the choice.
    """

    where: Place
    notes: tuple[str, ...] = ()


def inside(folder: Place) -> Inside:
    """Return the only matrix in a folder, or that of the filtered cells in a folder below it.

    Raises
    ------
    FileError
        If there is none, or if there are several, which are named.
    """
    names = names_in(folder)
    if names is None:  # a web server
        found = next((folder / name for name in MATRICES if (folder / name).exists()), None)
        if found is None:
            raise _nothing(folder, [])
        return Inside(found)
    own = [name for name in names if is_market(name)]
    main = next((name for name in MATRICES if name in own), None)
    if main is not None:
        others = [name for name in own if name not in MATRICES]
        said = f"{main} is read, not {_shown(others)} beside it" if others else ""
        return Inside(folder / main, (said,) if said else ())
    if len(own) == 1:
        return Inside(folder / own[0])
    if own:
        raise _several(folder, own)
    return _below(folder, names)


def _below(folder: Place, names: list[str]) -> Inside:
    found = [] if isinstance(folder, Uri) else _search(folder)
    filtered = [one for one in found if FILTERED.search(one)]
    kept = _matrices(filtered or found)
    if not kept:
        raise _nothing(folder, names)
    if len(kept) > 1:
        raise _several(folder, kept)
    left = _matrices([one for one in found if one not in filtered]) if filtered else []
    note = f"{kept[0]} in it is read" + (f", not {_shown(left)}" if left else "")
    return Inside(folder / kept[0], (note,))


def _search(folder: Path) -> list[str]:
    """Return the matrices below a folder, relative to it; links to folders are not followed."""
    found: list[str] = []
    for n, (path, folders, files) in enumerate(os.walk(folder)):
        here = Path(path)
        if n > MAX_FOLDERS or len(here.relative_to(folder).parts) >= MAX_FLOORS:
            folders.clear()
        if "outs" in folders:  # Cell Ranger's working folders have copies
            folders[:] = ["outs"]
        folders[:] = sorted(one for one in folders if not one.startswith(".") and not one.endswith(".zarr"))
        own = [one for one in files if is_market(one)]
        main = [one for one in MATRICES if one in own][:1]
        own = main or own
        own += [one for one in files if TENX_H5.match(one)]
        found += [str((here / one).relative_to(folder)) for one in own]
    return sorted(found)


def _matrices(found: list[str]) -> list[str]:
    """Return matrices, each once: Cell Ranger writes the same one as text in a folder and as .h5 beside it."""
    h5 = {one.removesuffix(".h5") for one in found if one.endswith(".h5")}
    return [one for one in found if str(Path(one).parent) not in h5]


def _several(folder: Place, found: list[str]) -> FileError:
    seen = f"{folder} has several matrices: {_shown(found)}"
    return FileError(seen, "one matrix", f"give one of them, such as {folder / found[0]}")


def _nothing(folder: Place, names: list[str]) -> FileError:
    files = [name for name in names if name.lower().endswith(CELLS)]
    if files:
        seen = f"{folder} is a folder without matrix.mtx, not a zarr store; it has files of cells: {_shown(files)}"
        every = f", or '{folder}/*{files[0][files[0].rindex('.') :]}' where several files are taken"
        fix = f"give one of them, such as {folder / files[0]}{every if len(files) > 1 else ''}"
        return FileError(seen, "one file of cells", fix)
    if any(name.startswith("quants_mat.gz") for name in names):
        fix = "run salmon alevin again with --dumpMtx, which writes quants_mat.mtx.gz, and give that folder"
        return FileError(f"{folder} has alevin's binary matrix, quants_mat.gz", WANTED, fix)
    holds = f" (it has {_shown(names)})" if names else " (it is empty)"
    return FileError(f"{folder} is a folder without matrix.mtx, not a zarr store{holds}", WANTED, "check the path")


def _shown(names: list[str]) -> str:
    return ", ".join(names[:N_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > N_SHOWN else "")


def unfiltered_note(where: Place) -> tuple[str, ...]:
    """Return a note if a file or folder is the unfiltered matrix, and the filtered one is beside it."""
    if isinstance(where, Uri):
        return ()
    where = where.absolute()
    for one, rest in ((where, ""), (where.parent, where.name)):
        name = RAW.sub("filtered", one.name, count=1)
        if name not in (one.name, "") and (other := one.with_name(name) / rest).exists():
            said = f"{one.name} is the unfiltered matrix, mostly empty droplets; {other}, beside it, has the cells"
            return (said,)
    return ()
