"""Features of a matrix that are not genes: antibody tags, spike-ins, control probes and others, by type and by name.

A feature is told by its type where the file has types, and by its name otherwise. A tag that is named as a gene is,
such as ``CD4``, can only be told by its type; so is one that `make_unique` has renamed to ``CD4-1``.

The patterns of names are those that programs and vendors write. None of them fits a symbol or an alias of a human or
mouse gene, which a test checks for all of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from scvec.core.types import Strings

TYPE_KEYS = ("feature_types", "feature_type", "feature_biotype", "modality")
"""Columns of ``var`` with the type of a feature: of 10x and muon, of CELLxGENE, of joined modalities."""

N_SHOWN = 8

GENES = "Gene Expression"
"""The feature type of genes in files of 10x. Where it occurs, features of other types are not genes."""

NO_GENE_TYPES = re.compile(
    r"antibod|\badts?\b|\bhtos?\b|hashtag|multiplex|crispr|\bguides?\b|[gs]rna\b|\bpeaks?\b|\batac\b|chromatin|control"
    r"|codeword|\bblank\b|spike|\bercc\b|^custom$|antigen|\bv[d]?j\b|cell ?plex|^prot(ein)?s?( expression)?$|barcode"
    r"|unassigned|deprecated|isotype|intergenic|^lipid|^cmo"
)
"""Types of features that are not genes, in small letters with blanks between words."""

GENOME = (
    r"(?:refdata-\w+-)?"
    r"(?:GRC[hmrz]\d+|hg\d\d|mm\d\d?|rn\d|T2T(?:-CHM13)?(?:v\d)?|CHM13|mRatBN\d|Rnor\w?\d?|Mmul\w?\d*|rheMac\d+|Sscrofa\d+|susScr\d+|danRer\d+"
    r"|canFam\d|chlSab\d|ChlSab\d?)(?:[-_. ]?(?:pre[-_]?mrna|v?\d{4}[-_]?[A-Z]|p\d+))?"
)
"""An assembly of a genome, as in a prefix of names."""

FLUORESCENT = (
    r"e?[gyrb]fp|[eg]gfp\d|ecfp|mcherry|td[-_]?tomato|dsred\d?|mkate2?|zsgreen\d?|mvenus|mscarlet|citrine|irfp\d*|mneon(?:green)?"
    r"|mturquoise2?|mcerulean\d?|tagbfp|tagrfp|mruby\d?|morange\d?|turbo[gr]fp|gcamp\d?\w?"
)
TRANSGENES = (
    rf"{FLUORESCENT}|lac[-_]?z|fire?fly[-_]?luc\w*|luciferase|luc2|fluc|i?cre(?:[-_]?ert?2?)?|flpo?|d?(?:sp)?cas9|rtta3?"
    r"|puror?|neor|blastr|hygr[o]?|wpre\d?|wpre[-_].*|bgh[-_]?polya|sv40\w*|ampr|kanr|puromycin|neomycin"
)

KINDS: Mapping[str, tuple[str, ...]] = {
    "spike-ins": (
        r"(?:gSpikein[-_])?ERCC[-_.]?\d{5}.*",  # ERCC-00002, and CELLxGENE's "ERCC-00002 (spike-in control)"
        r"SIRV\d+\w*|phi[-_]?X(?:174)?",
    ),
    "unaligned-read counters": (
        r"(?:__|--|\.\.)ambiguous|ambiguous",  # htseq-count, also as Seurat and R rewrite it
        r"(?:__|--|\.\.)?(?:no[-_.]feature|too[-_.]low[-_.]aQual|not[-_.]aligned|alignment[-_.]not[-_.]unique)",
        r"N_(?:unmapped|multimapping|noFeature|ambiguous)",  # STAR
        r"Unassigned_[A-Z]\w+|\*|unmapped",  # featureCounts, salmon, CITE-seq-Count
    ),
    "antibody tags": (
        r".+[-_. ]Total(?:Seq)?[-_. ]?[ABCD](?:\d.*|[-_.]\d+)?|TotalSeq[-_. ]?[ABCD]?\d*[-_. ].+",
        r"(?i:adt|cite|antibody|abseq)[-_:. ]+\S*[A-Za-z]\S*|(?i:prot|protein)[-_:][A-Z]\S*|[aA][bB][_:]\S+",
        r"\S+_(?i:prot|protein|antibody)|\S+[-_](?i:adt)",
        r"(?:.*[-_. ])?(?i:anti)[-_. ](?i:human|mouse|rat|hamster)[-_. /].+|(?i:anti)[-_. ](?:CD|HLA|TCR|Ig)\S*",
        r"(?:(?i:mouse|rat|armenian|syrian|hamster|human|recombinant|rec)[-_. ]+)*"
        r"(?i:igg|igm|iga|ige)\d?[abc]?.*(?i:isotype|control|ctrl).*",
        r"(?:.*[-_. ])?(?i:isotype)(?:[-_. ].*)?",
        r".+pAbO",  # BD's AbSeq: CD3:UCHT1|CD3E|AHS0231|pAbO
        r"[A-Za-z0-9][\w.+/()-]*-[ACGT]{10,}",  # CITE-seq-Count: CD3-CTCATTGTAACTCCT
    ),
    "hashtags": (
        r"(?i:hashtag|hash[-_]tag).*|(?i:hto)[-_. #]?\d.*|(?i:hto)[-_. #]\S+|HTO[A-L]|CMO\d{3}.*",
        r"(?i:sample[-_. ]?tag)[-_. ]?\d.*|.+stAbO|(?i:cellplex|multi[-_]?seq).*",
    ),
    "control probes": (
        r"(?i:blank)[-_. ]?[\w.]*\d+|Negative[-_.]?\d+|NEGATIVE[-_.]?\d+",  # Xenium, MERSCOPE, CosMx
        r"(?i:neg(?:ative)?)[-_. ]?(?i:ctrl|control|ctl|prb|probe|codeword)[\w. -]*",
        r"(?i:positive)[-_. ]?(?i:ctrl|control)[\w.-]*|(?i:system[-_. ]?control|false[-_. ]?code)[\w.-]*",
        r"(?i:unassigned|deprecated|blank|intergenic)[-_. ]?(?i:codeword|probe|region).*",
        r"antisense[-_].+|DEPRECATED[-_].+|Intergenic[-_].+",
        r"(?:NEG|POS)_[A-H]\(.*\)",  # nCounter
    ),
    "CRISPR guides": (
        r"(?i:sgrna|grna|crispr|guide)[-_.:]\S*|(?i:non|safe)[-_. ]?(?i:target(?:ing)?)(?:[-_. ].*)?\d*",
        r".+[-_.](?:sg|sgRNA|gRNA|guide)[-_.]?\d+|sg[A-Z][A-Z0-9]+[-_.]\d+",
        r".+_[+-]_\d{4,}(?:\.\d+)?(?:-\S+)?",  # TP53_+_7676594.23-P1P2
    ),
    "lineage barcodes": (
        r"(?i:celltag|larry)[-_.].*|[ACGT]{12,}",
        r"(?i:lineage|clone|cell|lib\w*|lenti\w*|larry)?[-_. ]?(?i:barcode)[-_. ]?\d*",
    ),
    "reporters": (
        rf"(?i:(?:transgene|reporter|construct)[-_.])?(?i:{TRANSGENES})"
        r"(?:[-_](?i:wpre|polya|sv40\w*|transgene|reporter|gene|ires|ert2|pa|puro|p2a|t2a"
        rf"|{FLUORESCENT}))*(?:[-_.]\d)?",
        r"tTA2?",
    ),
    "viral genes": (
        r"(?i:sars)[-_. ]?(?i:cov)[-_. ]?2?.*|(?:gene[-:])?GU280_gp\d+|NC_\d{6}(?:\.\d+)?.*|MN908947.*|ORF1ab|orf1ab",
        r"(?:EBV|HCMV|KSHV|HHV\d\w?|HSV1?|HPV\d*|HBV|HCV|IAV|MHV68|ZIKV|DENV\d?)[-_:][A-Za-z]\S*",
        r"HIV(?:[-_]?[12])?[-_:](?i:gag|pol|env|tat|rev|nef|vif|vp[rux]|ltr|gp|p\d|genome)\S*",
    ),
    "peaks": (
        r"(?:chr)?(?:\d\d?|[XYM]|MT)[:_-]\d{3,}[-_:]\d{3,}",
        r"(?:chr\w+[-_.])?(?:GL|KI|JH|KV|MU)\d{6}\.\d[:_-]\d+[-_]\d+",
    ),
    "sums": (
        r"(?:log1p_)?total_(?:counts|umis?|reads)(?:_\w+)?|n_(?:counts|genes|umis?)(?:_by_counts)?",
        r"n(?:Count|Feature)_\w+|(?:percent|pct)[._](?:mt|mito|ribo|rb|hb|counts\w*)|pct_counts\w*",
        r"library_size|doublet_scores?|seurat_clusters",
    ),
}
"""Names of features that are not genes, by kind."""


NEVER_GENE = re.compile(
    r"CD3|CD8|CD11|CD45R[ABO]?|CD45R/B220|CD66\w*/\w+|CD235ab"
    r"|HLA[-_.]?(?:DR|ABC|A[-,_ ]?B[-,_ ]?C|DR[-,_ ]?DP[-,_ ]?DQ)"
    r"|TCR[-_. ]?(?:ab|gd|a/b|g/d|[Vv]\S+|alpha.*|gamma.*)|Ig[GMAD]\d?[abc]?"
)
"""Names that antibodies have and no single gene has: they are proteins."""

PROTEIN = re.compile(
    rf"{NEVER_GENE.pattern}|CD(?:11[abc]|15s?|16|18|21|23|25|26|31|32|35|41\w?|42b|45|49\w|51|54|56|57|62[LPE]|64|66\w|71|73|75"
    r"|95|98|103|105|106|107a|115|117|119|120\w|122|123|124|126|127|130|134|137|138|140[ab]|141|144|146|152|158\w*|161|162"
    r"|169|172a|183|184|185|186|194|195|196|197|206|223|235a?b?|269|272|273|274|278|279|294|303|304|314|319|335|337|366)"
    r"|PD[-_.]?1|PD[-_.]?L[12]"
)
"""Names of proteins that are not symbols; some are aliases of a gene."""

SURFACE = re.compile(r"CD\d+\w*|HLA\S*|TCR\S*|TIGIT|Ig\w+|PD[-_.]?\S+")
MIN_PROTEINS = 3


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Features of one kind that are left out of a matrix.

    Attributes
    ----------
    kind
        What they are: ``"Antibody Capture"``.
    n
        Their number.
    share
        Their share of all values in a sample of cells, 0 to 1; None if it is unknown.
    """

    kind: str
    n: int
    share: float | None = None

    def __str__(self) -> str:
        share = "" if self.share is None else f" ({self.share:.1%} of the values)"
        kind = self.kind.removesuffix("s") if self.n == 1 and self.kind in KINDS else self.kind
        return f"{self.n:,} {kind}{share}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {"kind": self.kind, "n": self.n, "share": None if self.share is None else round(self.share, 6)}


