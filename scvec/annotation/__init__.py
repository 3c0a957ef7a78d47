"""From a query file to calls: candidates, votes, rejection, roll-up, clusters, the frozen result, writing it."""

from scvec.annotation.query import annotate
from scvec.annotation.result import Annotation
from scvec.annotation.writing import write

__all__ = ["Annotation", "annotate", "write"]
