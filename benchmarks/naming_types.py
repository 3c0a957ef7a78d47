"""Cells and profiles whose types have a term of the Cell Ontology: what naming is fitted and measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

BLOOD = {
    "B": "CL:0000236",
    "CD14+ Mono": "CL:0001054",
    "CD8 T": "CL:0000625",
    "DC": "CL:0000451",
    "FCGR3A+ Mono": "CL:0002396",
    "Memory CD4 T": "CL:0000897",
    "NK": "CL:0000623",
    "Naive CD4 T": "CL:0000895",
    "Platelet": "CL:0000233",
}
SIX = {"bipolar_26": "CL:0000748", "bipolar_27": "CL:0000748", "bipolar_33": "CL:0000748"} | {
    "cone": "CL:0000573",
    "muller": "CL:0000636",
    "rod": "CL:0000604",
}


@dataclass(frozen=True)
class LabelledCells:
    """Real cells; `terms` are those of labels without an id in the file."""

    name: str
    file: str
    taxon: str
    tissue: str
    label_key: str
    terms: Mapping[str, str] = field(default_factory=dict)
    layer: str | None = None


CELLS = (
    LabelledCells("Baron, human pancreas", "pancreas_baron_human", "human", "pancreas", "cell_type1"),
    LabelledCells("Baron, mouse pancreas", "pancreas_baron_mouse", "mouse", "pancreas", "cell_type1"),
    LabelledCells("pbmc3k, human blood", "pbmc3k", "human", "blood", "classified", BLOOD, "counts"),
    LabelledCells("Voigt, human retina", "retina_voigt2019_human_donors23", "human", "retina", "label"),
    LabelledCells("Voigt, human RPE and choroid", "rpe_choroid_voigt2019_human", "human", "choroid", "label"),
    LabelledCells("Macosko, mouse retina, 259 genes", "retina_macosko2015_mouse_six", "mouse", "retina", "label", SIX),
)

TISSUES = {
    "Adult_Brain": "brain",
    "Adult_Heart": "heart",
    "ImmuneCensus": "bone marrow",
    "Adult_Liver": "liver",
    "Adult_Lung": "lung",
    "Adult_Pancreas": "pancreas",
    "Fetal_Pancreas": "pancreas",
    "Adult_Retina": "retina",
    "Adult_Spleen": "spleen",
    "PBMCs": "blood",
    "Fetal_Eye": "eye",
    "PeripheralBlood": "blood",
    "Adult_Kidney": "kidney",
    "hema": "blood",
}
"""By a part of a profile's file name."""


def tissue_of(file: str) -> str | None:
    """Return the tissue of a file of profiles; None for one of many tissues."""
    return next((tissue for part, tissue in TISSUES.items() if part in file), None)


def cleaned(name: str) -> str:
    """Return the name of a profile's type without its number and the gene that it is high in."""
    words = re.sub(r"\b(type [A-D0-9])$| [A-Z][\w ]* high$| \d$", "", name.replace(".", " ").replace("_", " "))
    return words.strip()