def by_type(types: Strings) -> dict[int, str]:
    """Return the type of each feature that is not a gene, by its position; "" is a missing type.

    In files of 10x, only features of the type `GENES` are genes. Other files have types of genes (``protein_coding``),
    so that only `NO_GENE_TYPES` are left out.
    """
    kinds = dict.fromkeys(types.tolist())
    strict = any(_plain(kind) == "gene expression" for kind in kinds)
    none = {kind for kind in kinds if _is_none(_plain(kind), strict)}
    return {i: kind for i, kind in enumerate(types.tolist()) if kind in none} if none else {}


def _is_none(kind: str, strict: bool) -> bool:
    if kind in ("", "nan", "none", "na", "gene expression", "gene", "genes", "gex", "rna", "mrna"):
        return False
    return strict or NO_GENE_TYPES.search(kind) is not None


def _plain(kind: str) -> str:
    return re.sub(r"[\W_]+", " ", kind).strip().lower()


def by_name(names: Strings) -> dict[int, str]:
    """Return the kind of each feature whose name is that of no gene, by its position."""
    found = {i: kind_of(str(names[i])) for i in _matching(names, _any())}
    return {i: kind for i, kind in found.items() if kind is not None}


def _matching(names: Strings, pattern: str) -> list[int]:
    """Return the positions of the names that match a pattern."""
    try:
        column = pl.Series(names, dtype=pl.String)
    except UnicodeEncodeError:  # lone surrogates, which no string of Arrow holds
        column = pl.Series([name.encode(errors="replace").decode() for name in names.tolist()], dtype=pl.String)
    found: list[int] = np.flatnonzero(column.str.contains(pattern).to_numpy()).tolist()
    return found


