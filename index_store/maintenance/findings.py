"""Findings of an examination of an archive, and their repair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from index_store.records import EncoderCoverage

EXAMPLES = 5
"""The number of examples that a finding names."""


@dataclass(frozen=True)
class Finding:
    """A problem of an archive. It names cases and images, and never repeats a report."""

    check: str
    """Which check found it: "database", "records", "vectors", "log", "counts", "index" or "files"."""
    what: str
    count: int
    advice: str
    examples: tuple[str, ...] = ()
    harmless: bool = False
    """Whether nothing is lost and no result is wrong."""
    repaired: bool = False
    """Whether it was repaired, and the same check does not find it any more."""


@dataclass(frozen=True)
class Examination:
    """The state of an archive."""

    path: Path
    name: str
    uuid: str
    schema_version: int
    patients: int
    cases: int
    images: int
    encoders: tuple[EncoderCoverage, ...]
    files: int
    """Image files that were checked."""
    checksums: bool
    """Whether their checksums were compared, too."""
    recalled: int
    """Stored vectors that were searched for; each must be its own best hit."""
    log_sequence: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether all findings are harmless or repaired."""
        return all(finding.harmless or finding.repaired for finding in self.findings)


@dataclass(frozen=True)
class Diagnosis:
    """A finding with its repair, which needs the writer's lock and is None where a person must act."""

    finding: Finding
    repair: Callable[[], object] | None = None


def diagnosis(
    check: str,
    what: str,
    affected: Sequence[object],
    advice: str,
    *,
    repair: Callable[[], object] | None = None,
    harmless: bool = False,
) -> list[Diagnosis]:
    """A list of one `Diagnosis`, or an empty list where nothing is affected. Arguments as of `Finding`."""
    if not affected:
        return []
    finding = Finding(check, what, len(affected), advice, named(affected), harmless)
    return [Diagnosis(finding, repair)]


def named(affected: Iterable[object]) -> tuple[str, ...]:
    """The first `EXAMPLES`, as text."""
    return tuple(map(str, islice(affected, EXAMPLES)))
