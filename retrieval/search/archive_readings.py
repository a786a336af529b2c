"""What searches read of the archive once, and again when it has changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from retrieval.search.reports.report_index import ReportIndex, read_report_index

if TYPE_CHECKING:
    from index_store import Archive, Role
    from retrieval.encoder.encoder import Encoder
    from retrieval.generated.site_check import SiteRates


class ArchiveReadings:
    """The index of the reports, and what is measured on the archive's images. Safe to share between threads.

    Args:
        encoder: compares images, and reports where the archive has not given them to another.
        glossary: understand machine-translated wordings of the reports.
    """

    def __init__(self, archive: Archive, encoder: Encoder, *, glossary: bool) -> None:
        self._archive = archive
        self._encoder = encoder
        self._glossary = glossary
        self._reports: ReportIndex | None = None
        self._site_rates: tuple[int, SiteRates] | None = None
        self._uncompared: dict[Role, tuple[int, int]] = {}
        self._reading = threading.Lock()
        self._measuring = threading.Lock()

    def report_index(self, revision: int | None = None) -> ReportIndex:
        """The index of the reports at a revision; None: as the archive is now."""
        revision = self._archive.revision if revision is None else revision
        with self._reading:
            if self._reports is None or self._reports.revision != revision:
                by = (self._archive.encoder_of("text") or self._encoder).fingerprint
                self._reports = read_report_index(self._archive, by, glossary=self._glossary, known=self._reports)
            return self._reports

    def site_rates(self) -> SiteRates:
        """How the check of a generated image's site does on the archive's own images, as the archive is now."""
        from retrieval.generated.site_check import measure_site_rates

        with self._measuring:  # of its own: a search by words must not wait for it
            revision = self._archive.revision
            if self._site_rates is None or self._site_rates[0] != revision:
                self._site_rates = revision, measure_site_rates(self._archive, fingerprint=self._encoder.fingerprint)
            return self._site_rates[1]

    def uncompared_images(self, role: Role) -> int:
        """How many images the archive's encoder of a role has not embedded; 0 where it has none."""
        with self._reading:
            revision, known = self._archive.revision, self._archive.encoder_of(role)
            if known is None:
                return 0
            if self._uncompared.get(role, (-1, 0))[0] != revision:
                self._uncompared[role] = revision, self._archive.count_images_without_vector(known.fingerprint)
            return self._uncompared[role][1]
