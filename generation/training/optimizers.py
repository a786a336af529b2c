"""The optimizers of a training, some of packages that need not be installed, and their state as tensors and numbers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from generation.errors import SettingsError

if TYPE_CHECKING:
    import torch

OPTIMIZERS = ("adamw", "adamw8bit", "prodigy")
PRODIGY_RATE: Final = 0.1
"""Prodigy multiplies the learning rate with one of its own, and is meant for 1: below this it hardly learns."""
_PACKAGES: Final = {"adamw8bit": "bitsandbytes", "prodigy": "prodigyopt"}
_SET_HERE: Final = {"lr", "weight_decay", "params"}
Numbers = Mapping[str, Any]


def optimizer_package(name: str) -> Any:
    """The package of an optimizer; None for torch's own.

    Raises `SettingsError` where it is not installed.
    """
    if name not in _PACKAGES:
        return None
    return needed_package(_PACKAGES[name], f"The optimizer {name}", "--optimizer adamw")


def needed_package(module: str, what: str, instead: str) -> Any:
    """Import a module of a package that need not be installed, and that bears the module's last name.

    Raises `SettingsError`, which says that `what` needs it, and that one may use `instead`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.rpartition(".")[2]
        raise SettingsError(
            f"{what} needs the package {package}, which is not installed, or not whole ({error}): "
            f"pip install {package}, or {instead}."
        ) from error


def make_optimizer(name: str, parameters: list[Any], *, learning_rate: float, weight_decay: float) -> Any:
    """An optimizer over parameters. `adamw8bit` (bitsandbytes) keeps its state in 8 bits, `prodigy` (prodigyopt) finds
    the learning rate by itself.

    Raises `SettingsError`: its package is not installed.
    """
    import torch

    package = optimizer_package(name)
    given: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay}
    if name == "adamw8bit":
        return package.optim.AdamW8bit(parameters, **given)
    if name == "prodigy":  # as its authors advise where the rate is warmed up
        return package.Prodigy(parameters, **given, use_bias_correction=True, safeguard_warmup=True)
    return torch.optim.AdamW(parameters, **given)


def optimizer_state(optimizer: Any, names: list[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The state of an optimizer over parameters of these names (in its order): tensors of any shapes by name, and the
    numbers that are no tensors, of parameters and of groups; none for torch's own."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    whole = optimizer.state_dict()
    for index, values in whole["state"].items():
        for key, value in _leaves(values):
            if isinstance(value, torch.Tensor):
                tensors[f"{key}/{names[index]}"] = value.clone() if "." in key else value  # some share their memory
            elif value is not None:
                numbers[f"{key}/{names[index]}"] = value
    groups = [
        {
            key: value
            for key, value in group.items()
            if key not in _SET_HERE and type(value) in (int, float) and value != optimizer.defaults.get(key)
        }
        for group in whole["param_groups"]
    ]
    return tensors, {"values": numbers, "groups": groups} if numbers or any(groups) else {}


def restore_optimizer(optimizer: Any, names: list[str], tensors: Mapping[str, torch.Tensor], numbers: Numbers) -> None:
    """Restore the state that `optimizer_state` returned; tensors have the shapes that they had."""
    index = {name: number for number, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *numbers.get("values", {}).items()]:
        kind, _, name = key.partition("/")
        outer, _, inner = kind.rpartition(".")
        place = state.setdefault(index[name], {})
        (place.setdefault(outer, {}) if outer else place)[inner] = value
    whole = optimizer.state_dict()
    kept = numbers.get("groups") or [{}] * len(whole["param_groups"])
    groups = [{**group, **own} for group, own in zip(whole["param_groups"], kept, strict=True)]
    optimizer.load_state_dict({**whole, "state": state, "param_groups": groups})


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values; those of a dictionary within (bitsandbytes has one) by both names."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{key}.")
        else:
            yield f"{prefix}{key}", value
