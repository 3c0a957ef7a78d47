"""Which text model knows most of genes: the suite of gene-level tasks, from NCBI's files to the page.

    python -m benchmarks.genes --store STORE [--encoder MODEL ...]

What is encoded and measured is not done again, and rows stay that an earlier run of the same tasks by the same code
measured. The first run encodes the texts of each model, which takes minutes to an hour; with these, the table takes
minutes.
"""

from __future__ import annotations

import json
from pathlib import Path

import scvec as sv
from benchmarks.common import HERE, RESULTS, WORK, import_texts, make_parser, save, write_leaderboard
from scvec.bench.genes import GeneSuite, run

SUITE = HERE / "suites" / "genes.toml"
COMMAND = "python -m benchmarks.genes"


def main() -> None:
    parser = make_parser("genes", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"), help="kept between runs: encoding takes minutes")
    parser.add_argument("--out", type=Path, default=WORK / "genes", help="the records")
    parser.add_argument("--encoder", action="append", help="measure only this model; may be given several times")
    args = parser.parse_args()
    store = sv.Store(args.store)
    for taxon in ("human", "mouse"):
        import_texts(store, taxon)
    results = run(GeneSuite.read(SUITE), args.out, store, encoders=args.encoder, command=COMMAND)
    former = RESULTS / "genes.json"
    if former.is_file():
        results = results.beside(json.loads(former.read_text(encoding="utf-8")))
    save("genes", COMMAND, results.to_dict(), results.markdown())
    write_leaderboard()


if __name__ == "__main__":
    main()