PROFILES: Mapping[str, str] = {
    "AT1.cell": "CL:0002062",
    "AT2.cell": "CL:0002063",
    "Acinar.cell": "CL:0002064",
    "Acinar.cells": "CL:0002064",
    "Activated.Granulocyte": "CL:0000094",
    "Antibody.secreting.B.cells": "CL:0000946",
    "Astrocytes activated": "CL:0000127",
    "Atrial_Cardiomyocyte": "CL:0002129",
    "Beta.cell": "CL:0000169",
    "Bipolar.cells": "CL:0000748",
    "CD14.Monocyte": "CL:0001054",
    "CD16.Monocyte": "CL:0002396",
    "CD160+.natural.killer.cell": "CL:0000623",
    "CD3+.alpha.beta.T.cells": "CL:0000789",
    "CD34+.progenitor": "CL:0000037",
    "CD4+ Central Memory": "CL:0000904",
    "CD4+ Effector Memory": "CL:0000905",
    "CD4+.T.cell": "CL:0000624",
    "CD4+.naive.T.cell": "CL:0000895",
    "CD4.T": "CL:0000624",
    "CD4m.T": "CL:0000897",
    "CD4n.T": "CL:0000895",
    "CD8+ Central Memory": "CL:0000907",
    "CD8+ Effector Memory": "CL:0000913",
    "CD8+ Effector Memory RA": "CL:0001062",
    "CD8+.cytotoxic.T.cell": "CL:0000794",
    "CD8eff.T": "CL:0001050",
    "CD8m.T": "CL:0000909",
    "Central.venous.LSECs": "CL:0019022",
    "Class.switched.B": "CL:0000972",
    "Collecting.duct.intercalated.cell.Aqp6.high": "CL:1001432",
    "Collecting.duct.intercalated.cell.Slc26a4.high": "CL:1001432",
    "Corneal.and.conjunctival.epithelial.cells": "CL:0000575",
    "DC": "CL:0000451",
    "Distal.collecting.duct.principal.cell.Cldn4.high": "CL:1001431",
    "Distal.collecting.duct.principal.cell.Hsd11b2.high": "CL:1001431",
    "Distal.convoluted.tubule.Pvalb.high": "CL:1000849",
    "Distal.convoluted.tubule.S100g.high": "CL:1000849",
    "Ductal.cell": "CL:0002079",
    "Ductal.cells": "CL:0002079",
    "ENS.glia": "CL:4040002",
    "ENS.neurons": "CL:0007011",
    "Early B-cell": "CL:0002046",
    "Eosinophill": "CL:0000771",
    "Erthyroid.cells": "CL:0000764",
    "Erythroid_CD34+ CD71+ GlyA-": "CL:0000764",
    "Erythroid_CD34- CD71+ GlyA+": "CL:0000764",
    "Erythroid_CD34- CD71+ GlyA-": "CL:0000764",
    "Erythroid_CD34- CD71- GlyA+": "CL:0000764",
    "Erythroid_CD34- CD71lo GlyA+": "CL:0000764",
    "FCGR3A+.natural.killer.cell": "CL:0000939",
    "Fibroblasts activated": "CL:0000057",
    "Fibroblasts senescent": "CL:0000057",
    "Ganglion.cells": "CL:0000740",
    "Granulocyte (Neutrophil)": "CL:0000775",
    "Granulocyte (Neutrophilic Metamyelocyte)": "CL:0000582",
    "Hematopoietic stem cell_CD133+ CD34dim": "CL:0000037",
    "Hematopoietic stem cell_CD38- CD34+": "CL:0000037",
    "Hep.1": "CL:0000182",
    "Hep.2": "CL:0000182",
    "Hep.3": "CL:0000182",
    "Hep.4": "CL:0000182",
    "Hep.5": "CL:0000182",
    "Hep.6": "CL:0000182",
    "IgA.PB": "CL:0000984",
    "IgA.producing.B.cell": "CL:0000987",
    "IgG.PB": "CL:0000982",
    "Inflammatory.macrophages": "CL:0000235",
    "Interstitial.macrophage": "CL:4033043",
    "Islet.endocrine.cells": "CL:0008024",
    "Lymphoid": "CL:0000542",
    "Lymphoid.cells": "CL:0000542",
    "MAIT.like.CD8+.T.cell": "CL:0000940",
    "MARCOneg.macrophage": "CL:1001603",
    "MARCOpos.macrophage": "CL:0000583",
    "Macrophages activated": "CL:0000235",
    "Mature B-cell class able to switch": "CL:0000785",
    "Mature B-cell class switched": "CL:0000972",
    "Mature NK cell_CD56+ CD16+ CD3-": "CL:0000824",
    "Mature NK cell_CD56- CD16+ CD3-": "CL:0000824",
    "Mature NK cell_CD56- CD16- CD3-": "CL:0000824",
    "Megakaryocyte/ erythroid progenitor": "CL:0000050",
    "Microglia": "CL:0000129",
    "Microglia activated": "CL:0000129",
    "Myelinating.oligodendrocyte": "CL:0000128",
    "Myeloid.cells": "CL:0000763",
    "NK.like.cells": "CL:0000623",
    "NKT": "CL:0000814",
    "NPCs": "CL:0000047",
    "Naive CD4+ T-cell": "CL:0000895",
    "Naive CD8+ T-cell": "CL:0000900",
    "Neuronal": "CL:0000540",
    "Neurons activated": "CL:0000540",
    "Non.inflammatory.macrophages": "CL:0000091",
    "OPC": "CL:0002453",
    "OPCs": "CL:0002453",
    "Pan.GABAergic.Neuron": "CL:0000617",
    "Portal.endothelial.cells": "CL:0009094",
    "Proximal.tubule.brush.border.cell": "CL:0002307",
    "Proximal.tubule.cell.Cyp4a14.high": "CL:0002306",
    "Proximal.tubule.cell.Osgin1.high": "CL:0002306",
    "Retinal.pigment.cells": "CL:0002586",
    "Retinal.progenitors.and.Muller.glia": "CL:0002672",
    "S1.proximal.tubule.cell": "CL:0002306",
    "S3.proximal.tubule.cell": "CL:0002306",
    "SC...Eosinophil": "CL:0000771",
    "Skeletal.muscle.cells": "CL:0000188",
    "Stellate.cells": "CL:0000632",
    "Thick.ascending.limb.of.the.loop.of.Henle": "CL:1001106",
    "Ventricular_Cardiomyocyte": "CL:0002131",
    "aNSCs": "CL:0000047",
    "acinar.cell": "CL:0002064",
    "activated.CD8+.T.cell": "CL:0000906",
    "activated.dendritic.cell": "CL:0001056",
    "alveolar.epithelial.cell.type.1": "CL:0002062",
    "alveolar.epithelial.cell.type.2": "CL:0002063",
    "blood.vessel.cell": "CL:0000071",
    "cytotoxic.CD8+.T.cell": "CL:0000794",
    "erythroid.cell.type.1": "CL:0000764",
    "erythroid.cell.type.2": "CL:0000764",
    "follicular.helper.CD4+.T.cell": "CL:0002038",
    "gamma.delta.CD8+.T.cell": "CL:0000798",
    "gd.T": "CL:0000798",
    "hypermutation.B.cell": "CL:0000844",
    "lymph.vessel.cell": "CL:0002138",
    "mantle.B.cell": "CL:0000236",
    "mesenchymal.cell": "",
    "muscle.cell": "CL:0000187",
    "naive.CD4+.T.cell": "CL:0000895",
    "naive.CD8+.T.cell": "CL:0000900",
    "plasma.IgG.expressing.cell": "CL:0000985",
    "plasma.IgM.expressing.cell": "CL:0000986",
    "qNSCs": "CL:0000047",
    "regulatory.CD4+.T.cell": "CL:0000792",
}
"""The terms of types of profiles whose names match none, or another; "" for what is no type."""
