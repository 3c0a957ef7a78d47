"""The open suite, from NCBI's files to its tables: recipes, controls, and other tools where there is a place for them.

    python -m benchmarks.open --store STORE [--peers .venv-peers/bin/python]

What was run before is not run again. The first run encodes the gene texts of two species, for minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import scvec as sv
from benchmarks.common import HERE, RESULTS, WORK, import_texts, save
from benchmarks.peers import run as peers
from scvec.bench import Suite, plan, run

SUITE = HERE / "suites" / "open.toml"
OUT = WORK / "open"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=str(WORK / "store"), help="kept between runs: encoding takes minutes once")
    parser.add_argument("--out", type=Path, default=OUT, help="the tasks' files and the records")
    parser.add_argument("--peers", type=Path, help="the interpreter of the peers' environment")
    asked = parser.parse_args()
    store, suite = sv.Store(asked.store), Suite.read(SUITE)
    for taxon in ("human", "mouse"):
        texts = import_texts(store, taxon)
        for encoder in suite.encoders:
            sv.embed.genes(store, texts, encoder=encoder)
    results = run(suite, asked.out, store)
    if asked.peers:
        results = peers.measure(plan(suite, asked.out, store), asked.peers, peers.PEERS)
    _keep(results.files)


def _keep(files: tuple[Path, ...]) -> None:
    """Put tables and pictures among the results, with the machine they were made on."""
    table = next(one for one in files if one.suffix == ".md").read_text(encoding="utf-8").strip()
    values = json.loads(next(one for one in files if one.suffix == ".json").read_text(encoding="utf-8"))
    save("open", "python -m benchmarks.open", values, table)
    for picture in (one for one in files if one.suffix == ".png"):
        shutil.copyfile(picture, RESULTS / f"open-{picture.name}")


if __name__ == "__main__":
    main()
