"""Putting an SDXL base together: tokenizers, text encoders, autoencoder, UNet and scheduler in one diffusers folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generation.training.starter.denoiser import scheduler_config

if TYPE_CHECKING:
    import torch


def assemble_base(
    folder: Path, *, tokenizer: Path, text_encoder: Path, text_encoder_2: Path, vae: Path, unet: Any
) -> None:
    """Write `folder` as `DiffusionPipeline.from_pretrained` reads it: StableDiffusionXLPipeline, fp16 safetensors."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    pipeline = StableDiffusionXLPipeline(
        vae=AutoencoderKL.from_pretrained(vae),
        text_encoder=CLIPTextModel.from_pretrained(text_encoder),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(text_encoder_2),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
        tokenizer_2=CLIPTokenizer.from_pretrained(tokenizer),
        unet=unet,
        scheduler=EulerDiscreteScheduler(**scheduler_config()),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    for config in Path(folder).rglob("config.json"):  # where the parts were trained is nobody's business
        entries = json.loads(config.read_text(encoding="utf-8"))
        entries.pop("_name_or_path", None)
        config.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    for name in ("tokenizer", "tokenizer_2"):  # SDXL ships the legacy files; transformers 5 writes another format
        shutil.rmtree(folder / name)
        shutil.copytree(tokenizer, folder / name)


class TextEncoders:
    """SDXL's two text encoders, as the pipeline uses them: last-but-one hidden states of both, pooled of the second."""

    def __init__(self, tokenizer: Path, text_encoder: Path, text_encoder_2: Path) -> None:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(tokenizer)
        self.first = CLIPTextModel.from_pretrained(text_encoder).float().eval()
        self.second = CLIPTextModelWithProjection.from_pretrained(text_encoder_2).float().eval()

    def encode(self, texts: Sequence[str], *, batch_size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
        """float16[n, 77, d₁ + d₂] token states and float16[n, p] pooled embeddings of `texts`."""
        import torch

        tokens, pooled = [], []
        with torch.inference_mode():
            for i in range(0, len(texts), batch_size):
                ids = self.tokenizer(
                    list(texts[i : i + batch_size]), padding="max_length", truncation=True, return_tensors="pt"
                ).input_ids
                first = self.first(ids, output_hidden_states=True)
                second = self.second(ids, output_hidden_states=True)
                tokens.append(torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1).half())
                pooled.append(second.text_embeds.half())
        return torch.cat(tokens), torch.cat(pooled)


def write_text_encoder(
    folder: Path, weights: dict[str, np.ndarray], *, layers: int, heads: int, end_id: int, projection: bool
) -> None:
    """Write a CLIP text tower, given under transformers' names in `weights`, as a text encoder of an SDXL base.

    Raises ValueError where a weight is missing or left over: a text encoder that is half random would go unnoticed.
    """
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    vocabulary, width = weights["text_model.embeddings.token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=weights["text_projection.weight"].shape[0] if projection else width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=weights["text_model.embeddings.position_embedding.weight"].shape[0],
        hidden_act="gelu",
        bos_token_id=end_id - 1,
        eos_token_id=end_id,
        pad_token_id=end_id,
    )
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
    expected = set(model.state_dict())
    named = {name if name in expected else name.removeprefix("text_model."): value for name, value in tensors.items()}
    if set(named) != expected:
        raise ValueError(f"text encoder weights differ from the model: {sorted(set(named) ^ expected)[:6]} …")
    model.load_state_dict(named)
    model.save_pretrained(folder, safe_serialization=True)
