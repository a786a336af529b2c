"""What a field of each finding contains: cells, how many, how they lie, and what is between them.

Categories are those of the reporting systems (Bethesda cervical 2014, Bethesda thyroid 2023, Paris 2.0, the
International System for serous fluids, Yokohama, WHO lung, Milan 2023, Sydney; for blood and cerebrospinal fluid, which
have none, the vocabulary's generic tiers); the morphology follows their atlases' criteria. A category may have several
findings (NILM with bacterial vaginosis; malignant lung: small cell, squamous, adenocarcinoma). Indeterminate categories
are truly in between, as they are in life.
"""

from __future__ import annotations

from dataclasses import dataclass

from generation.phantom.palette import GIEMSA, HAEMATOXYLIN_EOSIN, PAPANICOLAOU

PAP_ONLY = (PAPANICOLAOU,)
PAP_MGG = (PAPANICOLAOU, GIEMSA)
ALL_STAINS = (PAPANICOLAOU, GIEMSA, HAEMATOXYLIN_EOSIN)
SMEARS = ("conventional smear", "liquid-based")
FLUIDS = (*SMEARS, "cytospin")


@dataclass(frozen=True)
class Population:
    """`fewest` to `most` cells of one kind, in one arrangement (names of CELLS and ARRANGEMENTS)."""

    cell: str
    arrangement: str
    fewest: int
    most: int


@dataclass(frozen=True)
class Background:
    """One background element (a name of BACKGROUNDS), its amount (0-1), and the share of fields that have it."""

    element: str
    amount: float
    share: float = 1.0


@dataclass(frozen=True)
class Profile:
    """One finding at one site. The first population is the one the report is about."""

    site: str
    system: str
    category: str
    finding: str
    stains: tuple[str, ...]
    preparations: tuple[str, ...]
    populations: tuple[Population, ...]
    backgrounds: tuple[Background, ...] = ()


def _profile(
    place: tuple[str, str, tuple[str, ...], tuple[str, ...]],
    category: str,
    finding: str,
    populations: list[tuple[str, str, int, int]],
    backgrounds: list[tuple[str, float, float]],
) -> Profile:
    site, system, stains, preparations = place
    return Profile(
        site, system, category, finding, stains, preparations,
        tuple(Population(*population) for population in populations),
        tuple(Background(*background) for background in backgrounds),
    )  # fmt: skip


CERVIX = ("cervix", "Bethesda cervical 2014", PAP_ONLY, SMEARS)
THYROID = ("thyroid", "Bethesda thyroid 2023", PAP_MGG, SMEARS)
URINE = ("urine", "Paris 2.0", PAP_ONLY, FLUIDS)
EFFUSION = ("serous effusion", "International System for serous fluids", ALL_STAINS, FLUIDS)
BREAST = ("breast", "Yokohama", ALL_STAINS, SMEARS)
LUNG = ("lung", "WHO lung", ALL_STAINS, SMEARS)
SALIVARY = ("salivary gland", "Milan 2023", PAP_MGG, SMEARS)
NODE = ("lymph node", "Sydney", ALL_STAINS, SMEARS)
BLOOD = ("blood", "generic five-tier", (GIEMSA,), ("smear",))
CSF = ("cerebrospinal fluid", "generic five-tier", PAP_MGG, ("cytospin",))

