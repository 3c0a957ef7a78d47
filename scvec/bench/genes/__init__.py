"""Measures models of gene texts on gene-level tasks, beside controls: `GeneSuite.read`, `run`."""

from scvec.bench.genes.results import Figure, GeneResults
from scvec.bench.genes.running import run
from scvec.bench.genes.suite import GeneSuite, GeneTask

__all__ = ["Figure", "GeneResults", "GeneSuite", "GeneTask", "run"]
