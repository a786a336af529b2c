"""Time, memory and results of training on real images: a LoRA on the starter's base, and the starter's encoder.

    python -m benchmarks.train lora        # 3 to 9 minutes on one core that others use, too
    python -m benchmarks.train encoder     # 2 to 6
    python -m benchmarks.train size --images 1000 --images 10000

Data: `../shared/data/cytology` (manifest.csv), read in place. One patient in five is held out by a hash of its name,
the same ones that the starter's encoder was never trained on (`retrieval.training.starter.smears`): of the cervix one
CRIC block, of blood 74. The two atlas sites are one patient each, and are trained on.

The LoRA: `--images` images, chosen in turns of site, category and patient, one view each. Printed are seconds for each
step, peak memory, the validation loss before and after, and whether the images generated from the nine different
reports, before and after, are nearest to real images of their site and category (P@5 among the chosen images, by the
starter's encoder, beside chance). Look at the sample sheets in `--work`, too.

The size: so many drawn images (64 px, each with a report of its own) as a manifest, and a LoRA of the starter's base.
Printed are seconds, and those of this process's processor, until the manifest is read, and until the first step is
taken, with nothing kept from before; then again, with hashes kept; images a second in the steps; and the share of the
time in which the steps waited for images and reports to be encoded.

The encoder: all images. Printed are seconds for each step, peak memory, and the comparison of the model card.
"""

from __future__ import annotations

import argparse
import csv
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.real_input import SHARED
from generation import CoinGenerator, LoraSettings, TrainingPair, train_lora
from generation.phantom import phantom_cases
from generation.training.data.lora_material import StepData
from generation.training.validation import choose_spread
from retrieval import Encoder, EncoderSettings, manifest_pairs, train_encoder
from retrieval.training.model_card import comparison_table
from ui.commands.progress import progress

