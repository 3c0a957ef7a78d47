"""Whether `max_error` is kept on donors and on studies, and whether a query that is unlike the reference is noticed.

    python -m benchmarks.unlike [--only WORD ...]

Needs no texts and no store: each atlas is built by the recipe `refined` with free weights, in a store of its own. What
was found is kept in `benchmarks/work/unlike`; `--again` makes it again. Alarms on donors that are held out are false.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import anndata as ad
import numpy as np

import scvec as sv
from benchmarks.common import DATA, WORK, make_parser, markdown, save
from benchmarks.novelty import CELLS
from scvec.annotation import Annotation
from scvec.annotation.rejection import reject
from scvec.atlas import Atlas
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
        ``"donor"`` of the same study, ``"one donor"`` where the reference has one only, ``"study"``, or ``"tissue"``.
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
    for here, there in (("pancreas", "retina"), ("choroid", "pancreas")):
        (file, key), (other, _) = CELLS[here], CELLS[there]
        found[f"{here}, cells of {there}"] = Case("tissue", partial(_study, file, other), key, CELLS[there][1])
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
        options = sv.QueryOptions() if case.taxon is None else sv.QueryOptions(taxon=case.taxon)
        calls = {adapt: sv.annotate(query, atlas, replace(options, adapt=adapt)) for adapt in ("auto", "off")}
        used = calls["off"].query.atlas
        kept = {how: {error: ~reject(one, used, error).rejected for error in MAX_ERRORS} for how, one in calls.items()}
    truth = query.obs[case.query_key].astype(str).to_numpy()
    known = np.isin(truth, list(used.label_names))
    row: dict[str, Any] = {"cells": int(known.sum()), "new": int((~known).sum())}
    for how, one in calls.items():
        right = one.label_before_rejection == truth
        row[how] = {"accuracy": float(right[known].mean()) if known.any() else None}
        for error, some in kept[how].items():
            row[how][f"error at {error:g}"] = float((~right[known & some]).mean()) if (known & some).any() else None
            row[how][f"kept at {error:g}"] = float(some[known].mean()) if known.any() else None
            row[how][f"new kept at {error:g}"] = float(some[~known].mean()) if (~known).any() else None
    return row | {"shift": _shift(calls["off"], used)}


def _shift(calls: Annotation, atlas: Atlas) -> dict[str, Any]:
    assert atlas.calibration is not None
    place = {label: i for i, label in enumerate(atlas.label_names.tolist())}
    codes = np.array([place.get(label, -1) for label in calls.label_before_rejection.tolist()])
    some = np.isfinite(calls.novelty)
    shift = shift_of(atlas.calibration, calls.novelty[some], calls.confidence[some], codes[some])
    assert shift is not None
    return {**asdict(shift), "unlike": shift.is_unlike, "excess": shift.excess}


def table(rows: Mapping[str, dict[str, Any]]) -> str:
    """Return the table of cases."""
    shown = []
    for name, row in rows.items():
        shift = row["shift"]
        told = [f"{shift['shift']:.2f}", f"{shift['usual']:.2f}", f"{shift['doubt']:.2f}", shift["n_labels"]]
        errors = [_errors(row[how], one) for how in ("off", "auto") for one in MAX_ERRORS]
        shown.append([name, row["kind"], row["cells"], *errors, *told, "yes" if shift["unlike"] else "no"])
    asked = [f"{one:g}, {how}" for how in ("alone", "adapted") for one in MAX_ERRORS]
    return markdown(("query", "held out", "known cells", *asked, "shift", "usual", "doubt", "labels", "unlike"), shown)


def _errors(row: dict[str, Any], error: float) -> str:
    wrong, known, new = (row[f"{key} at {error:g}"] for key in ("error", "kept", "new kept"))
    said = [] if known is None else [f"{'-' if wrong is None else format(wrong, '.3f')} at {known:.2f}"]
    return "; ".join([*said, *([] if new is None else [f"new {new:.2f}"])])


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
    alarms = [row["shift"]["unlike"] for row in rows.values() if row["kind"] == "donor"]
    text = (
        "# Errors on donors and on studies\n\nBy maximum error: the error among known cells whose call is kept, at the "
        "share of them that is kept, and the share of new cells that is kept. Known cells are those of labels that the "
        "reference has. Shift: how much more novel the query's cells are than held-out cells called the same, as the "
        "median over the labels; usual: the largest of a donor of the reference against the others; doubt: how much "
        f"less sure the calls are. False alarms: {sum(alarms)} of {len(alarms)} donors."
    )
    save("unlike", "python -m benchmarks.unlike", {"rows": rows}, f"{text}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
