"""The loaded model: an SDXL pipeline of diffusers with its LoRAs fused into its weights.

Not safe for threads by itself: `CoinGenerator` holds a lock around every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from generation.errors import BlankImageError, GenerationError
from generation.model.embeddings import PromptEmbeddings
from generation.model.loading import load_pipeline
from generation.model.lora.find import Lora
from generation.model.lora.names import PARTS
from generation.model.placement import Placement
from generation.model.presets import Preset
from generation.model.quick_import import quick_import
from generation.model.tokens import PromptTokens
from generation.model.weights import Base
from generation.prompts.prompt import Encoded

_PIPELINE = "diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl"

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image


class CoinPipeline:
    """An SDXL base with its LoRAs fused. Either all of it is loaded or nothing (the constructor raises).

    Args:
        loras: fused one after the other; none, for the plain base.
        compiled: compile the UNet's transformer blocks when they first run, and again for each batch size. It pays
            for many images; the first one takes longer.
        low_memory: parts of the model are on the GPU only while they compute (see `Placement`).

    Raises `LoraMismatchError` for a LoRA that does not fit, `WeightsError` for weights that do not load.
    """

    def __init__(
        self,
        base: Base,
        loras: Sequence[Lora],
        tokens: PromptTokens,
        *,
        device: str,
        dtype: torch.dtype,
        compiled: bool = False,
        low_memory: bool = False,
    ) -> None:
        import torch

        if not compiled:
            quick_import(_PIPELINE)
        self._pipe = load_pipeline(base, loras, tokens, dtype=dtype, device=device)
        if device == "cuda":  # the tensor cores' own order of memory for convolutions; on a CPU it only moves rounding
            for part in (self._pipe.unet, self._pipe.vae):
                part.to(memory_format=torch.channels_last)
        self._placement = Placement(self._pipe, device, low_memory=low_memory)
        if compiled:
            # Static shapes: one kernel for all would be slower, and sizes and batch sizes are few. If they are many,
            # torch stops compiling and runs the rest uncompiled.
            self._pipe.unet.compile_repeated_blocks(dynamic=False)
        self._pipe.set_progress_bar_config(disable=True)
        self._shipped_scheduler = self._pipe.scheduler
        self._device = device
        self._embeddings = PromptEmbeddings(self._pipe, self._placement, device)

    def generate(
        self,
        prompts: Sequence[Encoded],
        seeds: Sequence[int],
        *,
        preset: Preset,
        size: int,
        on_step: Callable[[int], None],
        negative_prompt: str = "",
    ) -> list[Image.Image]:
        """Generate one image of `size` x `size` pixels for each prompt and its seed, as one batch.

        All prompts of a batch (`Prompt.encoded`) have the same number of texts. `on_step(done)` is called after each of
        `preset.steps` denoising steps. The noise of each image is sampled by itself and on the CPU, so that a seed
        gives the same image in a batch of any size and on any device, up to rounding: in float32 on the CPU, batching
        changed one colour value in ten thousand, by one level of 255.

        Raises:
            BlankImageError: an image is not a number somewhere, or of one colour.
            GenerationError: the GPU's memory does not suffice.
        """
        import torch

        guided = preset.guidance > 1  # as diffusers decides: at 1 and below there is no second, unguided pass
        pipe = self._pipe

        def after_step(_pipe: Any, index: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
            on_step((index + 1) * preset.steps // pipe.num_timesteps)  # second-order schedulers pass twice a step
            return {}

        try:
            # A scheduler counts its steps: a fresh one a batch, and none is left behind if `on_step` raises.
            pipe.scheduler = preset.make_scheduler(self._shipped_scheduler)
            positive, negative, pooled, negative_pooled = self._embeddings.rows(
                prompts, negative=negative_prompt, guided=guided
            )
            with self._placement.holding("unet"):
                latents = pipe(
                    prompt_embeds=positive,
                    negative_prompt_embeds=negative,
                    pooled_prompt_embeds=pooled,
                    negative_pooled_prompt_embeds=negative_pooled,
                    generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                    num_inference_steps=preset.steps,
                    guidance_scale=preset.guidance,
                    height=size,
                    width=size,
                    output_type="latent",
                    callback_on_step_end=after_step,
                    callback_on_step_end_tensor_inputs=[],
                ).images
            with self._placement.holding("vae"):
                pixels = self._decode(latents)
        except torch.OutOfMemoryError as error:
            raise GenerationError(
                f"The GPU's memory does not suffice for {len(seeds)} images of {size} pixels at once. "
                "Use a smaller batch size or image size, or the low-memory mode."
            ) from error
        finally:
            pipe.scheduler = self._shipped_scheduler
        for seed, image in zip(seeds, pixels, strict=True):
            _check_pixels(image, seed)
        images: list[Image.Image] = pipe.image_processor.numpy_to_pil(pixels)
        return images

    # For a training, which uses the same model

    @property
    def unet(self) -> Any:
        """The denoiser, on its device."""
        return self._pipe.unet

    @property
    def text_encoders(self) -> dict[str, Any]:
        """The text encoders that the base has, by their part's name, on their device."""
        found = {part: getattr(self._pipe, part) for part in PARTS if part != "unet"}
        return {part: model for part, model in found.items() if model is not None}

    @property
    def scheduler_config(self) -> Any:
        """The configuration of the scheduler that the base ships with."""
        return self._shipped_scheduler.config

    def embed(self, prompt: Encoded) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The input of the guided and the unguided pass: token states [1, t, d] of both, pooled [1, p] of both."""
        positive, negative, pooled, negative_pooled = self._embeddings.rows([prompt], negative="", guided=True)
        assert positive is not None and negative is not None and pooled is not None and negative_pooled is not None
        return positive, negative, pooled, negative_pooled

    def forget_prompts(self) -> None:
        """To be called when the text encoders were changed: what was embedded is embedded anew."""
        self._embeddings.forget()

    def embed_texts(
        self, texts: Sequence[str], *, trained: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `embed`, of n prompts of one text each as one batch: [n, t, d] twice, [n, p] twice.

        With `trained` gradients flow back to the text encoders.
        """
        import torch

        with nullcontext() if trained else torch.no_grad(), self._placement.holding("text_encoder", "text_encoder_2"):
            positive, negative, pooled, negative_pooled = self._pipe.encode_prompt(
                list(texts), device=self._device, do_classifier_free_guidance=True
            )
        return positive, negative, pooled, negative_pooled

    def _decode(self, latents: torch.Tensor) -> np.ndarray:
        """float32[n, size, size, 3] in 0..1 from latents, in the VAE's own number format.

        The pipeline's own decoding is not used because it hands float16 latents to a VAE that must stay in float32.
        """
        import torch

        vae = self._pipe.vae
        latents = latents.to(vae.dtype)
        if getattr(vae.config, "latents_mean", None) and getattr(vae.config, "latents_std", None):
            mean, std = (
                torch.tensor(values, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1)
                for values in (vae.config.latents_mean, vae.config.latents_std)
            )
            latents = latents * std / vae.config.scaling_factor + mean
        else:
            latents = latents / vae.config.scaling_factor
        with torch.no_grad():
            decoded = vae.decode(latents).sample
        pixels: np.ndarray = self._pipe.image_processor.postprocess(decoded, output_type="np")
        return pixels


def _check_pixels(pixels: np.ndarray, seed: int) -> None:
    """Check an image float32[size, size, 3] in 0…1. Raises `BlankImageError`."""
    import numpy as np

    if not np.isfinite(pixels).all():
        raise BlankImageError(
            f"The image of seed {seed} is not-a-number. In half precision the numbers overflowed: use dtype "
            "'float32' or 'bfloat16'. In float32 the weights are damaged: compare them with their source."
        )
    if pixels.max() - pixels.min() < 1 / 255:
        raise BlankImageError(
            f"The image of seed {seed} is of one colour: the base and the LoRA do not work together, or the weights "
            "are damaged. Try the base without the LoRA."
        )
