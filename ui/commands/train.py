"""`coin train`: train a LoRA or an encoder on your own image-report pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from generation import CONDITIONINGS, CROPS, DTYPES, OPTIMIZERS, SCHEDULES, LoraSettings
from retrieval import MODES, TOWERS, EncoderSettings
from ui.commands.options import Command, as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import open_archive
from ui.settings import Settings
from ui.text.train import encoder_text, lora_text

if TYPE_CHECKING:
    from retrieval import OwnPairs

_FOLDER = click.Path(file_okay=False, path_type=Path)
_COUNT = click.IntRange(1)
_NUMBER = click.FloatRange(0)
_SHARE = click.FloatRange(0, 1, max_open=True)
_ABOVE = click.FloatRange(0, min_open=True)

# option -> what it takes, what it is; the defaults are those of the settings
_SHARED: Final[dict[str, tuple[Any, str]]] = {
    "rank": (_COUNT, "Rank of the LoRA: how much it can learn, and its size."),
    "alpha": (_NUMBER, "Its strength is alpha / rank; 0: strength 1."),
    "steps": (_COUNT, "Steps in all; a larger number than before resumes the training."),
    "epochs": (_NUMBER, "Passes over the training images, in place of --steps; 0: --steps."),
    "schedule": (click.Choice(SCHEDULES), "Learning rate after the warm-up."),
    "restarts": (_COUNT, "Cosines one after the other, of --schedule restarts."),
    "warmup": (click.IntRange(0), "Steps in which the learning rate rises."),
    "weight_decay": (_NUMBER, "Weight decay."),
    "clip": (_ABOVE, "Gradient clipping: the largest norm."),
    "hold_out": (click.IntRange(2), "One patient in this many is held out for measurement."),
    "validation_images": (_COUNT, "Held-out images, at most, for the validation loss."),
    "validate_every": (_COUNT, "Steps between two validation losses."),
    "checkpoint_every": (_COUNT, "Steps between two checkpoints; the last two are kept."),
    "seed": (click.IntRange(0, 2**32 - 1), "Seed of the LoRA's initial weights and of all random choices."),
}
_LORA: Final[dict[str, tuple[Any, str]]] = {
    "batch_size": (_COUNT, "Images a batch."),
    "accumulate": (_COUNT, "Batches a step (gradient accumulation)."),
    "learning_rate": (_ABOVE, "Peak learning rate; with --optimizer prodigy, which finds its own, 1."),
    "optimizer": (click.Choice(OPTIMIZERS), "adamw8bit needs bitsandbytes installed, prodigy prodigyopt."),
    "text_encoder": (bool, "Train a LoRA on the text encoders, too."),
    "size": (click.IntRange(0, 4096), "Pixels a side; 0: the base's own."),
    "buckets": (bool, "Aspect buckets: rectangles of about the area of --size, each image to the nearest, no squares."),
    "crop": (click.Choice(CROPS), "Where the square is cropped, after the short side is scaled to --size."),
    "conditioning": (
        click.Choice(CONDITIONINGS),
        "Crop conditioning: true (original size, corner, target size), or the values used when generating.",
    ),
    "turns": (bool, "Augment by quarter turns and mirror images."),
    "views": (_COUNT, "Crops of each image that are encoded and trained on."),
    "balance": (
        bool,
        "Repeat images of rare categories, up to 20 times, so that categories come about as often.",
    ),
    "noise_offset": (_NUMBER, "Noise of one value a channel, as a share of the other noise (often .05); 0: none."),
    "text_dropout": (_SHARE, "Fraction of images trained without their report, for guidance."),
    "min_snr": (_NUMBER, "γ of min-SNR weighting; 0: none."),
    "ema": (_SHARE, "Decay of the weights' moving average (EMA), which is then saved; 0: none."),
    "sample_every": (click.IntRange(0), "Steps between two sample sheets; 0: none."),
    "sample_reports": (_COUNT, "Held-out reports on a sheet."),
    "sample_seeds": (_COUNT, "Images of each of these reports."),
    "dtype": (
        click.Choice(DTYPES),
        "Number format; auto: bfloat16 on a GPU that has it, else float32. float16 scales losses.",
    ),
    "checkpointing": (bool, "Gradient checkpointing: less memory, a third more work. [default: on a GPU]"),
    "tensorboard": (bool, "Show log.jsonl's numbers in TensorBoard, too, of OUT/tensorboard."),
    "wandb": (bool, "The same in Weights & Biases, of OUT/wandb; sent nowhere unless WANDB_MODE=online."),
}
_ENCODER: Final[dict[str, tuple[Any, str]]] = {
    "mode": (click.Choice(MODES), "lora (merged when saved), or full: every weight."),
    "towers": (click.Choice(TOWERS), "Which towers to train; image: the text tower is frozen."),
    "batch_size": (click.IntRange(2), "Images a step, contrasted with each other."),
    "learning_rate": (_NUMBER, "Peak learning rate; 0: 5e-4 with a LoRA, 2e-5 in full."),
    "dtype": (click.Choice(("float32", "bfloat16")), "What the towers compute in; weights stay in float32."),
    "checkpointing": (bool, "Gradient checkpointing: less memory, a third more work."),
    "gallery": (_COUNT, "Training images, at most, among which held-out cases search."),
}


def _training_options(kind: type, *tables: Mapping[str, tuple[Any, str]]) -> Callable[[Command], Command]:
    """Give a command an option for each field in the tables; it receives them as one `training`, made by `kind`."""
    options = {name: option for table in tables for name, option in table.items()}

    def decorate(command: Command) -> Command:
        def run(**given: Any) -> Any:
            chosen = {name: given.pop(name) for name in options}
            return command(training=kind(**chosen), **given)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
        decorated: Command = run
        for name, (takes, words) in reversed(options.items()):
            flag = f"--{name.replace('_', '-')}"
            default = getattr(kind, name)
            if takes is bool:
                flag, takes = f"{flag}/--no-{name.replace('_', '-')}", None
            shown = default is not None
            decorated = click.option(flag, name, type=takes, default=default, show_default=shown, help=words)(decorated)
        return decorated

    return decorate


def _data_options(command: Command) -> Command:
    """Where pairs come from and where the result goes."""
    for option in (
        as_json,
        click.option(
            "--work", type=_FOLDER, help="Folder of cached encodings and pixels. [default: in the user's cache, by OUT]"
        ),
        click.option("--out", type=_FOLDER, required=True, help="Folder of the training run and its result."),
        click.option("--images", type=_FOLDER, help="Folder that the manifest's image names start from."),
        click.option(
            "--manifest", type=click.Path(path_type=Path), help="Train on this manifest instead of an archive."
        ),
    ):
        command = option(command)
    return command


@contextmanager
def _pairs(settings: Settings, manifest: Path | None, images: Path | None, work: Path) -> Iterator[OwnPairs]:
    from retrieval import archive_pairs, manifest_pairs

    if manifest is not None:
        yield manifest_pairs(manifest, images=images, work=work, progress=progress)
        return
    if images is not None:
        raise click.UsageError("--images goes with --manifest")
    with open_archive(settings.archive, read_only=True) as archive:
        yield archive_pairs(archive)


def _lines(path: Path) -> tuple[str, ...]:
    from ui.commands.report_input import read_report

    lines = tuple(line.strip() for line in read_report(path).splitlines() if any(map(str.isalnum, line)))
    if not lines:
        raise click.UsageError(f"'{path}' holds no prompt: write one on each line")
    return lines


@click.group()
def train() -> None:
    """Train a LoRA or an encoder on your own images and reports.

    Whole patients are held out for measurement, by a hash of their name. The same command resumes an interrupted
    training. Reports and images stay on this machine; the weights may reveal what they were trained on.
    """


@train.command()
@_data_options
@with_settings("archive", "base", "device")
@click.option("--start", metavar="LORA", help="Begin with this LoRA's weights, of the same rank, in place of none.")
@click.option(
    "--sample-prompts",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with a prompt a line for the sample sheets, in place of held-out reports.",
)
@_training_options(LoraSettings, _SHARED, _LORA)
def lora(
    settings: Settings,
    training: LoraSettings,
    start: str | None,
    sample_prompts: Path | None,
    manifest: Path | None,
    images: Path | None,
    out: Path,
    work: Path | None,
    as_json: bool,
) -> None:
    """Train a LoRA on the base's attention, so that it generates what your reports describe.

    Images are cropped to squares of the base's size, or to --buckets, and the model is conditioned on the crop. Writes
    OUT/pytorch_lora_weights.safetensors, which `coin generate --lora OUT` loads; those of each checkpoint (OUT/step-80)
    and of the lowest validation loss (OUT/best); README.md (data, settings, fingerprints, validation losses), log.jsonl
    and samples/: images of held-out reports in the course of training.

    Several GPUs: `accelerate launch --multi_gpu -m ui train lora …`; the batch size is then each GPU's.
    """
    from generation import train_lora, work_folder

    with _pairs(settings, manifest, images, work or work_folder(out)) as own:
        made = train_lora(
            own.pairs,
            out,
            base=settings.base,
            settings=training,
            device=settings.device,
            work=work,
            start=start,
            sample_prompts=() if sample_prompts is None else _lines(sample_prompts),
            progress=progress,
        )
    if made is None:  # another process prints the result
        return
    if as_json:
        echo_json({"training": made, "skipped": {**made.skipped, **own.skipped}})
    else:
        echo(lora_text(made, own.skipped, settings.base))


@train.command()
@_data_options
@with_settings("archive", "encoder", "device")
@_training_options(EncoderSettings, _SHARED, _ENCODER)
def encoder(
    settings: Settings,
    training: EncoderSettings,
    manifest: Path | None,
    images: Path | None,
    out: Path,
    work: Path | None,
    as_json: bool,
) -> None:
    """Fine-tune the encoder on your images and reports, and measure retrieval before and after.

    Contrastive learning (CLIP's loss; identical reports are not negatives of each other) with stain augmentation.
    Writes an open_clip folder, which `coin reembed --encoder OUT` takes, and README.md with retrieval of held-out
    patients' cases by image and by report before and after, with intervals.

    Several GPUs: `accelerate launch --multi_gpu -m ui train encoder …`; the batch size is then each GPU's.
    """
    from generation import work_folder
    from retrieval import train_encoder

    with _pairs(settings, manifest, images, work or work_folder(out)) as own:
        made = train_encoder(
            own.pairs,
            out,
            encoder=settings.encoder,
            settings=training,
            device=settings.device,
            work=work,
            progress=progress,
        )
    if made is None:  # another process prints the result
        return
    if as_json:
        echo_json({"training": made, "skipped": {**made.skipped, **own.skipped}})
    else:
        echo(encoder_text(made, own.skipped))


@train.command()
@click.option("--out", type=_FOLDER, required=True, help="Folder of the training run.")
@click.option("--work", type=_FOLDER, help="The folder that the training was given with --work.")
def clear(out: Path, work: Path | None) -> None:
    """Delete what a training kept of its images and reports: latents, embeddings and pixels.

    Weights, cards and checkpoints stay. A training that goes on encodes its images again.
    """
    from generation import clear_work

    folder, deleted = clear_work(out, work)
    echo(f"Deleted {deleted / 1e6:.1f} MB of encoded images and reports ({folder}).")
