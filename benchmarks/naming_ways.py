"""Ways to name clusters that are compared, and what they are compared on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pprint import pformat
from typing import Any

import numpy as np

import scvec as sv
from benchmarks.common import DATA, import_texts
from benchmarks.marker_sets import known_sets
from benchmarks.naming_fit import Judge, calibrated, fit, mean
from benchmarks.naming_world import WORDS_ONLY, Case, Nearness, World, only, tests, trainings, without, worlds
from scvec.core.types import Doubles, Floats
from scvec.ingest.genes.orthologs import orthologs
from scvec.naming.features import FEATURES, FORM, MARKER, MEANING, TISSUE
from scvec.naming.marker_sets import MarkerSets, marker_sets
from scvec.naming.ranker import WEIGHTS, WITH_MARKERS, WITH_MEANING, chances
from scvec.naming.term_texts import term_texts

ONTOLOGY = DATA / "ontology" / "cell_ontology_2026-03-26.json.zst"
READ = ("human",)
"""Species whose texts minilm reads here: those of the mouse would take it another hour."""

PERMUTED, FOLDS, SEED = 5, 3, 0
"""Draws of the control; parts of the studies that the ranker is judged on without having seen them; their order."""

AT = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True)
class Measured:
    """All that is known of the cases.

    Attributes
    ----------
    tests, trainings
        Cells that names are measured on, and profiles that the ranker learns from.
    features
        (C, T, F) of each study.
    worlds, hidden
        The texts by taxon: all words, and without the names of the tests' types.
    judge
        Judges ranks.
    n_marked
        Number of terms that have marker sets.
    """

    tests: Sequence[Case]
    trainings: Sequence[Case]
    features: Mapping[str, Floats]
    worlds: Mapping[str, World]
    hidden: Mapping[str, World]
    judge: Judge
    n_marked: int

    @property
    def kin(self) -> Any:
        """(T, T) which terms are within two steps of each other."""
        return self.worlds["human"].features.kin

    def without(self, case: Case, names: Sequence[str]) -> Floats:
        """Return the features of a case, some set to zero."""
        return without(self.features[case.study], names)

    def only(self, case: Case, names: Sequence[str]) -> Floats:
        """Return the features of a case, all but some set to zero."""
        return only(self.features[case.study], names)

    def alone(self, case: Case, name: str) -> Doubles:
        """Return one feature of a case."""
        return self.features[case.study][..., FEATURES.index(name)].astype(np.float64)

    @staticmethod
    def ranked(features: Floats, weights: Mapping[str, float]) -> Doubles:
        """Return (C, T) chances."""
        return chances(features.astype(np.float64), weights)

    def chances(self, weights: Mapping[str, float], hidden: Sequence[str]) -> Iterator[tuple[Case, Doubles]]:
        """Yield each test with the ranker's chances, without some features."""
        for case in self.tests:
            yield case, self.ranked(self.without(case, hidden), weights)

    def fitted(self, cases: Sequence[Case], hidden: Sequence[str]) -> dict[str, float]:
        """Return weights that serve with and without a tissue; `hidden` features have none."""
        both = [self.without(one, (*names, *hidden)) for names in (TISSUE, ()) for one in cases]
        return fit(both, [one.terms for one in cases] * 2, self.judge)


def measure(store: sv.Store) -> Measured:
    """Return the cases with their features."""
    texts = {taxon: import_texts(store, taxon) for taxon in ("human", "mouse")}
    ontology = sv.ontology.import_ontology(store, ONTOLOGY)
    terms = term_texts(ontology)
    own, others = tests(store), trainings(store, ontology)
    made = worlds(store, terms, texts, [*own, *others])
    bare = worlds(store, terms, texts, [*own, *others], frozenset(term for one in own for term in one.terms))
    for world in (made[taxon] for taxon in READ):
        sv.embed.genes(store, world.texts, encoder="minilm", gene_ids=world.gene_ids[world.has_text])
    near, sets = dict.fromkeys(READ, Nearness("minilm")), known_sets(texts["human"])
    # What Descartes' sets were made from is among the profiles that the ranker learns from.
    marked = {True: sets, False: [one for one in sets if "DESCARTES" not in one[0]]}
    on = {
        (taxon, test): _on(world, made["human"], own) for taxon, world in made.items() for test, own in marked.items()
    }
    features = {
        one.study: made[one.taxon].measured(one, near.get(one.taxon), markers=on[one.taxon, one.is_test])
        for one in [*own, *others]
    }
    n_marked = len(set(on["human", True].terms.tolist()))
    return Measured(own, others, features, made, bare, Judge(ontology, tuple(terms.ids.tolist())), n_marked)


