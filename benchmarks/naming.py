"""How often clusters get the right name from texts alone, beside controls and baselines.

    python -m benchmarks.naming --store STORE [--fit]

Types of six files of cells are named as if no reference had them. The ranker's weights were found on profiles of other
studies; ``--fit`` finds them again, and prints what `scvec.naming.ranker` should hold. Gene texts of human and mouse,
minilm's vectors of the genes that are measured, and the ontology are written to STORE: an hour on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import scvec as sv
from benchmarks.common import WORK, make_parser, markdown, save
from benchmarks.naming_fit import MEASURES, fit, mean
from benchmarks.naming_types import CELLS
from benchmarks.naming_ways import PARTS, WAYS, Measured, Way, chance_level, measure, part_ranker, show_fit
from benchmarks.naming_world import WORDS_ONLY
from scvec.naming.features import TISSUE
from scvec.naming.ranker import STANDS_OUT, WEIGHTS, scores_of

IN_HALVES = ("exact@1", "near@1", "near@5")
THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Scores of first names that are looked at."""
FAR = 2
"""Steps in the ontology beyond which a name is far from the right one."""

Judged = list[dict[str, float]]


def halves(judged: Judged, n_labels: int) -> list[float]:
    """Return measures of every other label, and of the others; labels may be repeated, by draws."""
    parts = [[one for i, one in enumerate(judged) if (i % n_labels) % 2 == half] for half in (0, 1)]
    return [mean(part)[key] for part in parts for key in IN_HALVES]


def by_file(judged: Judged, sizes: Sequence[int]) -> list[float]:
    """Return near@5 of each file, which has so many labels."""
    ends, whole = np.cumsum([0, *sizes]), sum(sizes)
    return [
        mean([one for i, one in enumerate(judged) if start <= i % whole < end])["near@5"]
        for start, end in pairwise(ends.tolist())
    ]


def certainty(found: Measured) -> Iterator[tuple[Any, ...]]:
    """Yield for scores how many first names have at least that, and how many of them are wrong."""
    for tissue, hidden in (("no", (*WORDS_ONLY, *TISSUE)), ("yes", WORDS_ONLY)):
        first: list[tuple[float, bool, int]] = []
        for case, chance in found.chances(WEIGHTS, hidden):
            scores = scores_of(chance, found.kin)
            for row, score, term in zip(chance, scores, case.terms, strict=True):
                best = int(row.argmax())
                name = found.judge.ids[best]
                first.append((float(score[best]), name in found.judge.near(term), found.judge.steps(name, term)))
        score, near, steps = (np.array(column) for column in zip(*first, strict=True))
        for at in THRESHOLDS:
            own = score >= at
            if own.any():
                said = f"{at:g}{', stands out' if at == STANDS_OUT else ''}"
                yield tissue, said, f"{own.sum()} of {len(own)}", 1 - near[own].mean(), (steps[own] > FAR).mean()


def every_label(found: Measured) -> Iterator[tuple[Any, ...]]:
    """Yield for each label its term's rank by words, without and with the tissue, and its first name."""
    ontology, positions = found.judge.ontology, {one: i for i, one in enumerate(found.judge.ids)}
    told = {case.study: chance for case, chance in found.chances(WEIGHTS, WORDS_ONLY)}
    for case, chance in found.chances(WEIGHTS, (*WORDS_ONLY, *TISSUE)):
        scores = scores_of(chance, found.kin)
        for i, (label, term) in enumerate(zip(case.labels, case.terms, strict=True)):
            ranks = [1 + int((row > row[positions[term]]).sum()) for row in (chance[i], told[case.study][i])]
            first = int(chance[i].argmax())
            name = ontology.name(found.judge.ids[first])
            yield case.name, label, ontology.name(term), *ranks, name, float(scores[i, first])


