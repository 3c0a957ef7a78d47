"""Terms' names in running text: which gene texts mention a term, and which genes a term's text names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from scvec.ontology import Term

TOO_GENERAL = frozenset(
    {
        "absorptive",
        "accessory",
        "alpha",
        "animal",
        "barrier",
        "beta",
        "circulating",
        "contractile",
        "defensive",
        "embryonic",
        "epithelial",
        "eukaryotic",
        "golgi",
        "inflammatory",
        "lining",
        "motile",
        "native",
        "nurse",
        "phagocytic",
        "plasma",
        "precursor",
        "progenitor",
        "receptor",
        "reticular",
        "secretory",
        "sensory",
        "signalling",
        "stem",
        "supporting",
        "transporting",
        "sensory receptor",
        "germ line",
    }
)
"""What remains of *sensory receptor cell* or *plasma cell* without *cell* is said of much else."""

FEWEST_LETTERS = 3

_NEGATIVE = re.compile(r"-(negative|low)$|-$")
_SUFFIX = re.compile(r"(-positive|-negative|-low|-high|-dim|-bright|-expressing|-secreting|-producing|-|\+)+$")


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, without punctuation and plural *s*."""
    return [_singular(one) for one in re.sub(r"[^a-z0-9+]+", " ", text.lower()).split()]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def phrases_of(term: Term) -> set[tuple[str, ...]]:
    """Return the names and exact synonyms of a term, each as words; and without *cell* at the end, where that will do.

    What stands in brackets is left out.
    """
    found = set()
    for name in (term.name, *term.synonyms):
        words = tuple(words_of(re.sub(r"\(.*?\)", "", name)))
        if len(" ".join(words)) >= FEWEST_LETTERS:
            found.add(words)
        if len(words) > 1 and words[-1] == "cell" and len(" ".join(words[:-1])) > FEWEST_LETTERS + 1:
            found |= {words[:-1]} if " ".join(words[:-1]) not in TOO_GENERAL else set()
    return found


def mentions(terms: Sequence[Term], texts: Sequence[str]) -> sp.csr_matrix[np.float32]:
    """Return (T, g) 1 where the text of a gene has a name or exact synonym of a term, in any case and number."""
    owners: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, term in enumerate(terms):
        for phrase in phrases_of(term):
            owners[phrase].append(i)
    lengths: dict[str, set[int]] = defaultdict(set)
    for phrase in owners:
        lengths[phrase[0]].add(len(phrase))
    pairs = {pair for gene, text in enumerate(texts) for pair in _found(words_of(text), gene, owners, lengths)}
    return _matrix(pairs, (len(terms), len(texts)))


def _found(
    words: list[str],
    gene: int,
    owners: Mapping[tuple[str, ...], list[int]],
    lengths: Mapping[str, set[int]],
) -> Iterator[tuple[int, int, float]]:
    for start, word in enumerate(words):
        for n in lengths.get(word, ()):
            for term in owners.get(tuple(words[start : start + n]), ()):
                yield term, gene, 1.0


class GeneNames:
    """The names by which a text may mean a gene.

    These are its symbol and its aliases, if they have a digit (*CD14*; words such as *rest* are symbols too) and fit
    one gene, and its full name (*insulin*).

    Parameters
    ----------
    symbols, aliases, texts
        (g,) of the genes; a text begins with the symbol and the full name.
    """

    def __init__(self, symbols: Sequence[str], aliases: Sequence[Iterable[str]], texts: Sequence[str]) -> None:
        own = {one: i for i, one in enumerate(symbols)}
        fits: dict[str, set[int]] = defaultdict(set)
        for i, names in enumerate(aliases):
            for name in names:
                fits[name].add(i)
        other = {name: min(genes) for name, genes in fits.items() if len(genes) == 1 and name not in own}
        self._of = {
            name: i
            for name, i in (other | own).items()
            if len(name) >= FEWEST_LETTERS and any(one.isdigit() for one in name)
        }
        self._full: dict[str, int] = {}
        for i, text in enumerate(texts):
            begins = re.match(r"[^:]+: ([^.]+)\.", text)
            if begins and len(begins[1]) > FEWEST_LETTERS + 1:
                self._full.setdefault(begins[1].lower(), i)

    def within(self, text: str) -> dict[int, float]:
        """Return the genes that a text names: 1, or -1 where it says that they are lacking (*CD16-negative*)."""
        found: dict[int, float] = {}
        words = re.findall(r"[A-Za-z0-9+/-]+", text)
        for i, word in enumerate(words):
            after = words[i + 1].lower() if i + 1 < len(words) else ""
            for part in word.split("/"):
                name = _SUFFIX.sub("", part)
                gene = self._of.get(name, self._full.get(name.lower()))
                if gene is not None:
                    lacking = _NEGATIVE.search(part) or after in ("negative", "low")
                    found[gene] = -1.0 if lacking else 1.0
        return found

    def matrix(self, texts: Sequence[str], n_genes: int) -> sp.csr_matrix[np.float32]:
        """Return (n, g) what `within` finds in each text."""
        pairs = {(i, gene, sign) for i, text in enumerate(texts) for gene, sign in self.within(text).items()}
        return _matrix(pairs, (len(texts), n_genes))


def _matrix(pairs: Iterable[tuple[int, int, float]], shape: tuple[int, int]) -> sp.csr_matrix[np.float32]:
    rows, columns, values = zip(*sorted(pairs), strict=True) if pairs else ((), (), ())
    made = sp.csr_matrix((np.array(values, np.float32), (rows, columns)), shape)
    return sp.csr_matrix(made)
