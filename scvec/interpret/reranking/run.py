"""Unsure calls put to an LLM, which may reorder the labels that retrieval found, and never invent one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from scvec.annotation.result import Annotation
from scvec.annotation.second_opinions import STATUSES, Reranked
from scvec.atlas import Atlas
from scvec.core.types import Ints, Progress, Strings, silent
from scvec.errors import InputError
from scvec.ingest.cells.options import ReadOptions
from scvec.interpret.reranking.asking import UNASKED, Outcome, ask_all, known
from scvec.interpret.reranking.budget import USUAL_CHARACTERS_A_TOKEN, USUAL_TOKENS_OUT, Budget, text_of
from scvec.interpret.reranking.cache import Answers
from scvec.interpret.reranking.cases import Cases, cases_of
from scvec.interpret.reranking.evidence import Case, evidence_of
from scvec.interpret.reranking.options import RerankOptions
from scvec.interpret.reranking.prompt import Prompt, prompt_hash, prompt_of

MAX_TISSUE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class RerankBill:
    """What reranking would take.

    Attributes
    ----------
    model
        The judge.
    calls, cached
        Cases to be asked, and those whose answers are in the store.
    tokens_in, tokens_out
        Of the calls, estimated from their length, and from what answers usually have.
    usd, usd_at_most
        What these would cost, and at most if every answer were as long as may be and asked for twice; None where no
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
    """What there is to ask: the cases that are unsure, with a prompt each, of which some may be equal."""

    asked: RerankOptions
    answers: Answers
    budget: Budget
    threshold: float | None
    cases: Cases
    positions: Ints
    shown: Sequence[Case]
    prompts: Sequence[Prompt]
    prompt_at: Sequence[int]


def rerank(
    calls: Annotation,
    query: str | Path,
    atlas: Atlas,
    asked: RerankOptions,
    *,
    reading: ReadOptions | None = None,
    progress: Progress = silent,
) -> Annotation:
    """Return the calls with what a language model makes of those that are unsure, in `Annotation.reranked`.

    It is shown the labels that retrieval found for a cluster or a cell, and ranks these, or abstains; any other answer
    is asked for once more, and then the retrieval's order stands. `label` and `cluster_label` stay as they are. Answers
    are kept in the atlas's store: what was asked once is neither asked nor paid again.

    Parameters
    ----------
    calls
        The retrieval's.
    query, reading
        The file that was annotated, and how it was read, where `scvec.annotate` was told how.
    atlas
        Likewise.
    asked
        Who is asked, about what, for how much. A case is asked about if its label's share of the votes is below the
        lowest one at which at most `RerankOptions.error` of the atlas's held-out calls are wrong.
    progress
        Shows the cells read, and the cases asked.

    Raises
    ------
    InputError
        If an argument is of no use, `max_cost` is to be kept and no price is known, or `calls` are not of this query
        and atlas, or have no clusters to be asked about.
    FileError
        If the weights of a model that runs here are missing.
    MissingDependencyError
        If an extra is not installed.
    ServiceError
        If the server fails for good; what was answered is kept, and a further run goes on there.
    """
    questions = _questions(calls, query, atlas, asked, reading or ReadOptions(), progress)
    of_prompts = ask_all(questions.prompts, questions.answers, questions.budget, asked.concurrency, progress)
    outcomes = [of_prompts[i] for i in questions.prompt_at]
    return _with_outcomes(calls, questions, of_prompts, outcomes)