PROFILES: tuple[Profile, ...] = (
    # cervix
    _profile(CERVIX, "NILM", "normal squamous cells",
             [("intermediate", "single", 2, 4), ("superficial", "single", 1, 3)], [("inflammation", 0.3, 0.4)]),
    _profile(CERVIX, "NILM", "bacterial vaginosis",
             [("clue", "single", 2, 3), ("superficial", "single", 0, 2)], [("bacteria", 0.6, 1.0)]),
    _profile(CERVIX, "ASC-US", "atypical squamous cells",
             [("asc-us", "single", 1, 3), ("intermediate", "single", 1, 2)], [("inflammation", 0.3, 0.3)]),
    _profile(CERVIX, "LSIL", "low-grade squamous lesion",
             [("koilocyte", "single", 3, 5), ("intermediate", "single", 0, 2)], [("inflammation", 0.3, 0.3)]),
    _profile(CERVIX, "ASC-H", "atypical immature squamous cells",
             [("asc-h", "single", 3, 6), ("immature metaplastic", "single", 1, 3), ("intermediate", "single", 1, 2)],
             [("inflammation", 0.5, 0.6)]),
    _profile(CERVIX, "HSIL", "high-grade squamous lesion",
             [("hsil", "syncytium", 12, 22), ("hsil", "single", 1, 4)], [("inflammation", 0.5, 0.5)]),
    _profile(CERVIX, "SCC", "squamous cell carcinoma",
             [("keratinised", "single", 2, 4), ("tadpole", "single", 1, 2), ("squamous carcinoma", "crowded", 4, 9),
              ("intermediate", "single", 1, 2)], [("necrosis", 0.8, 1.0), ("blood", 0.4, 0.5)]),
    _profile(CERVIX, "AGC", "atypical glandular cells",
             [("endocervical atypical", "strip", 12, 18), ("endocervical atypical", "crowded", 4, 10)],
             [("mucin", 0.5, 0.6)]),
    # thyroid
    _profile(THYROID, "Nondiagnostic", "blood only", [("macrophage", "single", 0, 1)],
             [("blood", 1.0, 1.0)]),
    _profile(THYROID, "Benign", "benign follicular nodule",
             [("follicular", "sheet", 18, 34)], [("colloid", 0.8, 1.0), ("macrophages", 0.3, 0.4)]),
    _profile(THYROID, "Benign", "lymphocytic thyroiditis",
             [("oncocyte", "sheet", 6, 11)], [("lymphocytes", 1.0, 1.0)]),
    _profile(THYROID, "AUS", "follicular cells with mild nuclear atypia",
             [("follicular aus", "sheet", 9, 16), ("follicular aus", "rings", 6, 9)],
             [("blood", 0.35, 0.8), ("colloid", 0.2, 0.3)]),
    _profile(THYROID, "Follicular neoplasm", "microfollicular pattern",
             [("follicular crowded", "rings", 32, 46)], [("blood", 0.4, 0.9)]),
    _profile(THYROID, "Suspicious for malignancy", "some features of papillary carcinoma",
             [("papillary suspect", "crowded", 12, 20)], [("blood", 0.3, 0.6), ("colloid", 0.15, 0.3)]),
    _profile(THYROID, "Malignant", "papillary thyroid carcinoma",
             [("papillary", "papillae", 20, 32)], [("macrophages", 0.25, 0.4)]),
    # urine
    _profile(URINE, "NHGUC", "benign urothelial cells",
             [("umbrella", "single", 2, 4), ("urothelial", "single", 2, 4)], [("squames", 0.3, 0.3)]),
    _profile(URINE, "NHGUC", "inflammation",
             [("urothelial", "single", 2, 5)], [("inflammation", 1.0, 1.0), ("bacteria", 0.3, 0.5)]),
    _profile(URINE, "AUC", "atypical urothelial cells",
             [("urothelial atypical", "single", 3, 6), ("urothelial", "single", 2, 4)], [("protein", 0.6, 0.5)]),
    _profile(URINE, "SHGUC", "few severely atypical urothelial cells",
             [("urothelial suspicious", "single", 4, 6), ("umbrella", "single", 0, 2)], [("protein", 0.6, 0.5)]),
    _profile(URINE, "HGUC", "high-grade urothelial carcinoma",
             [("urothelial carcinoma", "single", 9, 15), ("urothelial carcinoma", "cluster", 4, 8)],
             [("necrosis", 0.45, 0.7), ("blood", 0.25, 0.4)]),
    # serous effusion
    _profile(EFFUSION, "Nondiagnostic", "acellular fluid", [("macrophage", "single", 0, 1)],
             [("protein", 1.0, 1.0), ("blood", 0.12, 0.5)]),
    _profile(EFFUSION, "NFM", "reactive mesothelial cells",
             [("mesothelial", "single", 6, 11)], [("lymphocytes", 0.55, 1.0), ("macrophages", 0.5, 0.7)]),
    _profile(EFFUSION, "AUS", "atypical mesothelial cells",
             [("mesothelial atypical", "single", 4, 7), ("mesothelial atypical", "cluster", 3, 5)],
             [("lymphocytes", 0.4, 1.0), ("protein", 0.6, 0.5)]),
    _profile(EFFUSION, "SFM", "few suspicious clusters",
             [("adenocarcinoma suspect", "cluster", 6, 9), ("mesothelial", "single", 2, 4)],
             [("lymphocytes", 0.45, 0.8)]),
    _profile(EFFUSION, "Malignant", "adenocarcinoma",
             [("adenocarcinoma", "clusters", 18, 27), ("adenocarcinoma", "single", 1, 4)],
             [("lymphocytes", 0.3, 0.6), ("blood", 0.3, 0.4)]),
    # breast
    _profile(BREAST, "Insufficient", "fat and blood", [("ductal benign", "single", 0, 1)],
             [("fat", 1.0, 1.0), ("blood", 0.3, 0.7)]),
    _profile(BREAST, "Benign", "fibroadenoma",
             [("ductal benign", "sheet", 26, 42), ("bipolar nucleus", "single", 8, 14)], [("matrix", 0.3, 0.4)]),
    _profile(BREAST, "Atypical", "crowded ductal cells with mild atypia",
             [("ductal atypical", "crowded", 14, 22), ("bipolar nucleus", "single", 2, 5)], [("blood", 0.25, 0.5)]),
    _profile(BREAST, "Suspicious", "ductal cells suspicious for carcinoma",
             [("ductal suspicious", "crowded", 11, 17), ("ductal suspicious", "single", 3, 6)], [("blood", 0.3, 0.6)]),
    _profile(BREAST, "Malignant", "ductal carcinoma",
             [("ductal carcinoma", "single", 12, 18), ("ductal carcinoma", "crowded", 6, 10)],
             [("necrosis", 0.35, 0.5)]),
    # lung
    _profile(LUNG, "Insufficient", "no cells of the lower airways",
             [("superficial", "single", 2, 4)], [("bacteria", 0.2, 0.5), ("mucin", 0.8, 1.0)]),
    _profile(LUNG, "Benign", "bronchial cells and macrophages",
             [("bronchial", "strip", 7, 12), ("bronchial", "single", 1, 4)],
             [("dust macrophages", 0.9, 1.0), ("mucin", 0.4, 0.5)]),
    _profile(LUNG, "Atypical", "reactive bronchial cells",
             [("bronchial atypical", "crowded", 7, 12)], [("inflammation", 0.8, 0.9), ("dust macrophages", 0.4, 0.8)]),
    _profile(LUNG, "Suspicious", "few clusters suspicious for carcinoma",
             [("adenocarcinoma suspect", "cluster", 6, 10)], [("dust macrophages", 0.7, 1.0), ("mucin", 0.5, 0.7)]),
    _profile(LUNG, "Malignant", "adenocarcinoma",
             [("adenocarcinoma", "rings", 14, 22), ("adenocarcinoma", "cluster", 5, 9)],
             [("mucin", 0.7, 0.8), ("dust macrophages", 0.35, 0.9)]),
    _profile(LUNG, "Malignant", "small cell carcinoma",
             [("small cell", "moulded", 34, 54), ("bronchial", "single", 0, 2)],
             [("necrosis", 0.6, 0.9), ("dust macrophages", 0.25, 0.6)]),
    _profile(LUNG, "Malignant", "squamous cell carcinoma",
             [("keratinised", "single", 3, 6), ("squamous carcinoma", "crowded", 7, 12)],
             [("necrosis", 0.8, 1.0), ("inflammation", 0.5, 0.6), ("dust macrophages", 0.35, 0.8)]),
    # salivary gland
    _profile(SALIVARY, "Non-diagnostic", "cyst fluid only", [("macrophage", "single", 2, 4)],
             [("protein", 1.0, 1.0), ("mucin", 0.3, 0.5)]),
    _profile(SALIVARY, "Non-neoplastic", "sialadenitis",
             [("acinar", "rings", 14, 22)], [("inflammation", 0.8, 1.0), ("lymphocytes", 0.3, 0.6)]),
    _profile(SALIVARY, "AUS", "few epithelial cells of uncertain nature",
             [("basaloid", "sheet", 7, 12), ("acinar", "single", 1, 3)], [("blood", 0.5, 0.8)]),
    _profile(SALIVARY, "Benign neoplasm", "pleomorphic adenoma",
             [("myoepithelial", "single", 12, 20), ("myoepithelial", "crowded", 5, 9)], [("matrix", 0.9, 1.0)]),
    _profile(SALIVARY, "Benign neoplasm", "Warthin tumour",
             [("oncocyte", "sheet", 10, 15)], [("lymphocytes", 0.8, 1.0), ("necrosis", 0.35, 0.8)]),
    _profile(SALIVARY, "SUMP", "basaloid neoplasm of uncertain malignant potential",
             [("basaloid", "crowded", 30, 46)], [("globules", 0.15, 0.4)]),
    _profile(SALIVARY, "Suspicious for malignancy", "mucous and intermediate cells with atypia",
             [("mucous", "clusters", 6, 9), ("ductal suspicious", "crowded", 5, 9)], [("mucin", 0.9, 1.0)]),
    _profile(SALIVARY, "Malignant", "adenoid cystic carcinoma",
             [("basaloid", "rings", 36, 52)], [("globules", 1.0, 1.0)]),
    _profile(SALIVARY, "Malignant", "salivary duct carcinoma",
             [("salivary carcinoma", "crowded", 9, 14), ("salivary carcinoma", "single", 2, 4)],
             [("necrosis", 0.6, 0.9)]),
    # lymph node
    _profile(NODE, "Inadequate", "blood with scattered lymphocytes", [("lymphocyte", "single", 1, 5)],
             [("blood", 0.8, 1.0)]),
    _profile(NODE, "Benign", "reactive lymphoid hyperplasia",
             [("lymphocyte", "single", 38, 56), ("centrocyte", "single", 6, 12), ("centroblast", "single", 3, 6),
              ("tingible macrophage", "single", 1, 2)], [("lymphoglandular", 0.4, 1.0)]),
    _profile(NODE, "Atypical", "atypical lymphoid cells",
             [("atypical lymphoid", "single", 14, 22), ("lymphocyte", "single", 18, 30)],
             [("lymphoglandular", 0.5, 1.0)]),
    _profile(NODE, "Suspicious", "suspicious for metastatic carcinoma",
             [("adenocarcinoma suspect", "cluster", 4, 7), ("lymphocyte", "single", 26, 38)],
             [("lymphoglandular", 0.4, 0.8)]),
    _profile(NODE, "Malignant", "large B-cell lymphoma",
             [("lymphoma", "single", 26, 36), ("lymphocyte", "single", 2, 6)], [("lymphoglandular", 0.9, 1.0)]),
    _profile(NODE, "Malignant", "metastatic adenocarcinoma",
             [("adenocarcinoma", "clusters", 13, 20), ("lymphocyte", "single", 16, 28)],
             [("lymphoglandular", 0.4, 0.8), ("necrosis", 0.3, 0.4)]),
    _profile(NODE, "Malignant", "metastatic small cell carcinoma",
             [("small cell", "moulded", 24, 36), ("lymphocyte", "single", 12, 22)], [("necrosis", 0.4, 0.6)]),
    # blood
    _profile(BLOOD, "negative", "normal leukocytes",
             [("leukocyte", "single", 1, 2), ("lymphocyte", "single", 0, 1), ("monocyte", "single", 0, 1),
              ("eosinophil", "single", 0, 1)], [("blood film", 1.0, 1.0)]),
    _profile(BLOOD, "negative", "eosinophilia",
             [("eosinophil", "single", 2, 4), ("leukocyte", "single", 0, 1)], [("blood film", 1.0, 1.0)]),
    _profile(BLOOD, "negative", "reactive lymphocytosis",
             [("reactive lymphocyte", "single", 3, 6), ("lymphocyte", "single", 0, 2), ("leukocyte", "single", 0, 1)],
             [("blood film", 1.0, 1.0)]),
    _profile(BLOOD, "malignant", "acute leukaemia",
             [("blast", "single", 6, 12), ("leukocyte", "single", 0, 1)], [("blood film", 0.7, 1.0)]),
    _profile(BLOOD, "malignant", "chronic lymphocytic leukaemia",
             [("lymphocyte", "single", 9, 16), ("smudge cell", "single", 1, 4)], [("blood film", 0.8, 1.0)]),
    # cerebrospinal fluid
    _profile(CSF, "negative", "few lymphocytes and monocytes",
             [("lymphocyte", "single", 2, 5), ("monocyte", "single", 0, 2)],
             [("protein", 0.2, 0.3), ("blood", 0.06, 0.3)]),
    _profile(CSF, "negative", "neutrophilic pleocytosis",
             [("leukocyte", "single", 14, 26), ("monocyte", "single", 0, 3)], [("protein", 0.5, 0.5)]),
    _profile(CSF, "malignant", "metastatic carcinoma",
             [("fluid carcinoma", "groups", 9, 18), ("lymphocyte", "single", 1, 4), ("monocyte", "single", 0, 2)],
             [("protein", 0.2, 0.3)]),
    _profile(CSF, "malignant", "leukaemic infiltration",
             [("blast", "single", 10, 18), ("lymphocyte", "single", 1, 4)], [("blood", 0.06, 0.3)]),
)  # fmt: skip
