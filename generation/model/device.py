"""The device and number format of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generation.errors import DeviceError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = ("auto", "float32", "bfloat16", "float16")


def choose_device(device: str = "auto") -> str:
    """The device to run on: "cuda", "mps" or "cpu"; for "auto" the first of them that this machine has.

    Raises `DeviceError` for a name that is not one of `DEVICES`, and for a device that this machine lacks: a run that
    was meant for a GPU should not run on the CPU unnoticed.
    """
    if device not in DEVICES:
        raise DeviceError(
            f"Unknown device {device!r}: choose one of {', '.join(DEVICES)}. "
            "To pick one of several GPUs, set CUDA_VISIBLE_DEVICES."
        )
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, present in available.items() if present)
    if not available[device]:
        advice = " and that the NVIDIA driver is installed (`nvidia-smi`)" if device == "cuda" else ""
        raise DeviceError(
            f"Device {device!r} was requested, but PyTorch {torch.__version__} finds none on this machine. "
            f"Use 'auto' or 'cpu', or check that PyTorch was built for it{advice}."
        )
    return device


def choose_dtype(dtype: str = "auto", device: str = "cpu") -> torch.dtype:
    """The number format of the weights on `device` (a result of `choose_device`).

    "auto" is bfloat16 on a CUDA GPU that computes in it (Ampere and later), float16 on an older one (the VAE then stays
    in float32, see `pipeline`), and float32 elsewhere: on CPUs half precision is slower, not faster.

    Raises `DeviceError` for a name that is not one of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise DeviceError(f"Unknown number format {dtype!r}: choose one of {', '.join(DTYPES)}.")
    import torch

    if dtype != "auto":
        named: torch.dtype = getattr(torch, dtype)
        return named
    if device != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