def rerank_bill(
    calls: Annotation,
    query: str | Path,
    atlas: Atlas,
    asked: RerankOptions,
    *,
    reading: ReadOptions | None = None,
    progress: Progress = silent,
) -> RerankBill:
    """Return what `rerank` would take, and ask nothing; raises as that does, but for the server."""
    questions = _questions(calls, query, atlas, asked, reading or ReadOptions(), progress)
    prompts, judge, budget = questions.prompts, questions.answers.judge, questions.budget
    done = known(prompts, questions.answers, budget)
    new = [one for i, one in enumerate(prompts) if i not in done]
    tokens_in = sum(-(-len(text_of(one)) // USUAL_CHARACTERS_A_TOKEN) for one in new)
    tokens_out = min(USUAL_TOKENS_OUT, judge.max_tokens) * len(new)
    usd = at_most = None
    if budget.price is not None:
        usd = (tokens_in * budget.price[0] + tokens_out * budget.price[1]) / 1e6
        at_most = sum(budget.worst(one, judge) for one in new)
    return RerankBill(judge.name, len(new), len(done), tokens_in, tokens_out, usd, at_most)


def _questions(
    calls: Annotation, query: str | Path, atlas: Atlas, asked: RerankOptions, reading: ReadOptions, progress: Progress
) -> _Questions:
    judge, budget = asked.judge()
    if calls.labels != tuple(atlas.label_names.tolist()):
        raise InputError(f"calls by other labels than atlas {atlas.name!r} has", "its own calls", "annotate with it")
    cases = cases_of(calls, atlas, asked.by)
    threshold = None if atlas.calibration is None else atlas.calibration.sure_share(asked.error)
    positions = cases.unsure(np.inf if threshold is None else threshold)
    tissue = asked.tissue and shorten(asked.tissue, MAX_TISSUE_CHARACTERS, placeholder="...")
    shown = evidence_of(cases, positions, calls, query, atlas, tissue=tissue, reading=reading, progress=progress)
    unique: dict[str, int] = {}
    prompts: list[Prompt] = []
    prompt_at = []
    for case in shown:
        prompt = prompt_of(case, judge.form)
        place = unique.setdefault(text_of(prompt), len(prompts))
        if place == len(prompts):
            prompts.append(prompt)
        prompt_at.append(place)
    answers = Answers(atlas.store, judge)
    finite = threshold if threshold is None or np.isfinite(threshold) else None
    return _Questions(asked, answers, budget, finite, cases, positions, shown, prompts, prompt_at)


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
    asked, judge = questions.asked, questions.answers.judge
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
    """Return the cells' columns; in a cluster all cells have its own, also those that were rejected."""
    cases = questions.cases
    row_of = np.full(len(cases) + 1, -1, np.int64)  # The last is that of cells in no case.
    row_of[questions.positions] = np.arange(len(questions.positions))
    rows = row_of[cases.case_of]

    def spread(values: Sequence[str]) -> Strings:
        return np.array([*values, ""], object)[rows]

    verdicts = [one.verdict for one in outcomes]
    chosen = np.array([one.ranking[0] if one and one.ranking else None for one in verdicts] + [None], object)[rows]
    reasons = [one.verdict.reason if one.verdict else one.problem for one in outcomes]
    return Reranked(
        label=np.where(chosen == None, cases.stands, chosen).astype(object),  # noqa: E711 - cell by cell
        status=spread(statuses),
        reason=spread(reasons),
        genes=spread([", ".join(one.genes) if one else "" for one in verdicts]),
        case=spread([case.name for case in questions.shown]),
    )


def _notes(questions: _Questions, statuses: Sequence[str], total: dict[str, Any]) -> list[str]:
    counts, judge, by = Counter(statuses), questions.answers.judge, questions.asked.by
    said = ", ".join(f"{counts[one]:,} {one}" for one in STATUSES if counts[one])
    n_asked = len(statuses) - counts["unasked"]
    usd = "" if total["usd"] is None else f", ${total['usd']:.4f}"
    paid = f"{total['calls']:,} calls, {total['tokens_in']:,} tokens in and {total['tokens_out']:,} out{usd}"
    notes = [
        f"{judge.name} was asked about {n_asked:,} of {len(questions.cases):,} {by}s"
        + (f": {said}; {paid}" if statuses else ", the others being sure")
    ]
    if questions.threshold is None:
        notes.append(
            "no share of the votes is known to be enough for the error asked for: every case of two labels was asked"
        )
    if counts["unasked"]:
        limit = f"the limit of ${questions.asked.max_cost:g} was reached"
        notes.append(f"{counts['unasked']:,} {by}s were not asked: {limit}")
    return notes
