"""Where synthetic images come from: a set is used only if it is known whom its LoRA was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generation.model.files.weight_files import STARTER
from generation.model.lora.find import find_lora
from retrieval import SyntheticSetError, require_maker


def a_set(folder: Path, lora: str, fingerprint: str) -> Path:
    folder.mkdir()
    (folder / "set.json").write_text(json.dumps({"recipe": {"lora": lora, "lora_fingerprint": fingerprint}}))
    return folder


def test_the_lora_of_a_set_is_the_starters_or_is_named(tmp_path: Path, sdxl_lora: Path) -> None:
    fingerprint = find_lora(sdxl_lora).fingerprint
    require_maker(a_set(tmp_path / "plain", "", ""), None)
    require_maker(a_set(tmp_path / "shipped", "starter", find_lora(STARTER / "lora").fingerprint), None)
    made = a_set(tmp_path / "made", "ours", f"{fingerprint} + {'c' * 64}")
    require_maker(made, str(sdxl_lora))
    for lora in (None, str(STARTER / "lora")):
        with pytest.raises(SyntheticSetError, match="made was made with the LoRA ours: name its folder with --lora"):
            require_maker(made, lora)
