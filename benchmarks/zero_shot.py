"""How often clusters and single cells are called right among given types by text alone, beside controls.

    python -m benchmarks.zero_shot --store STORE [--meaning]

The types that are given are those of each file's labels. With ``--meaning`` also by minilm's vectors alone, which are
made where STORE lacks them: an hour on two cores; else some ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import scvec as sv
from benchmarks.common import DATA, WORK, import_texts, make_parser, markdown, save
from benchmarks.naming_types import CELLS, LabelledCells
from scvec.core.types import Bools, Doubles, Floats, Ints, silent
from scvec.ingest.genes.gene_table import texts_of
from scvec.naming.among import OWN, CellScorer, among, balanced, cell_scorer, logs_of
from scvec.naming.cell_batches import cell_batches
from scvec.naming.cell_calls import CELL_STANDS_OUT, CLUSTER_STANDS_OUT, best_of_cells
from scvec.naming.features import FEATURES, MEANING, TISSUE, Features, Nearness, specific
from scvec.naming.groups import Groups, groups_of
from scvec.naming.ranker import WEIGHTS
from scvec.naming.scoring import Ranking, by_meaning
from scvec.naming.term_texts import TermTexts, term_texts
from scvec.naming.term_words import TermWords, term_words
from scvec.naming.text_reader import reader_for
from scvec.naming.tissue import TissueOf

ONTOLOGY = DATA / "ontology" / "cell_ontology_2026-03-26.json.zst"
ISLETS = {"alpha": "CL:0000171", "beta": "CL:0000169", "delta": "CL:0000173", "gamma": "CL:0002275"}
CORTEX = {
    "pyramidal CA1": "CL:1001571",
    "pyramidal SS": "CL:4023111",
    "oligodendrocytes": "CL:0000128",
    "interneurons": "CL:0000099",
    "endothelial-mural": "CL:0000115",
    "astrocytes_ependymal": "CL:0000127",
    "microglia": "CL:0000129",
}
UNSEEN = (
    LabelledCells("Xin, human islets, 980 genes", "pancreas_xin_scClassify", "human", "pancreas", "cell_type", ISLETS),
    LabelledCells("Zeisel, cortex, 200 genes", "cortex_zeisel2015_mouse_200genes", "mouse", "brain", "label", CORTEX),
)  # fmt: skip
"""Files that were looked at once, after all was chosen."""

PERMUTED, FOLDS, SINGLE, SEED = 3, 5, 400, 0
ALONE: Mapping[str, float] = {**dict.fromkeys(FEATURES, 0.0), MEANING: 1.0}
SHARES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
Row = tuple[str, str, tuple[float, float]]


@dataclass(frozen=True)
class Case:
    """Cells with labels; the clusters of the authors and those that are made without them; what texts say."""

    source: LabelledCells
    authors: Groups
    made: Groups
    values: sp.csr_matrix[np.float32]
    terms: TermTexts
    words: TermWords
    has_text: Bools
    ids: tuple[str, ...]
    of_label: Ints

    @property
    def truth(self) -> Ints:
        """(n,) the type of each cell, -1 for none."""
        return np.asarray(np.append(self.of_label, -1)[self.authors.member])

    @property
    def positions(self) -> Ints:
        """(K,) the types' positions among the terms."""
        return np.array([self.terms.positions[one] for one in self.ids])

    @cached_property
    def sample(self) -> Ints:
        """Positions of the cells that are called singly: all, or some at random."""
        n = len(self.authors.member)
        return np.sort(np.random.default_rng(SEED).choice(n, min(n, SINGLE), replace=False))

    @cached_property
    def measured(self) -> dict[str, Doubles]:
        """(C, T, F) features of authors' clusters and of those that are made, as they are and with genes permuted."""
        stacked = {"authors": self.profile(self.authors.means), "made": self.profile(self.made.means)}
        for draw in range(PERMUTED):
            order = permutation(self.has_text, draw)
            stacked[f"authors, permuted {draw}"] = self.profile(self.authors.means[:, order])
            stacked[f"made, permuted {draw}"] = self.profile(self.made.means[:, order])
        features = Features(self.terms, self.words).of(np.concatenate(list(stacked.values())), self.has_text)
        ends = np.cumsum([len(one) for one in stacked.values()])[:-1]
        return dict(zip(stacked, np.split(features, ends), strict=True))

    @cached_property
    def told(self) -> Doubles:
        """(C, T, F) features of authors' clusters with the tissue."""
        found = self.measured["authors"].copy()
        found[..., [FEATURES.index(one) for one in TISSUE]] = TissueOf(self.terms).of(self.source.tissue)
        return found

    @cached_property
    def called(self) -> tuple[Ints, Floats]:
        """The sample's best types, and their shares, as `scvec.name` calls cells."""
        batches = [(0, sp.csr_matrix(self.values[self.sample]))]
        return best_of_cells(self.logs("made"), self.made.member[self.sample], self.scorer(self.made.means), batches)

    def profile(self, means: Doubles) -> Doubles:
        """Return (C, g) how specific genes are to clusters."""
        return specific(means, np.zeros((0, means.shape[1])), self.has_text)

    def logs(self, which: str) -> Doubles:
        """Return (C, K) logarithms of chances of the types."""
        return balanced(among(self.measured[which][:, self.positions], WEIGHTS))

    def scorer(
        self, every: Doubles, weights: Mapping[str, float] = WEIGHTS, nearness: Nearness | None = None
    ) -> CellScorer:
        """Return what scores single cells against the mean of (C, g) clusters."""
        none = np.zeros((0, 0))
        ranking = Ranking(none, none, none, none, self.words, weights, None, None)
        return cell_scorer(ranking, self.terms, self.positions.tolist(), every, self.has_text, None, nearness)


