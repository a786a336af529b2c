"""What the denoiser is trained on: phantoms and real smears as latents, with their texts embedded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generation.atomic_write import open_atomic
from generation.phantom import Phantom
from generation.phantom.reports import write_report
from generation.phantom.wording import WORDS, Wording
from generation.training.starter.autoencoder import augment, encode
from generation.training.starter.base import TextEncoders
from generation.training.starter.dataset import PhantomSet
from generation.training.starter.denoiser import EncodedSet
from retrieval.training.starter.sampler import Pairs

Log = Callable[[str], None]


def short_caption(phantom: Phantom) -> str:
    """Specimen or site, and diagnosis: the captions that a base learns beside whole reports."""
    wording = Wording(phantom.stream("short caption"), held_out=False)
    diagnosis = wording.pick(WORDS.findings[phantom.profile.site, phantom.profile.finding].diagnoses)
    one_cell = ", single cell" if phantom.view.kind == "cell" else ""
    return f"({phantom.profile.site.capitalize()}{one_cell}) {diagnosis}."


def full_report(phantom: Phantom) -> str:
    """Another wording of the phantom's report."""
    return write_report(phantom.morphology, Wording(phantom.stream("full report"), held_out=False))


def encode_phantoms(phantoms: PhantomSet, work: Path, log: Log) -> EncodedSet:
    """Latents of every phantom and embeddings of its texts: a short caption and two reports."""
    texts = [(short_caption(phantom), phantom.report, full_report(phantom)) for phantom in phantoms.phantoms]
    return _encoded(phantoms.images, texts, work, work / "latents.npy", log)


def encode_smears(real: Pairs, work: Path, log: Log) -> EncodedSet:
    """Latents of every smear, turned and mirrored by chance, and embeddings of its texts: two of the phantoms' wording
    and the manifest's."""
    rng = np.random.default_rng(0)
    images = np.concatenate([augment(image[None], rng) for image in real.images])
    assert real.captions is not None
    texts = [(real.captions(i, rng), real.captions(i, rng), real.reports(i, rng)) for i in range(len(images))]
    return replace(_encoded(images, texts, work, work / "smear-latents.npy", log), chances=real.chances)


def _encoded(
    images: NDArray[np.uint8], texts: Sequence[tuple[str, ...]], work: Path, cache: Path, log: Log
) -> EncodedSet:
    """Latents of images uint8[n, 128, 128, 3], kept in `cache`, and embeddings of each one's texts, equal ones once."""
    import torch
    from diffusers import AutoencoderKL

    if not cache.exists():
        log(f"encoding {cache.stem}")
        vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        with open_atomic(cache) as file:
            np.save(file, (encode(vae, images) * vae.config.scaling_factor).astype(np.float16))
    log("encoding texts")
    row = {text: number for number, text in enumerate(dict.fromkeys(text for some in texts for text in some))}
    tokens, pooled = TextEncoders(work / "vocab", work / "text_encoder", work / "text_encoder_2").encode(list(row))
    texts_of = np.array([[row[text] for text in some] for some in texts])
    return EncodedSet(torch.from_numpy(np.load(cache)), tokens, pooled, texts_of)
