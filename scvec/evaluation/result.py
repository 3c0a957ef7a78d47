"""Compares calls with an author's labels, by exact name or by the Cell Ontology.

The figures are those of Fischer et al. 2024, "scTab: Scaling cross-tissue single-cell annotation models", with metrics
of rejection and confidence; see `scvec.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.annotation.remarks import WORTH_NAMING, same_cells
from scvec.annotation.result import LOW_CONFIDENCE, NOVEL, Annotation
from scvec.core.html import table
from scvec.core.logs import log_notes
from scvec.core.tabular import Tabular
from scvec.core.text import counted
from scvec.core.types import UNKNOWN, Bools, Floats, Strings
from scvec.errors import InputError, KeyNotFoundError, LabelError
from scvec.evaluation.author_labels import Given, ids_by_label, labels_of, note_lacking, or_near
from scvec.evaluation.metrics import Rejection, Score, SetQuality, Trust
from scvec.ontology import LabelMatch, Ontology, credited, match_labels
from scvec.ontology.matching import NO_MAP

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Evaluation(Tabular):
    """How calls compare with an author's labels.

    All but `rejection` is about labels before rejection.

    Attributes
    ----------
    n_cells
        Number of cells with an author's label; every one counts, and one that is not called is wrong.
    accuracy, macro_f1
        Share of cells called right; mean F1 over the query's classes.
    known_accuracy, known_macro_f1
        The same for cells of classes that the atlas has.
    classes
        The query's classes (the author's labels), sorted.
    precision, recall, f1, support
        (c,) of each class.
    called
        The columns of `confusion`: every class or label that occurs, sorted.
    confusion
        (c, m) cells of each class by what they were called.
    not_in_atlas
        Classes of the query that the atlas lacks: their cells cannot be called right.
    judged_by
        ``"label"``, by exact name, or the ontology; `confusion` then counts right calls under the author's label.
    notes
        What a reader should know about the comparison.
    rejection, trust, sets
        Metrics of rejection, confidences and prediction sets; None if the calls have none.
    other_calls
        Scores of the calls by other means, by the names of `Annotation.other_calls`.
    """

    n_cells: int
    accuracy: float
    macro_f1: float
    known_accuracy: float
    known_macro_f1: float
    classes: tuple[str, ...]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    called: tuple[str, ...]
    confusion: NDArray[np.int64]
    not_in_atlas: tuple[str, ...]
    judged_by: str = "label"
    notes: tuple[str, ...] = ()
    rejection: Rejection | None = None
    trust: Trust | None = None
    sets: SetQuality | None = None
    other_calls: Mapping[str, Score] = field(default_factory=dict)

    def __repr__(self) -> str:
        right = f"accuracy {self.accuracy:.3f}, macro-F1 {self.macro_f1:.3f}"
        right += f" over {counted(len(self.classes), 'label')}"
        lacking = f", {counted(len(self.not_in_atlas), 'label')} not in the atlas" if self.not_in_atlas else ""
        return f"Evaluation: {counted(self.n_cells, 'cell')}, {right}{lacking}"

    def _repr_html_(self) -> str:
        frame = self.per_class().sort("support", "label", descending=[True, False])
        return table(repr(self), frame.columns, frame.rows())

    def to_polars(self) -> pl.DataFrame:
        """Return `per_class`."""
        return self.per_class()

    def per_class(self) -> pl.DataFrame:
        """Return one row for each class: label, support, precision, recall, f1; and coverage if calls were rejected."""
        import polars as pl

        keys = ("support", "precision", "recall", "f1")
        columns = {"label": list(self.classes), **{key: getattr(self, key) for key in keys}}
        return pl.DataFrame(columns | ({} if self.rejection is None else {"coverage": self.rejection.class_coverage}))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types, without those that do not apply."""
        names = ("accuracy", "macro_f1", "known_accuracy", "known_macro_f1")
        found: dict[str, Any] = {"n_cells": self.n_cells, "judged_by": self.judged_by}
        found |= {name: round(getattr(self, name), 4) for name in names}
        found |= {"not_in_atlas": list(self.not_in_atlas), "notes": list(self.notes)}
        for one in (self.rejection, self.sets, self.trust):
            found |= {} if one is None else one.to_dict()
        if self.other_calls:
            found["other_calls"] = {name: one.to_dict() for name, one in self.other_calls.items()}
        found["per_class"] = [
            {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
            for row in self.per_class().to_dicts()
        ]
        return found


def compare(called: Strings, truth: Strings, atlas_labels: Sequence[str]) -> Evaluation:
    """Compare (n,) labels called with (n,) author labels.

    Raises
    ------
    LabelError
        If no author label is a label of the atlas, so that every figure would be 0.
    """
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    classes, has = sorted(set(truth.tolist())), set(atlas_labels)
    known = [one for one in classes if one in has]
    if not known:
        raise LabelError(
            f"none of the author's labels, such as {or_near(classes[0], atlas_labels)}, is a label of the atlas",
            f"labels such as {min(has)!r}",
            "map the author's labels to the atlas's with `label_map`, or compare terms of the Cell Ontology",
        )
    precision, recall, f1, support = precision_recall_fscore_support(truth, called, labels=classes, zero_division=0)
    inside = np.isin(truth.astype(str), known)
    everything = sorted({*classes, *called.tolist()})
    confusion = np.zeros((len(classes), len(everything)), np.int64)
    np.add.at(
        confusion, tuple(np.searchsorted(a, b.astype(str)) for a, b in ((classes, truth), (everything, called))), 1
    )
    return Evaluation(
        n_cells=len(truth),
        accuracy=float(np.mean(called == truth)),
        macro_f1=float(np.mean(f1)),
        known_accuracy=float(np.mean((called == truth)[inside])),
        known_macro_f1=float(f1_score(truth[inside], called[inside], labels=known, average="macro", zero_division=0)),
        classes=tuple(classes),
        precision=precision,
        recall=recall,
        f1=f1,
        support=np.asarray(support, np.int64),
        called=tuple(everything),
        confusion=confusion,
        not_in_atlas=(lacking := tuple(one for one in classes if one not in has)),
        notes=note_lacking(lacking, atlas_labels),
    )


def evaluate(
    calls: Annotation,
    labels: Given,
    *,
    label_map: Mapping[str, str] = NO_MAP,
    label_ids: Given | None = None,
    ontology: Ontology | None = None,
) -> Evaluation:
    """Compare calls with an author's labels.

    Parameters
    ----------
    calls
        The calls.
    labels
        The author's labels: a column of the query's ``obs``, by name; or (n,) values, such as
        ``adata.obs["cell_type"]``. A pandas Series is matched by the cells' names. Cells without a label, whose value
        is missing or means none (see `unlabelled` of `scvec.ReadOptions`), do not count.
    label_map
        The atlas's label for an author's label; a label that is not a key stays as it is.
    label_ids
        The ids of the author's labels in the Cell Ontology, given as `labels` are; None: labels are matched by name.
        Needs `ontology`.
    ontology
        Judges by terms: a call is right if its term is the author's or a kind of it, and wrong if it is more general,
        whatever the labels are called. Labels of the atlas have the ids of its ``obs``, or else those of their names.
        Labels without a term are judged by exact name. None: all labels are.

    Raises
    ------
    InputError
        If a column is not there, no cell has a label, a label has two ids, no label is the atlas's, `label_map` leads
        to a label that the atlas lacks, or `label_ids` is given without `ontology`.
    """
    stray = sorted(set(label_map.values()) - set(calls.labels))
    if stray:
        raise LabelError(
            f"`label_map` leads to {stray[0]!r}", f"labels of the atlas: {', '.join(calls.labels)}", "fix the map"
        )
    if ontology is None and label_ids is not None:
        raise InputError("`label_ids` needs `ontology`", fix="give both or neither")
    every = labels_of(calls, labels, "labels")
    here = every != ""
    own, judged = every[here], _Judged.of(calls, here)
    truth = np.array([label_map.get(one, one) for one in own.tolist()], dtype=object)
    terms: _Terms | None = None
    if ontology is not None:
        atlas_ids = calls.query.atlas.label_ids
        ids = {} if label_ids is None else ids_by_label(own, labels_of(calls, label_ids, "label_ids")[here])
        # A label that is mapped to a label of the atlas has that label's term.
        ids |= {label_map[one]: atlas_ids.get(label_map[one], "") for one in label_map}
        terms = _Terms(ontology, _matched(ontology, calls.labels, atlas_ids), _matched(ontology, truth.tolist(), ids))
    counted = judged.label if terms is None else terms.counted(judged.label, truth)
    result = compare(counted, truth, calls.labels if terms is None else terms.has())
    known, right = ~np.isin(truth.astype(str), result.not_in_atlas), counted == truth
    max_error = calls.provenance.get("max_error")
    could = max_error is not None or bool(np.isin(calls.reason.astype(str), (NOVEL, LOW_CONFIDENCE)).any())
    codes = np.searchsorted(result.classes, truth.astype(str))
    compared = replace(
        result,
        judged_by="label" if ontology is None else str(ontology),
        notes=(*_note_unlabelled(here), *_note_same(calls), *(() if terms is None else terms.notes()), *result.notes),
        rejection=Rejection.of(max_error, judged.rejected, right, known, codes) if could else None,
        trust=Trust.of(judged.confidence, judged.novelty, right, known),
        sets=None if judged.sets is None else _of_sets(judged.sets, truth, known, terms),
        other_calls=_other_calls(calls.labels, judged.other_calls, truth, label_map, terms),
    )
    log_notes(compared.notes, "evaluate")
    return compared


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is judged of the calls of the cells that have an author's label."""

    label: Strings
    rejected: Bools
    confidence: Floats
    novelty: Floats
    sets: Sequence[Sequence[str]] | None
    other_calls: Mapping[str, Strings]

    @classmethod
    def of(cls, calls: Annotation, cells: Bools) -> _Judged:
        return cls(
            calls.label_before_rejection[cells],
            calls.rejected[cells],
            calls.confidence[cells],
            calls.novelty[cells],
            None if calls.sets is None else [one for one, yes in zip(calls.sets, cells, strict=True) if yes],
            {name: called[cells] for name, called in calls.other_calls.items()},
        )


def _note_unlabelled(here: Bools) -> tuple[str, ...]:
    """Return a note on the cells that have no author's label; none if all have one."""
    said = f"evaluated on the {int(here.sum()):,} of {len(here):,} cells that have an author's label"
    return () if here.all() else (said,)


def _note_same(calls: Annotation) -> tuple[str, ...]:
    """Return a note if cells are evaluated on an atlas that has them; none if they are not."""
    n = int(same_cells(calls).sum())
    said = f"{n:,} of {len(calls):,} cells are cells of the atlas: their accuracy is not that of new cells"
    return (said,) if n > WORTH_NAMING * len(calls) else ()


@dataclass(frozen=True, slots=True)
class _Terms:
    """Judges calls by terms: those of the atlas's labels and of the author's (the query's)."""

    ontology: Ontology
    atlas: LabelMatch
    query: LabelMatch

    def counted(self, called: Strings, truth: Strings) -> Strings:
        """Return (n,) the labels to count: the author's if the call is right, else the query's name of its term."""
        word = {term: label for label, term in reversed(self.query.ids.items())}
        # The same word for different terms, the atlas's and the query's, is not a right call.
        other = {one: f"{one} ({term})" if one in self.query.ids else one for one, term in self.atlas.ids.items()}
        words = {one: word.get(term, other[one]) for one, term in self.atlas.ids.items()}
        said = np.array([words.get(one, one) for one in called.tolist()], dtype=object)
        return credited(said, truth, self.atlas.ids_of(called), self.query.ids_of(truth), self.ontology)

    def also(self, labels: set[str]) -> _Terms:
        """Return the same for calls by further labels, too: the author's labels keep the author's terms."""
        own = {one: self.query.ids[one] for one in labels & self.query.ids.keys()}
        more = _matched(self.ontology, sorted(labels), own)
        return replace(self, atlas=replace(self.atlas, matches=(*self.atlas.matches, *more.matches)))

    def has(self) -> list[str]:
        """Return what the atlas covers, by name: classes of the query that calls can match, and its own labels."""
        labels, classes = ([one.label for one in found.matches] for found in (self.atlas, self.query))
        called = np.array([one for one in labels for _ in classes], dtype=object)
        truth = np.array(classes * len(labels), dtype=object)
        right = self.counted(called, truth) == truth
        return [*dict.fromkeys(truth[right].tolist()), *(one for one in labels if one not in classes)]

    def notes(self) -> list[str]:
        """Return how many labels have terms, a line for each side."""
        bare = [", ".join(one.label for one in found.matches if not one.id) for found in (self.atlas, self.query)]
        left = [f"; judged by exact name: {one}" if one else "" for one in bare]
        return [f"in the atlas, {self.atlas}{left[0]}", f"in the query, {self.query}{left[1]}"]


def _other_calls(
    labels: Sequence[str],
    other_calls: Mapping[str, Strings],
    truth: Strings,
    label_map: Mapping[str, str],
    terms: _Terms | None,
) -> dict[str, Score]:
    """Return the scores of calls by other means; a readout's labels may be the author's and not the atlas's."""
    scores = {}
    for name, called in other_calls.items():
        words = {one: one if one in labels else label_map.get(one, one) for one in called.tolist()}
        said = np.array([words[one] for one in called.tolist()], dtype=object)
        if terms is not None:
            said = terms.also(set(said.tolist()) - {*labels, UNKNOWN}).counted(said, truth)
        scores[name] = Score.of(said, truth)
    return scores


def _matched(ontology: Ontology, labels: Sequence[str], ids: Mapping[str, str]) -> LabelMatch:
    """Return the terms of labels: by name where there is no id; none where the id is not in use."""

    def current(term: str) -> str:
        with suppress(KeyNotFoundError):
            return ontology.resolve(term)
        return ""

    return match_labels(ontology, sorted(set(labels)), {one: current(term) for one, term in ids.items() if term})


def _of_sets(sets: Sequence[Sequence[str]], truth: Strings, known: Bools, terms: _Terms | None) -> SetQuality:
    cell = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    named = np.array(list(chain.from_iterable(sets)), dtype=object)
    counted = named if terms is None else terms.counted(named, truth[cell])
    return SetQuality.of(cell, counted == truth[cell], known)
