"""Names for clusters that no reference has: the terms of the Cell Ontology whose texts fit what the cells express."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec.naming.options import NamingOptions
    from scvec.naming.result import Names, Suggestion
    from scvec.naming.run import name
    from scvec.naming.suggested import with_names
    from scvec.naming.term_texts import TermTexts, term_texts
    from scvec.naming.text_reader import TextReader, reader_for

_HOMES = {
    "Names": "result",
    "NamingOptions": "options",
    "Suggestion": "result",
    "TermTexts": "term_texts",
    "TextReader": "text_reader",
    "name": "run",
    "reader_for": "text_reader",
    "term_texts": "term_texts",
    "with_names": "suggested",
}

__all__ = [
    "Names",
    "NamingOptions",
    "Suggestion",
    "TermTexts",
    "TextReader",
    "name",
    "reader_for",
    "term_texts",
    "with_names",
]

__getattr__ = exporting(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
