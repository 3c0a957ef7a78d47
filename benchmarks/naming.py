"""How often clusters get the right name from texts alone, beside controls and baselines.

    python -m benchmarks.naming --store STORE [--fit]

Types of six files of cells are named as if no reference had them. The ranker's weights were found on profiles of other
studies; ``--fit`` finds them again, and prints what `scvec.naming.ranker` should hold. Gene texts of human and mouse,
minilm's vectors of the genes that are measured, and the ontology are written to STORE: an hour on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pprint import pformat
from typing import Any

import numpy as np

import scvec as sv
from benchmarks.common import DATA, WORK, import_texts, make_parser, markdown, save
from benchmarks.marker_sets import marker_sets, over_represented
from benchmarks.naming_fit import Judge, calibrated, fit, mean
from benchmarks.naming_types import CELLS
from benchmarks.naming_world import NO_MEANING, Case, Nearness, World, only, tests, trainings, without, worlds
from scvec.core.types import Doubles, Floats
from scvec.naming.features import FEATURES, FORM, MEANING, TISSUE
from scvec.naming.ranker import STANDS_OUT, WEIGHTS, WITH_MEANING, chances, scores_of
from scvec.naming.term_texts import term_texts

ONTOLOGY = DATA / "ontology" / "cell_ontology_2026-03-26.json.zst"
MEASURES = ("exact@1", "exact@5", "near@1", "near@5", "near@20", "distance")
PERMUTED, FOLDS, SEED = 5, 3, 0
THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

Scores = Mapping[str, Doubles]
"""(C, T) of each test, by its study."""


@dataclass(frozen=True)
class Measured:
    """All that is known of the cases: the features of each study, and what judges ranks."""

    tests: Sequence[Case]
    trainings: Sequence[Case]
    features: Mapping[str, Floats]
    judge: Judge
    kin: Any

    def of(self, cases: Sequence[Case], names: Sequence[str] = ()) -> list[Floats]:
        """Return the features of some cases, of which `names` are set to zero."""
        return [without(self.features[one.study], names) for one in cases]

    def fitted(self, cases: Sequence[Case], hidden: Sequence[str]) -> dict[str, float]:
        """Return weights that serve with and without a tissue; `hidden` features have none."""
        both = [*self.of(cases, (*hidden, *TISSUE)), *self.of(cases, hidden)]
        return fit(both, [one.terms for one in cases] * 2, self.judge)

    def judged(self, scores: Scores) -> list[dict[str, float]]:
        """Return what the ranks of every label of the tests are worth, in their order."""
        return [one for case in self.tests for one in self.judge.judged(scores[case.study], case.terms)]


def by_ranker(found: Measured, weights: Mapping[str, float], hidden: Sequence[str]) -> Scores:
    """Return the chances of terms."""
    return {one.study: chances(without(found.features[one.study], hidden), weights) for one in found.tests}


def by_feature(found: Measured, name: str) -> Scores:
    """Return one feature alone."""
    return {one.study: found.features[one.study][..., FEATURES.index(name)].astype(np.float64) for one in found.tests}


def held_out(found: Measured, hidden: Sequence[str]) -> Iterator[tuple[Case, Doubles]]:
    """Yield each study that the ranker learns from with the chances by a ranker that did not see it."""
    order = np.random.default_rng(SEED).permutation(len(found.trainings)).tolist()
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        weights = found.fitted([found.trainings[i] for i in order if i not in out], hidden)
        for i in out:
            case = found.trainings[i]
            for tissue in (TISSUE, ()):
                yield case, chances(without(found.features[case.study], (*hidden, *tissue)), weights)


def firsts(found: Measured, case: Case, chance: Doubles, n: int = 1) -> Iterator[tuple[float, float, bool]]:
    """Yield of each cluster's first n names the chance, that of its kin, and whether it is near the right one."""
    of_kin = (found.kin @ chance.T).T
    for row, kin, term in zip(chance, of_kin, case.terms, strict=True):
        if term in found.judge.ids:
            near = found.judge.near(term)
            for i in np.argsort(-row, kind="stable")[:n].tolist():
                yield float(row[i]), float(kin[i]), found.judge.ids[i] in near


