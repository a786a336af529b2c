"""An open_clip model that can be trained: which parameters are, and how it is written as a folder.

A LoRA is added to every linear layer and every 1 × 1 convolution (a linear layer at each position). The attention of
open_clip's own transformers is left out: it is torch's `MultiheadAttention`, whose LoRA in peft adds the change to the
weights before each pass and subtracts it afterwards, so that they drift. Towers of timm and transformers have linear
layers there. Statistics of batch normalisation are never updated: small batches of few patients would spoil them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation import choose_device
from generation.atomic_write import write_atomic
from retrieval.encoder.formats.files import TOKENIZER_FILES
from retrieval.encoder.formats.open_clip_folder import (
    CONFIG,
    TEXT_TOWER,
    WEIGHTS,
    OpenClipFiles,
    load_network,
    load_tokenizer,
)
from retrieval.encoder.formats.stage_readout import READOUT
from retrieval.training.encoder_settings import EncoderSettings

if TYPE_CHECKING:
    import torch


class TrainableClip:
    """The model of `folder` on `device`, with the parts that `settings` name open to training.

    Raises EncoderLoadError where its weights or its tokenizer do not load.
    """

    def __init__(self, folder: OpenClipFiles, settings: EncoderSettings, device: str) -> None:
        import torch

        self._folder = folder
        self._tokenizer = load_tokenizer(folder)
        self.device = choose_device(device)
        network, self.prepare = load_network(folder, self.device)
        self.network: Any = network.float().to(memory_format=torch.channels_last)
        self._half = settings.dtype == "bfloat16"
        if settings.checkpointing:
            self.network.set_grad_checkpointing(True)
        self._lora: Any = None
        visual = self.network.visual
        self.mean, self.deviation = (
            torch.tensor(getattr(visual, name), device=self.device).view(1, 3, 1, 1)
            for name in ("image_mean", "image_std")
        )
        self.network.requires_grad_(False)
        inside = [name for name, _ in self.network.named_modules() if settings.towers == "both" or _of_image(name)]
        if settings.mode == "lora":
            self._add_lora(inside, settings)
        else:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(settings.towers == "both" or _of_image(name))
        self.network.logit_scale.requires_grad_(True)
        self.train()

    @property
    def trained(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: value for name, value in self.network.named_parameters() if value.requires_grad}

    @property
    def scale(self) -> torch.Tensor:
        """The factor of similarities in the loss, a scalar of at most 100 as in CLIP."""
        scale: torch.Tensor = self.network.logit_scale.exp().clamp(max=100)
        return scale

    def train(self) -> None:
        """Set the mode of a training step: statistics of batch normalisation are not updated."""
        import torch

        self.network.train()
        for module in self.network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()

    def embed_images(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32[n, 3, h, w] in 0…1 -> float32[n, d] unit rows."""
        import torch

        shown = ((pixels - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16, enabled=self._half):
            rows: torch.Tensor = self.network.encode_image(shown, normalize=True)
        return rows.float()

    def embed_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """int[n, context] -> float32[n, d] unit rows."""
        import torch

        with torch.autocast(self.device, torch.bfloat16, enabled=self._half):
            rows: torch.Tensor = self.network.encode_text(tokens, normalize=True)
        return rows.float()

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        """int[n, context] on the device."""
        tokens: torch.Tensor = self._tokenizer(texts).to(self.device)
        return tokens

    def save(self, folder: Path) -> None:
        """Write an open_clip folder with float32 weights.

        A LoRA is merged into them, after which this model cannot be trained further. The config is written last:
        without it the folder is no model, so that an unfinished one is not mistaken for one.
        """
        from safetensors.torch import save

        if self._lora is not None:
            self._lora.merge_and_unload()
            self._lora = None
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        files = [name for name in TOKENIZER_FILES if (self._folder.path / name).is_file()]
        for name in files:
            write_atomic(folder / name, (self._folder.path / name).read_bytes())
        if self._folder.needs_tokenizer_files and not files:  # the hub keeps them elsewhere
            self._tokenizer.tokenizer.save_pretrained(folder)
        if self._folder.readout is not None:
            write_atomic(folder / READOUT, self._folder.readout.path.read_bytes())
        tower = self._folder.path / TEXT_TOWER / "config.json"
        if tower.is_file():
            (folder / TEXT_TOWER).mkdir(exist_ok=True)
            write_atomic(folder / TEXT_TOWER / "config.json", tower.read_bytes())
        write_atomic(folder / WEIGHTS[0], save(_apart(weights), metadata={"format": "pt"}))
        write_atomic(folder / CONFIG, json.dumps(dict(self._folder.config), indent=2).encode())

    def _add_lora(self, inside: list[str], settings: EncoderSettings) -> None:
        import torch
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel

        modules = dict(self.network.named_modules())
        targets = [name for name in inside if _is_linear(modules[name])]
        config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha or settings.rank, target_modules=targets)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self._lora = LoraModel(self.network, config, "default")


def _of_image(name: str) -> bool:
    return name.startswith("visual.")


def _is_linear(module: Any) -> bool:
    import torch

    if isinstance(module, torch.nn.modules.linear.NonDynamicallyQuantizableLinear):  # within MultiheadAttention
        return False
    if isinstance(module, torch.nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, torch.nn.Linear)


def _apart(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tied weights, since safetensors refuses tensors that share memory."""
    seen: set[int] = set()
    separate = {}
    for name, value in weights.items():
        separate[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return separate
