"""Whether `max_error` is kept on donors and on studies, and whether a query that is unlike the reference is noticed.

    python -m benchmarks.unlike [--only WORD ...]

Needs no texts and no store: each atlas is built by the recipe `refined` with free weights, in a store of its own. What
was found is kept in `benchmarks/work/unlike`; `--again` makes it again. Alarms on donors that are held out are false.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import anndata as ad
import numpy as np

import scvec as sv
from benchmarks.common import DATA, WORK, make_parser, markdown, save
from benchmarks.novelty import CELLS
from scvec.knn.unlike import shift_of

MAX_ERRORS = (0.02, 0.05, 0.1)
LINES = ("sc_celseq2_scmixology.h5ad", "sc_dropseq_scmixology.h5ad")
HUMAN, MOUSE, XIN = "pancreas_baron_human.h5ad", "pancreas_baron_mouse.h5ad", "pancreas_xin_scClassify.h5ad"

Pair = tuple[ad.AnnData, ad.AnnData]


@dataclass(frozen=True)
class Case:
    """A reference and a query, with the columns of their labels; donors are ``"donor"`` if the reference has several.

    Attributes
    ----------
    kind
        ``"donor"`` of the same study, ``"one donor"`` where the reference has one only, or ``"study"``.
    make
        Returns reference and query.
    key, query_key
        Columns of labels.
    taxon
        Of the query, if it is another than the reference's.
    """

    kind: str
    make: Callable[[], Pair]
    key: str
    query_key: str
    taxon: str | None = None


def cases() -> dict[str, Case]:
    """Return all cases by their names."""
    found = {}
    for study, donors in (("pancreas", "1234"), ("choroid", "123"), ("retina", "23")):
        file, key = CELLS[study]
        for one in donors:
            name = ("human" if study == "pancreas" else "donor") + one
            kind = "donor" if len(donors) > 2 else "one donor"
            found[f"{study}, {name}"] = Case(kind, partial(_donor, file, name), key, key)
    found["pancreas, Xin"] = Case("study", partial(_study, HUMAN, XIN), "cell_type1", "cell_type")
    one = "cell_ontology_id"
    found["pancreas, mouse"] = Case("study", partial(_study, HUMAN, MOUSE), one, one, "mouse")
    for here, there, name in ((*LINES, "CEL-seq2 to Drop-seq"), (*LINES[::-1], "Drop-seq to CEL-seq2")):
        found[name] = Case("study", partial(_study, here, there), "cell_line", "cell_line")
    return found


def _cells(file: str) -> ad.AnnData:
    return ad.read_h5ad(DATA / "cells" / file)


def _study(file: str, other: str) -> Pair:
    return _cells(file), _cells(other)


def _donor(file: str, name: str) -> Pair:
    cells = _cells(file)
    held = (cells.obs["donor"].astype(str) == name).to_numpy()
    return cells[~held].copy(), cells[held].copy()


def measured(case: Case) -> dict[str, Any]:
    """Build an atlas, and return the errors of the calls that are kept, and how unlike the query is."""
    reference, query = case.make()
    batches = "donor" if "donor" in reference.obs and reference.obs["donor"].nunique() > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        atlas = sv.atlas.build(sv.Store(folder), "one", reference, label_key=case.key, batch_key=batches)
        asked = {} if case.taxon is None else {"taxon": case.taxon}
        calls = {error: sv.annotate(query, atlas, max_error=error, **asked) for error in MAX_ERRORS}  # type: ignore[arg-type] # one option
        used = next(iter(calls.values())).query.atlas
    assert used.calibration is not None
    truth = query.obs[case.query_key].astype(str).to_numpy()
    first = next(iter(calls.values()))
    known = np.isin(truth, list(first.labels))
    right = first.label_before_rejection == truth
    place = {label: i for i, label in enumerate(first.labels)}
    codes = np.array([place.get(label, -1) for label in first.label_before_rejection.tolist()])
    shift = shift_of(used.calibration, first.novelty, codes)
    row: dict[str, Any] = {"cells": int(known.sum()), "accuracy": float(right[known].mean())}
    for error, found in calls.items():
        kept = known & ~found.rejected
        row[f"error at {error:g}"] = float((~right[kept]).mean()) if kept.any() else 0.0
        row[f"kept at {error:g}"] = float(kept.sum() / known.sum())
    return row | ({} if shift is None else {**asdict(shift), "unlike": shift.is_unlike})


def table(rows: Mapping[str, dict[str, Any]]) -> str:
    """Return the table of cases."""
    shown = []
    for name, row in rows.items():
        errors = [f"{row[f'error at {one:g}']:.3f} at {row[f'kept at {one:g}']:.3f}" for one in MAX_ERRORS]
        shift = [f"{row['shift']:.2f}", f"{row['usual']:.2f}", row["n_labels"], "yes" if row["unlike"] else "no"]
        shown.append([name, row["kind"], row["cells"], row["accuracy"], *errors, *shift])
    header = ("query", "held out", "known cells", "accuracy", *(f"{one:g}" for one in MAX_ERRORS))
    return markdown((*header, "shift", "usual", "labels", "unlike"), shown)


def main() -> None:
    parser = make_parser("unlike", __doc__)
    parser.add_argument("--again", action="store_true", help="build every atlas again")
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of cases")
    args = parser.parse_args()
    rows, folder = {}, WORK / "unlike"
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in cases().items():
        if args.only and not any(word in name for word in args.only):
            continue
        path = folder / f"{name}.json"
        if args.again or not path.exists():
            path.write_text(json.dumps({"kind": case.kind, **measured(case)}))
        rows[name] = json.loads(path.read_text())
        print(name, rows[name], flush=True)
    if args.only:
        return
    alarms = [row["unlike"] for row in rows.values() if row["kind"] == "donor"]
    text = (
        "# Errors on donors and on studies\n\nBy maximum error: the error among known cells whose call is kept, at the "
        "share of them that is kept. Known cells are those of labels that the reference has. Shift: how much more "
        "novel the query's cells are than held-out cells called the same, as the median over the labels; usual: the "
        f"largest of a donor of the reference against the others. False alarms: {sum(alarms)} of {len(alarms)} donors."
    )
    save("unlike", "python -m benchmarks.unlike", {"rows": rows}, f"{text}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
