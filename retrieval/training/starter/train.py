"""Train the whole starter: `python -m retrieval.training.starter.train --work runs/starter`.

A stage is skipped if its result is in the work folder, so that an interrupted run resumes with the stage it was in:

    reports ──► vocabulary ─► text tower ─┬─► text encoders ─┐
    phantoms ─► autoencoder ─► latents ───┼──────────────────┴─► denoiser ─► LoRA ─┬─► result/{clip, base, lora}
        └────────────┴────────────────────┴─► short text tower ─► clip ────────────┘

The CLIP is trained on phantoms also as the autoencoder restores them, since generated images look like that. Its image
tower starts from ImageNet if `--imagenet` names the weights (timm's tf_efficientnet_lite0 as safetensors), else from
random weights. Stages take a number of steps and not a time, so that a seed gives the same weights.

With `--from generation/starter` the UNet of that starter is trained on and a LoRA anew over it, with the starter's own
autoencoder and text encoders.

Nothing of `../shared/data/coin-examples` is read. Real smears are read only if `--smears` names their manifest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generation.phantom import PROFILES, Phantom
from generation.phantom.reports import write_report
from generation.phantom.wording import Wording
from generation.training.starter.autoencoder import restore, train_autoencoder
from generation.training.starter.dataset import PhantomSet, render_training_set
from generation.training.starter.vocabulary import build_vocabulary
from retrieval.training.starter.clip import imagenet_features, write_imagenet_start
from retrieval.training.starter.generator import assemble_result, run_stage, train_coin, train_generator_on
from retrieval.training.starter.image_tower import train_image_tower
from retrieval.training.starter.pretrain_text_tower import pretrain_text_tower
from retrieval.training.starter.sampler import Pairs
from retrieval.training.starter.sdxl_text_encoders import hand_on_text_tower
from retrieval.training.starter.short_text_tower import shorten_text_tower
from retrieval.training.starter.smears import load_smears
from retrieval.training.starter.stage_directions import write_stage_readout

PHANTOMS = 24_000
RESTORED_EVERY = 5
BATCH = (20, 12, 56)  # phantoms, restored phantoms and smears in a batch of the image tower
STEPS = {
    "autoencoder": 3000, "text tower": 500, "short text tower": 1000, "clip": 1400, "denoiser": 5500, "lora": 700,
}  # fmt: skip
"""Of each stage. All together take some hours of one core."""

Log = Callable[[str], None]


def train_starter(
    work: Path,
    *,
    smears: Path | None,
    log: Log,
    steps: Mapping[str, int] = STEPS,
    imagenet: Path | None = None,
    device: str = "cpu",
    batch: tuple[int, int, int] = BATCH,
    phantom_count: int = PHANTOMS,
) -> None:
    """Run the stages that are not done yet in `work`; the finished weights are under `work`/result.

    Args:
        smears: manifest of real smears.
        steps: of each stage, by the names of STEPS.
        imagenet: file of weights that the image tower starts from.
        device: where the image tower is trained; the other stages run on the CPU.
        batch: phantoms, restored phantoms and smears in a batch of the image tower.
    """
    phantoms = render_training_set(work, phantom_count)
    real = None if smears is None else load_smears(smears, first_label=len(PROFILES))
    vocabulary = work / "vocab"
    if not (vocabulary / "vocab.json").exists():
        build_vocabulary((phantom.report for phantom in phantoms.phantoms[:12_000]), vocabulary)
    run_stage(
        work / "vae",
        log,
        lambda folder: train_autoencoder(
            lambda rng, n: _drawn(phantoms.images, real, rng, n),
            folder,
            steps=steps["autoencoder"],
            features=None if imagenet is None else imagenet_features(imagenet),
            log=log,
        ),
    )
    run_stage(
        work / "reader", log, lambda folder: _pretrain_text_tower(phantoms, work, folder, steps["text tower"], log)
    )
    first, second = work / "text_encoder", work / "text_encoder_2"
    if not (second / "model.safetensors").exists():
        hand_on_text_tower(work / "reader", first, second)
    run_stage(
        work / "short_reader",
        log,
        lambda folder: shorten_text_tower(
            lambda rng: _report(phantoms, rng)[0], work / "reader", folder, steps=steps["short text tower"], log=log
        ),
    )
    start = None if imagenet is None else work / "start"
    if imagenet is not None and start is not None:
        write_imagenet_start(imagenet, work / "short_reader", start)
    run_stage(
        work / "clip",
        log,
        lambda folder: _train_clip(
            phantoms, work, real, folder, steps["clip"], start_from=start, device=device, batch=batch, log=log
        ),
    )
    train_coin(phantoms, real, work, steps, log)
    assemble_result(work, ("clip", "lora"))


def _drawn(phantoms: NDArray[np.uint8], real: Pairs | None, rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """n images uint8[n, 128, 128, 3] by chance: phantoms, and half of them real smears if there are any."""
    smears = 0 if real is None else n // 2
    images = phantoms[np.sort(rng.choice(len(phantoms), n - smears, replace=n > len(phantoms)))]
    if real is None:
        return images
    return np.concatenate([images, real.images[rng.choice(len(real.images), smears, p=real.chances)]])


def _pretrain_text_tower(phantoms: PhantomSet, work: Path, folder: Path, steps: int, log: Log) -> None:
    sites = sorted({profile.site for profile in PROFILES})

    def write(rng: np.random.Generator) -> tuple[str, tuple[int, ...]]:
        report, phantom = _report(phantoms, rng)
        return report, (PROFILES.index(phantom.profile), sites.index(phantom.profile.site))

    pretrain_text_tower(write, (len(PROFILES), len(sites)), work / "vocab", folder, steps=steps, log=log)


def _report(phantoms: PhantomSet, rng: np.random.Generator) -> tuple[str, Phantom]:
    """A new wording of the report of a random phantom, and that phantom."""
    phantom = phantoms.phantoms[int(rng.integers(len(phantoms.phantoms)))]
    return write_report(phantom.morphology, Wording(rng, held_out=False)), phantom


def _train_clip(
    phantoms: PhantomSet,
    work: Path,
    real: Pairs | None,
    folder: Path,
    steps: int,
    *,
    start_from: Path | None,
    device: str,
    batch: tuple[int, int, int],
    log: Log,
) -> None:
    from diffusers import AutoencoderKL

    def wording(i: int, rng: np.random.Generator) -> str:
        return write_report(phantoms.phantoms[i].morphology, Wording(rng, held_out=False))

    log("restoring phantoms")
    every = slice(None, None, RESTORED_EVERY)
    restored = restore(AutoencoderKL.from_pretrained(work / "vae").eval(), phantoms.images[every])
    sources = [
        (Pairs(phantoms.images, phantoms.findings, wording), batch[0]),
        (
            Pairs(restored, phantoms.findings[every], lambda i, rng: wording(i * RESTORED_EVERY, rng)),
            batch[1],
        ),
    ]
    if real is not None:
        sources.append((real, batch[2]))
    train_image_tower(
        sources, work / "short_reader", folder, steps=steps, start_from=start_from, device=device, log=log
    )
    write_stage_readout(folder, [pairs.images for pairs, _ in sources])


def main() -> None:
    """The command line."""
    import logging

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, default=Path("runs/starter"), help="folder of checkpoints and result")
    parser.add_argument("--from", dest="starter", type=Path, help="folder of a starter whose generator is trained on")
    parser.add_argument("--phantoms", type=int, default=PHANTOMS, help="phantoms to learn from")
    parser.add_argument("--steps", nargs="*", default=[], metavar="STAGE=N", help=f"instead of the usual {STEPS}")
    parser.add_argument("--smears", type=Path, help="manifest of licensed real smears to learn from as well")
    parser.add_argument("--imagenet", type=Path, help="safetensors of timm's tf_efficientnet_lite0 to start from")
    parser.add_argument("--device", default="cpu", help="where the image tower is trained: cpu or cuda")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    log = logging.getLogger("starter").info
    steps = STEPS | {stage: int(number) for stage, _, number in (entry.partition("=") for entry in options.steps)}
    if set(steps) != set(STEPS):
        parser.error(f"--steps: the stages are {', '.join(STEPS)}")
    if options.starter is not None:
        if options.imagenet is not None or options.device != "cpu":
            parser.error("--from trains the generator alone: it goes without --imagenet and --device")
        train_generator_on(
            options.starter, options.work, smears=options.smears, log=log, steps=steps, phantom_count=options.phantoms
        )
        return
    train_starter(
        options.work,
        smears=options.smears,
        log=log,
        steps=steps,
        imagenet=options.imagenet,
        device=options.device,
        phantom_count=options.phantoms,
    )


if __name__ == "__main__":
    main()
