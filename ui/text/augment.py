"""What `coin augment-check` prints: both experiments as a table, and in a sentence what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ui.text.layout import clean, page, wrapped
from ui.text.tables import table

if TYPE_CHECKING:
    from retrieval import AugmentResult, WayResult

SHOWN: Final = ("macro-F1", "accuracy", "AUROC")
JUDGED: Final = "macro-F1"
WAYS: Final = {"real": "real only", "synthetic": "synthetic only", "both": "real and synthetic"}
CLASSES: Final = 12
OF_PROBE: Final = (
    "The classifier is a linear probe on a frozen encoder. A network that learns to see may gain or lose otherwise.",
    "An encoder that was trained on these patients knows them: what is trained on real images gains more from that "
    "than what is trained on synthetic ones.",
)
OF_NETWORK: Final = (
    "The classifier is a small network trained from scratch on pictures of 48 pixels, for a fixed number of steps: "
    "what larger or longer trained ones gain, it does not show.",
)
NOT_SHOWN: Final = (
    "Penalties, seeds and folds are these; with few patients, other folds give other figures.",
    "Nothing was validated for clinical use, and no figure says how well anybody would diagnose with it.",
)


def augment_text(result: AugmentResult) -> str:
    """The result of both experiments."""
    probed = result.classifier == "linear probe"
    seen = f"encoder {result.encoder} ({result.fingerprint[:12]})" if probed else result.encoder
    doubts = (*(OF_PROBE if probed else OF_NETWORK), *NOT_SHOWN)
    patients = "1 patient" if result.tested_patients == 1 else f"{result.tested_patients} patients"
    way = f"{result.folds} folds of patients" if result.folds > 1 else "those named"
    parts = [
        wrapped(
            f"{clean(result.source)}: {result.images} images of {result.patients} patients in {len(result.classes)} "
            f"classes. Classifier: {result.classifier}; {seen}. Synthetic: {clean(result.synthetic)}."
        ),
        wrapped(
            f"Tested on {result.tested_images} images of {patients} that nothing was trained on: {way}, "
            f"{result.repeats} times. 95 % intervals from resampled {result.drawn_by}."
        ),
        _table(result),
        _classes(result),
        *(wrapped(line) for line in verdicts(result)),
    ]
    notes = []
    if result.left_out:
        notes.append(f"{result.left_out} images have no category, or one that a single patient has: left out.")
    if result.ambiguous:
        notes.append(f"{result.ambiguous} reports stand for several classes, and were not drawn.")
    if result.drawn_by != "patients":
        notes.append(f"One patient was tested: the intervals, of {result.drawn_by}, say nothing of other patients.")
    parts += [wrapped(f"Note: {note}") for note in notes]
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in doubts)]))
    return page(parts)


def verdicts(result: AugmentResult) -> list[str]:
    """A sentence for each way and fraction beside real images alone."""
    return [_verdict(way, result) for way in result.ways if way.minus_real]


def _verdict(way: WayResult, result: AugmentResult) -> str:
    found = way.minus_real[JUDGED]
    real = next(one for one in result.ways if one.way == "real" and one.fraction == way.fraction)
    base = f"the real images of {way.fraction:.0%} of the training patients ({real.real:.0f} images)"
    said = f"Synthetic images added to {base}" if way.way == "both" else f"Synthetic images alone, in place of {base},"
    size = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    if round(found.low, 3) > 0:  # as it is shown
        return f"{said} raise {JUDGED} by {size}."
    if round(found.high, 3) < 0:
        return f"{said} lower {JUDGED} by {size}."
    return f"{said} change {JUDGED} by {size}: no difference that these images can show."


def _table(result: AugmentResult) -> str:
    rows = [["trained on", "real images", "synthetic", *SHOWN]]
    for way in result.ways:
        real = "" if way.way == "synthetic" else f"{way.real:.0f} ({way.fraction:.0%})"
        if way.way == "synthetic" and way.fraction != result.ways[0].fraction:
            continue  # the same whatever the fraction
        synthetic = "" if way.way == "real" else f"{way.synthetic:.0f}"
        rows.append([WAYS[way.way], real, synthetic, *(str(way.values[name]) for name in SHOWN)])
    # No interval: the figure stands where those above have their mean.
    rows.append(["commonest class", "", "", *(f"{result.commonest[name]:.3f}{'':16}" for name in SHOWN)])
    return "\n".join(table(rows, align="<>>>>>", widths=(20, 20, 11, 23, 23, 23), indent="", gap=""))


def _classes(result: AugmentResult) -> str:
    rows = [["class", "images", "patients", "synthetic"]]
    rows += [
        [clean(each.name)[:43], str(each.images), str(each.patients), f"{each.synthetic:.0f}"]
        for each in result.classes[:CLASSES]
    ]
    lines = table(rows, align="<>>>", widths=(44, 8, 10, 11), indent="", gap="")
    more = len(result.classes) - CLASSES
    return "\n".join([*lines, f"and {more} more (--json names all)"] if more > 0 else lines)
