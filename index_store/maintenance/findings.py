"""What an examination of an archive finds, and what may be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from index_store.records import EncoderCoverage

EXAMPLES = 5
"""How many of what was found are named."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. Names cases and images, never what a report says."""

    check: str
    """Which check found it: "database", "records", "vectors", "log", "index" or "files"."""
    what: str
    count: int
    advice: str
    examples: tuple[str, ...] = ()
    harmless: bool = False
    """Nothing is lost and no answer is wrong; worth knowing all the same."""
    repaired: bool = False
    """Whether it was put right, and the same check finds it no more."""


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
    """Image files that were looked for."""
    checksums: bool
    """Whether their content was compared, too."""
    recalled: int
    """Stored vectors that were searched for, to see whether each finds itself."""
    log_sequence: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is left that is not harmless."""
        return all(finding.harmless or finding.repaired for finding in self.findings)


@dataclass(frozen=True)
class Diagnosis:
    """A finding with the way to put it right; `repair` needs the writer's lock, and is None where a person must act."""

    finding: Finding
    repair: Callable[[], object] | None = None


def diagnosis(
    check: str,
    what: str,
    concerned: Sequence[object],
    advice: str,
    *,
    repair: Callable[[], object] | None = None,
    harmless: bool = False,
) -> list[Diagnosis]:
    """One `Diagnosis` about those concerned; none where nobody is."""
    if not concerned:
        return []
    finding = Finding(check, what, len(concerned), advice, named(concerned), harmless)
    return [Diagnosis(finding, repair)]


def named(concerned: Iterable[object]) -> tuple[str, ...]:
    """The first few, by name."""
    return tuple(str(one) for one, _ in zip(concerned, range(EXAMPLES), strict=False))
