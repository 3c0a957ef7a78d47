"""The models of the suite of gene-level tasks on words, names and cells.

    python -m benchmarks.models --store STORE [--encoder MODEL ...] [--genes 500] [--no-cells]

Which models: the line `encoders` of `suites/genes.toml`; or those that are given, and rows of others that were measured
on the same genes stay. Words find labels of cells, clusters are named by terms of the Cell Ontology, and cells are
called by recipes that read texts (`suites/texts.toml`). All models read the same texts, of the most variable genes of
four human files. Vectors are kept in STORE: the first run of a large model takes an hour, a second one minutes. Models
that cannot be had are left out, and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import anndata as ad
import numpy as np

import scvec as sv
from benchmarks.common import DATA, HERE, RESULTS, WORK, import_texts, make_parser, markdown, save, write_leaderboard
from benchmarks.naming_fit import Judge
from benchmarks.naming_world import Case, Nearness, World
from benchmarks.naming_world import tests as naming_cases
from benchmarks.words import CONDITIONS, ONTOLOGY, SOURCES, OntologyCells, Query, Way, queries, rank_of
from scvec.atlas import Atlas
from scvec.bench import Suite, Task, run
from scvec.bench.genes import GeneSuite
from scvec.bench.genes.results import figure_in, figures_of_tables
from scvec.core.types import Doubles, Ints
from scvec.embed.encoders import make
from scvec.errors import InputError, ScvecError
from scvec.ingest import open_cells
from scvec.ingest.matching import match_genes
from scvec.naming.features import FEATURES, MEANING
from scvec.naming.term_texts import term_texts

COMMAND = "python -m benchmarks.models"
SUITES = HERE / "suites"
DRAWS = 1_000
"""Bootstrap draws over labels."""
CONTROLS = ("tfidf", "random", "hash")
"""Encoders that know no language: what models have to beat, beside BM25 and TF-IDF of definitions."""
CELLS_EACH = 15
"""Cells of each label and donor that recipes call: a recipe whose cells are texts encodes one for each."""
SHUFFLED = "refined, shuffled text (control)"
KEYWORDS, DEFINITIONS = "keywords (BM25)", "TF-IDF of definitions"


@dataclass(frozen=True)
class Figure:
    """What a model is worth on a task; `low` and `high` are its interval, as `NOTE` says."""

    suite: str
    task: str
    model: str
    revision: str
    measure: str
    value: float
    low: float
    high: float
    control: bool
    seeds: int = 1


def figure(suite: str, task: str, measure: str, model: str, revision: str, values: Sequence[float]) -> Figure:
    """Return the mean of values, one for each label, with its interval."""
    own = np.asarray(values, np.float64)
    drawn = own[np.random.default_rng(0).integers(0, len(own), (DRAWS, len(own)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    is_control = model in (*CONTROLS, KEYWORDS, DEFINITIONS)
    return Figure(suite, task, model, revision, measure, float(own.mean()), low, high, is_control)


def variable_genes(store: sv.Store, source: OntologyCells, n: int) -> Ints:
    """Return the genes of a file whose logarithms of expression vary most."""
    path = DATA / "cells" / f"{source.file}.h5ad"
    groups = sv.naming.groups_of(path, store, cluster_key=source.label_key, read=sv.ReadOptions(layer=source.layer))
    spread = groups.means.std(axis=0)
    return np.sort(groups.gene_ids[np.argsort(-spread, kind="stable")[:n]])


@dataclass(frozen=True)
class Shared:
    """What all models read: the same genes, atlases on them and what is asked of these, and cases that get names."""

    store: sv.Store
    texts: sv.ingest.GeneTexts
    genes: Ints
    asked: Sequence[tuple[Atlas, list[Query]]]
    world: World
    cases: Sequence[Case]
    judge: Judge


def shared(store: sv.Store, n_genes: int) -> Shared:
    """Import texts and ontology, and build an atlas of each human file on its and the others' most variable genes."""
    texts, ontology = import_texts(store, "human"), sv.ontology.import_ontology(store, ONTOLOGY)
    sources = [one for one in SOURCES if one.taxon == "human"]
    genes = np.unique(np.concatenate([variable_genes(store, one, n_genes) for one in sources]))
    asked = []
    for one in sources:
        atlas = _atlas(store, one, texts, genes)
        asked.append((atlas, list(queries(atlas, ontology, one))))
    terms = term_texts(ontology)
    cases = [one for one in naming_cases(store) if one.taxon == "human"]
    judge = Judge(ontology, tuple(terms.ids.tolist()))
    return Shared(store, texts, genes, asked, World(store, terms, texts, genes), cases, judge)


