"""Write the page of the store's tables and columns from the schemas.

python -m tools.schemas
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from scvec.atlas import label_table, rows
from scvec.bench.genes import sources
from scvec.embed import gene_vectors, sentences, text_vectors
from scvec.ingest.genes import ortholog_tables, template
from scvec.naming import text_reader
from scvec.ontology import tables

PAGE = Path(__file__).parents[1] / "docs" / "schemas.md"
DIMENSION = 999
"""Stands for the length of a vector, which the page calls d."""

HEAD = """# Tables and columns

A store is a [LanceDB database](lancedb.md), and these are its tables. A path is that of the folder in the store,
without `.lance`; in LanceDB its last name is the table's, and those before are the namespaces. The names of columns
stay as they are within a format of the store, which `scvec store info` shows. The schema's metadata has the table's
manifest under `scvec`, as JSON: what its rows were made from; and tables of texts' vectors have their encoder under
`embedding_functions`, as LanceDB reads it. This page is made from the schemas (`python -m tools.schemas`).
"""


@dataclass(frozen=True)
class Described:
    """A kind of table."""

    path: str
    about: str
    schema: pa.Schema
    meanings: Mapping[str, str]


def described() -> tuple[Described, ...]:
    """Return every kind of table of a store."""
    texts = pl.DataFrame(schema=dict(template.TEXT_COLUMNS)).to_arrow(compat_level=pl.CompatLevel.oldest())
    return (
        Described(
            "gene_texts/<taxon id>",
            "A row is a gene. One tag for each release.",
            texts.schema,
            template.COLUMNS,
        ),
        Described(
            "gene_orthologs/<taxon id>",
            "A row is a pair of a gene and a human gene that is one of its orthologs. One tag for each release.",
            ortholog_tables.SCHEMA,
            ortholog_tables.COLUMNS,
        ),
        Described(
            "gene_vectors/<encoder>/<revision>",
            "A row is a text. Rows are appended; the newest version is read.",
            text_vectors.table_schema(DIMENSION),
            gene_vectors.COLUMNS,
        ),
        Described(
            "ontology/CL",
            "A row is a term of the Cell Ontology. One tag for each release.",
            tables.SCHEMA,
            tables.COLUMNS,
        ),
        Described(
            "term_vectors/<encoder>/<revision>",
            "A row is a text of a term of the Cell Ontology, such as its name and definition. Rows are appended; the "
            "newest version is read.",
            text_vectors.table_schema(DIMENSION),
            text_reader.TERM_COLUMNS,
        ),
        Described(
            "sentence_vectors/<encoder>/<revision>",
            "A row is a sentence of a gene's text that was compared with a term. Rows are appended; the newest version "
            "is read.",
            text_vectors.table_schema(DIMENSION),
            text_reader.SENTENCE_COLUMNS,
        ),
        Described(
            "cell_text_vectors/<encoder>/<revision>",
            "A row is a text of a cell, made by recipe genept-s. Rows are appended; the newest version is read.",
            text_vectors.table_schema(DIMENSION),
            sentences.COLUMNS,
        ),
        Described(
            "bench_vectors/<encoder>/<revision>",
            "A row is a text that only a benchmark reads. Rows are appended; the newest version is read.",
            text_vectors.table_schema(DIMENSION),
            sources.BENCH_COLUMNS,
        ),
        Described(
            "atlases/<name>/cells",
            "A row is a reference cell. The tag `current` is the version that readers follow. Further columns of `obs` "
            "that the atlas keeps stand before `empty`, as strings.",
            rows.table_schema(rows.Keys("label"), DIMENSION, "float32"),
            rows.COLUMNS,
        ),
        Described(
            "atlases/<name>/labels",
            "A row is a label of an atlas. The tag `current` goes with that of the cells.",
            label_table.label_schema(DIMENSION),
            label_table.COLUMNS,
        ),
    )


def page() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *map(_section, described())])


def _section(one: Described) -> str:
    lines = [f"| `{name}` | {_type(one.schema.field(name).type)} | {text} |" for name, text in one.meanings.items()]
    return "\n".join(
        [f"## `{one.path}`", "", one.about, "", "| column | type | content |", "| --- | --- | --- |", *lines, ""]
    )


def _type(kind: pa.DataType) -> str:
    """Return an Arrow type in few words."""
    if pa.types.is_fixed_size_list(kind):
        return f"d numbers, {kind.value_type.to_pandas_dtype().__name__}"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "struct of " + ", ".join(f"`{field.name}` ({_type(field.type)})" for field in kind)
    return {"float": "float32"}.get(str(kind), str(kind).removeprefix("large_"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
