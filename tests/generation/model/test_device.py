from __future__ import annotations

import pytest
import torch

from generation import DeviceError, choose_device, choose_dtype

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")


def test_auto_is_a_device_of_this_machine() -> None:
    assert torch.zeros(1, device=choose_device()).device.type == choose_device()


@no_cuda
def test_cuda_where_there_is_none_is_refused_with_advice() -> None:
    with pytest.raises(DeviceError, match=r"'cuda' was requested.*finds none.*Use 'auto' or 'cpu'.*nvidia-smi"):
        choose_device("cuda")


def test_an_unknown_device_names_the_choices() -> None:
    with pytest.raises(DeviceError, match="'tpu': choose one of auto, cuda, mps, cpu"):
        choose_device("tpu")


def test_the_cpu_computes_in_float32_unless_told_otherwise() -> None:
    assert choose_dtype("auto", "cpu") == torch.float32
    assert choose_dtype("bfloat16", "cpu") == torch.bfloat16


def test_an_unknown_number_format_names_the_choices() -> None:
    with pytest.raises(DeviceError, match="'int8': choose one of auto, float32"):
        choose_dtype("int8", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_computes_in_half_precision() -> None:
    assert choose_dtype("auto", "cuda") in (torch.bfloat16, torch.float16)
