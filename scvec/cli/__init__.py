"""The command line: parse, call one function, print."""

# The verbs register themselves when imported.
from scvec.cli import atlas as atlas
from scvec.cli import bench as bench
from scvec.cli import embed as embed
from scvec.cli import evaluate as evaluate
from scvec.cli import explain as explain
from scvec.cli import genes as genes
from scvec.cli import interpret as interpret
from scvec.cli import name as name
from scvec.cli import ontology as ontology
from scvec.cli import query as query
from scvec.cli import refine as refine
from scvec.cli import report as report
from scvec.cli import search as search
from scvec.cli import store as store
from scvec.cli.app import main
from scvec.cli.demo import command as command

__all__ = ["main"]