NEAREST = 5
SEEDS = (1000, 1001, 1002, 1003)
RENDERED = 500


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.what == "size":
        print(describe_machine())
        for images in options.images or (1000,):
            size(images, options)
        return 0
    manifest = options.data / "cytology" / "manifest.csv"
    if not manifest.is_file():
        print(f"There is no {manifest}: name the folder that holds cytology/ with --data.", file=sys.stderr)
        return 1
    own = manifest_pairs(manifest, progress=progress)
    print(describe_machine())
    started = time.perf_counter()
    (lora if options.what == "lora" else encoder)(own.pairs, options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{time.perf_counter() - started:.0f} s in all, {peak:,.0f} MiB at most")
    return 0


def lora(pairs: Sequence[TrainingPair], options: argparse.Namespace) -> None:
    chosen = choose_spread(pairs, options.images[0] if options.images else 400)
    settings = LoraSettings(
        steps=options.steps or 500,
        batch_size=8,
        learning_rate=options.rate or 5e-4,
        views=1,
        validation_images=48,
        validate_every=100,
        sample_every=options.steps or 500,
        sample_reports=6,
    )
    tuned = train_lora(
        chosen,
        options.work / "lora",
        settings=settings,
        device=options.device,
        work=options.work,
        progress=progress,
    )
    assert tuned is not None
    trained, held_out = tuned.trained, tuned.held_out
    print(
        f"\n{trained.images} images of {trained.patients} patients; held out {held_out.images} of {held_out.patients}"
    )
    print(f"{tuned.seconds_a_step:.3f} s for each step of {settings.images_a_step} images")
    print("\n".join(f"  step {step}: validation loss {loss:.4f}" for step, loss in tuned.validation))
    print(tuned.change.words)
    starter = Encoder(device=options.device)
    seen = starter.encode_images([pair.load() for pair in chosen])
    reports = {pair.report: pair for pair in chosen}
    rows = {}
    for name, source in (("base", "plain"), ("with the LoRA", tuned.weights)):
        generator = CoinGenerator(_plain_base(), None if source == "plain" else source, device=options.device)
        requests = [(report, SEEDS) for report in reports]
        rows[name] = [
            starter.encode_images([image.image for image in generation.images])
            for generation in generator.generate_queue(requests, preset="draft")
        ]
    print(f"\nOf the {NEAREST} real images nearest to each generated one, share of its site / site and category:")
    titles = np.array([pair.title for pair in chosen])
    sites = np.array([pair.attributes["site"] for pair in chosen])
    for index, pair in enumerate(reports.values()):
        chance = f"{(sites == pair.attributes['site']).mean():.2f} / {(titles == pair.title).mean():.2f}"
        figures = []
        for generated in rows.values():
            nearest = np.argsort(-(generated[index] @ seen.T), axis=1, kind="stable")[:, :NEAREST]
            site = (sites[nearest] == pair.attributes["site"]).mean()
            figures.append(f"{site:.2f} / {(titles[nearest] == pair.title).mean():.2f}")
        print(
            f"  {pair.title}: "
            + ", ".join(f"{n} {f}" for n, f in zip(rows, figures, strict=True))
            + f", chance {chance}"
        )
    print(f"\nLook at {options.work / 'lora' / 'samples'}")


def encoder(pairs: Sequence[TrainingPair], options: argparse.Namespace) -> None:
    settings = EncoderSettings(
        mode=options.mode,
        towers=options.towers,
        steps=options.steps or 60,
        batch_size=48,
        learning_rate=options.rate,
        validate_every=20,
    )
    tuned = train_encoder(
        pairs,
        options.work / f"encoder-{options.mode}-{options.towers}",
        settings=settings,
        device=options.device,
        progress=progress,
    )
    assert tuned is not None
    trained, held_out = tuned.trained, tuned.held_out
    print(
        f"\n{trained.images} images of {trained.patients} patients; held out {held_out.images} of {held_out.patients}"
    )
    print(f"{tuned.seconds_a_step:.2f} s for each step of {settings.batch_size} images, twice each; ", end="")
    print(f"{100 * tuned.trained_share:.1f} % of the weights trained")
    print("\n".join(f"  step {step}: validation loss {loss:.4f}" for step, loss in tuned.validation))
    print(f"\n{comparison_table(tuned.comparison)}\n\n{tuned.comparison.words}")
    print("\n".join(tuned.comparison.notes))


def size(images: int, options: argparse.Namespace) -> None:
    """Print what a training of so many drawn images takes before its first step, and in its steps."""
    with tempfile.TemporaryDirectory() as temporary:
        manifest = _drawn(Path(temporary) / "drawn", images)
        for times in ("first", "again"):
            for kept in (Path(temporary) / "work").glob("*/"):
                shutil.rmtree(kept)  # what was encoded; hashes stay
            print(f"{images:,} images, {times}: {_measured(manifest, Path(temporary), times, options)}", flush=True)


def _measured(manifest: Path, folder: Path, name: str, options: argparse.Namespace) -> str:
    started, busy = time.perf_counter(), time.process_time()
    marks: dict[str, tuple[float, float]] = {}
    waited: list[float] = []

    @contextmanager
    def watched(label: str, *, unit: str) -> Iterator[Callable[..., None]]:
        def shown(done: int, total: int, note: str = "") -> None:
            if label == "Training" and done:
                marks.setdefault("first step", (time.perf_counter() - started, time.process_time() - busy))

        yield shown

    class Watched(StepData):
        def prepare(self, *given: Any, **more: Any) -> None:
            begun = time.perf_counter()
            super().prepare(*given, **more)
            waited.append(time.perf_counter() - begun)

    own = manifest_pairs(manifest, work=folder / "work", progress=watched)
    marks["manifest"] = time.perf_counter() - started, time.process_time() - busy
    settings = LoraSettings(
        steps=options.steps or 96, batch_size=8, validation_images=8, validate_every=10**6, sample_every=0, size=64,
        checkpoint_every=10**6,
    )  # fmt: skip
    with mock.patch("generation.training.lora.StepData", Watched):
        made = train_lora(
            own.pairs, folder / name, settings=settings, device=options.device, work=folder / "work", progress=watched
        )
    assert made is not None
    steps, waiting = made.steps * made.seconds_a_step, sum(waited[1:])
    return (
        f"manifest read after {marks['manifest'][0]:.1f} s ({marks['manifest'][1]:.1f} of a processor), first step "
        f"taken after {marks['first step'][0]:.1f} s ({marks['first step'][1]:.1f}); then "
        f"{made.steps * 8 / (steps + waiting):.1f} images a second, {waiting / (steps + waiting):.1%} of it waiting"
    )


def _drawn(folder: Path, images: int) -> Path:
    """A manifest of drawn images, four of each patient: `RENDERED` pictures, each in files that differ by a pixel."""
    folder.mkdir(parents=True)
    cases = phantom_cases(images, seed=3)
    pictures = [case.render(64) for case in cases[:RENDERED]]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "report", "patient"))
        for number, case in enumerate(cases):
            picture = pictures[number % RENDERED].copy()
            picture.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536))
            picture.save(folder / f"{number}.png", compress_level=1)
            table.writerow((f"{number}.png", f"{case.report} No. {number}.", number // 4))
    return folder / "manifest.csv"


def _plain_base() -> Path:
    """The starter's base without its LoRA, which a generator puts on where none is named."""
    from generation.model.files.weight_files import STARTER

    return STARTER / "base"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("lora", "encoder", "size"))
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/")
    parser.add_argument("--work", type=Path, default=Path("runs/train"), help="folder of trainings and sample sheets")
    parser.add_argument("--images", type=int, action="append", help="of the LoRA (400), or drawn; may be repeated")
    parser.add_argument("--steps", type=int, help="steps (500 of the LoRA, 60 of the encoder)")
    parser.add_argument("--rate", type=float, default=0.0, help="learning rate")
    parser.add_argument("--mode", default="lora", help="how the encoder learns: lora or full")
    parser.add_argument("--towers", default="both", help="of the encoder: both or image")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
