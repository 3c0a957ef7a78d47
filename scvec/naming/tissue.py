"""Which terms fit a tissue that is given in words."""

from __future__ import annotations

import re

import numpy as np

from scvec.core.types import Bools, Doubles
from scvec.naming.term_texts import TermTexts

PARTS_OF_WORDS = {
    "adrenal": ("adrenal", "chromaffin", "glomerulosa"),
    "bile duct": ("bile", "biliary", "cholang"),
    "bladder": ("bladder", "urothel"),
    "blood": ("blood", "hematopo", "haematopo", "leukocyte"),
    "bone": ("bone", "osteo"),
    "bone marrow": ("bone marrow", "hematopo", "haematopo", "blood"),
    "brain": ("brain", "cerebr", "cortex", "cortical", "central nervous", "hippocamp", "thalam", "striat", "amygdal"),
    "breast": ("breast", "mammary"),
    "cerebellum": ("cerebell",),
    "choroid": ("choroid", "ocular", "eye", "retina"),
    "cornea": ("cornea", "eye"),
    "ear": ("cochlea", "auditory", "vestibular", "hair cell"),
    "esophagus": ("esophag", "oesophag"),
    "eye": ("eye", "ocular", "retina", "cornea", "lens"),
    "heart": ("heart", "cardi", "atri", "ventricular"),
    "intestine": ("intestin", "colon", "duoden", "ileum", "jejun", "rect", "enterocyte"),
    "kidney": ("kidney", "renal", "nephr", "glomerul"),
    "liver": ("liver", "hepat"),
    "lung": ("lung", "pulmon", "alveol", "bronch"),
    "lymph node": ("lymph node", "lymph"),
    "muscle": ("muscle", "myo"),
    "nose": ("nasal", "olfact"),
    "ovary": ("ovar", "oocyte", "granulosa"),
    "pancreas": ("pancrea", "islet", "langerhans"),
    "pituitary": ("pituitar", "hypophys"),
    "placenta": ("placent", "trophoblast", "chorio"),
    "prostate": ("prostat",),
    "retina": ("retina", "eye", "ocular", "photoreceptor"),
    "salivary gland": ("saliva", "parotid", "submandibular"),
    "skin": ("skin", "epiderm", "derm", "hair follicle"),
    "spinal cord": ("spinal", "central nervous"),
    "spleen": ("spleen", "splenic"),
    "stomach": ("stomach", "gastric"),
    "testis": ("testi", "sperm"),
    "thymus": ("thym",),
    "thyroid": ("thyroid",),
    "trachea": ("trache",),
    "uterus": ("uter", "endometri"),
}
"""The parts of words by which a term's texts mean an organ: *kidney* is also *renal*."""

EVERYWHERE = frozenset({"blood", "bone marrow", "lymph node", "muscle"})
"""Tissues whose cells are found in others, too: lymphocytes, smooth muscle."""

FEWEST_LETTERS = 3

ORGANS = tuple(sorted({part for name, parts in PARTS_OF_WORDS.items() if name not in EVERYWHERE for part in parts}))


class TissueOf:
    """Reads of terms what tissue they are of."""

    def __init__(self, terms: TermTexts) -> None:
        ontology = terms.ontology
        self._names = ["; ".join((one.name, *one.synonyms)).lower() for one in terms.terms]
        self._definitions = [one.description.lower() for one in terms.terms]
        # is_a and, where the file counts it as is_a, part_of.
        above = [map(ontology.name, ontology.ancestors(one.id)) for one in terms.terms]
        self._above = ["; ".join(names).lower() for names in above]
        self._elsewhere = _has(self._names, ORGANS)

    def of(self, tissue: str | None) -> Doubles:
        """Return (T, 4) whether a term's names, its definition, or its ancestors' names have a tissue's words.

        The last column tells terms whose names mean another organ. Zeros where no tissue is given.
        """
        found = np.zeros((len(self._names), 4))
        if tissue is None:
            return found
        parts = parts_of(tissue)
        for column, texts in enumerate((self._names, self._definitions, self._above)):
            found[:, column] = _has(texts, parts)
        found[:, 3] = self._elsewhere & ~found[:, :3].any(axis=1)
        return found


def is_known(tissue: str, terms: TermTexts) -> bool:
    """Return whether the texts of any term have a tissue's words; of one that is misspelt, or in German, none has."""
    return bool(TissueOf(terms).of(tissue)[:, :3].any())


def parts_of(tissue: str) -> tuple[str, ...]:
    """Return the parts of words by which texts mean a tissue: of organs that it names, else its long words."""
    said = tissue.lower()
    known = [part for name, parts in PARTS_OF_WORDS.items() if _has([said], (name, *parts))[0] for part in parts]
    own = [one for one in re.findall(r"[a-z]+", said) if len(one) > FEWEST_LETTERS]
    return tuple(dict.fromkeys(known or own))


def _has(texts: list[str], parts: tuple[str, ...]) -> Bools:
    """Return which texts have a word that begins with one of the parts."""
    pattern = re.compile("|".join(rf"\b{re.escape(part)}" for part in parts) or r"(?!)")
    return np.array([bool(pattern.search(text)) for text in texts], bool)