def case_of(store: sv.Store, terms: TermTexts, source: LabelledCells) -> Case:
    """Read a file."""
    path = DATA / "cells" / f"{source.file}.h5ad"
    read = sv.ReadOptions(layer=source.layer, taxon=source.taxon)
    authors = groups_of(path, store, cluster_key=source.label_key, read=read)
    made = groups_of(path, store, read=read)
    obs = anndata.read_h5ad(path, backed="r").obs
    known = dict(source.terms)
    if "cell_ontology_id" in obs:
        known = dict(zip(obs[source.label_key].astype(str), obs["cell_ontology_id"].astype(str), strict=True)) | known
    ids = [known.get(one, "") for one in authors.clusters.tolist()]
    own = tuple(sorted({one for one in ids if one in terms.positions}))
    values = sp.csr_matrix(sp.vstack([one for _, one in cell_batches(path, store, read, authors.gene_ids, silent)]))
    reader = reader_for(store, terms, texts_of(store, authors.table), authors.gene_ids, "tfidf")
    texts = reader.gene_texts(authors.gene_ids)
    words = term_words(terms, reader.genes.texts, texts, authors.gene_ids.tolist())
    has_text = reader.has_text(authors.gene_ids)
    of_label = np.array([own.index(one) if one in own else -1 for one in ids])
    return Case(source, authors, made, values, terms, words, has_text, own, of_label)


def judged(truth: Ints, best: Ints) -> tuple[float, float]:
    """Return accuracy and macro-F1 of those that have a type."""
    known = truth >= 0
    truth, best = truth[known], best[known]
    present = sorted(set(truth.tolist()))
    return float((truth == best).mean()), float(f1_score(truth, best, labels=present, average="macro", zero_division=0))


def ways(case: Case, store: sv.Store, all_ids: Sequence[str], *, meaning: bool) -> Iterator[Row]:
    """Yield what is called, by what, and accuracy and macro-F1."""
    some = case.truth[case.sample]
    shares = np.bincount(case.truth[case.truth >= 0], minlength=len(case.ids))
    yield "any", "majority", judged(case.truth, np.full(len(case.truth), shares.argmax()))
    yield "any", "chance", (1 / len(case.ids),) * 2
    named = case.measured["authors"]
    yield from clusters(case, "texts", case.logs("authors"))
    yield from clusters(case, "not balanced", logs_of(among(named[:, case.positions], WEIGHTS)))
    yield from clusters(case, "texts, tissue", balanced(among(case.told[:, case.positions], WEIGHTS)))
    many = np.array([case.terms.positions[one] for one in all_ids])
    for way, features in (("", named), (", tissue", case.told)):
        yield from clusters(case, f"among all files' types{way}", balanced(among(features[:, many], WEIGHTS)), all_ids)
    batches = [(0, sp.csr_matrix(case.values[case.sample]))]
    logs, member = case.logs("made"), case.made.member[case.sample]
    yield "cells", "cluster alone", judged(some, np.append(logs.argmax(axis=1), -1)[member])
    best, _ = best_of_cells(np.zeros_like(logs), member, case.scorer(case.made.means), batches, 1.0)
    yield "cells", "cell alone", judged(some, best)
    yield "cells", "texts, and the cell", judged(some, case.called[0])
    own = case.authors.member[case.sample]
    best, _ = best_of_cells(case.logs("authors"), own, case.scorer(case.authors.means), batches)
    yield "their cells", "texts, and the cell", judged(some, best)
    yield from controls(case)
    if meaning:
        by = case.scorer(case.authors.means, ALONE, nearness_of(case, store)).of(
            sp.csr_matrix(case.authors.means, dtype=np.float32)
        )
        yield from clusters(case, "minilm alone", balanced(by))


