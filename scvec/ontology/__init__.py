"""The Cell Ontology: its terms in the store, labels matched to terms, calls rolled up to terms and judged by them."""

from scvec.ontology.download import PulledOntology, pull
from scvec.ontology.judging import credited, is_right
from scvec.ontology.matching import LabelMatch, Match, match_labels, read_map
from scvec.ontology.read import read_ontology
from scvec.ontology.rollup import RolledUp, roll_up
from scvec.ontology.tables import import_ontology, list_ontologies, open_ontology
from scvec.ontology.terms import ROOT, Obsolete, Ontology, Term

__all__ = [
    "ROOT",
    "LabelMatch",
    "Match",
    "Obsolete",
    "Ontology",
    "PulledOntology",
    "RolledUp",
    "Term",
    "credited",
    "import_ontology",
    "is_right",
    "list_ontologies",
    "match_labels",
    "open_ontology",
    "pull",
    "read_map",
    "read_ontology",
    "roll_up",
]
