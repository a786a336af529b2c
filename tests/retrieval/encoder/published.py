"""Small encoders with random weights, in the layouts in which the field publishes its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "negative", "for", "malignant", "cells", "benign", "."]
BERT_NAME = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
SIZE = 32


def bert_tokenizer(folder: Path) -> None:
    """A BERT's tokenizer files."""
    from transformers import BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)


def bert_config(*, width: int = 32, heads: int = 4, layers: int = 2) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )


def biomedclip(folder: Path, *, width: int = 32, heads: int = 4, layers: int = 2, pickled: bool = False) -> Any:
    """As BiomedCLIP is published: an open_clip configuration, a BERT text tower and its tokenizer."""
    import open_clip

    bert_tokenizer(folder)
    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"layers": 1, "width": 32, "patch_size": 16, "image_size": SIZE, "head_width": 16},
            "text_cfg": {
                "hf_model_name": BERT_NAME,
                "hf_tokenizer_name": BERT_NAME,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 24,
            },
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tower = folder.parent / f"{folder.name}-bert"
    bert_config(width=width, heads=heads, layers=layers).save_pretrained(tower)
    torch.manual_seed(0)
    text = {**config["model_cfg"]["text_cfg"], "hf_model_name": str(tower), "hf_model_pretrained": False}
    network = open_clip.CustomTextCLIP(16, config["model_cfg"]["vision_cfg"], text).eval()
    if pickled:
        torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    else:
        write_safetensors(folder / "open_clip_model.safetensors", network)
    return network


def save_as_pickle(folder: Path) -> None:
    """Replace a folder's safetensors weights by the pickle that many repositories hold alone."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def image_processor(folder: Path, kind: str, size: int = SIZE) -> None:
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": kind,
                "do_resize": True,
                "size": {"height": size, "width": size},
                "do_center_crop": False,
                "do_normalize": True,
                "image_mean": [0.5, 0.4, 0.6],
                "image_std": [0.2, 0.3, 0.25],
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "resample": 3,
            }
        )
    )


def plip(folder: Path) -> Any:
    """As PLIP is published: transformers' CLIPModel."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(1)
    config = CLIPConfig(
        projection_dim=24,
        vision_config={
            **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
            **{"image_size": SIZE, "patch_size": 16},
        },
        text_config={
            **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
            **{"vocab_size": 520, "max_position_embeddings": 20, "eos_token_id": 519, "bos_token_id": 518},
        },
    )
    network = CLIPModel(config).eval()
    network.save_pretrained(folder)
    image_processor(folder, "CLIPImageProcessor")
    clip_tokenizer(folder)
    return network


def clip_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer of single bytes."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    units = list(bytes_to_unicode().values())
    vocabulary = [*units, *(f"{unit}</w>" for unit in units)]
    names = [*vocabulary, *(f"<unused{n}>" for n in range(518 - len(vocabulary))), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True})
    )
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)


def siglip(folder: Path) -> Any:
    """As transformers publishes SigLIP: no projection, a text padded to the whole context."""
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(2)
    part = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SiglipConfig(
        vision_config={**part, "image_size": SIZE, "patch_size": 16},
        text_config={**part, "vocab_size": len(WORDS), "max_position_embeddings": 16, "projection_size": 24},
    )
    network = SiglipModel(config).eval()
    network.save_pretrained(folder)
    image_processor(folder, "SiglipImageProcessor")
    bert_tokenizer(folder)
    return network


def dinov2(folder: Path) -> Any:
    """As DINOv2 is published for transformers: images only."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(3)
    config = Dinov2Config(
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2},
        **{"image_size": 28, "patch_size": 14},
    )
    network = Dinov2Model(config).eval()
    network.save_pretrained(folder)
    image_processor(folder, "BitImageProcessor", 28)
    return network


def phikon(folder: Path) -> Any:
    """As Phikon is published: a ViT of transformers whose pooler's weights are not there."""
    from safetensors.torch import load_file
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(4)
    config = ViTConfig(
        **{"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
        **{"image_size": SIZE, "patch_size": 16},
    )
    network = ViTModel(config, add_pooling_layer=False).eval()
    network.save_pretrained(folder)
    assert not [name for name in load_file(folder / "model.safetensors") if "pooler" in name]
    image_processor(folder, "ViTImageProcessor")
    return network


def minilm(folder: Path) -> Any:
    """As sentence-transformers publishes text encoders: a BERT and how its tokens are pooled."""
    from transformers import BertModel

    torch.manual_seed(5)
    network = BertModel(bert_config()).eval()
    network.save_pretrained(folder)
    bert_tokenizer(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return network


def timm_model(folder: Path, name: str, arguments: Mapping[str, Any], *, pickled: bool = False, **code: Any) -> Any:
    """As UNI and Virchow are published: timm's config.json and a pickle or safetensors.

    `code` is what a model card sets in code, and no configuration says.
    """
    import timm

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(6)
    network = timm.create_model(name, pretrained=False, num_classes=0, **arguments, **code).eval()
    for parameter in network.parameters():  # layer scale starts so small that nothing else would show
        torch.nn.init.normal_(parameter, std=0.1)
    if pickled:
        torch.save(network.state_dict(), folder / "pytorch_model.bin")
    else:
        write_safetensors(folder / "model.safetensors", network)
    size = int(arguments.get("img_size", 32))
    prepared = {"input_size": [3, size, size], "mean": [0.5, 0.4, 0.6], "std": [0.2, 0.3, 0.25]}
    config = {
        "architecture": name,
        "num_classes": 0,
        "num_features": network.num_features,
        "model_args": dict(arguments),
        "pretrained_cfg": {**prepared, "interpolation": "bicubic", "crop_pct": 1.0, "num_classes": 0},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return network


def training_checkpoint(path: Path, network: torch.nn.Module) -> None:
    """As open_clip's training writes it: `epoch_3.pt`."""
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}, path)


def write_safetensors(path: Path, network: torch.nn.Module) -> None:
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