def by_company(names: Strings) -> dict[int, str]:
    """Return the tags among names that are antibodies' and no genes', where there are several such names.

    A tag may be named as its protein is, without a mark: ``CD3``. Some of these names are aliases of genes
    (``CD56``), but no matrix of genes has several of them. Then a number of `make_unique` is that of a tag, too.
    """
    listed = names.tolist()
    tags = _matching(names, f"^(?:{PROTEIN.pattern})$")
    if len(tags) < MIN_PROTEINS or not any(NEVER_GENE.fullmatch(listed[i]) for i in tags):
        return {}
    tags += [i for i, name in enumerate(listed) if re.fullmatch(r"(?:CD|HLA|TCR|Ig)\S*[-._]\d", name)]
    surface = [i for i, name in enumerate(listed) if SURFACE.fullmatch(name)]
    if len({*tags, *surface}) * 2 > len(listed):  # tags, and nothing else
        tags = list(range(len(listed)))
    return dict.fromkeys(tags, "antibody tags")


def kind_of(name: str) -> str | None:
    """Return what a name is if it is not a gene's: a key of `KINDS`."""
    return next((kind for kind, pattern in _patterns().items() if pattern.fullmatch(name)), None)


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {kind: re.compile(_within(patterns)) for kind, patterns in KINDS.items()}


