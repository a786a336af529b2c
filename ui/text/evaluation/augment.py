"""What `coin augment-check` prints: the results as tables, and in a sentence what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import retrieval
from ui.text.layout import clean, page, wrapped
from ui.text.tables import table

if TYPE_CHECKING:
    from retrieval import AugmentResult, WayResult

SHOWN: Final = ("macro-F1", "accuracy", "AUROC")
JUDGED: Final = "macro-F1"
WAYS: Final = {"real": "real only", "synthetic": "synthetic only", "both": "real and synthetic"}
CLASSES: Final = 12
PROBE_LIMITS: Final = (
    "The classifier is a linear probe on a frozen encoder. A network trained end to end may gain or lose differently.",
    "An encoder that was trained on these patients knows them: training on real images gains more from that than "
    "training on synthetic ones.",
)
NETWORK_LIMITS: Final = (
    "The classifier is a small network trained from scratch on pictures of 48 pixels, for a fixed number of steps: "
    "it does not show what larger networks, or ones trained longer, gain.",
)
LIMITS: Final = (
    "Other penalties, seeds and folds give other figures, with few patients markedly so.",
    "Nothing was validated for clinical use, and no figure shows how well anybody would diagnose with it.",
)


def augment_text(result: AugmentResult) -> str:
    """The results of all training sets, with notes and limits."""
    probed = result.classifier == "linear probe"
    seen = f"encoder {result.encoder} ({result.fingerprint[:12]})" if probed else result.encoder
    limits = (*(PROBE_LIMITS if probed else NETWORK_LIMITS), *LIMITS)
    named = result.patients_named
    of = f"of {result.patients} patients" if named else "whose patients are not all named"
    patients = "1 patient" if result.tested_patients == 1 else f"{result.tested_patients} patients"
    tested = f"held-out images of {patients}" if named else "images, each left out of the training in its turn"
    split = (
        f"{result.folds} folds of {'patients' if named else 'images and cases'}"
        if result.folds > 1
        else "those that no model was trained on"
        if result.trained_patients
        else "those named"
    )
    parts = [
        wrapped(
            f"{clean(result.source)}: {result.images} images {of} in {len(result.classes)} classes. Classifier: "
            f"{result.classifier}; {seen}. Synthetic: {clean(result.synthetic)}."
        ),
        wrapped(
            f"Tested on {result.tested_images} {tested}: {split}, {result.repeats} times. 95 % intervals from "
            f"resampled {result.drawn_by if named else 'images and cases'}; those of differences are of sign flips."
        ),
        _table(result),
        _classes(result),
        *(wrapped(line) for line in verdicts(result)),
    ]
    notes = []
    notes += [f"{count} × left out: {reason}" for reason, count in sorted(result.left_out.items())]
    if result.derived:
        notes.append(f"The category of {result.derived} images was read from their reports, and may be misread.")
    if not named:
        notes.append(
            "Patients are not named, so that nothing is held out by patient: images of one patient may be trained on "
            "and tested, and all figures too good. Name patients in the manifest's column `patient`."
        )
    if result.trained_patients:
        notes.append(
            f"{result.trained_patients} patients were not tested: a model that took part may have been trained on them."
        )
    if result.ambiguous:
        notes.append(f"{result.ambiguous} reports belong to several classes: no image was generated from them.")
    if named and result.drawn_by != "patients":
        notes.append(
            f"One patient was tested: intervals from resampled {result.drawn_by} do not extend to other patients."
        )
    parts += [wrapped(f"Note: {note}") for note in notes]
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in limits)]))
    return page(parts)


def verdicts(result: AugmentResult) -> list[str]:
    """A sentence for each training set and fraction: its difference from real images alone."""
    return [_verdict(way, result) for way in result.ways if way.minus_real]


def _verdict(way: WayResult, result: AugmentResult) -> str:
    difference = way.minus_real[JUDGED]
    real = next(each for each in result.ways if each.way == "real" and each.fraction == way.fraction)
    units = "patients" if result.patients_named else "images and cases"
    base = f"the real images of {way.fraction:.0%} of the training {units} ({real.real:.0f} images)"
    subject = (
        f"Synthetic images added to {base}" if way.way == "both" else f"Synthetic images alone, instead of {base},"
    )
    size = difference.text(sign="+")
    if not result.patients_named:
        return f"{subject} change {JUDGED} by {size}; patients are not named, so that nothing says how sure this is."
    if result.drawn_by != "patients" or not difference.has_interval:
        few = f"of fewer than {retrieval.FEWEST_CLUSTERS} patients nothing says how sure this is"
        return f"{subject} change {JUDGED} by {size}; {few}."
    if round(difference.low, 3) > 0:  # rounded as printed
        return f"{subject} raise {JUDGED} by {size}."
    if round(difference.high, 3) < 0:
        return f"{subject} lower {JUDGED} by {size}."
    return f"{subject} change {JUDGED} by {size}: no difference that these images can show."


def _table(result: AugmentResult) -> str:
    rows = [["trained on", "real images", "synthetic", *SHOWN]]
    for way in result.ways:
        real = "" if way.way == "synthetic" else f"{way.real:.0f} ({way.fraction:.0%})"
        if way.way == "synthetic" and way.fraction != result.ways[0].fraction:
            continue  # the same whatever the fraction
        synthetic = "" if way.way == "real" else f"{way.synthetic:.0f}"
        rows.append([WAYS[way.way], real, synthetic, *(str(way.values[name]) for name in SHOWN)])
    # It has no interval: spaces align the figure with the means above.
    rows.append(["commonest class", "", "", *(f"{result.commonest[name]:.3f}{'':16}" for name in SHOWN)])
    return "\n".join(table(rows, align="<>>>>>", widths=(20, 20, 11, 23, 23, 23), indent="", gap=""))


def _classes(result: AugmentResult) -> str:
    rows = [["class", "images", "patients" if result.patients_named else "cases", "synthetic"]]
    rows += [
        [clean(each.name)[:43], str(each.images), str(each.patients), f"{each.synthetic:.0f}"]
        for each in result.classes[:CLASSES]
    ]
    lines = table(rows, align="<>>>", widths=(44, 8, 10, 11), indent="", gap="")
    more = len(result.classes) - CLASSES
    return "\n".join([*lines, f"and {more} more (--json names all)"] if more > 0 else lines)
