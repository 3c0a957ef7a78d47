"""How near clusters that are made without an atlas come to authors' types, by number of genes and resolution.

python -m benchmarks.own_clusters
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score

import scvec as sv
from benchmarks.common import DATA, WORK, make_parser, markdown, save
from scvec.annotation.clusters import Leiden, leiden_names
from scvec.core.types import Floats, Ints, Strings, silent
from scvec.ingest.cells import Matrix
from scvec.ingest.genes.gene_table import offered_tables
from scvec.ingest.matching import match_genes
from scvec.naming import own_vectors
from scvec.naming.expression import Genes
from scvec.naming.members import members_of_key

SETS = {
    "Baron human": ("pancreas_baron_human.h5ad", "cell_type1"),
    "Baron mouse": ("pancreas_baron_mouse.h5ad", "cell_type1"),
    "pbmc3k": ("pbmc3k.h5ad", "classified"),
    "Voigt retina": ("retina_voigt2019_human_donors23.h5ad", "label"),
    "Voigt RPE and choroid": ("rpe_choroid_voigt2019_human.h5ad", "label"),
}
N_GENES = (250, 500, 1000, 2000)
RESOLUTIONS = (0.25, 0.5, 1.0, 2.0)


def placed(matrix: Matrix, columns: sp.csr_matrix[np.float32]) -> Iterator[tuple[str, float, Floats]]:
    """Yield vectors of cells by the most variable genes and, as a baseline, by as many at random; with seconds."""
    means, variances = own_vectors.gene_moments(matrix, columns, silent)
    varying = np.flatnonzero(variances > 0)
    chosen = {f"{n:,} variable": own_vectors.variable_genes(means, variances, n) for n in N_GENES}
    at_random = np.random.default_rng(0).permutation(varying)[: own_vectors.N_GENES]
    for by, genes in (chosen | {f"{own_vectors.N_GENES:,} random": np.sort(at_random)}).items():
        start = monotonic()
        vectors = own_vectors.components(matrix, sp.csr_matrix(columns[:, genes]), 0, silent)
        yield by, monotonic() - start, vectors


def found(member: Ints, clusters: Strings) -> int:
    """Return the number of types that are the most frequent one of some cluster."""
    return len({int(np.bincount(member[clusters == one]).argmax()) for one in set(clusters.tolist())})


def judged(name: str, file: str, key: str) -> Iterator[dict[str, Any]]:
    store = sv.Store(WORK / "own_clusters")
    with sv.ingest.open_cells(DATA / "cells" / file) as cells, cells.matrix() as matrix:
        members = members_of_key(cells, key)
        genes = Genes.of(match_genes(matrix, offered_tables(store, None)))
        kept = members.member >= 0
        for by, seconds, vectors in placed(matrix, genes.columns):
            for resolution in RESOLUTIONS:
                clusters = leiden_names(vectors, Leiden(resolution))[kept]
                yield {
                    "set": name,
                    "genes": by,
                    "resolution": resolution,
                    "clusters": len(set(clusters.tolist())),
                    "types": len(members.names),
                    "types_found": found(members.member[kept], clusters),
                    "ari": float(adjusted_rand_score(members.member[kept], clusters)),
                    "seconds": round(seconds, 1),
                }


def main() -> None:
    make_parser("own_clusters", __doc__).parse_args()
    rows = [row for name, (file, key) in SETS.items() for row in judged(name, file, key)]
    header = ("genes", "resolution", *SETS, "mean")

    def table(value: Any) -> str:
        lines = []
        for genes in dict.fromkeys(row["genes"] for row in rows):
            for resolution in RESOLUTIONS:
                own = [row for row in rows if (row["genes"], row["resolution"]) == (genes, resolution)]
                lines.append((genes, resolution, *value(own)))
        return markdown(header, lines)

    def ari(own: list[dict[str, Any]]) -> list[float]:
        values = [row["ari"] for row in own]
        return [*values, float(np.mean(values))]

    def types(own: list[dict[str, Any]]) -> list[str]:
        shares = [row["types_found"] / row["types"] for row in own]
        said = [f"{row['types_found']} of {row['types']} in {row['clusters']}" for row in own]
        return [*said, f"{np.mean(shares):.0%}"]

    text = (
        "# Clusters without an atlas\n\n"
        "Leiden on 50 principal components of log-normalised cells, by the number of genes, and by as many genes at "
        "random. `scvec.naming` takes 500 genes and resolution 0.5, chosen by these very tables. At a lower resolution "
        "clusters agree better with authors' types, but hold several rare ones. Splitting one large type changes "
        "the index by .2, so that it says little of the number of genes.\n\n"
        f"## Adjusted Rand index\n\n{table(ari)}\n\n"
        f"## Types that are the most frequent one of some cluster, and clusters\n\n{table(types)}"
    )
    save("own_clusters", "python -m benchmarks.own_clusters", {"rows": rows}, text)


if __name__ == "__main__":
    main()
