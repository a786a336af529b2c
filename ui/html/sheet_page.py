"""An evidence sheet as a page that prints well, in one HTML file that loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval import RESEARCH_USE
from ui.html.rendering import render

if TYPE_CHECKING:
    from ui.review.sheet import EvidenceSheet


def sheet_page(sheet: EvidenceSheet) -> str:
    """One HTML document, without scripts, with its pictures in it. All texts are escaped."""
    return render("evidence_sheet.html", sheet=sheet, research_use=RESEARCH_USE)