def _on(world: World, human: World, sets: Sequence[tuple[str, frozenset[int]]]) -> MarkerSets:
    """Return sets of human genes on a world's genes, by orthologs for another species."""
    if world is not human:
        there = orthologs(human.texts, world.texts)
        sets = [(name, frozenset(there[one] for one in genes if one in there)) for name, genes in sets]
    return marker_sets(sets, world.terms, world.gene_ids)


@dataclass(frozen=True)
class Way:
    """A way to name.

    Attributes
    ----------
    name
        What the tables call it.
    scores
        Returns (C, T) scores of a case, or several of these, by draws.
    taxa
        The species whose cells it can name.
    """

    name: str
    scores: Callable[[Measured, Case], Doubles | list[Doubles]]
    taxa: tuple[str, ...] = ("human", "mouse")

    def judged(self, found: Measured) -> list[dict[str, float]]:
        """Return what the ranks of every label of the tests are worth, in their order, draw by draw.

        NaN for labels of another species.
        """
        made = [self.scores(found, case) if case.taxon in self.taxa else [] for case in found.tests]
        draws = [one if isinstance(one, list) else [one] for one in made]
        judged = [
            one
            for draw in range(max(map(len, draws)))
            for case, own in zip(found.tests, draws, strict=True)
            for one in (found.judge.judged(own[draw], case.terms) if own else [{}] * len(case.terms))
        ]
        said = " ".join(f"{key} {value:.2f}" for key, value in mean(judged).items())
        print(f"{self.name}: {said}", flush=True)
        return judged


def _ranker(weights: Mapping[str, float], *hidden: str) -> Callable[[Measured, Case], Doubles]:
    return lambda found, case: found.ranked(found.without(case, hidden), weights)


def part_ranker(part: Sequence[str], weights: Mapping[str, float]) -> Callable[[Measured, Case], Doubles]:
    """Return what ranks by some features."""
    return lambda found, case: found.ranked(found.only(case, part), weights)


def _nameless(*hidden: str) -> Callable[[Measured, Case], Doubles]:
    return lambda found, case: found.ranked(without(found.hidden[case.taxon].measured(case), hidden), WEIGHTS)


def _permuted(*hidden: str) -> Callable[[Measured, Case], list[Doubles]]:
    """Give every gene another gene's text."""

    def scores(found: Measured, case: Case) -> list[Doubles]:
        made = []
        for draw in range(PERMUTED):
            rng = np.random.default_rng(draw)

            def permute(profile: Doubles, rng: np.random.Generator = rng) -> Doubles:
                return profile[:, rng.permutation(profile.shape[1])]

            features = found.worlds[case.taxon].measured(case, change=permute)
            made.append(found.ranked(without(features, hidden), WEIGHTS))
        return made

    return scores


def _with_background(*hidden: str) -> Callable[[Measured, Case], Doubles]:
    """Compare the types with those of other tissues of the same species, too."""

    def scores(found: Measured, case: Case) -> Doubles:
        own = {case.tissue, *(("retina", "eye") if case.tissue in ("retina", "choroid") else ())}
        others = [one for one in found.trainings if one.taxon == case.taxon and one.tissue not in own]
        return found.ranked(without(found.worlds[case.taxon].measured(case, others=others), hidden), WEIGHTS)

    return scores


def _no_cells(found: Measured, case: Case) -> Doubles:
    return found.ranked(found.only(case, (*FORM, *TISSUE)), WEIGHTS)


def _random(found: Measured, case: Case) -> Doubles:
    features = found.worlds[case.taxon].measured(case, Nearness("random"))
    return features[..., FEATURES.index(MEANING)].astype(np.float64)


def _alone(name: str) -> Callable[[Measured, Case], Doubles]:
    return lambda found, case: found.alone(case, name)


