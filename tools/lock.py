"""Writes constraints.txt: what every supported Python resolves of ``.[dev,gpu]``, by pip itself, under constraints.in.

Nothing is installed: the gpu extra, which dev leaves out as it takes gigabytes, is pinned by its metadata alone.

Run by ``make lock``, anew from constraints.in each time. python3.11, python3.12 and python3.13 have to be on the PATH.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
FREE = re.compile(r"(scvec|pip|setuptools|triton)$|nvidia-|cuda-")
"""Ourselves, what installs, and what comes with torch or does not, by where torch comes from."""
HEAD = """\
# Made by `make lock` on Linux, not by hand: all that `.[dev,gpu]` resolves with what constraints.in pins, and says why.
# pip install -c constraints.txt ...
"""


def resolved(python: str, folder: Path) -> dict[str, str]:
    """Return the version of each package that pip would install into an empty environment."""
    report = folder / f"{python}.json"
    subprocess.run([python, "-m", "venv", folder / python], check=True)
    pip = (folder / python / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
    what = ("--dry-run", "--quiet", "--report", report, "--constraint", ROOT / "constraints.in", f"{ROOT}[dev,gpu]")
    subprocess.run([*pip, "install", *what], check=True)
    found = {}
    for one in json.loads(report.read_text(encoding="utf-8"))["install"]:
        name = re.sub(r"[-_.]+", "-", one["metadata"]["name"]).lower()
        # A local version, as torch's +cpu, is one build of a release.
        found[name] = one["metadata"]["version"].partition("+")[0]
    return {name: version for name, version in found.items() if not FREE.match(name)}


def lines(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a constraint for each package, or one for each version where the Pythons differ; `found` is by Python."""
    pythons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for python, versions in found.items():
        for name, version in versions.items():
            pythons[name][version].append(python)
    return [
        f"{name}=={version}" + ("" if len(by_version) == 1 else f" ; {marker(of)}")
        for name, by_version in sorted(pythons.items())
        for version, of in by_version.items()
    ]


def marker(pythons: Sequence[str]) -> str:
    """Return what says that Python is one of these."""
    return " or ".join(f'python_version == "{python}"' for python in pythons)


def main() -> None:
    """Write the file."""
    absent = [python for python in PYTHONS if shutil.which(f"python{python}") is None]
    if absent:
        sys.exit(f"no python{absent[0]} on the PATH: expected all of {', '.join(PYTHONS)}. Fix: install it")
    with tempfile.TemporaryDirectory() as folder:
        found = {python: resolved(f"python{python}", Path(folder)) for python in PYTHONS}
    made = lines(found)
    (ROOT / "constraints.txt").write_text(HEAD + "\n".join(made) + "\n", encoding="utf-8")
    sys.stdout.write(f"constraints.txt: {len(made)} pins\n")


if __name__ == "__main__":
    main()
