"""Asks an LLM about unsure calls: it may reorder the labels that retrieval found, and cannot invent one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from textwrap import shorten
from typing import Any

import numpy as np

from scvec.annotation.result import Annotation
from scvec.annotation.second_opinions import STATUSES, Reranked
from scvec.core.progress import shown
from scvec.core.types import Ints, Progress, Strings
from scvec.interpret.reranking.asking import UNASKED, Outcome, ask_all, known
from scvec.interpret.reranking.budget import USUAL_CHARACTERS_A_TOKEN, USUAL_TOKENS_OUT, Budget, text_of
from scvec.interpret.reranking.cache import AnswerCache
from scvec.interpret.reranking.cases import Cases, cases_of
from scvec.interpret.reranking.evidence import Case, evidence_of
from scvec.interpret.reranking.options import RerankOptions
from scvec.interpret.reranking.prompt import Prompt, prompt_hash, prompt_of

MAX_TISSUE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class RerankBill:
    """What reranking would cost.

    Attributes
    ----------
    model
        The judge.
    calls, cached
        Number of cases to ask, and of those whose answers are in the store.
    tokens_in, tokens_out
        Tokens of the calls: estimated from the prompts' length, and from the usual length of an answer.
    usd, usd_at_most
        Their estimated cost, and the cost if every answer had its full length and was asked for twice; None if no
        price is known.
    """

    model: str
    calls: int
    cached: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    usd_at_most: float | None


@dataclass(frozen=True, slots=True)
class _Questions:
    """What there is to ask: the unsure cases, each with a prompt; several cases can share one."""

    asked: RerankOptions
    cache: AnswerCache
    budget: Budget
    threshold: float | None
    cases: Cases
    positions: Ints
    shown: Sequence[Case]
    prompts: Sequence[Prompt]
    prompt_at: Sequence[int]


def rerank(
    calls: Annotation,
    asked: RerankOptions,
    *,
    progress: Progress | None = None,
) -> Annotation:
    """Return the calls with a language model's ranking of the unsure ones, in `Annotation.reranked`.

    The model sees the labels that retrieval found for a cluster or a cell, and ranks these, or abstains. Any other
    answer is asked for once more; after that the order of retrieval stands. `label` and `cluster_label` do not change.
    Answers are kept in the atlas's store: nothing is asked, or paid for, twice.

    Parameters
    ----------
    calls
        The calls by retrieval; their query is read again.
    asked
        Which model is asked, about what, at what cost. A case is asked about if its label's share of the votes is below
        the lowest share at which at most `RerankOptions.error` of the atlas's held-out calls are wrong.
    progress
        Shows the cells read, and the cases asked.

    Raises
    ------
    InputError
        If an argument is invalid, if `max_cost` is set and no price is known, if the query was changed since it
        was annotated, or if there are no clusters to ask about.
    FileError
        If the weights of a local model are missing.
    MissingDependencyError
        If an extra is not installed.
    ServiceError
        If the server fails permanently; answers received so far are kept, and a further run continues from there.
    """
    progress = shown(progress)
    questions = _questions(calls, asked, progress)
    of_prompts = ask_all(questions.prompts, questions.cache, questions.budget, asked.concurrency, progress)
    outcomes = [of_prompts[i] for i in questions.prompt_at]
    return _with_outcomes(calls, questions, of_prompts, outcomes)


def rerank_bill(
    calls: Annotation,
    asked: RerankOptions,
    *,
    progress: Progress | None = None,
) -> RerankBill:
    """Return what `rerank` would cost, without asking anything; raises as `rerank` does, except for the server."""
    questions = _questions(calls, asked, shown(progress))
    prompts, judge, budget = questions.prompts, questions.cache.judge, questions.budget
    done = known(prompts, questions.cache, budget)
    new = [one for i, one in enumerate(prompts) if i not in done]
    tokens_in = sum(-(-len(text_of(one)) // USUAL_CHARACTERS_A_TOKEN) for one in new)
    tokens_out = min(USUAL_TOKENS_OUT, judge.max_tokens) * len(new)
    usd = at_most = None
    if budget.price is not None:
        usd = (tokens_in * budget.price[0] + tokens_out * budget.price[1]) / 1e6
        at_most = sum(budget.worst(one, judge) for one in new)
    return RerankBill(judge.name, len(new), len(done), tokens_in, tokens_out, usd, at_most)


def _questions(calls: Annotation, asked: RerankOptions, progress: Progress) -> _Questions:
    judge, budget = asked.judge()
    atlas = calls.query.atlas
    cases = cases_of(calls, atlas, asked.by)
    threshold = None if atlas.calibration is None else atlas.calibration.sure_share(asked.error)
    positions = cases.unsure(np.inf if threshold is None else threshold)
    tissue = asked.tissue and shorten(asked.tissue, MAX_TISSUE_CHARACTERS, placeholder="...")
    shown = evidence_of(cases, positions, calls, tissue=tissue, progress=progress)
    unique: dict[str, int] = {}
    prompts: list[Prompt] = []
    prompt_at = []
    for case in shown:
        prompt = prompt_of(case, judge.form)
        place = unique.setdefault(text_of(prompt), len(prompts))
        if place == len(prompts):
            prompts.append(prompt)
        prompt_at.append(place)
    cache = AnswerCache(atlas.store, judge)
    finite = threshold if threshold is None or np.isfinite(threshold) else None
    return _Questions(asked, cache, budget, finite, cases, positions, shown, prompts, prompt_at)


def _status(outcome: Outcome, case: Case) -> str:
    if outcome is UNASKED:
        return "unasked"
    if outcome.verdict is None:
        return "rejected"
    if not outcome.verdict.ranking:
        return "abstained"
    return "confirmed" if outcome.verdict.ranking[0] == case.labels[0] else "reordered"


def _with_outcomes(
    calls: Annotation, questions: _Questions, of_prompts: Sequence[Outcome], outcomes: Sequence[Outcome]
) -> Annotation:
    statuses = [_status(one, case) for one, case in zip(outcomes, questions.shown, strict=True)]
    total = {
        "calls": sum(one.calls for one in of_prompts),
        "tokens_in": sum(one.tokens_in for one in of_prompts),
        "tokens_out": sum(one.tokens_out for one in of_prompts),
        "usd": None if questions.budget.price is None else sum(one.usd for one in of_prompts),
    }
    asked, judge = questions.asked, questions.cache.judge
    made = {
        **{key: value for key, value in asdict(asked).items() if key not in ("download", "device", "concurrency")},
        "model": judge.name,
        "revision": judge.revision,
        "prompt": prompt_hash(judge.form),
        "threshold": questions.threshold,
        **total,
        "cases": [
            {
                "name": case.name,
                "candidates": list(case.labels),
                "ranking": list(one.verdict.ranking if one.verdict else ()),
                "status": status,
            }
            for case, one, status in zip(questions.shown, outcomes, statuses, strict=True)
        ],
    }
    return replace(
        calls,
        reranked=_reranked(questions, outcomes, statuses),
        notes=(*calls.notes, *_notes(questions, statuses, total)),
        provenance={**calls.provenance, "rerank": made},
    )


def _reranked(questions: _Questions, outcomes: Sequence[Outcome], statuses: Sequence[str]) -> Reranked:
    """Return the cells' columns; all cells of a cluster share its values, rejected ones too."""
    cases = questions.cases
    row_of = np.full(len(cases) + 1, -1, np.int64)  # The last entry is for cells in no case.
    row_of[questions.positions] = np.arange(len(questions.positions))
    rows = row_of[cases.case_of]

    def spread(values: Sequence[str]) -> Strings:
        return np.array([*values, ""], object)[rows]

    verdicts = [one.verdict for one in outcomes]
    chosen = np.array([one.ranking[0] if one and one.ranking else None for one in verdicts] + [None], object)[rows]
    reasons = [one.verdict.reason if one.verdict else one.problem for one in outcomes]
    return Reranked(
        label=np.where(chosen == None, cases.stands, chosen).astype(object),  # noqa: E711 - elementwise
        status=spread(statuses),
        reason=spread(reasons),
        genes=spread([", ".join(one.genes) if one else "" for one in verdicts]),
        case=spread([case.name for case in questions.shown]),
    )


def _notes(questions: _Questions, statuses: Sequence[str], total: dict[str, Any]) -> list[str]:
    counts, judge, by = Counter(statuses), questions.cache.judge, questions.asked.by
    said = ", ".join(f"{counts[one]:,} {one}" for one in STATUSES if counts[one])
    n_asked = len(statuses) - counts["unasked"]
    usd = "" if total["usd"] is None else f", ${total['usd']:.4f}"
    paid = f"{total['calls']:,} calls, {total['tokens_in']:,} tokens in and {total['tokens_out']:,} out{usd}"
    notes = [
        f"{judge.name} was asked about {n_asked:,} of {len(questions.cases):,} {by}s"
        + (f": {said}; {paid}" if statuses else "; the others are sure")
    ]
    if questions.threshold is None:
        notes.append("no share of the votes keeps the requested error: every case with two labels was asked about")
    if counts["unasked"]:
        limit = f"the limit of ${questions.asked.max_cost:g} was reached"
        notes.append(f"{counts['unasked']:,} {by}s were not asked: {limit}")
    return notes
