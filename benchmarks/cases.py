"""Files as users bring them, each made by a script of a folder: called rightly, or refused with the true cause?

python -m benchmarks.cases [--only NAME]

The scripts are those of ``$SCVEC_CASES`` (default: ``cases`` beside ``$SCVEC_DATA``). Each is run with the data and a
folder for what it makes; then scvec is run on that, as a user would, and its answer is judged:

- right: accuracy within .02 of that on the same cells' plain counts, and what is to be said is said;
- clear: refused in one line that names the cause and a fix, exit code 2;
- WRONG: another accuracy without a word; unclear: refused for another cause; CRASH: a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import DATA
from scvec.cli.app import table

CASES = Path(os.environ.get("SCVEC_CASES", DATA.parent / "cases"))
TOLERANCE = 0.02
SCVEC = Path(sys.executable).with_name("scvec")

PLAIN = """
import sys
sys.argv = [sys.argv[0], *sys.argv[1:3]]
from base import OUT, cells, query, reference
for n in (5, 20, 50, 200):
    query(n).write_h5ad(OUT / f"plain_{n}.h5ad")
reference().write_h5ad(OUT / "ref.h5ad")
import anndata as ad
whole = ad.read_h5ad(sys.argv[1] + "/cells/pancreas_baron_human.h5ad")
whole.obs[["cell_type1", "donor"]].to_csv(OUT / "labels.csv")
whole[whole.obs["donor"].isin(["human1", "human3"])].write_h5ad(OUT / "both.h5ad")
"""
"""Plain counts of the same cells, and tables of their labels."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a user does.

    Attributes
    ----------
    name
        The number of the script, and the file.
    commands
        Verbs and arguments, one after the other; ``@`` is the folder with what the script made. The last is judged.
    cells
        Number of cells of the plain query with which its accuracy is compared; 0: what it prints is enough.
    says, refused
        Words that its notes have, or that its refusal has.
    """

    name: str
    commands: Sequence[str]
    cells: int = 200
    says: Sequence[str] = ()
    refused: Sequence[str] = ()


def _evaluated(
    name: str, file: str, more: str = "", *, atlas: str = "small", cells: int = 200, says: Sequence[str] = ()
) -> Case:
    command = f"evaluate @/{file} --atlas {atlas} --label-key cell_type1 {more}"
    return Case(f"{name} {file}", [command], cells, says)


def _built(name: str, file: str, more: str = "", says: Sequence[str] = ()) -> Case:
    build = f"atlas build t @/{file} --label-key cell_type1 --batch-key donor --recipe expression --overwrite {more}"
    return Case(f"{name} {file}", [build, "evaluate @/plain_200.h5ad --atlas t --label-key cell_type1"], 200, says)


def _refused(name: str, file: str, words: Sequence[str], more: str = "") -> Case:
    return Case(f"{name} {file}", [f"query @/{file} --atlas small --out @/calls.csv {more}"], 0, refused=words)


LABELS = "--obs @/labels.csv"
AUTHOR = "--label-key cell_type1"
WITHOUT = ("nan", "unassigned", "capital", "unknown", "gaps")
CASE_LIST = (
    _built("01", "legacy_ref.h5ad"),
    _built("03", "legacy_missing.h5ad", says=["50"]),
    _evaluated("05", "nullable.h5ad"),
    _evaluated("09", "cpm_200.h5ad"),
    *(_evaluated("11", f"{one}.h5ad") for one in ("log1p", "log2_cpm", "log10_cpm")),
    *(_evaluated("11", f"{one}.h5ad", atlas="refined") for one in ("log1p", "log2_cpm", "log10_cpm")),
    _evaluated("12", "soup.h5ad"),
    _evaluated("12", "soup.h5ad", "--scale counts"),
    _evaluated("14", "cite.h5ad", says=["14", "Antibody Capture"]),
    _evaluated("16", "ercc.h5ad", says=["92"]),
    _evaluated("16", "htseq.h5ad", says=["unaligned-read counter"]),
    _evaluated("17", "prefixed.h5ad", says=["GRCh38_"]),
    _evaluated("19", "numbers.h5ad", "--gene-key gene"),
    _evaluated("19", "numbers.h5ad", says=["gene"]),
    _refused("20", "empty.h5ad", ["count"]),
    _evaluated("21", "few.h5ad.gz", cells=20),
    _refused("21", "few.csv.gz", ["anndata"]),
    _refused("21", "few.tar.gz", ["archive"]),
    _evaluated("23", "zstd.h5ad", cells=50),
    *(_evaluated("24", one, LABELS, cells=50) for one in ("two_columns", "tabs", "geo")),
    _evaluated("25", "DGE_filtered", LABELS, cells=50),
    _evaluated("26", "cite.h5mu", LABELS, cells=50),
    _evaluated("27", "virus.h5", LABELS, says=["SARSCoV2"]),
    *(_built("28", f"labels_{one}.h5ad", says=["50"]) for one in WITHOUT),
    *(
        Case(f"29 {one}", [f"evaluate @/{one} --atlas small {AUTHOR}"], 0, ["cells of the atlas"])
        for one in ("ref.h5ad", "ref_again.h5ad")
    ),
    Case("30 raw_droplets.h5ad", ["query @/raw_droplets.h5ad --atlas small --out @/d.csv"], 0, ["droplets"]),
    *(_evaluated("31", "bare.h5ad", f"--obs @/{one}") for one in ("r.tsv", "european.csv", "suffix.csv")),
    _evaluated("31", "bare.h5ad", "--obs @/called.csv --only-annotated", says=["50"]),
    Case(
        "31 bare.h5ad",
        [f"evaluate @/bare.h5ad --atlas small {AUTHOR} --obs @/called.csv"],
        0,
        refused=["50 of the 200"],
    ),
    _evaluated("38", "partly.h5ad", says=["150"]),
    *(_evaluated("39", "twice.h5ad", atlas=atlas) for atlas in ("small", "refined")),
    Case(
        "one file, two donors",
        [
            f"atlas build t @/both.h5ad {AUTHOR} --recipe expression --overwrite --where \"donor = 'human1'\"",
            f"evaluate @/both.h5ad --atlas t {AUTHOR} --only \"donor = 'human3'\"",
        ],
        0,
    ),
)
PRINTED = {
    "06_adata_in_memory": "backed 200 cells",
    "08_to_adata_subset": "reordered (200",
    "22_open_elsewhere": "close",
}
"""Scripts that run scvec themselves, and what they print then."""


def main() -> int:
    """Run all cases, or those of one name; return 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the number of a script")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.prepare(only)
        rows = [run.judged(one) for one in CASE_LIST if one.name.startswith(only)]
        rows += [run.printed(one) for one in PRINTED if one.startswith(only)]
    print(table(("case", "verdict", "accuracy", "what was said"), rows))
    return int(any(verdict not in ("right", "clear") for _, verdict, *_ in rows))