def clusters(case: Case, way: str, logs: Doubles, ids: Sequence[str] = ()) -> Iterator[Row]:
    """Yield how authors' clusters, and their cells, are called by (C, K) chances of types."""
    ids = ids or case.ids
    best = np.array([case.ids.index(ids[i]) if ids[i] in case.ids else -2 for i in logs.argmax(axis=1).tolist()])
    yield "authors' clusters", way, judged(case.of_label, best)
    yield "their cells", way, judged(case.truth, np.append(best, -1)[case.authors.member])


def mean_of(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the means of rows of the same."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for what, way, figures in rows:
        found.setdefault((what, way), []).append(figures)
    for (what, way), own in found.items():
        yield what, way, (float(np.mean([one[0] for one in own])), float(np.mean([one[1] for one in own])))


def controls(case: Case) -> Iterator[Row]:
    """Yield calls with the text of another gene, by random vectors, and by a classifier that learned from labels."""
    draws = range(PERMUTED)
    yield from mean_of(row for draw in draws for row in permuted(case, draw))
    means = sp.csr_matrix(case.authors.means, dtype=np.float32)
    yield from mean_of(
        row
        for draw in draws
        for row in clusters(
            case,
            "control: random vectors",
            balanced(case.scorer(case.authors.means, ALONE, random_vectors(case, draw)).of(means)),
        )
    )
    known = case.truth >= 0
    kept = np.bincount(case.truth[known], minlength=len(case.ids)) >= FOLDS
    known &= np.append(kept, False)[case.truth]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    predicted = np.full(len(case.truth), -1)
    learned = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    predicted[known] = cross_val_predict(learned, components(case)[known], case.truth[known], cv=folds)
    yield "cells", "logistic regression, learned from labels", judged(case.truth, predicted)


def permuted(case: Case, draw: int) -> Iterator[Row]:
    """Yield calls of clusters and, once, of cells with the text of another gene."""
    way, order = "control: permuted gene texts", permutation(case.has_text, draw)
    yield from clusters(case, way, case.logs(f"authors, permuted {draw}"))
    if draw == 0:
        scorer = case.scorer(case.made.means[:, order])
        values = sp.csr_matrix(case.values[case.sample][:, order])
        best, _ = best_of_cells(
            case.logs(f"made, permuted {draw}"), case.made.member[case.sample], scorer, [(0, values)]
        )
        yield "cells", way, judged(case.truth[case.sample], best)


def components(case: Case) -> Floats:
    """Return (n, d) principal components of the cells."""
    from sklearn.decomposition import TruncatedSVD

    return np.asarray(TruncatedSVD(min(50, case.values.shape[1] - 1), random_state=0).fit_transform(case.values))


def permutation(has_text: Bools, draw: int) -> Ints:
    """Return (g,) an order in which genes with a text have another's place."""
    order, there = np.arange(len(has_text)), np.flatnonzero(has_text)
    order[there] = np.random.default_rng(draw).permutation(there)
    return order


def random_vectors(case: Case, draw: int) -> Nearness:
    """Return cosines of random vectors in place of the texts'."""
    rng = np.random.default_rng(draw)
    genes, terms = (
        one / np.linalg.norm(one, axis=1, keepdims=True)
        for one in (rng.normal(size=(n, 384)).astype(np.float32) for n in (len(case.has_text), len(case.terms)))
    )

    def nearness() -> Iterator[tuple[slice, Floats]]:
        for first in range(0, len(terms), 256):
            yield slice(first, first + 256), terms[first : first + 256] @ genes.T

    return nearness


def nearness_of(case: Case, store: sv.Store) -> Nearness:
    """Return the cosines of the texts by minilm, which encodes what the store lacks."""
    texts = texts_of(store, case.authors.table)
    own = case.authors.gene_ids
    sv.embed.genes(store, texts, encoder="minilm", gene_ids=own[case.has_text])
    return by_meaning(reader_for(store, case.terms, texts, own[case.has_text], "minilm"), own)


def certainty(cases: Sequence[Case]) -> Iterator[tuple[Any, ...]]:
    """Yield how many clusters and cells are called from a share on, and how many of these calls are wrong."""
    of_clusters: list[tuple[float, bool]] = []
    cells: list[tuple[Floats, Bools]] = []
    for case in cases:
        logs, known = case.logs("authors"), case.of_label >= 0
        share, hit = np.exp(logs.max(axis=1)), logs.argmax(axis=1) == case.of_label
        of_clusters += list(zip(share[known].tolist(), hit[known].tolist(), strict=True))
        some = case.sample
        best, score = case.called
        there = case.truth[some] >= 0
        cells.append((np.nan_to_num(score[there]), (best == case.truth[some])[there]))
    for at in SHARES:
        kept = [hit for share, hit in of_clusters if share >= at]
        shares = [(score >= at).mean() for score, _ in cells]
        wrong = [1 - hit[score >= at].mean() for score, hit in cells if (score >= at).any()]
        marks = [" (clusters called)"] * (at == CLUSTER_STANDS_OUT) + [" (cells called)"] * (at == CELL_STANDS_OUT)
        yield (
            f"{at:g}{''.join(marks)}",
            f"{len(kept)} of {len(of_clusters)}",
            1 - float(np.mean(kept)) if kept else float("nan"),
            float(np.mean(shares)),
            float(np.mean(wrong)) if wrong else float("nan"),
            float(np.max(wrong)) if wrong else float("nan"),
        )


NOTE = f"""
Accuracy and macro-F1 (over the types of the file). *Authors' clusters*: the clusters are the labels, each counts once;
*their cells*: the same calls, each cell counts once. *Cells*: the clusters are made without labels (Leiden, the
default), at most {SINGLE} cells at random; *texts, and the cell* is what `scvec name --candidates` does: the cluster's
scores plus {OWN:g} of the cell's own. *Not balanced*: types that fit many clusters are not held back. *Among all files'
types*: the types of the first six files are all given. *Permuted gene texts*: every gene has another gene's text,
{PERMUTED} draws (cells: one; of four types, as Xin has, one draw can have all right);
*random vectors*: of genes and terms, by meaning alone, {PERMUTED} draws. *Majority* is the largest type for each cell.
*Logistic regression* on 50 components learned from four fifths of the labels: an upper bound, and not comparable.

How strongly types are balanced, the weight of the cell's own scores and the lowest share that is called were chosen
with the figures of the first six files in sight; those of Xin and Zeisel stood beside them. The ranker's weights are
those of `scvec name`, which learned on profiles of other studies.
"""


def main() -> None:
    parser = make_parser("zero_shot", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"))
    parser.add_argument("--meaning", action="store_true", help="Also by minilm's vectors alone.")
    options = parser.parse_args()
    store = sv.Store(options.store)
    for taxon in ("human", "mouse"):
        import_texts(store, taxon)
    terms = term_texts(sv.ontology.import_ontology(store, ONTOLOGY))
    cases = [case_of(store, terms, one) for one in (*CELLS, *UNSEEN)]
    all_ids = sorted({one for case in cases[: len(CELLS)] for one in case.ids})
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for case in cases:
        print(case.source.name, flush=True)
        for what, way, figures in ways(case, store, all_ids, meaning=options.meaning):
            found.setdefault((what, way), []).append(figures)
            print(f"  {what}, {way}: {figures[0]:.2f} {figures[1]:.2f}", flush=True)
    header = ("called", "by", *(f"{one.source.name} ({len(one.ids)})" for one in cases), "mean of six", "mean of two")
    tables, values = [], []
    for i, name in enumerate(("Accuracy", "Macro-F1")):
        rows = []
        for (what, way), made in found.items():
            own = [one[i] for one in made]
            means = (float(np.mean(own[: len(CELLS)])), float(np.mean(own[len(CELLS) :])))
            rows.append((what, way, *own, *means))
            values.append({"called": what, "by": way, "measure": name, "of": own, "mean of six": means[0]})
        order = {"any": 0, "authors' clusters": 1, "their cells": 2, "cells": 3}
        rows.sort(key=lambda row: order[str(row[0])])
        tables.append(f"## {name}\n\n{markdown(header, rows)}")
    sure = [
        f"### {name}\n\n"
        + markdown(
            ("share from", "clusters called", "of these wrong", "cells called", "wrong, mean of files", "wrong, most"),
            list(certainty(some)),
        )
        for name, some in (("First six files", cases[: len(CELLS)]), ("Xin and Zeisel", cases[len(CELLS) :]))
    ]  # fmt: skip
    n_types = len(all_ids)
    about = (
        f"# Calls among given types, by text alone\n\n{len(cases)} files; the first six have {n_types} types together."
    )
    text = "\n\n".join([about, *tables, NOTE.strip(), "## Which calls to believe", *sure])
    save("zero_shot", "python -m benchmarks.zero_shot" + " --meaning" * options.meaning, {"rows": values}, text)


if __name__ == "__main__":
    main()
