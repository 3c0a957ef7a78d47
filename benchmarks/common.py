"""What benchmarks share: paths, the command line, the machine's description, and how results are written."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import scvec as sv

HERE = Path(__file__).parent
DATA = Path(os.environ.get("SCVEC_DATA", HERE.parent / ".." / "shared" / "data"))
WORK = HERE / "work"
RESULTS = HERE / "results"
PACKAGES = ("numpy", "scipy", "scikit-learn", "pylance", "faiss-cpu", "numba", "torch", "sentence-transformers")


def make_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the argument parser of ``python -m benchmarks.<name>``, which shows the module's docstring as it is."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def machine() -> dict[str, Any]:
    """Return what a figure depends on besides the code."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {"scvec": sv.__version__, **{name: of for name in PACKAGES if (of := version_of(name))}},
    }


def version_of(package: str) -> str | None:
    """Return the installed version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def import_texts(store: sv.Store, taxon: str) -> sv.ingest.GeneTexts:
    """Import NCBI's gene texts of a taxon, with orthologs."""
    species = {"human": "Homo_sapiens", "mouse": "Mus_musculus"}[taxon]
    ncbi = DATA / "ncbi"
    return sv.ingest.texts(
        store,
        taxon=taxon,
        gene_info=ncbi / f"{species}.gene_info.gz",
        gene_summary=ncbi / "gene_summary.gz",
        gene_orthologs=ncbi / "gene_orthologs.gz",
    )


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; floats have three digits."""
    shown = [[f"{one:.3f}" if isinstance(one, float) else str(one) for one in row] for row in rows]
    lines = [list(header), ["---"] * len(header), *shown]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def save(
    name: str, command: str, values: dict[str, Any], text: str, folder: Path | None = None, *, quiet: bool = False
) -> None:
    """Write a result as JSON and Markdown, with the command that made it; a kill leaves the former files, or these."""
    folder = folder or RESULTS
    folder.mkdir(exist_ok=True)
    result = {"command": command, "machine": machine(), **values}
    _replace(folder / f"{name}.json", json.dumps(result, indent=1) + "\n")
    made = result["machine"]
    packages = ", ".join(f"{key} {value}" for key, value in made["packages"].items())
    where = f"{made['cores']} cores, {made['memory_gib']} GiB, {made['platform']}, Python {made['python']}; {packages}."
    _replace(folder / f"{name}.md", f"{text}\n\nMade by `{command}` on {where}\n")
    if not quiet:
        print(text)


def write_leaderboard() -> None:
    """Write the page of models, `results/leaderboard.html`, of the figures on genes, and on words, names and cells."""
    from scvec.bench.board import read_boards, write_board

    paths = [path for name in ("genes", "models") if (path := RESULTS / f"{name}.json").is_file()]
    boards = [replace(one, source=f"benchmarks/results/{Path(one.source).name}") for one in read_boards(paths)]
    command = " ".join(["scvec bench show", *(f"benchmarks/results/{path.name}" for path in paths)])
    write_board(boards, RESULTS / "leaderboard.html", command=command)


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
