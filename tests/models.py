"""Tiny SDXL models with random weights, in the on-disk formats of the real ones, for tests.

`tiny_sdxl` writes what `StableDiffusionXLPipeline.save_pretrained` writes for SDXL-base-1.0 (two CLIP text
encoders, UNet, VAE, scheduler, legacy CLIP tokenizer files), only smaller: 64 px, well under a second for a few
steps on one core. `tiny_lora` writes what peft and diffusers write when a LoRA is trained on it. Both are
deterministic by seed. Heavy libraries are imported inside the functions, so collecting tests stays quick.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from generation import quick_import

SIZE = 64  # pixels: 16x16 latents under a VAE that scales by 4

_TEXT = """No intraepithelial lesion or malignancy (NILM). Squamous intraepithelial lesion (HSIL); additional comment.
The smear shows clusters of atypical cells with enlarged hyperchromatic nuclei, scant cytoplasm and prominent
nucleoli. Further clinical examination is recommended. (Fine-needle aspiration of the right lobe of the thyroid
gland) nuclear grooves and pseudoinclusions are observed. The morphology is consistent with papillary carcinoma.
Urine and pleural effusion cytology did not find cancer cells, suggesting adenocarcinoma."""


def tiny_sdxl(folder: str | Path, *, width: int = 16, seed: int = 0, size: int = SIZE) -> Path:
    """A random SDXL pipeline in `folder`, which is returned.

    `width` is the UNet's narrowest layer: two bases of different widths take no LoRA of each other.
    """
    import torch

    quick_import("diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl")  # seconds less
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = _clip_vocabulary(_TEXT.splitlines())
    text = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=2,
        max_position_embeddings=77,
        projection_dim=16,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusionXLPipeline(
            vae=AutoencoderKL(
                block_out_channels=(8, 8, 16),
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                latent_channels=4,
                norm_num_groups=4,
                sample_size=size,
            ),
            text_encoder=CLIPTextModel(text),
            text_encoder_2=CLIPTextModelWithProjection(text),
            tokenizer=CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77),
            tokenizer_2=CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77),
            unet=UNet2DConditionModel(
                block_out_channels=(width, 2 * width),
                layers_per_block=1,
                sample_size=size // 4,
                in_channels=4,
                out_channels=4,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=(2, 4),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 1),
                projection_class_embeddings_input_dim=6 * 8 + 16,
                cross_attention_dim=2 * 16,
                norm_num_groups=4,
            ),
            # The values of SDXL-base-1.0's scheduler_config.json.
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                steps_offset=1,
                timestep_spacing="leading",
            ),
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in ("tokenizer", "tokenizer_2"):
        _write_legacy_tokenizer(folder / name, vocabulary, merges)
    return folder


def tiny_lora(folder: str | Path, base: str | Path, *, rank: int = 2, seed: int = 1, strength: float = 0.5) -> Path:
    """A LoRA on the UNet and both text encoders of the pipeline in `base`, with weights that change the image.

    Written to `folder`/pytorch_lora_weights.safetensors as diffusers' training scripts write it.
    """
    import torch
    from diffusers import StableDiffusionXLPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict

    pipeline = StableDiffusionXLPipeline.from_pretrained(base, use_safetensors=True, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    attention = {"unet": ["to_q", "to_k", "to_v", "to_out.0"]}
    layers = {}
    generator = torch.Generator().manual_seed(seed)
    for name in ("unet", "text_encoder", "text_encoder_2"):
        model = getattr(pipeline, name)
        targets = attention.get(name, ["q_proj", "k_proj", "v_proj", "out_proj"])
        model.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
        state = get_peft_model_state_dict(model)
        for tensor in state.values():  # peft starts at zero, which would change nothing
            tensor.copy_(strength * torch.randn(tensor.shape, generator=generator))
        layers[f"{name}_lora_layers"] = convert_state_dict_to_diffusers(state)
    StableDiffusionXLPipeline.save_lora_weights(str(folder), safe_serialization=True, **layers)
    return Path(folder)


def _clip_vocabulary(lines: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-pair vocabulary of CLIP's kind (bytes, bytes that end a word, merges, two special tokens)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1000, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    symbols = alphabet + [f"{byte}</w>" for byte in alphabet] + ["".join(merge) for merge in merges]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    return {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}, merges


def _write_legacy_tokenizer(folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """The files SDXL-base-1.0 ships (vocab.json, merges.txt), in place of the tokenizer.json written today."""
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    pairs = "\n".join(" ".join(merge) for merge in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{pairs}\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