WAYS = (
    Way("words", _ranker(WEIGHTS, *WORDS_ONLY, *TISSUE)),
    Way("words, tissue", _ranker(WEIGHTS, *WORDS_ONLY)),
    Way("words, human files", _ranker(WEIGHTS, *WORDS_ONLY, *TISSUE), READ),
    Way("words, human files, tissue", _ranker(WEIGHTS, *WORDS_ONLY), READ),
    Way("words and minilm, human files", _ranker(WITH_MEANING, MARKER, *TISSUE), READ),
    Way("words and minilm, human files, tissue", _ranker(WITH_MEANING, MARKER), READ),
    Way("words and marker sets", _ranker(WITH_MARKERS, MEANING, *TISSUE)),
    Way("words and marker sets, tissue", _ranker(WITH_MARKERS, MEANING)),
    Way("words, types' names hidden", _nameless(*WORDS_ONLY, *TISSUE)),
    Way("words, types' names hidden, tissue", _nameless(*WORDS_ONLY)),
    Way("words, other tissues as background", _with_background(*WORDS_ONLY, *TISSUE)),
    Way("words, other tissues as background, tissue", _with_background(*WORDS_ONLY)),
    Way("mentions alone", _alone("mention")),
    Way("TF-IDF of definitions alone", _alone("definition")),
    Way("TF-IDF of names alone", _alone("name")),
    Way("genes that definitions name", _alone("gene_in_definition")),
    Way("minilm alone, human files", _alone(MEANING), READ),
    Way("over-represented marker sets alone", _alone(MARKER)),
    Way("control: permuted gene texts", _permuted(*WORDS_ONLY, *TISSUE)),
    Way("control: permuted gene texts, tissue", _permuted(*WORDS_ONLY)),
    Way("control: form and tissue, no cells", _no_cells),
    Way("control: random vectors, human files", _random, READ),
)

PARTS: Mapping[str, tuple[str, ...]] = {
    "ranker of mentions and form": ("mention", "mention_above", "mention_below", *FORM),
    "ranker of definitions and form": ("definition", "definition_above", "definition_below", *FORM),
    "ranker of words without form": tuple(one for one in FEATURES if one not in (*FORM, *TISSUE, *WORDS_ONLY)),
}


def chance_level(found: Measured) -> dict[str, float]:
    """Return what a random order of the terms is worth."""
    n = len(found.judge.ids)
    rows = []
    for term in [term for case in found.tests for term in case.terms]:
        near = len(found.judge.near(term) & set(found.judge.ids))
        none = np.cumprod([(n - near - i) / (n - i) for i in range(20)])
        hits = {f"near@{k}": float(1 - none[k - 1]) for k in (1, 5, 20)}
        rows.append({"exact@1": 1 / n, "exact@5": 5 / n, **hits, "distance": float("nan")})
    return mean(rows)


def _studies(found: Measured, hidden: Sequence[str]) -> list[Case]:
    """Return the studies to learn from: without meaning all of them, else those that minilm read."""
    return [one for one in found.trainings if MEANING in hidden or one.taxon in READ]


def held_out(found: Measured, hidden: Sequence[str]) -> Iterator[tuple[Case, Doubles]]:
    """Yield each study that the ranker learns from with the chances by a ranker that did not see it."""
    studies = _studies(found, hidden)
    order = np.random.default_rng(SEED).permutation(len(studies)).tolist()
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        weights = found.fitted([studies[i] for i in order if i not in out], hidden)
        for case in [studies[i] for i in out]:
            for tissue in (TISSUE, ()):
                yield case, found.ranked(found.without(case, (*hidden, *tissue)), weights)


def firsts(found: Measured, case: Case, chance: Doubles, n: int = 1) -> Iterator[tuple[float, float, bool]]:
    """Yield of each cluster's first n names the chance, that of its kin, and whether it is near the right one."""
    of_kin = np.asarray((found.kin @ chance.T).T)
    for row, kin, term in zip(chance, of_kin, case.terms, strict=True):
        if term in found.judge.ids:
            near = found.judge.near(term)
            for i in np.argsort(-row, kind="stable")[:n].tolist():
                yield float(row[i]), float(kin[i]), found.judge.ids[i] in near


def show_fit(found: Measured) -> None:
    """Print what `scvec.naming.ranker` should hold, and what its scores are worth for studies held out."""
    for name, hidden in (("WEIGHTS", WORDS_ONLY), ("WITH_MEANING", (MARKER,)), ("WITH_MARKERS", (MEANING,))):
        weights = found.fitted(_studies(found, hidden), hidden)
        print(f"{name} =", pformat({key: round(one, 3) for key, one in weights.items()}, sort_dicts=False))
        made = list(held_out(found, hidden))
        pairs = [one for case, chance in made for one in firsts(found, case, chance, 5)]
        of_term, of_kin, offset = calibrated(np.array([one[:2] for one in pairs]), [one[2] for one in pairs])
        print(f"OF_TERM, OF_KIN, OFFSET = {of_term:.3f}, {of_kin:.3f}, {offset:.3f}")
        first = np.array([one for case, chance in made for one in firsts(found, case, chance)])
        score = 1 / (1 + np.exp(-(of_term * np.log(first[:, 0]) + of_kin * np.log(first[:, 1]) + offset)))
        for at in AT:
            wrong = 1 - first[score >= at, 2]
            print(
                f"  from {at:.1f}: {len(wrong) / len(first):.2f} named, {wrong.mean() if len(wrong) else 0:.2f} wrong"
            )