def _atlas(store: sv.Store, source: OntologyCells, texts: sv.ingest.GeneTexts, genes: Ints) -> Atlas:
    """Build the atlas of a file on some genes; its recipe reads no text, as words rank labels by what they express."""
    cells = ad.read_h5ad(DATA / "cells" / f"{source.file}.h5ad")
    columns = columns_of(cells, source.layer or "X", texts, genes)
    return sv.atlas.build(
        store,
        f"bench-models-{source.file.replace('_', '-')}",
        cells[:, columns].copy(),
        recipe="expression",
        label_key=source.label_key,
        label_id_key=source.id_key,
        layer=source.layer,
        taxon="human",
        overwrite=True,
    )


def of_words(world: Shared, model: str, revision: str, way: Way) -> Iterator[Figure]:
    """Yield how early words find labels: the mean reciprocal rank, over all labels of the files."""
    found: dict[str, list[float]] = {one: [] for one in CONDITIONS}
    for atlas, asked in world.asked:
        reader = way.reader(atlas)
        for condition, ranks in found.items():
            ranks += [1 / _rank(atlas, one.words[condition], way, reader, one) for one in asked]
    for condition, values in found.items():
        yield figure("words", f"labels by {condition}", "MRR", model, revision, values)


def _rank(atlas: Atlas, words: str, way: Way, reader: Any, one: Query) -> int:
    """Return the rank of the first right label; the last one if no gene's text has one of the words."""
    n_labels = len(atlas.label_names)
    options: dict[str, Any] = {"by": way.by, "label_names": False, "n_labels": n_labels, "n_exemplars": 1}
    try:
        return rank_of(sv.search.words(atlas, words, encoder=reader, **options), one.right)
    except InputError:
        return n_labels


def of_names(world: Shared, model: str, revision: str, feature: str, near: Nearness | None) -> Iterator[Figure]:
    """Yield how often one of five names of a cluster is the right term, its parent or its child, by one feature."""
    values = []
    for case in world.cases:
        scores: Doubles = world.world.measured(case, near)[..., FEATURES.index(feature)].astype(np.float64)
        values += [one["near@5"] for one in world.judge.judged(scores, case.terms)]
    yield figure("names", "types of cells", "near@5", model, revision, values)


def of_cells(world: Shared, out: Path, revisions: Mapping[str, str]) -> Iterator[Figure]:
    """Yield how well recipes that read texts call cells, by each model that is here."""
    suite = Suite.read(SUITES / "texts.toml")
    tasks = tuple(replace(one, reference=fewer(world, one, out / "cells")) for one in suite.tasks)
    suite = replace(suite, encoders=tuple(revisions), tasks=tasks)
    rows = [row for row in run(suite, out, world.store).rows if "macro_f1" in row]
    recipes = [one.name for one in suite.recipes]
    shuffled: dict[str, list[Figure]] = {}
    for row in rows:
        recipe, _, model = row["method"].partition(", ")
        control = recipe not in recipes or model not in revisions
        # What reads no text is a line in the columns of all recipes.
        for column in recipes if recipe not in recipes else [recipe]:
            name = row["method"] if control else model
            value, low, high = row["macro_f1"]
            about = ("cells", f"{row['task']}, {column}", name, revisions.get(model, ""), "macro-F1", value, low, high)
            one = Figure(*about, control or model in CONTROLS, len(suite.seeds))
            if "shuffled" in name:
                shuffled.setdefault(one.task, []).append(one)
            else:
                yield one
    for own in shuffled.values():  # as many controls as models, which call alike
        low, high = min(one.low for one in own), max(one.high for one in own)
        yield replace(own[0], model=SHUFFLED, value=median(one.value for one in own), low=low, high=high)


