"""What gene texts add to the default recipe, against the same head without them and with other genes' texts.

    python -m benchmarks.without_texts --store STORE

Runs done before are not repeated. Vectors are TF-IDF's, which take seconds; minilm's are in ``benchmarks.open``.
"""

from __future__ import annotations

import json
from dataclasses import replace

import scvec as sv
from benchmarks.common import HERE, WORK, import_texts, make_parser, save
from scvec.bench import Suite, run

SUITE = HERE / "suites" / "without-texts.toml"


def main() -> None:
    parser = make_parser("without_texts", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"), help="kept between runs")
    parser.add_argument("--out", default=str(WORK / "without-texts"), help="the tasks' files and the records")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the suite's")
    args = parser.parse_args()
    store, suite = sv.Store(args.store), Suite.read(SUITE)
    if args.seeds:
        suite = replace(suite, seeds=tuple(args.seeds))
    for taxon in ("human", "mouse"):
        import_texts(store, taxon)
    results = run(suite, args.out, store)
    table = next(one for one in results.files if one.suffix == ".md").read_text(encoding="utf-8").strip()
    values = json.loads(next(one for one in results.files if one.suffix == ".json").read_text(encoding="utf-8"))
    save("without-texts", "python -m benchmarks.without_texts", values, table)


if __name__ == "__main__":
    main()
