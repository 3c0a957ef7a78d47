"""Every run of a suite, before any of it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import scvec
from scvec.bench.methods import Method, methods
from scvec.bench.suite import Suite
from scvec.bench.tasks import Prepared, digest, prepare
from scvec.embed import GeneVectors, open_genes
from scvec.ingest import GeneTexts, open_cells
from scvec.ingest.genes.gene_texts import offered_texts
from scvec.ingest.matching import match_genes
from scvec.spec import Recipe
from scvec.store import Store
from scvec.types import Progress, silent
from scvec.voting import DEFAULT


@dataclass(frozen=True)
class Run:
    """A method on a task with a seed.

    Attributes
    ----------
    task, method
        What on what.
    recipe
        Bound to gene texts, encoder and seed; None: logistic regression.
    seed
        None where none matters.
    """

    task: Prepared
    method: Method
    recipe: Recipe | None
    seed: int | None

    @property
    def digest(self) -> str:
        """What decides the figures."""
        recipe = self.recipe.sha256() if self.recipe else self.method.name
        return digest(self.task.digest, recipe, self.method.panel, asdict(DEFAULT), scvec.__version__)

    @property
    def atlas(self) -> str:
        """What decides the atlas, which runs share: the reference, the recipe, and where it fits them the genes."""
        panel = self.task.digest if self.method.panel else None
        return digest(self.task.reference_digest, self.recipe.sha256() if self.recipe else None, panel)


@dataclass(frozen=True)
class Plan:
    """A suite with its tasks' files written, and its runs."""

    suite: Suite
    out: Path
    tasks: tuple[Prepared, ...]
    runs: tuple[Run, ...]


def plan(suite: Suite, out: str | Path, store: Store, *, progress: Progress = silent) -> Plan:
    """Write the files of a suite's tasks into `out`, and return its runs.

    Raises
    ------
    InputError
        If a file of a task is of no use.
    NotInStoreError
        If gene texts or vectors are missing.
    """
    out = Path(out)
    wanted = [(task, seed) for task in suite.tasks for seed in (suite.seeds if task.draws else (None,))]
    tasks = []
    with progress("preparing", len(wanted)) as advance:
        for task, seed in wanted:
            tasks.append(prepare(task, seed, out, store))
            advance(1)
    binder = _Binder(store)
    runs: list[Run] = []
    for prepared in tasks:
        for method in methods(suite, prepared.task):
            own = suite.seeds if method.seeded else (None,)
            seeds = (prepared.seed,) if prepared.task.draws else own
            runs += [Run(prepared, method, binder.bound(method.at(one), prepared), one) for one in seeds]
    return Plan(suite, out, tuple(tasks), tuple(runs))


class _Binder:
    """Ties recipes to what the store has, looking up each thing once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts: dict[Path, GeneTexts] = {}
        self._vectors: dict[tuple[int, str, str | None], GeneVectors] = {}

    def bound(self, recipe: Recipe | None, task: Prepared) -> Recipe | None:
        """Return the recipe with release and revision; raise `NotInStoreError` where these are missing."""
        if recipe is None:
            return None
        source = task.task.reference
        if source not in self._texts:
            with open_cells(task.reference) as file, file.matrix() as matrix:
                self._texts[source] = match_genes(matrix, offered_texts(self._store, None)).texts
        texts = self._texts[source]
        if recipe.encoder is None:
            return recipe.bind(texts.release, None)
        key = (texts.taxon_id, recipe.encoder, recipe.encoder_revision)
        if key not in self._vectors:
            self._vectors[key] = open_genes(self._store, texts, encoder=key[1], revision=key[2])
        vectors = self._vectors[key]
        return recipe.with_encoder(vectors.encoder).bind(texts.release, vectors.revision)