def show_fit(found: Measured) -> None:
    """Print what `scvec.naming.ranker` should hold, and what its scores are worth for studies held out."""
    for name, hidden in (("WEIGHTS", NO_MEANING), ("WITH_MEANING", ())):
        weights = found.fitted(found.trainings, hidden)
        print(f"{name} =", pformat({key: round(one, 3) for key, one in weights.items()}, sort_dicts=False))
        made = list(held_out(found, hidden))
        pairs = [one for case, chance in made for one in firsts(found, case, chance, 5)]
        of_term, of_kin, offset = calibrated(np.array([one[:2] for one in pairs]), [one[2] for one in pairs])
        print(f"OF_TERM, OF_KIN, OFFSET = {of_term:.3f}, {of_kin:.3f}, {offset:.3f}")
        first = np.array([one for case, chance in made for one in firsts(found, case, chance)])
        score = 1 / (1 + np.exp(-(of_term * np.log(first[:, 0]) + of_kin * np.log(first[:, 1]) + offset)))
        for at in THRESHOLDS:
            named = score >= at
            print(f"  from {at:.1f}: {named.mean():.2f} named, {1 - first[named, 2].mean() if named.any() else 0:.2f} wrong")


def permuted(found: Measured, made: Mapping[str, World], change_tissue: Sequence[str]) -> list[dict[str, float]]:
    """Return what names are worth if every gene has another gene's text: the control."""
    judged = []
    for draw in range(PERMUTED):
        rng = np.random.default_rng(draw)
        scores = {
            one.study: chances(
                without(
                    made[one.taxon].measured(one, None, lambda values: values[:, rng.permutation(values.shape[1])]),
                    change_tissue,
                ),
                WEIGHTS,
            )
            for one in found.tests
        }
        judged += found.judged(scores)
    return judged


def by_markers(found: Measured, store: sv.Store, made: Mapping[str, World]) -> Scores:
    """Return how over-represented the sets of each term are among a cluster's 100 most specific genes."""
    sets = marker_sets(found.judge.ontology, made["human"].texts)
    scores = {}
    for one in found.tests:
        profile, _ = made[one.taxon].placed(one)
        gene_ids = made[one.taxon].gene_ids
        if one.taxon == "mouse":
            pairs = sv.ingest.genes.orthologs.orthologs(made["mouse"].texts, made["human"].texts)
            gene_ids = np.array([pairs.get(int(gene), -1) for gene in gene_ids.tolist()])
        scores[one.study] = over_represented(profile, gene_ids, sets, list(found.judge.ids))
    return scores


def chance_level(found: Measured) -> dict[str, float]:
    """Return what a random order of the terms is worth, without the distance."""
    n_terms = len(found.judge.ids)
    rows = []
    for case in found.tests:
        for term in case.terms:
            near = len(found.judge.near(term) & set(found.judge.ids))
            missed = lambda n: float(np.prod([(n_terms - near - i) / (n_terms - i) for i in range(n)]))  # noqa: E731
            rows.append({"exact@1": 1 / n_terms, "exact@5": 5 / n_terms, "near@1": near / n_terms,
                         "near@5": 1 - missed(5), "near@20": 1 - missed(20), "distance": float("nan")})  # fmt: skip
    return mean(rows)


def measure(store: sv.Store) -> tuple[Measured, dict[str, World], dict[str, World]]:
    """Return the cases with their features, and the worlds with all words and without the types' names."""
    texts = {taxon: import_texts(store, taxon) for taxon in ("human", "mouse")}
    ontology = sv.ontology.import_ontology(store, ONTOLOGY)
    terms = term_texts(ontology)
    own, others = tests(store), trainings(store, ontology)
    made = worlds(store, terms, texts, [*own, *others])
    hidden = frozenset(term for one in own for term in one.terms)
    bare = worlds(store, terms, texts, [*own, *others], hidden)
    for world in made.values():
        sv.embed.genes(store, world.texts, encoder="minilm", gene_ids=world.gene_ids[world.has_text])
    features = {}
    for one in [*own, *others]:
        features[one.study] = made[one.taxon].measured(one, Nearness("minilm"))
        print(one.study, flush=True)
    return Measured(own, others, features, Judge(ontology, tuple(terms.ids.tolist()))), made, bare


