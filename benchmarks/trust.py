"""Whether `max_error` is kept: each of Baron's donors is called by the other three, at several maximum errors.

    python -m benchmarks.trust --store STORE

Uses the store and the tasks' files of `python -m benchmarks.open`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import scvec as sv
from benchmarks.common import WORK, make_parser, markdown, save
from benchmarks.open import OUT, SUITE
from scvec.annotation.rejection import reject
from scvec.bench import Suite, plan
from scvec.bench.tasks import BATCH, LABEL
from scvec.embed.recipe import RECIPES

ERRORS = (0.01, 0.02, 0.05, 0.1)
RECIPES_HERE = {"refined": RECIPES["refined"].with_encoder("minilm"), "expression (control)": RECIPES["expression"]}


def measured(store: sv.Store, out: Path, seeds: int) -> list[dict[str, Any]]:
    rows = []
    tasks = [one for one in plan(Suite.read(SUITE), out, store).tasks if one.task.name.startswith("baron, donor")]
    for task in tasks:
        for name, recipe in RECIPES_HERE.items():
            for seed in range(seeds):
                bound = replace(recipe, random_state=seed)
                atlas = sv.atlas.build(
                    store, "trust", task.reference, label_key=LABEL, batch_key=BATCH, recipe=bound, overwrite=True
                )
                calls = sv.annotate(task.query, atlas)
                for asked in ERRORS:
                    found = sv.evaluate(reject(calls, atlas, asked), LABEL).to_dict()
                    keys = ("known_accuracy", "coverage", "error", "ece", "auroc_confidence")
                    row = {"task": task.task.name, "recipe": name, "seed": seed, "max_error": asked}
                    rows.append({**row, **{key: found.get(key) for key in keys}})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = make_parser("trust", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"))
    parser.add_argument("--out", type=Path, default=OUT, help="where the open suite's files are")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    rows = measured(sv.Store(args.store), args.out, args.seeds)
    parts = []
    for recipe in RECIPES_HERE:
        table = []
        for task in dict.fromkeys(one["task"] for one in rows):
            chosen = [one for one in rows if (one["task"], one["recipe"]) == (task, recipe)]
            cells: list[object] = [task, median(one["known_accuracy"] for one in chosen)]
            for error in ERRORS:
                own = [one for one in chosen if one["max_error"] == error]
                cells.append(" at ".join(f"{median(one[key] for one in own):.3f}" for key in ("error", "coverage")))
            cells += [median(one[key] for one in chosen) for key in ("ece", "auroc_confidence")]
            table.append(cells)
        header = ("donor held out", "accuracy", *(f"{one:g}" for one in ERRORS), "ECE", "AUROC of confidence")
        parts.append(f"## {recipe}\n\n{markdown(header, table)}")
    text = (
        "# Whether the maximum error is kept\n\nError among the accepted cells of types that the reference has, at the "
        f"share of these cells that is accepted, by maximum error; medians of {args.seeds} seeds. Accuracy is without "
        "rejection."
    )
    save("trust", "python -m benchmarks.trust", {"rows": rows}, "\n\n".join([text, *parts]))


if __name__ == "__main__":
    main()
