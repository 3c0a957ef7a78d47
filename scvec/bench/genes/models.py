"""What is kept of each model beside its figures: one JSON file per model."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

from scvec.bench.genes.facts import Facts, said
from scvec.bench.suite import slug
from scvec.core.files import placing
from scvec.core.limits import bounded_json, read_file

Kept: TypeAlias = dict[str, Any]
"""``model`` and ``address``, with ``facts``, or with why it is ``missing``."""


def name_only(model: str) -> str:
    """Return the row's name of the control that reads genes' names alone."""
    return f"{model}, name only"


def facts_of(out: Path, model: str, revision: str) -> Facts | None:
    """Return what earlier runs know of a model; None if nothing, or of other weights."""
    found = said(read(out).get(model, {}).get("facts", {}))
    return found if found is not None and found.revision == revision else None


def keep(out: Path, model: str, address: str, facts: Facts) -> None:
    """Write what is known of a model; the time that earlier runs took for the same weights is added."""
    before = facts_of(out, model, facts.revision)
    if before is not None:
        facts = replace(
            facts,
            seconds=before.seconds + facts.seconds,
            timed_tokens=before.timed_tokens + facts.timed_tokens,
            n_encoded=before.n_encoded + facts.n_encoded,
        )
    write(out, {"model": model, "address": address, "facts": asdict(facts)})


def write(out: Path, kept: Kept) -> None:
    """Write what is known of a model; why it is missing is added to the facts of an earlier run."""
    before = read(out).get(kept["model"], {}) if "missing" in kept else {}
    with placing(out / "models" / f"{slug(kept['model'])}.json") as part:
        part.write_text(json.dumps({**before, **kept}, indent=1) + "\n", encoding="utf-8")


def read(out: Path) -> dict[str, Kept]:
    """Return what is known of each model, by its name; files that are of another form are skipped."""
    found: dict[str, Kept] = {}
    for path in sorted((out / "models").glob("*.json")):
        try:
            kept = bounded_json(read_file(path))
            found[str(kept["model"])] = kept
        except (ValueError, KeyError, TypeError):
            continue
    return found