def ways(
    found: Measured, store: sv.Store, made: Mapping[str, World], bare: Mapping[str, World]
) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """Yield each way to name, and what it is worth for every label."""
    words = (*NO_MEANING, *TISSUE)
    yield "words", found.judged(by_ranker(found, WEIGHTS, words))
    yield "words, tissue", found.judged(by_ranker(found, WEIGHTS, NO_MEANING))
    yield "words and minilm", found.judged(by_ranker(found, WITH_MEANING, TISSUE))
    yield "words and minilm, tissue", found.judged(by_ranker(found, WITH_MEANING, ()))
    nameless = {one.study: bare[one.taxon].measured(one) for one in found.tests}
    shown = Measured(found.tests, found.trainings, nameless, found.judge)
    yield "words, types' names hidden", found.judged(by_ranker(shown, WEIGHTS, words))
    yield "words, types' names hidden, tissue", found.judged(by_ranker(shown, WEIGHTS, NO_MEANING))
    for name, part in PARTS.items():
        kept = [case for case in found.trainings]
        weights = fit([only(found.features[one.study], part) for one in kept], [one.terms for one in kept], found.judge)
        yield (
            name,
            found.judged({one.study: chances(only(found.features[one.study], part), weights) for one in found.tests}),
        )
    for name, feature in ALONE.items():
        yield name, found.judged(by_feature(found, feature))
    yield "over-represented marker sets", found.judged(by_markers(found, store, made))
    yield "control: permuted gene texts", permuted(found, made, words)
    yield "control: permuted gene texts, tissue", permuted(found, made, NO_MEANING)
    yield (
        "control: form and tissue, no cells",
        found.judged(
            by_ranker(
                found, {**dict.fromkeys(FEATURES, 0.0), **{key: WEIGHTS[key] for key in (*FORM, *TISSUE)}}, NO_MEANING
            )
        ),
    )


PARTS: Mapping[str, tuple[str, ...]] = {
    "ranker of mentions and form": ("mention", "mention_above", "mention_below", *FORM),
    "ranker of definitions and form": ("definition", "definition_above", "definition_below", *FORM),
    "ranker of words without form": tuple(one for one in FEATURES if one not in (*FORM, *TISSUE, MEANING)),
    "ranker of minilm and form": (MEANING, *FORM),
}
ALONE = {
    "mentions alone": "mention",
    "TF-IDF of definitions alone": "definition",
    "TF-IDF of names alone": "name",
    "genes that definitions name": "gene_in_definition",
    "minilm alone": MEANING,
}

NOTE = """
*exact@n*: the right term is among the first n; *near@n*: it, its parent or its child is; *distance*: steps in the
ontology from the first name to the right term, 12 at most; of all terms that may name a cluster. *First half* and
*second half* are every other label: ways were chosen on profiles of other studies and the first half. *words* is the
default of `scvec name` without an encoder; *tissue*: with the file's tissue in words. *Types' names hidden*: the names
and exact synonyms of all labels' terms were taken out of all gene texts and definitions. *Permuted gene texts*: every
gene has another gene's text, five draws. *Form and tissue, no cells*: what the ranker knows before it sees a cell.
*Marker sets*: hypergeometric test of the 100 most specific genes in sets of MSigDB's C8, HPA, hECA, CellTypePilot and
Pegasus whose name is that of a term; some are from the same tissues' atlases. The ranker learned on {n_training} types
of {n_studies} studies of `reference/`, none of which is a test's; types of the same kind are among them.
"""


