"""Ready-made vectors of genes, from a file, as an encoder of the texts of those genes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from scvec.core.files import sha256
from scvec.core.types import Floats
from scvec.embed.encoders.base import Address, Model, Request
from scvec.embed.encoders.vector_files import NamedVectors, read_vectors
from scvec.errors import GeneMatchError, InputError
from scvec.ingest.genes.identifiers import ROUTES, Identifiers


class Given:
    """``file:PATH``: ready-made vectors, for the genes to which their names resolve.

    They are kept unchanged, and cover only the texts of their genes. If several names resolve to one gene, the one by
    the earliest route counts, then the first. The revision is the file's hash.

    Parameters
    ----------
    name
        The canonical name.
    path
        The file.
    genes
        The genes of the release.
    """

    def __init__(self, name: str, path: Path, genes: pl.DataFrame) -> None:
        self.name = name
        given = read_vectors(path)
        self.revision = sha256(path)[:16]
        self._vectors = given.vectors
        self._row_of_text = _rows_by_text(given, genes)
        if not self._row_of_text:
            raise GeneMatchError(
                f"{path}: none of its {len(given.names):,} names ({', '.join(given.names[:3])}, ...) is a known gene",
                "symbols, Ensembl ids or Entrez ids of the taxon",
                "check `taxon` and the file",
            )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._vectors.shape[1])

    def knows(self, text: str) -> bool:
        """Whether the text belongs to a gene in the file."""
        return text in self._row_of_text

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors, as in the file."""
        return self._vectors[[self._row_of_text[text] for text in texts]]


def _rows_by_text(given: NamedVectors, genes: pl.DataFrame) -> dict[str, int]:
    found = Identifiers(genes).resolve(given.names)
    rank = np.array([ROUTES.index(route) for route in found.routes.tolist()], np.int64)
    text_of = dict(genes.select("gene_id", "text").iter_rows())
    rows: dict[str, int] = {}
    for i in np.argsort(rank, kind="stable"):
        rows.setdefault(text_of[int(found.gene_ids[i])], int(found.columns[i]))
    return rows


def make_given(request: Request) -> Given:
    """Make ``file:PATH``."""
    request.address.only()
    if not request.address.argument:
        raise InputError("encoder 'file' needs a path", "an address such as file:GenePT_embeddings.pickle")
    return Given(request.address.canonical(), Path(request.address.argument).expanduser(), request.genes)


def revision_of(address: Address) -> str | None:
    """Return the hash of the file, if it exists."""
    path = Path(address.argument).expanduser()
    return sha256(path)[:16] if path.is_file() else None


GIVEN_MODELS = (
    Model(
        "file",
        make_given,
        ".npz, .parquet, .safetensors, .txt, or GenePT's .pickle",
        is_here=lambda: True,
        argument="PATH",
        revision_of=revision_of,
        partial=True,
    ),
)