def fewer(world: Shared, task: Task, folder: Path) -> Path:
    """Write a file of some cells of each label and donor, on the genes whose texts all models read."""
    cells = ad.read_h5ad(task.reference)
    assert task.hold_out is not None
    order = np.random.default_rng(0).permutation(cells.n_obs)
    rank = cells.obs.iloc[order].groupby([task.label_key, task.hold_out.key], observed=True).cumcount()
    rows = np.sort(order[rank.to_numpy() < CELLS_EACH])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / task.reference.name
    cells[rows, columns_of(cells, "X", world.texts, world.genes)].copy().write_h5ad(path)
    return path


def columns_of(cells: ad.AnnData, layer: str, texts: sv.ingest.GeneTexts, genes: Ints) -> Ints:
    """Return the columns of a file that hold one of some genes, ascending."""
    with open_cells(cells) as file, file.matrix(layer) as matrix:
        match = match_genes(matrix, [texts])
    return np.sort(match.columns[np.isin(match.gene_ids, genes)])


def of_model(world: Shared, name: str, revision: str) -> list[Figure]:
    """Encode what a model has not read yet, and return its figures on words and names."""
    sv.embed.genes(world.store, world.texts, encoder=name, gene_ids=world.genes)
    words = of_words(world, name, revision, Way(name, "meaning", name))
    return [*words, *of_names(world, name, revision, MEANING, Nearness(name))]


def revisions_of(names: Sequence[str], texts: sv.ingest.GeneTexts) -> tuple[dict[str, str], dict[str, str]]:
    """Return the revision of each model that can be made here, and for the others why not."""
    here, missing = {}, {}
    for name in names:
        try:
            here[name] = make(name, texts.frame).revision
        except ScvecError as error:
            missing[name] = str(error)
    return here, missing


NOTE = """
*Words*: {labels} labels of four human files, found by the Cell Ontology's definition of their term, by the same without
the names, and by the term's name; mean reciprocal rank. *Names*: clusters of human files, named by one model alone,
without the ranker; the share for which the right term, its parent or its child is among five. *Cells*: macro-F1 of
recipes that read texts, on up to {cells} cells of each label and donor of two files; `refined` learns from the labels,
and calls as well on any text. All models read the texts of the same {genes:,} genes: the {each:,} most variable ones of
each file. Intervals: 95 %, bootstrap over labels; of cells: least to largest over seeds, none where nothing is drawn.
*Shuffled*: over all models. One more model, or one below whose weights or key are there: `{command} --encoder MODEL`.
"""


def earlier(folder: Path, genes: Mapping[str, Any]) -> tuple[list[Figure], dict[str, str]]:
    """Return the figures of an earlier run on the same genes, and the models that it lacked."""
    path = folder / "models.json"
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if values.get("genes") != genes:
        return [], {}
    return [Figure(**one) for one in values["figures"]], values["missing"]


def joined(old: Sequence[Figure], new: Sequence[Figure]) -> list[Figure]:
    """Return the figures of two runs; of a model on a task, the new one."""
    found = {(one.suite, one.task, one.model): one for one in (*old, *new)}
    return list(found.values())


