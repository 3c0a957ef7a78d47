"""What words say of genes and terms, the features made of it, and the ranker that weighs them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scvec.core.types import Doubles
from scvec.naming.features import FEATURES, Features, specific, standardised
from scvec.naming.phrases import GeneNames, mentions, phrases_of, words_of
from scvec.naming.ranker import STANDS_OUT, WEIGHTS, WITH_MEANING, chances, scores_of
from scvec.naming.scoring import Meaning, Ranking
from scvec.naming.term_texts import TermTexts, term_texts
from scvec.naming.term_words import TermWords, weighed
from scvec.naming.tissue import PARTS_OF_WORDS, TissueOf, is_known, parts_of
from scvec.ontology import Ontology, Term
from tests.toy_ontology import ALPHA, BETA, RETINAL, T_CELL, TOY


def test_words_are_compared_without_case_points_and_plural() -> None:
    assert words_of("Found in T-cells, pancreatic islets; CD4+ (mucus).") == [
        *("found in t cell pancreatic islet cd4+ mucus".split())  # noqa: SIM905 - a sentence
    ]


@pytest.mark.parametrize(
    ("term", "phrases"),
    [
        (Term("CL:1", "type B cell", "", ("beta cell",)), {"type b cell", "type b", "beta cell"}),
        (Term("CL:1", "Purkinje cell (Mmus)"), {"purkinje cell", "purkinje"}),
        (Term("CL:1", "stem cell"), {"stem cell"}),
        (Term("CL:1", "B cell"), {"b cell"}),
    ],
)  # fmt: skip
def test_a_term_is_mentioned_by_its_names(term: Term, phrases: set[str]) -> None:
    assert {" ".join(one) for one in phrases_of(term)} == phrases


def test_texts_that_mention_a_term() -> None:
    terms = [Term("CL:1", "mast cell"), Term("CL:2", "T cell", "", ("T lymphocyte",)), Term("CL:3", "melanocyte")]
    found = mentions(terms, ["Expressed by Mast cells.", "T lymphocytes and mast cells.", "A mast; cell.", ""])
    assert found.toarray().tolist() == [[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_no_text_mentions_nothing() -> None:
    assert mentions([Term("CL:1", "T cell")], []).shape == (1, 0)
    assert mentions([Term("CL:1", "T cell")], ["", " ."]).nnz == 0


def test_genes_that_a_text_names() -> None:
    texts = [
        "CD14: CD14 molecule. Of monocytes.",
        "FCGR3A: Fc gamma receptor IIIa.",
        "INS: insulin. A hormone.",
        "REST: x.",
    ]
    names = GeneNames(["CD14", "FCGR3A", "INS", "REST"], [[], ["CD16", "CD14"], [], ["XBR"]], texts)
    assert names.within("CD14-positive, CD16-negative monocyte") == {0: 1.0, 1: -1.0}
    assert names.within("a cell that is CD16 negative") == {1: -1.0}
    assert names.within("an Insulin-secreting cell at rest") == {2: 1.0}
    assert names.within("") == {}


def test_what_is_specific_to_a_cluster() -> None:
    means = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    found = specific(means, np.zeros((0, 3)), np.array([True, True, True]))
    assert found[0, 0] == -found[1, 0] > 0
    assert not found[:, 1:].any()
    assert not specific(means, np.zeros((0, 3)), np.array([False, True, True])).any()
    # Compared with a type that has as much, it is less specific; what is not known of that type changes nothing.
    other = specific(means, np.array([[2.0, np.nan, 0.0]]), np.ones(3, bool))
    assert 0 < other[0, 0] < found[0, 0]


def test_a_constant_row_is_standardised_to_nothing() -> None:
    assert not standardised(np.ones((2, 4))).any()


def test_a_term_s_sum_is_in_deviations_of_its_permutations() -> None:
    draws = np.random.default_rng(0)
    profile, weights = draws.normal(size=(3, 40)), draws.normal(size=(2, 40)).astype(np.float32)
    shares = np.maximum(weights, 0) / np.maximum(weights, 0).sum(axis=1, keepdims=True)
    off = shares - 1 / 40
    assert weighed(weights, profile) == pytest.approx(profile @ off.T / np.linalg.norm(off, axis=1), abs=1e-6)
    assert weighed(np.zeros((1, 40)), profile) == pytest.approx(-profile.sum(axis=1, keepdims=True) / 40**0.5)


def test_weights_of_all_genes_alike_say_nothing() -> None:
    profile = np.array([[3.0, 1.0, 0.0, -4.0]])
    alike, first = weighed(np.ones((1, 4)), profile), weighed(np.array([[1.0, 0, 0, 0]]), profile)
    assert alike == pytest.approx(0, abs=1e-6)
    assert first > 0


@pytest.mark.parametrize(
    ("tissue", "part"),
    [("kidney", "renal"), ("Pancreatic islets", "islet"), ("human retina", "retina"), ("gonads", "gonads")],
)
def test_a_tissue_has_other_words(tissue: str, part: str) -> None:
    assert part in parts_of(tissue)


def test_every_tissue_means_itself() -> None:
    assert all(parts_of(name) for name in PARTS_OF_WORDS)
    assert parts_of("of a 1") == ()


def test_terms_of_a_tissue() -> None:
    terms = term_texts(TOY)
    found = TissueOf(terms).of("pancreas")
    at = terms.positions
    assert found[at[BETA], 0] == 1
    assert found[at[RETINAL]].tolist() == [0, 0, 0, 1]
    assert not found[at[T_CELL]].any()
    assert not TissueOf(terms).of(None).any()
    assert is_known("pancreas", terms)
    assert not is_known("pancraes", terms)
    assert not is_known("視網膜", terms)


def toy_words(terms: TermTexts, texts: list[str]) -> TermWords:
    from sklearn.feature_extraction.text import TfidfVectorizer

    names = ["; ".join((one.name, *one.synonyms)) for one in terms.terms]
    reader = TfidfVectorizer(dtype=np.float32).fit([*texts, *names])
    none = mentions([Term(one.id, "no such name") for one in terms.terms], texts)
    definitions = [one.description for one in terms.terms]
    return TermWords(
        mentions(terms.terms, texts), none, none, reader.transform(names), reader.transform(definitions),
        reader.transform(texts),
    )  # fmt: skip


TEXTS = [
    "Secreted by pancreatic beta cells.",
    "Made in pancreatic alpha cells.",
    "Of T cells.",
    "Ribosomal.",
    "Of all.",
]


def ranked(profile: Doubles, tissue: str | None = None) -> tuple[TermTexts, Doubles]:
    terms = term_texts(TOY)
    made = Features(terms, toy_words(terms, TEXTS)).of(profile, np.ones(5, bool), tissue)
    assert made.shape == (len(profile), len(terms), len(FEATURES))
    assert np.isfinite(made).all()
    return terms, chances(made)


def test_a_cluster_is_named_by_what_its_genes_texts_mention() -> None:
    terms, found = ranked(np.eye(5)[:3] * 3)
    assert found.sum(axis=1) == pytest.approx(1)
    assert terms.ids[found.argmax(axis=1)][[0, 2]].tolist() == [BETA, T_CELL]
    at = terms.positions
    assert found[1, at[ALPHA]] > max(found[0, at[ALPHA]], found[2, at[ALPHA]])


def test_genes_whose_texts_mean_the_same_as_a_term_s_stand_behind_its_name() -> None:
    terms, profile = term_texts(TOY), np.array([[0.0, 3.0, 2.0, 0.0, 0.0]])
    words = replace(toy_words(terms, ["x y"] * 5), mentions=mentions([Term("CL:1", "none")] * len(terms), TEXTS))
    # The encoder finds that the second gene alone is near to the first term; no word of the texts is that term's.
    near = Meaning(np.eye(len(terms), 2, dtype=np.float32), np.eye(5, 2, -1, dtype=np.float32), np.ones(5, bool))
    features = Features(terms, words)
    measured = features.of(profile, near.has_text, None, near)
    chance = chances(measured, WITH_MEANING)
    ranking = Ranking(chance, scores_of(chance, features.kin), measured, profile, words, WITH_MEANING, near, None)
    assert measured[0, :, FEATURES.index("meaning")].argmax() == 0
    assert ranking.genes_behind(0, 0, 3).tolist() == [1]


def test_a_tissue_favours_its_terms() -> None:
    beta = np.array([[3.0, 0, 0, 0, 0]])
    terms, plain = ranked(beta)
    _, told = ranked(beta, "retina")
    at = terms.positions[RETINAL]
    assert told[0, at] > plain[0, at]


def test_a_cluster_that_expresses_nothing_special_has_no_favourite_by_words() -> None:
    _, found = ranked(np.zeros((1, 5)))
    assert np.isfinite(found).all()


def test_the_ranker_weighs_every_feature() -> None:
    assert set(WEIGHTS) == set(WITH_MEANING) == set(FEATURES)
    assert 0 < STANDS_OUT < 1


def test_kin_that_share_the_chance_make_a_name_surer() -> None:
    terms = term_texts(Ontology("1", TOY.terms, TOY.obsolete))
    kin = Features(terms, toy_words(terms, TEXTS)).kin
    at = terms.positions
    assert kin[at[BETA], at[ALPHA]] == 1  # by their parent
    assert kin[at[BETA], at[T_CELL]] == 0
    chance = np.full((2, len(terms)), 1e-6)
    chance[:, at[BETA]] = 0.5
    chance[0, at[ALPHA]], chance[1, at[T_CELL]] = 0.5, 0.5
    scores = scores_of(chance, kin)
    assert scores[0, at[BETA]] > scores[1, at[BETA]]
    assert ((scores > 0) & (scores < 1)).all()
