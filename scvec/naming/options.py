"""How clusters are named, as a frozen value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scvec.errors import InputError, must_be
from scvec.ingest.cells.options import ReadChanges, ReadOptions
from scvec.naming.result import N_NAMES

if TYPE_CHECKING:
    from scvec.naming.background import Background


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingOptions(ReadOptions):
    """How cells are read and their clusters named; the fields are keywords of `scvec.name`.

    Attributes
    ----------
    cluster_key
        Column of ``obs`` with the clusters. None: clusters are made.
    cluster
        How to make clusters: ``"leiden"`` (the default, of resolution 0.5) or ``"leiden:RESOLUTION"``; needs the extra
        ``cluster``.
    tissue
        The tissue of the cells, in words: ``"retina"``.
    n
        Number of names for each cluster.
    candidates
        Types, two at least, among which clusters and single cells are called: names or ids of terms, a string with
        commas between them, or a file with one on each line. See `scvec.naming.candidates_of`.
    background
        Profiles of other types, with which the clusters are compared too: a `scvec.naming.Background`, or a file or a
        folder that `scvec.naming.read_background` reads. With it, a single cluster will do.
    markers
        GMT files of marker sets, which speak for names beside the texts: sets whose names are those of terms. None is
        shipped. An encoder is then not asked for scores.
    encoder
        An encoder whose vectors of the gene texts are in the store; None: the first model whose vectors are there, or
        else tfidf, which needs none.
    evidence
        Whether to find, for each gene behind a name, the sentence of its text that is nearest to the term. Sentences
        are encoded when they are first needed, which can take a minute for many clusters.
    use_rep
        An array of ``obsm``, such as ``"X_scVI"``, of which clusters are made. None: the principal components of what
        the cells express.
    obs, layer, scale, gene_key, taxon, only, only_annotated, unlabelled
        As in `scvec.ReadOptions`; cells whose cluster is one of `unlabelled` are in none.
    """

    cluster_key: str | None = None
    cluster: str | None = None
    tissue: str | None = None
    n: int = N_NAMES
    candidates: str | Path | Sequence[str] | None = None
    background: str | Path | Background | None = None
    markers: Sequence[str | Path] = ()
    encoder: str | None = None
    evidence: bool = False

    def check(self) -> None:
        """Raise `InputError` if an option is invalid, or has no effect."""
        if self.n < 1:
            raise must_be("n", "at least 1", self.n)
        if self.tissue is not None and not self.tissue.strip():
            raise must_be("tissue", "words, as 'retina'", self.tissue)
        if self.cluster_key is not None and self.cluster is not None:
            raise InputError("`cluster_key` and `cluster` exclude each other", fix="leave one out")
        if self.cluster_key is not None and self.use_rep is not None:
            raise InputError("`use_rep` has no effect on the clusters of `cluster_key`", fix="leave one out")
        if self.markers and self.candidates is not None:
            raise InputError("`markers` and `candidates` exclude each other", fix="leave one out")


class NamingChanges(ReadChanges, total=False):
    """The fields of `NamingOptions`, as keywords."""

    cluster_key: str | None
    cluster: str | None
    tissue: str | None
    n: int
    candidates: str | Path | Sequence[str] | None
    background: str | Path | Background | None
    markers: Sequence[str | Path]
    encoder: str | None
    evidence: bool
