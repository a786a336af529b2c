"""What the commands print that fill and describe an archive: add, status, calibrate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from index_store import COLOUR
from ui.text.layout import clean, page, wrapped
from ui.text.tables import name_value_table

if TYPE_CHECKING:
    from index_store import ArchiveStatus, EncoderInfo, IndexStatus
    from retrieval import AddedSlide, AddSummary, ArchiveCalibration, Facet

SCALES_SHOWN = 12
SLIDES_SHOWN = 20


def status_text(status: ArchiveStatus, labels: Mapping[str, Sequence[Facet]] | None = None) -> str:
    """The contents of an archive, and the state of its index.

    `labels`: sites and categories by what they mean (`archive_labels`); None: as they are written.
    """
    encoder = status.encoder
    behind = status.log_sequence - status.index_sequence
    rows = [
        ("folder", str(status.path)),
        ("records", status.catalog),
        ("name", status.name),
        ("patients", str(status.patients)),
        ("cases", str(status.cases)),
        ("images", str(status.images)),
        ("encoder", _encoder(encoder) if encoder else "none yet"),
        *_text_role(status),
        ("embeddings", ", ".join(f"{count} of {print_[:12]}" for print_, count in status.embeddings.items())),
        ("index", f"{status.indexed} vectors, {f'{behind} changes behind' if behind else 'up to date'}"),
        *(("", line) for line in _index_lines(status.index)),
        ("schema", f"version {status.schema_version}"),
        ("sites", _counts(status.sites) if labels is None else _spellings(labels["site"])),
        ("categories", _counts(status.categories) if labels is None else _spellings(labels["category"])),
        ("", f"read from reports: {_derived(status)}"),
        ("scales", _scales(status.scales)),
        *_colours(status),
    ]
    return page([name_value_table(rows), *(wrapped(f"Note: {note}") for note in status.notes)])


def _text_role(status: ArchiveStatus) -> list[tuple[str, str]]:
    """The encoder that compares texts, where it is another, and what it cannot find."""
    text = status.roles.get("text")
    if text is None or text.encoder == status.encoder:
        return []
    lacking = f"{text.images_without_vector} images and {text.reports_without_vector} reports lack its vector"
    whole = not (text.images_without_vector or text.reports_without_vector)
    return [
        ("text encoder", _encoder(text.encoder)),
        ("", "all images and reports embedded" if whole else f"{lacking}: `coin reembed --role text --encoder …`"),
        *(("", f"its index: {line}") for line in _index_lines(text.index)),
    ]


def _colours(status: ArchiveStatus) -> list[tuple[str, str]]:
    """Where colours are compared, how many images lack them."""
    colours = status.roles.get(COLOUR)
    if colours is None:
        return []
    lacking = colours.images_without_vector
    return [("colours", f"{lacking} images lack them: `coin reembed --colours`" if lacking else "of all images")]


def _encoder(encoder: EncoderInfo) -> str:
    return f"{encoder.name} ({encoder.dim}-d, {encoder.fingerprint[:12]})"


def _index_lines(index: IndexStatus | None) -> list[str]:
    """How exact the index is, and its memory."""
    if index is None:
        return []
    memory = f"{index.memory_bytes / 1e6:.1f} MB of memory"
    if not index.recall:
        return [f"{index.mode}: exact, {memory}"]
    recall = ", ".join(f"{value:.3f} ({kind})" for kind, value in index.recall.items())
    return [
        f"{index.mode}: exact under filters, {memory}",
        f"without a filter recall@10 {recall}, measured at {index.measured_at} vectors",
    ]


def calibration_text(calibration: ArchiveCalibration, generated: str) -> str:
    """The thresholds of the novelty check for each query type, and the check of a generated image's site."""
    from retrieval import query_type_label

    rows = [
        (
            query_type_label(rule.kind),
            f"comparable from {rule.threshold:.3f} on; false alarms {rule.false_alarm_rate:.1%} "
            f"[{rule.false_alarm_low:.1%}, {rule.false_alarm_high:.1%}] of {rule.n} cases",
        )
        for rule in calibration.rules
    ]
    through = " that the filter lets through" if calibration.rules[0].filtered else ""
    return page(
        [
            f"No comparable case: mean similarity of the nearest patients, by the archive's own cases{through}",
            name_value_table(rows),
            wrapped(f"Generated: {generated}."),
            wrapped(calibration.sites.words),
        ]
    )


def add_text(summary: AddSummary) -> str:
    """What `coin add` did, and each row that it skipped, with the reason."""
    lines = [
        f"added {summary.added} images, updated {summary.updated}, unchanged {summary.unchanged}, "
        f"skipped {len(summary.skipped)}"
    ]
    if summary.added:
        lines[0] += f"; {summary.seconds:.1f} s, {summary.images_per_second:.1f} images/s"
    if summary.derived:
        lines[0] += f"; site or category of {summary.derived} cases extracted from their reports"
    if summary.reports:
        lines[0] += f"; {summary.reports} reports embedded"
    if summary.identifiers:
        done = (
            "They were replaced."
            if summary.redacted
            else ("They are stored unchanged: remove them and add again, or add again with --redact.")
        )
        found = ", ".join(map(str, summary.identifiers))
        lines.append(wrapped(f"Direct identifiers: {found}. {done} Not every name is found (docs/security.md)."))
    lines += _slides(summary.slides)
    lines += [clean(f"  skipped {problem}") for problem in summary.skipped]
    lines += [wrapped(f"Note: {note}") for note in summary.notes]
    return "\n".join(lines)


def _slides(slides: Sequence[AddedSlide]) -> list[str]:
    """One line a slide, and what could not be read of it; of many, the first ones."""
    lines = []
    for slide in slides[:SLIDES_SHOWN]:
        of = f" of {slide.places} places" if slide.places else ""
        reasons = "".join(f", {number} {reason}" for reason, number in slide.left_out.items())
        fields = f"{slide.fields - slide.unread} fields of {slide.width_um:g} µm"
        lines.append(f"  line {slide.line}: a slide, {fields}{of}{reasons}; chosen in {slide.seconds:.1f} s")
        lines += [wrapped(f"  Note: {note}") for note in slide.notes]
    more = len(slides) - SLIDES_SHOWN
    return [*lines, f"  and {more} more slides"] if more > 0 else lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'not given'} {count}" for name, count in counts.items())


def _scales(scales: Mapping[str, int]) -> str:
    """How many images have which µm a pixel, the most frequent first; empty where none has one."""
    known = sorted(((name, count) for name, count in scales.items() if name != "unknown"), key=lambda item: -item[1])
    if not known:
        return ""
    shown = [f"{name}: {count}" for name, count in known[:SCALES_SHOWN]]
    more = [f"{len(known) - SCALES_SHOWN} others"] if len(known) > SCALES_SHOWN else []
    unknown = [f"unknown: {scales['unknown']}"] if "unknown" in scales else []
    return f"µm a pixel of images: {', '.join((*shown, *more, *unknown))}"


def _spellings(facets: Sequence[Facet]) -> str:
    """Each concept with its number of cases, and how else they write it."""
    others = (f" (also {', '.join(facet.others)})" if facet.others else "" for facet in facets)
    return ", ".join(f"{facet.name} {facet.cases}{other}" for facet, other in zip(facets, others, strict=True))


def _derived(status: ArchiveStatus) -> str:
    """How many cases have a label that was extracted from their report."""
    counts = status.derived
    if not any(counts.values()):
        return "none"
    return f"site of {counts['site']} cases, category of {counts['category']} (`coin reports --derived`)"