@cache
def _any() -> str:
    """Return one pattern for all kinds, for the engine of polars, which reads a name once whatever their number."""
    return f"^(?:{_within(one for patterns in KINDS.values() for one in patterns)})$"


def _within(patterns: Iterable[str]) -> str:
    return rf"(?:(?i:{GENOME})[-_]+)?(?:{'|'.join(patterns)})"


def counted(kinds: Mapping[int, str], values: Any | None = None) -> tuple[LeftOut, ...]:
    """Return features by kind, most frequent first; `values` is (n,) the sum of the values of each feature."""
    sums = None if values is None else np.asarray(values, np.float64)
    total = 0.0 if sums is None else float(sums.sum())
    # Tags beside log values may be raw counts, or centred: then their share says nothing.
    usable = sums is not None and np.isfinite(total) and total > 0 and float(sums.min()) >= 0
    share_of: dict[str, float] = {}
    if usable and sums is not None:
        for i, kind in kinds.items():
            share_of[kind] = share_of.get(kind, 0.0) + float(sums[i]) / total
    return tuple(LeftOut(kind, n, share_of.get(kind)) for kind, n in Counter(kinds.values()).most_common())


def said(left_out: Iterable[LeftOut]) -> str:
    """Return features by kind as text, the first kinds of many."""
    kinds = [*map(str, left_out)]
    return ", ".join(kinds[:N_SHOWN]) + (", ..." if len(kinds) > N_SHOWN else "")
