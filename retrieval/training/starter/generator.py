"""The stages that make the starter's generator: latents and texts, UNet, LoRA, and the base put together."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from filecmp import dircmp
from pathlib import Path
from typing import Any

from generation.atomic_write import new_folder
from generation.phantom import PROFILES
from generation.training.adapter import add_lora, save_lora
from generation.training.starter.base import assemble_base
from generation.training.starter.dataset import PhantomSet, render_training_set
from generation.training.starter.denoiser import LORA_RANK, LORA_TARGETS, joined, train_denoiser, unet_config
from retrieval.training.starter.clip import EMBED_DIM
from retrieval.training.starter.encoded_sets import encode_phantoms, encode_smears
from retrieval.training.starter.sampler import Pairs
from retrieval.training.starter.smears import load_smears

SMEARS_OF_LORA = 0.5
"""Share of real smears in what the LoRA learns; the rest are phantoms."""
RATE, RATE_ON = 8e-4, 5e-4
"""Learning rates of a new UNet and of one that is trained on: lower, since it has learned most."""
FULL_REPORTS = slice(1, None)  # column 0 of the texts is the short caption
ALL_TEXTS = slice(None)
_KEPT = {"vocab": "tokenizer", "vae": "vae", "text_encoder": "text_encoder", "text_encoder_2": "text_encoder_2"}
"""What a training that goes on keeps of the base, by its name in the folder of the work."""

Log = Callable[[str], None]


def run_stage(folder: Path, log: Log, run: Callable[[Path], None]) -> None:
    """Run a stage that fills `folder`, unless it is there: then it is finished."""
    if folder.exists():
        log(f"{folder.name}: done before")
        return
    with new_folder(folder) as unfinished:
        run(unfinished)


def train_generator_on(
    starter: Path, work: Path, *, smears: Path | None, log: Log, steps: Mapping[str, int], phantom_count: int
) -> None:
    """Train the UNet of `starter`/base on and a LoRA anew over it; the finished ones are under `work`/result.

    Args:
        smears: manifest of real smears.
        steps: of "denoiser" and "lora".
        phantom_count: phantoms to learn from.

    Raises:
        FileExistsError: `work` holds parts of another training: latents that it kept would be of another autoencoder.
    """
    for part, kept in _KEPT.items():
        source, target = starter / "base" / kept, work / part
        if target.exists() and set((found := dircmp(source, target)).left_list) != set(found.same_files):
            raise FileExistsError(f"{target} is of another training. Name another folder with --work.")
        shutil.copytree(source, target, dirs_exist_ok=True)
    real = None if smears is None else load_smears(smears, first_label=len(PROFILES))
    train_coin(render_training_set(work, phantom_count), real, work, steps, log, start=starter / "base" / "unet")
    assemble_result(work, ("lora",))


def train_coin(
    phantoms: PhantomSet, real: Pairs | None, work: Path, steps: Mapping[str, int], log: Log, start: Path | None = None
) -> None:
    """Train the base on phantoms, beginning with the UNet in `start`, and the LoRA on real smears as well."""
    import torch
    from diffusers import UNet2DConditionModel

    drawn = encode_phantoms(phantoms, work, log)
    data = drawn if real is None else joined(drawn, encode_smears(real, work, log), share=SMEARS_OF_LORA)

    def base(folder: Path) -> None:
        torch.manual_seed(0)
        if start is None:
            unet: Any = UNet2DConditionModel(**unet_config(drawn.latents.shape[1], drawn.tokens.shape[-1], EMBED_DIM))
        else:
            unet = UNet2DConditionModel.from_pretrained(start, torch_dtype=torch.float32)
        unet.to(memory_format=torch.channels_last)
        rate = RATE if start is None else RATE_ON
        train_denoiser(unet, drawn, folder, steps=steps["denoiser"], texts=ALL_TEXTS, learning_rate=rate, log=log)

    def lora(folder: Path) -> None:
        unet: Any = UNet2DConditionModel.from_pretrained(work / "unet").to(memory_format=torch.channels_last)
        add_lora(unet, rank=LORA_RANK, targets=LORA_TARGETS, seed=0)
        train_denoiser(
            unet, data, folder, steps=steps["lora"], texts=FULL_REPORTS, learning_rate=1e-3, save=save_lora, log=log
        )

    run_stage(work / "unet", log, base)
    run_stage(work / "lora", log, lora)


def assemble_result(work: Path, parts: Sequence[str]) -> None:
    """Assemble the finished parts as they are shipped: `result/base`, and `parts` as they are."""
    from diffusers import UNet2DConditionModel

    result = work / "result"
    assemble_base(
        result / "base",
        tokenizer=work / "vocab",
        text_encoder=work / "text_encoder",
        text_encoder_2=work / "text_encoder_2",
        vae=work / "vae",
        unet=UNet2DConditionModel.from_pretrained(work / "unet"),
    )
    for part in parts:
        shutil.copytree(work / part, result / part, dirs_exist_ok=True)
