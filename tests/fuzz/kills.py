"""Kills at random moments: what a verb writes is there whole or not at all, and the same command ends well afterwards.

``python -m tests.fuzz.kills [KILLS] [VERB ...]``; 30 kills of each verb by default. Half of them come at a random
moment of the work, half of them when a file that is being written is seen. Each kill is followed by a look at the store
and the output, then by the same command, undisturbed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import scvec as sv
from scvec.errors import ScvecError
from tests import toy, toy_ontology

PRELOADED = """
import sys
from scvec import annotation, atlas, embed, evaluation, explain, ingest, interpret, ontology, report
from scvec.embed import compiled
import anndata, h5py, zarr, polars, sklearn.linear_model
if sys.argv[1] in ("report", "evaluate"):
    import matplotlib, plotly, umap, jinja2
from scvec.cli import main
print("ready", flush=True)
sys.argv = ["scvec", *sys.argv[1:]]
main()
"""
"""Imports all that a verb needs first, so that no kill is spent on imports."""

BUILD = "atlas build new ref.h5ad --label-key cell_type --batch-key donor"
VERBS: dict[str, str] = {
    "genes": "genes import --taxon mouse --gene-info mouse.gene_info.gz --gene-summary mouse_summary.gz",
    "ontology": "ontology import cl.obo",
    "embed": "embed --taxon human --encoder tfidf",
    "build": f"{BUILD} --recipe expression",
    "build refined": f"{BUILD} --recipe refined",
    "overwrite": "atlas build toy ref.h5ad --label-key cell_type --recipe expression --overwrite",
    "extend": "atlas extend toy more.h5ad",
    "remove": "atlas remove toy --where \"label = 'beta'\"",
    "rebuild": "atlas rebuild toy",
    "compact": "atlas compact toy --forget",
    "query csv": "query query.h5ad --atlas toy --out out/calls.csv",
    "query parquet": "query query.h5ad --atlas toy --out out/calls.parquet",
    "query h5ad": "query query.h5ad --atlas toy --out out/calls.h5ad",
    "query zarr": "query query.h5ad --atlas toy --out out/calls.zarr",
    "report": "report query.h5ad --atlas toy --out out/report.html",
    "evaluate": "evaluate query.h5ad --atlas toy --label-key cell_type --out out/evaluation",
    "explain": "explain query.h5ad --atlas toy --out out/genes.csv",
    "interpret": "interpret train own ref.h5ad --label-key cell_type --llm none",
}


@dataclass(frozen=True, slots=True)
class World:
    """A folder in which a verb is run."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> World:
        """Make cells, gene texts, and a store with the atlas "toy"."""
        folder.mkdir(parents=True)
        for name, seed, n in (("ref", 0, 240), ("more", 5, 40), ("query", 3, 60)):
            toy.cells(n, seed=seed).write_h5ad(folder / f"{name}.h5ad")
        mouse = toy.write_ncbi(folder, toy.MOUSE)
        for path, name in zip(mouse, ("mouse.gene_info.gz", "mouse_summary.gz"), strict=True):
            path.rename(folder / name)
        info, summary = toy.write_ncbi(folder)
        (folder / "cl.obo").write_text(toy_ontology.as_obo(toy_ontology.TOY))
        store = sv.Store(folder / "store")
        sv.ingest.texts(store, taxon="human", gene_info=info, gene_summary=summary)
        sv.atlas.build(store, "toy", folder / "ref.h5ad", label_key="cell_type", recipe="expression")
        (folder / "out").mkdir()
        return cls(folder)

    def copy(self, folder: Path) -> World:
        """Return a fresh copy."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        return World(folder)

    def start(self, verb: str) -> subprocess.Popen[str]:
        """Start a verb, and return when its work begins."""
        environment = os.environ | {"SCVEC_STORE": str(self.folder / "store")}
        process = subprocess.Popen(
            [sys.executable, "-c", PRELOADED, *shlex.split(VERBS[verb])],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def run(self, verb: str) -> tuple[float, str]:
        """Run a verb to its end; return its seconds, and what it said if it failed."""
        process, since = self.start(verb), time.perf_counter()
        _, said = process.communicate()
        return time.perf_counter() - since, said if process.returncode else ""

    def parts(self) -> list[Path]:
        """Return what is being written: hidden files and folders beside those that they become."""
        found = []
        for folder, names, files in os.walk(self.folder):
            found += [Path(folder, one) for one in (*names, *files) if one.startswith(".") and "lock" not in one]
        return found

    def outputs(self) -> dict[str, int]:
        """Return the size of each output that is visible; those of folders as a whole."""
        return {one.name: _size(one) for one in (self.folder / "out").iterdir() if not one.name.startswith(".")}

    def calls(self) -> str:
        """Return what the atlas says, and at which version; the error if it cannot be asked."""
        try:
            atlas = sv.atlas.open_atlas(sv.Store(self.folder / "store"), "toy")
            return " ".join(sv.annotate(self.folder / "query.h5ad", atlas).label.tolist())
        except ScvecError as error:
            return f"{type(error).__name__}: {error}"


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) if path.is_dir() else path.stat().st_size


def killed(verb: str, n: int, folder: Path, rng: np.random.Generator) -> list[str]:
    """Kill a verb n times; return what was wrong."""
    world = World.make(folder / "world")
    done = world.copy(folder / "done")
    before = world.calls()
    seconds, failed = done.run(verb)
    if failed:
        return [f"fails undisturbed: {failed.strip()[-300:]}"]
    after, whole, wrong = done.calls(), done.outputs(), []
    for i in range(n):
        one = world.copy(folder / "one")
        when = _kill(one, verb, seconds, i, rng)
        wrong += [f"kill {i} ({when}): {fault}" for fault in _faults(one, verb, {before, after}, after, whole)]
    return wrong


def _kill(world: World, verb: str, seconds: float, i: int, rng: np.random.Generator) -> str:
    """Kill it at a random moment, or a little after something is seen that is being written."""
    process, since = world.start(verb), time.perf_counter()
    if i % 2:
        old = set(world.parts())
        while process.poll() is None and not set(world.parts()) - old:
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.02)))
    else:
        time.sleep(float(rng.uniform(0, seconds)))
    when = f"after {time.perf_counter() - since:.3f} of {seconds:.3f} s"
    process.kill()
    process.communicate()
    return when


def _faults(world: World, verb: str, may_say: set[str], must_say: str, whole: dict[str, int]) -> list[str]:
    found = []
    if (said := world.calls()) not in may_say:
        found.append(f"the atlas says {said[:200]}")
    for name, size in world.outputs().items():
        if abs(size - whole.get(name, -1)) > size // 100:  # times of writing are in some formats
            found.append(f"{name} has {size:,} bytes in place of {whole.get(name, 0):,}")
    _, failed = world.run(verb)
    if failed and not _done_already(verb, failed):
        found.append(f"the same command fails afterwards: {failed.strip()[-300:]}")
    if (said := world.calls()) != must_say:
        found.append(f"after the same command, the atlas says {said[:200]}")
    if set(world.outputs()) != set(whole):
        found.append(f"after the same command there are {sorted(world.outputs())}")
    return found + [f"after the same command, {one.name} is left" for one in world.parts() if one.parent.name == "out"]


def _done_already(verb: str, said: str) -> bool:
    """Whether a command fails because the killed one had done its work."""
    words: dict[str, str] = {"build": "there is already", "build refined": "there is already"}
    words |= {"extend": "already has cells", "remove": "holds for 0 of", "interpret": "already"}
    return verb in words and words[verb] in said


def main(report: Callable[[str], None] = print) -> int:
    """Kill each verb; return 1 if something was wrong."""
    given = sys.argv[1:]
    n = int(given.pop(0)) if given and given[0].isdigit() else 30
    faulty = False
    for verb in given or VERBS:
        with tempfile.TemporaryDirectory() as folder:
            wrong = killed(verb, n, Path(folder), np.random.default_rng(0))
        report(f"{verb}: {n} kills, {len(wrong)} faults")
        for one in wrong:
            report(f"  {one.replace(folder, '')}")
        faulty |= bool(wrong)
    return int(faulty)


if __name__ == "__main__":
    sys.exit(main())
