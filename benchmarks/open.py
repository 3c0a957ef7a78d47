"""The open suite, from NCBI's files to its tables: recipes, controls, and other tools if their environment exists.

    python -m benchmarks.open --store STORE [--peers .venv-peers/bin/python]

Runs done before are not repeated. The first run encodes the gene texts of two species, which takes minutes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import scvec as sv
from benchmarks.common import HERE, RESULTS, WORK, import_texts, make_parser, save
from benchmarks.peers import run as peers
from scvec.bench import Suite, plan, run

SUITE = HERE / "suites" / "open.toml"
OUT = WORK / "open"


def main() -> None:
    parser = make_parser("open", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"), help="kept between runs: encoding takes minutes")
    parser.add_argument("--out", type=Path, default=OUT, help="the tasks' files and the records")
    parser.add_argument("--peers", type=Path, help="the interpreter of the peers' environment")
    args = parser.parse_args()
    store, suite = sv.Store(args.store), Suite.read(SUITE)
    for taxon in ("human", "mouse"):
        texts = import_texts(store, taxon)
        for encoder in suite.encoders:
            sv.embed.genes(store, texts, encoder=encoder)
    results = run(suite, args.out, store)
    if args.peers:
        results = peers.measure(plan(suite, args.out, store), args.peers, peers.PEERS)
    _keep(results.files)


def _keep(files: tuple[Path, ...]) -> None:
    """Copy tables and plots to the results, with a description of the machine."""
    table = next(one for one in files if one.suffix == ".md").read_text(encoding="utf-8").strip()
    values = json.loads(next(one for one in files if one.suffix == ".json").read_text(encoding="utf-8"))
    save("open", "python -m benchmarks.open", values, table)
    for picture in (one for one in files if one.suffix == ".png"):
        shutil.copyfile(picture, RESULTS / f"open-{picture.name}")


if __name__ == "__main__":
    main()
