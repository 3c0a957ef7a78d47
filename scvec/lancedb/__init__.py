"""For those who search a store with LanceDB: an import registers scvec's encoders; and a reranker.

    import lancedb
    import scvec.lancedb

    vectors = lancedb.connect("my-store").open_table(revision, namespace_path=["gene_vectors", "minilm"])
    vectors.search("secretes insulin").limit(5).to_polars()

The only part of scvec that imports lancedb.
"""

from scvec.lancedb.encoding import GeneTextEncoder
from scvec.lancedb.reranking import ClosedReranker

__all__ = ["ClosedReranker", "GeneTextEncoder"]