def main() -> None:
    parser = make_parser("models", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"))
    parser.add_argument("--encoder", action="append", help="Measure only this model and the controls.")
    parser.add_argument("--genes", type=int, default=500, help="Most variable genes of each file.")
    parser.add_argument("--no-cells", action="store_true", help="Leave out the suite of cells, which takes longest.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Folder for the results.")
    options = parser.parse_args()
    store = sv.Store(options.store)
    world = shared(store, options.genes)
    wanted = options.encoder or GeneSuite.read(SUITES / "genes.toml").encoders
    here, missing = revisions_of([*dict.fromkeys([*wanted, *CONTROLS])], world.texts)
    found = [*of_words(world, KEYWORDS, "", Way(KEYWORDS, "keywords"))]
    found += of_names(world, DEFINITIONS, "", "definition", None)
    for name in [*here]:
        try:
            found += of_model(world, name, here[name])
        except ScvecError as error:  # a key that is not set, or a server that does not answer
            missing[name] = str(error)
            del here[name]
        else:
            print(f"{name}: words and names", flush=True)
    if not options.no_cells:
        found += of_cells(world, WORK / "models-cells", here)
    genes = {"each": options.genes, "n": len(world.genes), "sha256": sha256(world.genes.tobytes()).hexdigest()}
    if options.encoder:
        old, lacked = earlier(options.out, genes)
        found, missing = joined(old, found), {one: why for one, why in {**lacked, **missing}.items() if one not in here}
    labels = sum(len(asked) for _, asked in world.asked)
    note = NOTE.format(labels=labels, genes=len(world.genes), each=options.genes, cells=CELLS_EACH, command=COMMAND)
    lacking = [f"- {name} was not measured here: {why}" for name, why in missing.items()]
    every = [*of_genes(RESULTS / "genes.json"), *found]
    text = "\n\n".join(
        ["# Models on genes, words, names and cells", overview(every), *tables(found), note.strip(), *lacking]
    )
    values = {"genes": genes, "figures": [asdict(one) for one in found], "missing": missing}
    save("models", COMMAND, values, text, options.out)
    if options.out == RESULTS:
        write_leaderboard()


def of_genes(path: Path) -> Iterator[Figure]:
    """Yield the figures of gene-level tasks on masked texts, or on what a row reads, from their results."""
    if not path.is_file():
        return
    values = json.loads(path.read_text(encoding="utf-8"))
    figures = figures_of_tables(values)
    for task, row in product(values["tasks"], values["rows"]):
        one = figure_in(row, task["name"], "masked", figures)
        if one is not None:
            about = ("genes", task["name"], row["row"], row.get("revision", ""), one["measure"])
            yield Figure(*about, one["value"], one["low"], one["high"], row["kind"] == "control", len(values["seeds"]))


def overview(found: Sequence[Figure]) -> str:
    """Return one table of all tasks by the models, with the best control; what is best of all is bold."""
    models = list(dict.fromkeys(one.model for one in found if not one.control))
    rows = []
    for suite, task, measure in dict.fromkeys((one.suite, one.task, one.measure) for one in found):
        own = {one.model: one for one in found if (one.suite, one.task) == (suite, task)}
        best = max(one.value for one in own.values())
        lines = [one for one in own.values() if one.control]
        line = max(lines, key=lambda one: one.value, default=None)
        shown = [_bold(own[name].value, best) if name in own else "" for name in models]
        rows.append([suite, f"{task}, {measure}", *shown, f"{_bold(line.value, best)} {line.model}" if line else ""])
    return markdown(["", "task", *models, "best control"], rows)


def _bold(value: float, best: float) -> str:
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def tables(found: Sequence[Figure]) -> Iterator[str]:
    """Yield a table for each suite: models by tasks."""
    for suite in dict.fromkeys(one.suite for one in found):
        own = [one for one in found if one.suite == suite]
        tasks = list(dict.fromkeys((one.task, one.measure) for one in own))
        cells = {(one.model, one.task): _shown(one) for one in own}
        models = sorted({one.model: one.control for one in own}.items(), key=lambda one: one[1])
        rows = [
            [f"*{model}*" if control else model, *(cells.get((model, task), "") for task, _ in tasks)]
            for model, control in models
        ]
        header = ["", *(f"{task}, {unit}" for task, unit in tasks)]
        yield f"## {suite.capitalize()}\n\n{markdown(header, rows)}"


def _shown(one: Figure) -> str:
    return f"{one.value:.3f}" + (f" ({one.low:.3f} to {one.high:.3f})" if one.low < one.high else "")


if __name__ == "__main__":
    main()
