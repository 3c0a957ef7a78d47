"""Asks a judge about cases: only those not answered before, several at once, within the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from scvec.core.types import Progress, silent
from scvec.errors import ServiceError
from scvec.interpret.reranking.budget import TRIES, Budget
from scvec.interpret.reranking.cache import AnswerCache
from scvec.interpret.reranking.judge import Ask
from scvec.interpret.reranking.prompt import Prompt
from scvec.interpret.reranking.verdict import Verdict, read_verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a prompt.

    Attributes
    ----------
    verdict
        The judge's verdict; None if no answer is usable, or if the judge was not asked.
    problem
        Why no answer is usable.
    is_refused
        Whether the server refused the request itself.
    calls, tokens_in, tokens_out, usd
        What this run took; cached answers cost nothing.
    """

    verdict: Verdict | None = None
    problem: str = ""
    is_refused: bool = False
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0


UNASKED = Outcome()


def settle(prompt: Prompt, cache: AnswerCache, budget: Budget, ask: Ask | None) -> Outcome | None:
    """Return the outcome of a prompt; an unusable answer is asked for once more, with what was wrong with it.

    Cached answers are used; new ones are stored as soon as they arrive. With `ask` None nothing is asked, and None is
    returned if a request would be needed.
    """
    messages, problem = prompt.messages, ""
    calls, tokens_in, tokens_out, usd = 0, 0, 0, 0.0
    for _ in range(TRIES):
        answer = cache.find(prompt, messages)
        if answer is None:
            if ask is None:
                return None
            if calls and not budget.allows_another(usd, prompt, cache.judge):
                break
            answer = ask(prompt, messages)
            paid = budget.cost(answer, prompt, cache.judge)
            calls, tokens_in, tokens_out, usd = calls + 1, tokens_in + paid[0], tokens_out + paid[1], usd + paid[2]
            if answer.is_final:
                cache.keep(prompt, messages, answer)
        problem = answer.problem
        if not problem:
            try:
                verdict = read_verdict(answer.text, prompt)
                return Outcome(verdict, "", False, calls, tokens_in, tokens_out, usd)
            except ValueError as error:
                problem = str(error)
        if not answer.is_final:
            return Outcome(None, problem, True, calls, tokens_in, tokens_out, usd)
        messages = prompt.again(problem)
    return Outcome(None, problem, False, calls, tokens_in, tokens_out, usd)


def known(prompts: Sequence[Prompt], cache: AnswerCache, budget: Budget) -> dict[int, Outcome]:
    """Return the outcomes of the prompts that were answered before, by position."""
    found = ((i, settle(prompt, cache, budget, None)) for i, prompt in enumerate(prompts))
    return {i: one for i, one in found if one is not None}


def ask_all(
    prompts: Sequence[Prompt], cache: AnswerCache, budget: Budget, concurrency: int, progress: Progress = silent
) -> list[Outcome]:
    """Return the outcome of each prompt; `UNASKED` where it might have cost more than the budget has left.

    Prompts are asked in order: `concurrency` at a time of a server, one at a time of a local model.

    Raises
    ------
    ServiceError
        If the server fails permanently, or refuses all cases. Answers received so far are kept.
    """
    done = known(prompts, cache, budget)
    new = [i for i in range(len(prompts)) if i not in done]
    judge = cache.judge
    if new:
        most = min(concurrency, len(new)) if judge.is_remote else 1
        with judge.asking() as ask, progress(f"asking {judge.name}", len(new)) as advance:
            done |= _Run(prompts, cache, budget, ask, advance).over(new, most)
        _refuse_refusals([done[i] for i in new if done[i] is not UNASKED], judge.name)
    return [done[i] for i in range(len(prompts))]


@dataclass(frozen=True, slots=True)
class _Run:
    """A judge at work."""

    prompts: Sequence[Prompt]
    cache: AnswerCache
    budget: Budget
    ask: Ask
    advance: Callable[[int], None]

    def over(self, new: Sequence[int], most: int) -> dict[int, Outcome]:
        """Ask the prompts at these positions, at most `most` at a time; raise the error of the first that failed."""
        done: dict[int, Outcome] = {}
        under_way: dict[Future[Outcome | None], tuple[int, float]] = {}
        failed: dict[int, BaseException] = {}
        with ThreadPoolExecutor(most) as pool:
            for i in new:
                worst = self.budget.worst(self.prompts[i], self.cache.judge)
                # A prompt that does not fit waits for those in flight, which mostly cost less than was reserved for
                # them: so which prompts are asked does not depend on which is answered first.
                while under_way and (len(under_way) == most or not self.budget.fits(worst)):
                    self._collect(under_way, done, failed)
                if failed:
                    break
                if not self.budget.fits(worst):
                    done[i] = UNASKED
                    self.advance(1)
                    continue
                self.budget.reserved += worst
                under_way[pool.submit(settle, self.prompts[i], self.cache, self.budget, self.ask)] = i, worst
            while under_way:
                self._collect(under_way, done, failed)
        if failed:
            raise failed[min(failed)]
        return done

    def _collect(
        self,
        under_way: dict[Future[Outcome | None], tuple[int, float]],
        done: dict[int, Outcome],
        failed: dict[int, BaseException],
    ) -> None:
        """Wait for an answer; book what it cost in place of what was reserved."""
        for one in wait(under_way, return_when=FIRST_COMPLETED).done:
            i, worst = under_way.pop(one)
            self.budget.reserved -= worst
            error = one.exception()
            if error is not None:
                failed[i] = error
                continue
            outcome = one.result() or UNASKED
            self.budget.spent += outcome.usd
            done[i] = outcome
            self.advance(1)
        if not under_way:
            self.budget.reserved = 0.0  # Drop what rounding left.


def _refuse_refusals(asked: Sequence[Outcome], name: str) -> None:
    """Raise `ServiceError` if a server refused every one of several cases: then the cases are not the reason."""
    if len(asked) > 1 and all(one.is_refused for one in asked):
        raise ServiceError(
            f"{name} refused all {len(asked):,} cases ({asked[0].problem})",
            "a server that accepts them",
            "append ?format=object to the model, or ?format=text if the server does not support JSON schemas",
        )
