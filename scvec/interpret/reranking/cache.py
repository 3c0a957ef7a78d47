"""Judges' answers, kept in the store: nothing is asked, or paid for, twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from scvec.errors import StoreError
from scvec.interpret.reranking.judge import Answer, Judge
from scvec.interpret.reranking.prompt import Messages, Prompt
from scvec.store import Store

FOLDER = "answers"


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """The answers of one judge, each in its own file, ``answers/<2 hex>/<hash of all that was asked>.json``.

    Unusable answers are kept too, since they were paid for.
    """

    store: Store
    judge: Judge

    def find(self, prompt: Prompt, messages: Messages) -> Answer | None:
        """Return the stored answer, at no cost; None if this was not asked before.

        Raises
        ------
        StoreError
            If the file is damaged: what was paid for is not asked again without the user's consent.
        """
        path = self._path(prompt, messages)
        if not self.store.has_file(path):
            return None
        try:
            found = self.store.read_json(path)
            if all(isinstance(found[key], str) for key in ("text", "problem")):
                return Answer(found["text"], found["problem"])
        except StoreError:
            pass
        damaged = StoreError(f"{self.store.uri}/{path} is damaged", fix="remove it; the question is asked again")
        raise damaged

    def keep(self, prompt: Prompt, messages: Messages, answer: Answer) -> None:
        """Write an answer, completely or not at all."""
        values = {
            "model": self.judge.name,
            "settings": dict(self.judge.settings),
            "text": answer.text,
            "problem": answer.problem,
            "tokens_in": answer.tokens_in,
            "tokens_out": answer.tokens_out,
        }
        self.store.write_json(self._path(prompt, messages), values)

    def _path(self, prompt: Prompt, messages: Messages) -> str:
        judge = self.judge
        bare = prompt.bare if judge.form == "name" else ()
        asked = [judge.form, dict(judge.settings), list(messages), list(bare), dict(prompt.schema)]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return f"{FOLDER}/{key[:2]}/{key}.json"