def main() -> None:
    parser = make_parser("naming", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"))
    parser.add_argument("--fit", action="store_true", help="Find the ranker's weights, and stop.")
    options = parser.parse_args()
    store = sv.Store(options.store)
    found, made, bare = measure(store)
    if options.fit:
        show_fit(found)
        return
    rows, halves, values = [], [], []
    by_set: dict[str, list[float]] = {}
    n_labels = [len(found.judge.judged(np.zeros((len(one.terms), 1)), one.terms)) for one in found.tests]
    for name, judged in ways(found, store, made, bare):
        whole = mean(judged)
        rows.append((name, *(whole[key] for key in MEASURES)))
        n = sum(n_labels)
        parts = [[one for i, one in enumerate(judged) if (i % n) % 2 == half] for half in (0, 1)]
        halves.append((name, *(mean(part)[key] for part in parts for key in ("exact@1", "near@1", "near@5"))))
        values.append({"way": name, **whole})
        ends = np.cumsum([0, *n_labels])
        per = [mean([one for i, one in enumerate(judged) if ends[k] <= i % n < ends[k + 1]]) for k in range(len(CELLS))]
        by_set[name] = [one["near@5"] for one in per]
        print(name, {key: round(one, 2) for key, one in whole.items()}, flush=True)
    level = chance_level(found)
    rows.append(("chance", *("" if key == "distance" else level[key] for key in MEASURES)))
    sure = certainty(found)
    labels = list(named(found))
    n_training = sum(sum(map(bool, one.terms)) for one in found.trainings)
    note = NOTE.format(n_training=n_training, n_studies=len(found.trainings))
    parts = [
        f"# Names without a reference\n\n{sum(n_labels)} labels of {len(CELLS)} files.\n\n{markdown(('way', *MEASURES), rows)}\n{note}",
        "## Halves\n\n" + markdown(("way", *(f"{half} half: {key}" for half in ("first", "second") for key in ("exact@1", "near@1", "near@5"))), halves),
        "## near@5 by file\n\n" + markdown(("way", *(f"{one.name} ({n})" for one, n in zip(CELLS, n_labels, strict=True))), [(name, *row) for name, row in by_set.items()]),
        "## Which names to believe\n\nFirst names whose score is at least so high, by words alone:\n\n" + markdown(("tissue", "score from", "named", "wrong (neither the term, its parent nor its child)", "more than two steps away"), sure),
        "## Every label\n\n" + markdown(("file", "label", "term", "rank", "rank, tissue", "first name", "score"), labels),
    ]  # fmt: skip
    save("naming", "python -m benchmarks.naming", {"rows": values}, "\n\n".join(parts))


def certainty(found: Measured) -> list[tuple[Any, ...]]:
    """Return for scores how many first names have at least that, and how many of them are wrong."""
    rows = []
    for tissue, hidden in (("no", (*NO_MEANING, *TISSUE)), ("yes", NO_MEANING)):
        scored = by_ranker(found, WEIGHTS, hidden)
        firsts_ = []
        for case in found.tests:
            for row, term in zip(scores_of(scored[case.study]), case.terms, strict=True):
                first = found.judge.ids[int(row.argmax())]
                far = found.judge.steps(first, term)
                firsts_.append((row.max(), first in found.judge.near(term), far))
        score, hit, steps = (np.array(column) for column in zip(*firsts_, strict=True))
        for at in sorted({0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, STANDS_OUT}):
            own = score >= at
            if own.any():
                rows.append((tissue, f"{at:g}" + (" (stands out)" if at == STANDS_OUT else ""), f"{int(own.sum())} of {len(own)}", 1 - hit[own].mean(), (steps[own] > 2).mean()))  # fmt: skip
    return rows


def named(found: Measured) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each label: its rank by words, and its first name."""
    plain = by_ranker(found, WEIGHTS, (*NO_MEANING, *TISSUE))
    told = by_ranker(found, WEIGHTS, NO_MEANING)
    ontology, positions = found.judge.ontology, {one: i for i, one in enumerate(found.judge.ids)}
    for case in found.tests:
        for i, (label, term) in enumerate(zip(case.labels, case.terms, strict=True)):
            ranks = [
                int((made[case.study][i] > made[case.study][i, positions[term]]).sum()) + 1 for made in (plain, told)
            ]
            row = scores_of(plain[case.study])[i]
            first = int(row.argmax())
            yield (
                case.name,
                label,
                ontology.name(term),
                *ranks,
                ontology.name(found.judge.ids[first]),
                float(row[first]),
            )


if __name__ == "__main__":
    main()