NOTE = """
*exact@n*: the right term is among the first n; *near@n*: it, its parent or its child is; *distance*: steps in the
ontology from the first name to the right term, 12 at most; of all {n_terms:,} terms that may name a cluster. *words*
is what `scvec name` does without a model, *words and minilm* with one, *tissue* with the file's tissue in words. The
ranker learned on {n_types} types of {n_studies} studies in `reference/`; none of these files is a test's, but many
types are of the same kind. Ways were chosen on those, and on the first half of the labels below.

*Types' names hidden*: the names and exact synonyms of all labels' terms were taken out of all gene texts and
definitions. *Human files*: the four of them, as minilm read the texts of human genes only; its weights were fitted on
human studies. *Ranker of ...*: fitted again on some features. *Form*: how many words, children and synonyms a term has.
*Permuted gene texts*: every gene has another gene's text, five draws. *No cells*: what the ranker knows before it sees
one. *Random vectors*: as minilm alone. *Marker sets*: the least p-value by which the 100 most specific genes are
over-represented in sets of MSigDB's C8, HPA, hECA, CellTypePilot and Pegasus whose name is that of a term: they cover
{n_marked} terms, and some were made from atlases of these tissues (the ranker learned without Descartes' sets, which
were made from profiles that it learned on). *Chance*: a random order of terms.
"""


def main() -> None:
    parser = make_parser("naming", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"))
    parser.add_argument("--fit", action="store_true", help="Find the ranker's weights, and stop.")
    options = parser.parse_args()
    found = measure(sv.Store(options.store))
    if options.fit:
        show_fit(found)
        return
    sizes = [len(one.terms) for one in found.tests]
    judged = {way.name: way.judged(found) for way in ways(found)}
    wholes = {name: mean(own) for name, own in judged.items()}
    level = chance_level(found)
    rows = [(name, *(whole[key] for key in MEASURES)) for name, whole in (*wholes.items(), ("chance", level))]
    parts = [f"{half} half: {key}" for half in ("first", "second") for key in IN_HALVES]
    in_halves = [(name, *halves(own, sum(sizes))) for name, own in judged.items()]
    files = [f"{one.name} ({n})" for one, n in zip(CELLS, sizes, strict=True)]
    in_files = [(name, *by_file(own, sizes)) for name, own in judged.items()]
    sure = ("tissue", "score from", "named", "wrong: not the term, its parent or child", f"more than {FAR} steps away")
    label = ("file", "label", "term", "rank", "rank, tissue", "first name", "score")
    note = NOTE.format(
        n_terms=len(found.judge.ids),
        n_types=sum(sum(map(bool, one.terms)) for one in found.trainings),
        n_studies=len(found.trainings),
        n_marked=found.n_marked,
    )
    sections = (
        f"# Names without a reference\n\n{sum(sizes)} labels of {len(CELLS)} files.",
        markdown(("way", *MEASURES), _blank(rows)),
        note,
        "## Which names to believe\n\nFirst names by words alone whose score is at least so high.",
        markdown(sure, list(certainty(found))),
        f"## Halves of the labels\n\n{markdown(('way', *parts), _blank(in_halves))}",
        f"## near@5 by file\n\n{markdown(('way', *files), _blank(in_files))}",
        f"## Every label, by words alone\n\n{markdown(label, list(every_label(found)))}",
    )
    values = [{"way": name, **whole} for name, whole in wholes.items()]
    save("naming", "python -m benchmarks.naming", {"rows": values}, "\n\n".join(sections))


def _blank(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Return rows with empty cells for what was not measured."""
    return [["" if isinstance(one, float) and np.isnan(one) else one for one in row] for row in rows]


def ways(found: Measured) -> Iterator[Way]:
    """Yield the ways, those that are fitted again last."""
    yield from WAYS
    for name, part in PARTS.items():
        features = [found.only(one, part) for one in found.trainings]
        weights = fit(features, [one.terms for one in found.trainings], found.judge)
        yield Way(name, part_ranker(part, weights))


if __name__ == "__main__":
    main()
