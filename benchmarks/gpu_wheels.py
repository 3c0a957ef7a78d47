"""What each wheel for search on GPUs does on a machine without one, in an environment of its own.

    python -m benchmarks.gpu_wheels [--only faiss-gpu]

Each wheel is downloaded (two gigabytes) with all that it needs, and installed beside the packages of the environment
that runs this, which serve for the rest; then its engines are listed, the tests of engines run, and a query asks for a
GPU. What is downloaded and installed is removed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

import scvec as sv
from benchmarks.common import HERE, make_parser, markdown, save
from scvec.ingest.genes.gene_table import open_table

ROOT = HERE.parent
TESTS = ("tests/test_gpu_engines.py", "tests/test_index_gpu.py")
CELLS, TYPES, N_GENES = 4000, 12, 150
"""Cells and types to draw; of the known genes, each 150th."""

LIMIT = 1500
"""Seconds of a step."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel and what is asked for with it.

    Attributes
    ----------
    package
        Its name, which is its name in the table too.
    also
        Requirements that are asked for beside it.
    remark
        Why tests fail, as far as it was looked into.
    """

    package: str
    also: tuple[str, ...] = ()
    remark: str = ""

    @property
    def name(self) -> str:
        """What is installed, as on a command line."""
        return " ".join((self.package, *self.also))


WHEELS = (
    Wheel("cuvs-cu13"),
    Wheel("cuvs-cu12"),
    Wheel("faiss-gpu"),
    Wheel("faiss-gpu-cuvs"),
    Wheel("faiss-gpu-cuvs", ("libcuvs-cu13==26.6.*",)),
    Wheel(
        "faiss-gpu-cu12",
        remark="1.14.1 answers a search in an empty Flat index with positions that are none, newer FAISS with -1; it "
        "describes itself as built for compute capabilities 7.0 to 8.9, not the H100's 9.0",
    ),
    Wheel(
        "faiss-cuda",
        remark="1.14.3 raises std::bad_cast for every factory string once torch is imported, as it is before a search "
        "on a GPU; imported before torch it works",
    ),
)


@dataclass(slots=True)
class Found:
    """What one environment showed; fields stay empty after a step that failed."""

    wheel: str
    version: str = ""
    own_mb: float = 0
    download_mb: float = 0
    needs: list[str] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tests: str = ""
    query: list[str] = field(default_factory=list)
    remark: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser("gpu_wheels", __doc__)
    parser.add_argument("--only", help="a wheel of these")
    args = parser.parse_args(arguments)
    wheels = [one for one in WHEELS if args.only in (None, one.package)]
    with tempfile.TemporaryDirectory() as folder:
        store = _store(Path(folder))
        found = [_tried(wheel, Path(folder), store) for wheel in wheels]
    save("gpu_wheels", "python -m benchmarks.gpu_wheels", {"wheels": [asdict(one) for one in found]}, _text(found))
    return 0


def _store(folder: Path) -> Path:
    """Build an atlas of cells that are drawn, with an index that FAISS has for GPUs, and write a query; return it."""
    store, rng = sv.Store(folder / "store"), np.random.default_rng(0)
    genes = open_table(store, "human").genes["symbol"].drop_nulls().unique().sort().to_list()[::N_GENES]
    centres = rng.gamma(0.3, 4, (TYPES, len(genes)))
    types = rng.integers(0, TYPES, CELLS)
    cells = AnnData(
        sp.csr_matrix(rng.poisson(centres[types]).astype(np.float32)),
        obs=pd.DataFrame({"cell_type": [f"type {one}" for one in types]}, index=[f"c{i}" for i in range(CELLS)]),
        var=pd.DataFrame(index=genes),
    )
    cells[::20].copy().write_h5ad(folder / "query.h5ad")
    spec = sv.IndexSpec(factory="IVF64,SQ8")
    sv.atlas.build(store, "drawn", cells, label_key="cell_type", recipe="expression", index=spec)
    return folder / "store"


def _tried(wheel: Wheel, folder: Path, store: Path) -> Found:
    found, begun = Found(wheel.name, remark=wheel.remark), time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        python = _installed(wheel, Path(own), found)
        _look(python, found)
        done = _run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
        found.tests = re.sub(r" in [\d.]+s.*", "", last.strip("= "))[:200]
        for more in (("--device", "cuda"), *(("--device", "cuda", "--search-engine", one) for one in found.engines)):
            found.query.append(_query(python, store, Path(own), more))
    print(f"{wheel.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


def _installed(wheel: Wheel, own: Path, found: Found) -> Path:
    """Return the Python of a new environment with a wheel and, after it on the path, the packages of this one."""
    python, wheels = own / "env" / "bin" / "python", own / "wheels"
    subprocess.run([sys.executable, "-m", "venv", own / "env"], check=True)
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    asked = (wheel.package, *wheel.also)
    # This environment's numpy, which its other packages were built with.
    pins = ("--constraint", ROOT / "constraints.txt")
    subprocess.run([*pip, "--quiet", "--quiet", "download", *pins, "--dest", wheels, *asked], check=True, timeout=LIMIT)
    for path in sorted(wheels.iterdir()):
        name, number = path.name.split("-")[:2]
        found.download_mb += path.stat().st_size / 1e6
        if name.replace("_", "-") == wheel.package:
            found.version, found.own_mb = number, path.stat().st_size / 1e6
        else:
            found.needs.append(f"{name} {number}")
    offline = ("--quiet", "--quiet", "--no-compile", "--no-index", "--find-links", wheels)
    subprocess.run([*pip, "install", *offline, *asked], check=True, timeout=LIMIT)
    (site,) = (own / "env").glob("lib/python*/site-packages")
    here = {str(Path(one)) for one in sys.path if one.endswith("site-packages")}
    (site / "zz_others.pth").write_text("\n".join(sorted(here)) + "\n", encoding="utf-8")
    return python


def _look(python: Path, found: Found) -> None:
    """Note the engines that are installed, and what the survey says is wrong."""
    done = _run(python, "-m", "scvec", "models", "--devices", "--json")
    if done.returncode:
        found.notes.append(done.stderr.strip().splitlines()[-1][:200])
        return
    values: dict[str, Any] = json.loads(done.stdout)
    found.engines = [
        one["name"] for one in values["engines"] if one["installed"] and one["name"] not in ("cpu", "torch")
    ]
    # FAISS's CPU wheel is on the path too, after the one that is looked at.
    found.notes = [one for one in values["notes"] if "share the import name" not in one]


def _query(python: Path, store: Path, own: Path, more: Sequence[str]) -> str:
    """Return what a query ends with: its exit code, and its notes on the device or its error."""
    query = ("query", store.parent / "query.h5ad", "--atlas", "drawn", "--store", store, "--out", own / "calls.csv")
    done = _run(python, "-m", "scvec", *query, *more)
    said = [one for one in done.stderr.splitlines() if re.search(r"CPU|GPU|search-engine|FAISS|scvec: ", one)]
    return f"`{' '.join(more)}`: exit code {done.returncode}; {' / '.join(said) or 'no note'}"


def _run(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


def _text(found: Sequence[Found]) -> str:
    header = (
        "wheel",
        "version",
        "wheel, MB",
        "with all that it needs, MB",
        "engines that it brings",
        "tests without a GPU",
    )
    rows = [
        (
            f"`{one.wheel}`",
            one.version,
            f"{one.own_mb:,.0f}",
            f"{one.download_mb:,.0f}",
            ", ".join(one.engines) or "none",
            "; ".join(filter(None, (one.tests, *one.notes, one.remark))),
        )
        for one in found
    ]
    queries = [f"- `{one.wheel}`\n" + "\n".join(f"  - {line}" for line in one.query) for one in found]
    return f"""# Wheels for search on GPUs, on a machine without one

Each is in an environment of its own, with this one's packages (torch {version("torch")}) behind it. The tests are
{" and ".join(f"`{one}`" for one in TESTS)}: options, copies to a GPU that is not there, fallbacks and their notes;
those that are skipped need a GPU, or another wheel.

{markdown(header, rows)}

A query of an atlas with the index IVF64,SQ8, in each environment:

{chr(10).join(queries)}"""


if __name__ == "__main__":
    sys.exit(main())
