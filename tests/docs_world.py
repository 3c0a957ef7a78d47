"""What a user has who follows a page of the documentation: toy cells under names of real genes, a store, servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from anndata import AnnData

from scvec.ingest.genes.ncbi import INFO_COLUMNS, ORTHOLOG_COLUMNS, SUMMARY_COLUMNS
from scvec.ingest.genes.packaged import packaged
from tests import toy, toy_ontology
from tests.toy import HUMAN, MOUSE

STORE = "scvec-store"
"""The command line's own, which pages do not name."""

PREPARED = """
scvec genes pull --taxon human
scvec embed --taxon human --encoder tfidf
scvec ontology pull
scvec atlas build pancreas reference.h5ad --label-key cell_type --batch-key donor --encoder tfidf
"""
"""What pages suppose: gene texts, the Cell Ontology, an atlas."""


def genes() -> pl.DataFrame:
    """Return as many real genes as the toy world has: ids and symbols in human, and of their orthologs in mouse."""
    human, mouse = packaged(HUMAN), packaged(MOUSE)
    assert human is not None
    assert mouse is not None
    names = {"mouse_id": "gene_id", "mouse": "symbol", "human": "human_ortholog"}
    of_mouse = mouse.genes.select(**{new: pl.col(old) for new, old in names.items()})
    found = human.genes.filter(pl.col("gene_type") == "protein-coding").join(
        of_mouse, left_on="gene_id", right_on="human"
    )
    same = pl.col("symbol") == pl.col("mouse").str.to_uppercase()
    return found.filter(same).sort("gene_id").head(toy.N_GENES)


def cells(n: int, seed: int, symbols: Sequence[str]) -> AnnData:
    """Return toy cells of these genes, with a tissue, and with vectors as of another tool."""
    made = toy.cells(n, seed=seed)
    made.var_names = list(symbols)
    made.obs["tissue"] = [("pancreas", "spleen")[i % 2] for i in range(n)]
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(len(toy.LABELS), 8))
    codes = [toy.LABELS.index(one) for one in made.obs["cell_type"]]
    made.obsm["X_scVI"] = (centres[codes] + rng.normal(scale=0.2, size=(n, 8))).astype(np.float32)
    return made


def write_files(folder: Path) -> None:
    """Write the files that pages name."""
    known = genes()
    symbols = known["symbol"].to_list()
    cells(120, 0, symbols).write_h5ad(folder / "reference.h5ad")
    cells(41, 1, symbols).write_h5ad(folder / "query.h5ad")
    cells(20, 1, known["mouse"].to_list()).write_h5ad(folder / "mouse.h5ad")
    pairs = [(str(one), str(other), "Ensembl,OMA") for one, other in known.select("gene_id", "mouse_id").iter_rows()]
    toy.write_hcop(folder / "human_mouse_hcop_fifteen_column.txt.gz", pairs)
    members = {label: [symbols[i] for i in range(toy.N_GENES) if toy.theme_of(i) == label] for label in toy.LABELS}
    sets = [f"{label} genes\tof the toy world\t" + "\t".join(names) for label, names in members.items()]
    (folder / "sets.gmt").write_text("\n".join(sets) + "\n", encoding="utf-8")


def write_mirror(root: Path) -> None:
    """Write NCBI's gene files of these genes, as its server has them, and the toy ontology."""
    known = genes()
    info, summaries = ["\t".join(INFO_COLUMNS)], ["\t".join(SUMMARY_COLUMNS)]
    for i, (gene_id, symbol) in enumerate(known.select("gene_id", "symbol").iter_rows()):
        row = dict.fromkeys(INFO_COLUMNS, "-") | {"#tax_id": str(HUMAN), "GeneID": str(gene_id), "Symbol": symbol}
        row |= {"description": f"gene {i}", "type_of_gene": "protein-coding", "Modification_date": "20260701"}
        info.append("\t".join(row.values()))
        text = toy.THEMES.get(toy.theme_of(i) or "", "housekeeping in all cells")
        summaries.append(f"{HUMAN}\t{gene_id}\tRefSeq\tThis gene takes part in {text}.")
    pairs = known.select("gene_id", "mouse_id").iter_rows()
    rows = [f"{HUMAN}\t{one}\tOrtholog\t{MOUSE}\t{other}" for one, other in pairs]
    place = root / "GENE_INFO" / "Mammalia"
    place.mkdir(parents=True)
    toy.write_lines(place / "Homo_sapiens.gene_info.gz", info)
    toy.write_lines(root / "gene_summary.gz", summaries)
    toy.write_lines(root / "gene_orthologs.gz", ["\t".join(ORTHOLOG_COLUMNS), *rows])
    (root / "cl-basic.obo").write_text(toy_ontology.as_obo(toy_ontology.TOY), encoding="utf-8")


def environment(mirror: str, cache: Path, **more: str) -> dict[str, str]:
    """Return the environment of a user who has nothing set, in which the mirror takes the place of the servers."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SCVEC_")}
    own |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    return own | {"SCVEC_NCBI": mirror, "SCVEC_CL": f"{mirror}/cl-basic.obo", "SCVEC_CACHE": str(cache)} | more


def run(command: Sequence[str], folder: Path, variables: dict[str, str]) -> str:
    """Run a command, and return what it printed."""
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bash(text: str, folder: Path, variables: dict[str, str]) -> str:
    return run(["bash", "-c", "set -euo pipefail\n" + text], folder, variables)


def python(text: str, folder: Path, variables: dict[str, str]) -> str:
    return run([sys.executable, "-c", text], folder, variables)
