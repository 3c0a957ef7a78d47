"""Names for clusters that no reference has: the terms of the Cell Ontology whose texts fit what the cells express."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec.naming.background import Background
    from scvec.naming.background_files import read_background, write_background
    from scvec.naming.candidates import Candidates, candidates_of
    from scvec.naming.groups import Groups, groups_of, groups_of_calls
    from scvec.naming.options import NamingOptions
    from scvec.naming.result import CellCalls, Names, Suggestion
    from scvec.naming.run import name
    from scvec.naming.suggested import with_names
    from scvec.naming.term_texts import TermTexts, term_texts
    from scvec.naming.text_reader import TextReader, reader_for

_HOMES = {
    "Background": "background",
    "Candidates": "candidates",
    "CellCalls": "result",
    "Groups": "groups",
    "Names": "result",
    "NamingOptions": "options",
    "Suggestion": "result",
    "TermTexts": "term_texts",
    "TextReader": "text_reader",
    "candidates_of": "candidates",
    "groups_of": "groups",
    "groups_of_calls": "groups",
    "name": "run",
    "read_background": "background_files",
    "reader_for": "text_reader",
    "term_texts": "term_texts",
    "with_names": "suggested",
    "write_background": "background_files",
}

__all__ = [
    "Background",
    "Candidates",
    "CellCalls",
    "Groups",
    "Names",
    "NamingOptions",
    "Suggestion",
    "TermTexts",
    "TextReader",
    "candidates_of",
    "groups_of",
    "groups_of_calls",
    "name",
    "read_background",
    "reader_for",
    "term_texts",
    "with_names",
    "write_background",
]

__getattr__ = exporting(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
