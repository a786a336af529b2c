"""What the models of some settings are and will take, known before they are loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ui.errors import user_message
from ui.service import make_generator
from ui.settings import Settings

if TYPE_CHECKING:
    from generation import GeneratorRequirements
    from index_store import Role
    from retrieval import EncoderFiles


@dataclass(frozen=True)
class ModelCheck:
    """What a check found. What is None could not be used: `problems` says why."""

    generator: GeneratorRequirements | None
    encoder: EncoderFiles | None
    encoder_memory: int
    """Bytes that the encoders take, in float32."""
    device: str
    main_memory: int
    """Bytes of main memory that all models need at the highest, an estimate."""
    main_memory_available: int | None
    gpu_memory: int
    gpu_memory_available: int | None
    channels: Mapping[str, bool]
    """By channel, whether it can answer with these models."""
    problems: tuple[str, ...]
    text_encoder: EncoderFiles | None = None
    """The encoder that compares texts, where the settings name another than `encoder`."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        generator = self.generator
        return {
            "base": generator
            and {
                "name": generator.base,
                "folder": str(generator.folder),
                "size": generator.size,
                "dtype": generator.dtype,
                "parts": [vars(part) for part in generator.parts],
            },
            "loras": [vars(lora) for lora in generator.loras] if generator else None,
            "encoder": self.encoder and _encoder_dict(self.encoder),
            "text_encoder": self.text_encoder and _encoder_dict(self.text_encoder),
            "device": self.device,
            "main_memory": {"needed": self.main_memory, "available": self.main_memory_available},
            "gpu_memory": {"needed": self.gpu_memory, "available": self.gpu_memory_available},
            "channels": dict(self.channels),
            "problems": list(self.problems),
        }


def check_models(settings: Settings) -> ModelCheck:
    """Find and check the models that the settings name. Loads no weights and fetches nothing.

    Raises `generation.DeviceError` for a device that the machine does not have.
    """
    from generation import available_memory, choose_device, tensor_count
    from retrieval import usable_channels

    device = choose_device(settings.device)
    named = {
        "base": settings.base,
        "LoRA": settings.lora,
        "VAE": settings.vae,
        "encoder": settings.encoder,
        "text encoder": settings.text_encoder,
    }
    missing = {what: hub_id for what, source in named.items() if (hub_id := _absent_hub_id(source)) is not None}
    problems = [_would_be_fetched(what, hub_id) for what, hub_id in missing.items()]
    generator, encoder, text_encoder = None, None, None
    with _nothing_is_fetched():
        if missing.keys() <= {"encoder", "text encoder"}:
            generator = _kept(problems, lambda: make_generator(settings, cached=False).requirements())
        if "encoder" not in missing:
            encoder = _kept(problems, lambda: _for_role(settings.encoder, "image"))
        if settings.text_encoder is not None and "text encoder" not in missing:
            text_encoder = _kept(problems, lambda: _for_role(settings.text_encoder, "text"))
    encoder_memory = sum(
        4 * tensor_count(files.weights)[1] for files in (encoder, text_encoder) if files is not None and files.weights
    )
    for_texts = encoder if settings.text_encoder is None else text_encoder
    on_gpu = device == "cuda"
    return ModelCheck(
        generator=generator,
        encoder=encoder,
        encoder_memory=encoder_memory,
        device=device,
        main_memory=(generator.main_memory if generator else 0) + encoder_memory,
        main_memory_available=available_memory(),
        gpu_memory=(generator.gpu_memory if generator else 0) + (encoder_memory if on_gpu else 0),
        gpu_memory_available=_free_gpu_memory() if on_gpu else None,
        channels=usable_channels(
            generator=generator is not None,
            images=encoder is not None and encoder.reads_images,
            texts=for_texts is not None and for_texts.reads_texts,
        ),
        problems=tuple(problems),
        text_encoder=text_encoder,
    )


def _for_role(source: str | None, role: Role) -> EncoderFiles:
    from retrieval import Encoder, check_role

    encoder = Encoder(source)
    check_role(encoder, role)
    return encoder.files


def _encoder_dict(encoder: EncoderFiles) -> dict[str, Any]:
    return {
        "name": encoder.name,
        "folder": str(encoder.path),
        "format": encoder.format,
        "dim": encoder.dim,
        "image_size": encoder.image_size,
        "mpp": encoder.mpp,
        "reads_images": encoder.reads_images,
        "reads_texts": encoder.reads_texts,
        "fingerprint": encoder.fingerprint,
        "bytes_on_disk": sum(path.stat().st_size for path in encoder.weights),
    }


def _kept(problems: list[str], find: Any) -> Any:
    try:
        return find()
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        problems.append(message)
        return None


def _absent_hub_id(source: str | None) -> str | None:
    """The hub repository that a setting names and that is neither in the hub's cache nor a local path."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from generation import split_hub_id

    name = (source or "").removeprefix("hf-hub:")
    split = split_hub_id(name)
    if split is None or Path(name).expanduser().exists():
        return None
    try:
        snapshot_download(split[0], local_files_only=True)
    except LocalEntryNotFoundError:
        return split[0]
    return None


def _would_be_fetched(what: str, hub_id: str) -> str:
    from huggingface_hub import HfApi

    try:
        files = HfApi().model_info(hub_id, files_metadata=True, timeout=10).siblings or []
        size = sum(file.size or 0 for file in files if file.rfilename.endswith(".safetensors"))
        amount = f"its safetensors files take {size / 1e9:.1f} GB in all"
    except Exception as error:  # noqa: BLE001  # the hub's client has changed its HTTP library, and so its errors
        amount = f"its size is not known, since the hub does not answer ({type(error).__name__})"
    return f"The {what} {hub_id} is not on this machine and would be fetched from the hub: {amount}."


def _free_gpu_memory() -> int:
    import torch

    return int(torch.cuda.mem_get_info()[0])


@contextlib.contextmanager
def _nothing_is_fetched() -> Iterator[None]:
    """The hub counts as unreachable: a check of some seconds must not fetch 14 GB."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
