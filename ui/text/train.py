"""What `coin train` prints: the training data, where the result is, and whether it helped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ui.text.layout import clean, page, wrapped
from ui.text.tables import table

if TYPE_CHECKING:
    from pathlib import Path

    from generation import LoraTraining, PairCounts
    from retrieval import Compared, EncoderTuning


def lora_text(training: LoraTraining, skipped: Mapping[str, int], base: str | None) -> str:
    """A finished LoRA. `base` is the setting, as it was given."""
    step, loss = training.lowest
    folder = training.weights.parent
    with_base = "" if base is None else f"--base {base} "
    return page(
        [
            _data(training.trained, training.held_out),
            _skipped({**training.skipped, **skipped}),
            wrapped(f"{training.change.words} The lowest was {loss:.4f}, at step {step}."),
            *(wrapped(f"Note: {note}") for note in training.notes),
            f"{training.steps} steps, {training.seconds_a_step:.2f} s each on {training.device} in {training.dtype}.",
            f"The LoRA, its card and its sample sheets are in {clean(str(folder))}. Generate with it:\n"
            f"  coin generate {clean(with_base)}--lora {clean(str(folder))} --text REPORT",
            wrapped(
                "It may reproduce its training images, and is as confidential as they are. Compare its images with the "
                "training images before any of them is shared."
            ),
            _kept(training.work, folder),
        ]
    )


def encoder_text(tuning: EncoderTuning, skipped: Mapping[str, int]) -> str:
    """A finished encoder, with retrieval before and after."""
    comparison = tuning.comparison
    return page(
        [
            _data(tuning.trained, tuning.held_out),
            _skipped({**tuning.skipped, **skipped}),
            _table(comparison.figures),
            wrapped(comparison.words),
            *(wrapped(note) for note in (*comparison.notes, *tuning.notes)),
            f"{tuning.steps} steps, {tuning.seconds_a_step:.2f} s each on {tuning.device}; "
            f"{100 * tuning.trained_share:.1f} % of the weights were trained.",
            f"The encoder and its card are in {clean(str(tuning.folder))}. Use it for an archive:\n"
            f"  coin reembed --archive ARCHIVE --encoder {clean(str(tuning.folder))}",
            _kept(tuning.work, tuning.folder),
        ]
    )


def _kept(work: Path, folder: Path) -> str:
    """Where patients' images are kept, and how they are deleted."""
    from generation import work_folder

    given = "" if work == work_folder(folder) else f" --work {clean(str(work))}"
    return (
        f"What was encoded of the images and reports is in {clean(str(work))}. Delete it:\n"
        f"  coin train clear --out {clean(str(folder))}{given}"
    )


def _data(trained: PairCounts, held_out: PairCounts) -> str:
    if not (trained.patients_named and held_out.patients_named):
        return wrapped(
            f"Trained on {trained.images} images with {trained.reports} different reports; held out: {held_out.images} "
            "images. Patients are not named, so that nothing is held out by patient: images of one patient may be in "
            "both, and figures too good. Name patients in the manifest's column `patient`."
        )
    return (
        f"Trained on {trained.images} images of {trained.patients} patients with {trained.reports} different "
        f"reports;\nheld out: {held_out.images} images of {held_out.patients} patients."
    )


def _skipped(skipped: Mapping[str, int]) -> str:
    return "\n".join(wrapped(f"Left out: {count} × {reason}") for reason, count in sorted(skipped.items()))


def _table(figures: tuple[Compared, ...]) -> str:
    """Retrieval on held-out cases, with 95 % intervals over patients."""
    rows = [["", "", "before", "after", "difference", "chance"]]
    rows += [
        [
            *(figure.asked, figure.metric, str(figure.before), str(figure.after), str(figure.difference)),
            "" if figure.chance is None else f"{figure.chance:.3f}",
        ]
        for figure in figures
    ]
    return "\n".join(table(rows, widths=(24, 5, 22, 22, 23), indent="", gap=" "))
