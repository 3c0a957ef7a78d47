"""The README's table of figures, from results/studies.json.

    python -m benchmarks.readme

Writes it between the two comments of the README that name this command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.common import HERE, RESULTS, make_parser, markdown

README = HERE.parent / "README.md"
BEGIN, END = "<!-- python -m benchmarks.readme -->", "<!-- end of python -m benchmarks.readme -->"
RECIPE = "scvec"
NAMES = {
    "expression (control)": "SVD",
    "logistic regression (control)": "logistic regression",
    "random-forest (peer)": "random forest",
    "celltypist (peer)": "celltypist",
    "singler (peer)": "singler",
    "symphonypy (peer)": "symphonypy",
}
"""The methods shown beside the recipe, by their names in the results."""


def table(values: Mapping[str, Any]) -> str:
    """Return the table of a result of `benchmarks.studies` as Markdown; the best of each row is bold."""
    summary = values["summary"]
    recipe = next(name for name, one in summary.items() if one["kind"] == "recipe")
    shown = {recipe: RECIPE, **{name: title for name, title in NAMES.items() if name in summary}}
    chosen = [summary[name] for name in shown]
    groups = list(values["tasks"].values())
    rows = [
        [f"{group} ({groups.count(group)})", *_bold([one["by_group"][group][0] for one in chosen])]
        for group in dict.fromkeys(groups)
    ]
    rows.append([f"all {len(groups)}", *_bold([one["mean_macro_f1"][0] for one in chosen])])
    ranks = [one["mean_rank"] for one in chosen]
    rows.append([f"mean rank among {len(summary)}", *_bold(ranks, best=min(ranks), digits=1)])
    losses = [one["worst_loss"] for one in chosen]
    rows.append(["largest loss to the best of all", *_bold(losses, best=min(losses))])
    return markdown(["tasks (number)", *shown.values()], rows)


def _bold(values: list[float], *, best: float | None = None, digits: int = 3) -> list[str]:
    """Return numbers as text; what reads as the best is bold."""
    texts = [f"{one:.{digits}f}" for one in (*values, max(values) if best is None else best)]
    return [f"**{one.removeprefix('0')}**" if one == texts[-1] else one.removeprefix("0") for one in texts[:-1]]


def written(text: str, made: str) -> str:
    """Return the README's text with a table in the place of the one that is there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README lacks {END if begin else BEGIN}")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main() -> None:
    make_parser("readme", __doc__).parse_args()
    values = json.loads((RESULTS / "studies.json").read_text(encoding="utf-8"))
    README.write_text(written(README.read_text(encoding="utf-8"), table(values)), encoding="utf-8")


if __name__ == "__main__":
    main()
