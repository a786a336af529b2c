"""The site that the words about the specimen name."""

from __future__ import annotations

import pytest

from retrieval.language.specimen import read_site


@pytest.mark.parametrize(
    ("report", "site", "words"),
    [
        # Of several sites the one that the others only place: a node, then a fluid, then the organ.
        ("(Bronchial lymph node aspirate) Lymphocytes.", "lymph node", "lymph node"),
        ("(Thyroid bed, cervical lymph node) Lymphocytes.", "lymph node", "lymph node"),
        ("(Pleural effusion, right lung) Mesothelial cells.", "serous effusion", "Pleural"),
        ("(Pleural fluid, mediastinal lymph node) Lymphocytes.", "lymph node", "lymph node"),
        # Two of the same rank, or two specimens: none.
        ("(Lung, breast) Cells.", "", ""),
        ("(Lung and lymph node) Cells.", "", ""),
    ],
)
def test_of_several_sites_the_one_of_the_highest_rank_is_meant(report: str, site: str, words: str) -> None:
    assert read_site(report) == (site, words)
