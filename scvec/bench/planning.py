"""Plans every run of a suite before any is started."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from scvec.bench.code import code_digest
from scvec.bench.methods import Method, Model, methods
from scvec.bench.suite import Suite
from scvec.bench.tasks import Prepared, digest, prepare
from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.embed import GeneVectors, ensure_genes
from scvec.embed.recipe import Recipe
from scvec.embed.sentences import bound_sentences
from scvec.ingest import open_cells
from scvec.ingest.genes.gene_table import offered_tables, texts_of
from scvec.ingest.matching import GeneMatch, match_genes
from scvec.interpret.readout import ReadoutSpec
from scvec.knn.options import DEFAULT
from scvec.models.causal_lm import place_of
from scvec.models.weights import digest_of_files
from scvec.store import Store


@dataclass(frozen=True)
class Run:
    """A method on a task with a seed.

    Attributes
    ----------
    task, method
        The task, and the method that runs on it.
    model
        A recipe, bound to gene texts, encoder and seed; a readout with its seed; None: logistic regression.
    seed
        None if the seed does not matter.
    reads
        What else a readout depends on: the release of the gene texts, the language model's files; else "".
    """

    task: Prepared
    method: Method
    model: Model | None
    seed: int | None
    reads: str = ""

    @property
    def digest(self) -> str:
        """Hash of what decides the figures, the code among it."""
        model = self.model.sha256() + self.reads if self.model else self.method.name
        code = code_digest(views=isinstance(self.model, Recipe) and bool(self.model.views))
        return digest(self.task.digest, model, self.method.panel, asdict(DEFAULT), code)

    @property
    def made(self) -> str:
        """Hash of what decides the shared atlas or readout: reference, model, and the genes if it is fitted to them."""
        panel = self.task.digest if self.method.panel else None
        return digest(self.task.reference_digest, self.model.sha256() + self.reads if self.model else None, panel)


@dataclass(frozen=True)
class Plan:
    """A suite whose tasks' files are written, and its runs."""

    suite: Suite
    out: Path
    tasks: tuple[Prepared, ...]
    runs: tuple[Run, ...]


def plan(suite: Suite, out: str | Path, store: Store, *, progress: Progress | None = None) -> Plan:
    """Write the files of a suite's tasks into `out`, and return its runs.

    Raises
    ------
    InputError
        If a file of a task is invalid.
    NotInStoreError
        If gene texts or vectors are missing.
    """
    progress = shown(progress)
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
            runs += [Run(prepared, method, *binder.bound(method.at(one), prepared, one)) for one in seeds]
    return Plan(suite, out, tuple(tasks), tuple(runs))


class _Binder:
    """Binds models to what the store has, and looks up each thing once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._matches: dict[Path, GeneMatch] = {}
        self._vectors: dict[tuple[Path, str, str | None], GeneVectors] = {}
        self._llms: dict[str, str] = {}

    def bound(self, model: Model | None, task: Prepared, seed: int | None) -> tuple[Model | None, int | None, str]:
        """Return a model with release and revision, the seed, and what it reads besides.

        Raises
        ------
        NotInStoreError
            If gene texts or vectors are missing.
        FileError
            If a language model is missing.
        """
        if model is None:
            return None, seed, ""
        release = self._match_of(task).gene_table.release
        if isinstance(model, ReadoutSpec):
            vectors = self._vectors_of(task, model.encoder, model.encoder_revision)
            llm = self._llm_of(model.model) if model.reads_llm and model.model else ""
            return replace(model, encoder_revision=vectors.revision), seed, f" {release} {llm}"
        if model.encoder is None:
            return model.bind(release, None), seed, ""
        if model.weights == "sentence":
            return bound_sentences(model, release), seed, ""
        vectors = self._vectors_of(task, model.encoder, model.encoder_revision)
        return model.with_encoder(vectors.encoder).bind(release, vectors.revision), seed, ""

    def _match_of(self, task: Prepared) -> GeneMatch:
        source = task.task.reference
        if source not in self._matches:
            with open_cells(task.reference) as file, file.matrix() as matrix:
                self._matches[source] = match_genes(matrix, offered_tables(self._store, None))
        return self._matches[source]

    def _vectors_of(self, task: Prepared, encoder: str, revision: str | None) -> GeneVectors:
        key = (task.task.reference, encoder, revision)
        if key not in self._vectors:
            match = self._match_of(task)
            self._vectors[key] = ensure_genes(
                self._store,
                texts_of(self._store, match.gene_table),
                encoder=encoder,
                gene_ids=match.genes,
                revision=revision,
            )
        return self._vectors[key]

    def _llm_of(self, source: str) -> str:
        if source not in self._llms:
            self._llms[source] = digest_of_files(place_of(source))
        return self._llms[source]
