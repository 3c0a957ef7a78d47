"""Cases put to a judge: those that are new, several at once, as far as the money goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from scvec.core.types import Progress, silent
from scvec.errors import ServiceError
from scvec.interpret.reranking.budget import TRIES, Budget
from scvec.interpret.reranking.cache import Answers
from scvec.interpret.reranking.judge import Ask
from scvec.interpret.reranking.prompt import Prompt
from scvec.interpret.reranking.verdict import Verdict, read_verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a prompt.

    Attributes
    ----------
    verdict
        What the judge says; None where no answer can be used, and where it was not asked.
    problem
        Why no answer can be used.
    is_refused
        Whether the server did not even take it.
    calls, tokens_in, tokens_out, usd
        Of this run; answers that were there cost nothing.
    """

    verdict: Verdict | None = None
    problem: str = ""
    is_refused: bool = False
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0


UNASKED = Outcome()


def settle(prompt: Prompt, answers: Answers, budget: Budget, ask: Ask | None) -> Outcome | None:
    """Have a prompt answered: what cannot be used is asked for once more, with what is wrong with it.

    Answers that are in the store are taken from there, others are kept as soon as they come. With `ask` None nothing is
    asked: None where something would have to be.
    """
    messages, problem = prompt.messages, ""
    calls, tokens_in, tokens_out, usd = 0, 0, 0, 0.0
    for _ in range(TRIES):
        answer = answers.find(prompt, messages)
        if answer is None:
            if ask is None:
                return None
            if calls and not budget.allows_another(usd, prompt, answers.judge):
                break
            answer = ask(prompt, messages)
            paid = budget.cost(answer, prompt, answers.judge)
            calls, tokens_in, tokens_out, usd = calls + 1, tokens_in + paid[0], tokens_out + paid[1], usd + paid[2]
            if answer.is_final:
                answers.keep(prompt, messages, answer)
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


def known(prompts: Sequence[Prompt], answers: Answers, budget: Budget) -> dict[int, Outcome]:
    """Return what became of the prompts that were answered before, by position."""
    found = ((i, settle(prompt, answers, budget, None)) for i, prompt in enumerate(prompts))
    return {i: one for i, one in found if one is not None}


def ask_all(
    prompts: Sequence[Prompt], answers: Answers, budget: Budget, concurrency: int, progress: Progress = silent
) -> list[Outcome]:
    """Return what became of each prompt; `UNASKED` where it might have cost more than is left.

    They are asked in their order, `concurrency` at once of a server, one after the other of a model that runs here.

    Raises
    ------
    ServiceError
        If the server fails for good, or takes no case at all. What was answered is kept.
    """
    done = known(prompts, answers, budget)
    new = [i for i in range(len(prompts)) if i not in done]
    judge = answers.judge
    if new:
        most = min(concurrency, len(new)) if judge.is_remote else 1
        with judge.asking() as ask, progress(f"asking {judge.name}", len(new)) as advance:
            done |= _Run(prompts, answers, budget, ask, advance).over(new, most)
        _refuse_refusals([done[i] for i in new if done[i] is not UNASKED], judge.name)
    return [done[i] for i in range(len(prompts))]


@dataclass(frozen=True, slots=True)
class _Run:
    """A judge at work."""

    prompts: Sequence[Prompt]
    answers: Answers
    budget: Budget
    ask: Ask
    advance: Callable[[int], None]

    def over(self, new: Sequence[int], most: int) -> dict[int, Outcome]:
        """Ask the prompts at these positions, `most` at once; raise the error of the first that has one."""
        done: dict[int, Outcome] = {}
        under_way: dict[Future[Outcome | None], tuple[int, float]] = {}
        failed: dict[int, BaseException] = {}
        with ThreadPoolExecutor(most) as pool:
            for i in new:
                worst = self.budget.worst(self.prompts[i], self.answers.judge)
                # What does not fit waits for those under way, which mostly cost less than was reserved for them: so
                # who is asked does not depend on who answers first.
                while under_way and (len(under_way) == most or not self.budget.fits(worst)):
                    self._collect(under_way, done, failed)
                if failed:
                    break
                if not self.budget.fits(worst):
                    done[i] = UNASKED
                    self.advance(1)
                    continue
                self.budget.reserved += worst
                under_way[pool.submit(settle, self.prompts[i], self.answers, self.budget, self.ask)] = i, worst
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
        """Wait for an answer; book what it cost in the place of what was reserved."""
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
            self.budget.reserved = 0.0  # What rounding left of it.


def _refuse_refusals(asked: Sequence[Outcome], name: str) -> None:
    """Raise `ServiceError` if a server took none of several cases: then it is not the cases that it does not take."""
    if len(asked) > 1 and all(one.is_refused for one in asked):
        raise ServiceError(
            f"{name} was asked {len(asked):,} cases: {asked[0].problem}",
            "a server that takes them",
            "give the model ?format=object, or ?format=text if it knows no JSON schema",
        )
