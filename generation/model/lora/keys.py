"""The keys of published LoRAs: which layer a tensor belongs to, and what it is in the change of that layer."""

from __future__ import annotations

import re
from typing import Final

_ROLES: Final[dict[str, str]] = {
    "down": r"[._]lora(?:_down|_A(?:\.\w+)?|\.down|_linear_layer\.down)\.weight",
    "up": r"[._]lora(?:_up|_B(?:\.\w+)?|\.up|_linear_layer\.up)\.weight",
    "up_bias": r"[._]lora(?:_up|_B(?:\.\w+)?|\.up|_linear_layer\.up)\.bias",
    "mid": r"\.lora_mid\.weight",
    "alpha": r"\.alpha",
    "scalar": r"\.scalar",
    "magnitude": r"\.(?:dora_scale|lora_magnitude_vector(?:\.\w+)??(?:\.weight)?)",
    "diff": r"\.(?:diff|w_norm)",
    "diff_bias": r"\.(?:diff_b|b_norm)",
}
_FACTORS = (
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)
_PATTERNS = [(role, re.compile(rf"(.+?){end}")) for role, end in _ROLES.items()]
_PATTERNS += [(role, re.compile(rf"(.+)\.{role}")) for role in _FACTORS]
_BUNDLED = re.compile(r"bundle_emb\.(.+?)\.[^.]+(?:\.\*)?")


def parse_key(key: str) -> tuple[str, str] | None:
    """The layer's name, as the file has it, and the role of the tensor; None for a key of another kind."""
    for role, pattern in _PATTERNS:
        if match := pattern.fullmatch(key):
            name = match[1].replace(".processor.", ".")
            if key[match.end(1)] == "_" and name.endswith(".to_out"):  # diffusers before 0.22: `…to_out_lora.up.weight`
                name += ".0"
            return name, role
    return None


def bundled_embedding(key: str) -> str | None:
    """The name of the embedding (textual inversion) that a key bundled with a LoRA belongs to; None for others."""
    match = _BUNDLED.fullmatch(key)
    return match[1] if match else None
