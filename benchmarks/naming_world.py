"""Clusters with a known term, and what texts say of them: what naming is fitted and measured on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import anndata
import numpy as np

import scvec as sv
from benchmarks.common import DATA
from benchmarks.naming_types import CELLS, PROFILES, LabelledCells, cleaned, tissue_of
from scvec.core.types import Doubles, Floats, Ints
from scvec.naming.features import FEATURES, MARKER, MEANING, TISSUE, Features, specific
from scvec.naming.groups import groups_of
from scvec.naming.marker_sets import MarkerSets
from scvec.naming.term_texts import TermTexts
from scvec.naming.term_words import term_words
from scvec.naming.text_reader import reader_for

Change = Callable[[Doubles], Doubles]


@dataclass(frozen=True)
class Case:
    """Types of one study: their means on its genes, and the term of each; "" for one that has none.

    `study` is the file; `is_test` tells cells that names are measured on from profiles that the ranker learns from.
    """

    name: str
    study: str
    taxon: str
    tissue: str | None
    labels: tuple[str, ...]
    terms: tuple[str, ...]
    gene_ids: Ints
    means: Doubles
    is_test: bool


def tests(store: sv.Store) -> list[Case]:
    """Return the labelled cells."""
    return [_of_cells(store, source) for source in CELLS]


def _of_cells(store: sv.Store, source: LabelledCells) -> Case:
    path = DATA / "cells" / f"{source.file}.h5ad"
    read = sv.ReadOptions(layer=source.layer, taxon=source.taxon)
    groups = groups_of(path, store, cluster_key=source.label_key, read=read)
    obs = anndata.read_h5ad(path, backed="r").obs
    known = dict(source.terms)
    if not known or "cell_ontology_id" in obs:
        known |= dict(zip(obs[source.label_key].astype(str), obs["cell_ontology_id"].astype(str), strict=True))
    labels = tuple(groups.clusters.tolist())
    terms = tuple(source.terms.get(one, known.get(one, "")) for one in labels)
    return Case(
        source.name, source.file, source.taxon, source.tissue, labels, terms, groups.gene_ids, groups.means, True
    )


def trainings(store: sv.Store, ontology: sv.ontology.Ontology) -> list[Case]:
    """Return the profiles of other studies."""
    made = []
    for path in sorted((DATA / "reference").glob("profile_*.parquet")):
        taxon = "mouse" if "Mouse" in path.stem else "human"
        found = sv.naming.read_background(path, store, taxon)
        found_ids = sv.ontology.match_labels(ontology, [cleaned(one) for one in found.names.tolist()]).ids
        terms = tuple(PROFILES.get(one, found_ids.get(cleaned(one), "")) for one in found.names.tolist())
        there = ~np.isnan(found.means).any(axis=0)
        labels = tuple(map(str, found.names.tolist()))
        about = (path.stem, path.stem, taxon, tissue_of(path.stem), labels, terms)
        made.append(Case(*about, found.gene_ids[there], found.means[:, there], False))
    return made


@dataclass(frozen=True)
class World:
    """The texts of a taxon's genes and of the terms, for some cases."""

    store: sv.Store
    terms: TermTexts
    texts: sv.ingest.GeneTexts
    gene_ids: Ints
    hidden: frozenset[str] = frozenset()
    """Terms whose names are taken out of the genes' texts and the definitions."""

    @cached_property
    def of_genes(self) -> list[str]:
        """(g,) the genes' texts."""
        found = dict(self.texts.frame.select("gene_id", "text").iter_rows())
        return [self._without(found.get(int(one), "")) for one in self.gene_ids]

    @cached_property
    def has_text(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(g,) whether a gene has one."""
        return np.array([bool(one) for one in self.of_genes])

    @cached_property
    def features(self) -> Features:
        """What the words say."""
        terms = self.terms
        if self.hidden:
            bare = tuple(replace(one, description=self._without(one.description)) for one in terms.terms)
            terms = TermTexts(terms.ontology, bare)
        return Features(self.terms, term_words(terms, self.texts, self.of_genes, self.gene_ids.tolist()))

    def _without(self, text: str) -> str:
        return self._pattern.sub(" ", text) if self.hidden else text

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        ontology = self.terms.ontology
        names = {name for one in self.hidden for name in (ontology[one].name, *ontology[one].synonyms)}
        names |= {re.sub(r" cell$", "", one) for one in names if len(one) > 9}
        longest = sorted(names, key=len, reverse=True)
        return re.compile("|".join(rf"\b{re.escape(one)}s?\b" for one in longest), re.IGNORECASE)

    def placed(self, case: Case, others: Sequence[Case] = ()) -> tuple[Doubles, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Return how specific each of the world's genes is to each type of a case, and which it measures.

        Types are compared with each other, and with those of `others`.
        """
        contrast = np.concatenate([np.zeros((0, len(self.gene_ids))), *map(self._means, others)])
        means = self._means(case)
        known = ~np.isnan(means).any(axis=0) & self.has_text
        return specific(np.nan_to_num(means), contrast, known), known

    def _means(self, case: Case) -> Doubles:
        """Return (C, g) the means of a case on the world's genes; NaN for those that it lacks."""
        means = np.full((len(case.labels), len(self.gene_ids)), np.nan)
        there = np.isin(self.gene_ids, case.gene_ids)
        means[:, there] = case.means[:, np.searchsorted(case.gene_ids, self.gene_ids[there])]
        return means

    def measured(
        self,
        case: Case,
        nearness: Nearness | None = None,
        change: Change | None = None,
        others: Sequence[Case] = (),
        markers: MarkerSets | None = None,
    ) -> Floats:
        """Return (C, T, F) the features of a case with its tissue; `change` is made to the (C, m) profile first."""
        profile, known = self.placed(case, others)
        if change is not None:
            profile[:, known] = change(profile[:, known])
        near = None if nearness is None else nearness.of_taxon(self)
        return self.features.of(profile, known, case.tissue, near, markers).astype(np.float32)


@dataclass(frozen=True)
class Nearness:
    """How near the texts of genes and terms are, as an encoder reads them."""

    encoder: str

    def of_taxon(self, world: World) -> Any:
        """Return what yields it for the genes of a world."""
        from scvec.naming.scoring import by_meaning

        there = world.gene_ids[world.has_text]
        reader = reader_for(world.store, world.terms, world.texts, there, self.encoder)
        return by_meaning(reader, world.gene_ids)


def worlds(
    store: sv.Store,
    terms: TermTexts,
    texts: dict[str, sv.ingest.GeneTexts],
    cases: Iterable[Case],
    hidden: frozenset[str] = frozenset(),
) -> dict[str, World]:
    """Return a world for each taxon, on all genes of its cases."""
    made = {}
    for taxon in texts:
        own = [one.gene_ids for one in cases if one.taxon == taxon]
        made[taxon] = World(store, terms, texts[taxon], np.unique(np.concatenate(own)), hidden)
    return made


def without(features: Floats, names: Sequence[str] = TISSUE) -> Floats:
    """Return the features with some set to zero: what is not known."""
    found = features.copy()
    found[..., [FEATURES.index(one) for one in names]] = 0
    return found


def only(features: Floats, names: Sequence[str]) -> Floats:
    """Return the features with all others set to zero."""
    return without(features, [one for one in FEATURES if one not in names])


WORDS_ONLY = (MEANING, MARKER)
"""Features that words alone do not have."""