@dataclass(frozen=True, slots=True)
class Run:
    """Cases in a folder of their own."""

    folder: Path

    def prepare(self, only: str) -> None:
        """Make the inputs, and two atlases of plain counts: of an SVD, and of a fitted head."""
        self._python(["-c", PLAIN])
        for script in sorted(CASES.glob("[0-9]*.py")):
            if script.name.startswith(only) and script.stem not in PRINTED:
                self._python([str(script)])
        for name, recipe in (("small", "expression"), ("refined", "refined")):
            self.scvec(f"atlas build {name} @/ref.h5ad --label-key cell_type1 --batch-key donor --recipe {recipe}")

    def judged(self, case: Case) -> tuple[str, str, str, str]:
        """Return a case's name, the verdict, its accuracy, and what was said."""
        said: list[str] = []
        for command in case.commands:
            done = self.scvec(command)
            said += done.stderr.strip().splitlines()
            if done.returncode:
                break
        text = "\n".join(said)
        accuracy = _accuracy(done.stdout)
        if "Traceback" in text:
            return case.name, "CRASH", "", said[-1]
        if done.returncode:
            clear = case.refused and all(word in text for word in case.refused) and done.returncode == 2
            return case.name, "clear" if clear else "unclear", "", said[-1]
        missing = [word for word in case.says if word not in text]
        wrong = case.refused or missing or (case.cells and accuracy < self.plain(case) - TOLERANCE)
        told = f"without a word of {', '.join(missing)}" if missing else "; ".join(said[:2])
        return case.name, "WRONG" if wrong else "right", f"{accuracy:.3f}", told

    def plain(self, case: Case) -> float:
        """Return the accuracy of the same cells' plain counts, by the same atlas."""
        atlas = case.commands[-1].partition("--atlas ")[2].split()[0]
        atlas = "small" if atlas == "t" else atlas
        return _accuracy(
            self.scvec(f"evaluate @/plain_{case.cells}.h5ad --atlas {atlas} --label-key cell_type1").stdout
        )

    def printed(self, script: str) -> tuple[str, str, str, str]:
        """Return the verdict on a script that runs scvec itself."""
        done = self._python([str(CASES / f"{script}.py")], str(self.folder / "store"))
        text = (done.stdout + done.stderr).strip()
        crashed = "CRASH" in text or "Traceback" in text
        verdict = "CRASH" if crashed else "right" if PRINTED[script] in text else "unclear"
        return script, verdict, "", " / ".join(text.splitlines())

    def scvec(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a verb; what it evaluates, it prints as JSON."""
        words = shlex.split(command.replace("@", str(self.folder / "out")))
        as_json = ["--json"] if words[0] == "evaluate" else []
        return self._run([str(SCVEC), *words, *as_json])

    def _python(self, words: list[str], *more: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, *words, str(DATA), str(self.folder / "out"), *more])

    def _run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        path = f"{SCVEC.parent}{os.pathsep}{os.environ['PATH']}"
        python = os.pathsep.join([str(CASES), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {
            "PATH": path,
            "PYTHONPATH": python,
            "SCVEC_STORE": str(self.folder / "store"),
            "COLUMNS": "1000",
        }
        return subprocess.run(words, capture_output=True, text=True, env=environment, cwd=self.folder, check=False)


def _accuracy(printed: str) -> float:
    try:
        return float(json.loads(printed)["accuracy"])
    except (ValueError, KeyError, TypeError):
        return float("nan")


if __name__ == "__main__":
    sys.exit(main())
