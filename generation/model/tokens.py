"""Counts the tokens of a text, as the base's text encoders read it."""

from __future__ import annotations

from generation.errors import WeightsError
from generation.model.weights import Base


class PromptTokens:
    """Counts tokens as the base's text encoders read them."""

    def __init__(self, base: Base) -> None:
        from transformers import CLIPTokenizer

        try:
            self.tokenizers = {name: CLIPTokenizer.from_pretrained(base.folder / name) for name in base.tokenizers}
        except Exception as error:  # the tokenizers' library knows no other
            first_line = str(error).strip().partition("\n")[0]
            raise WeightsError(
                f"The tokenizers of the base {base.name} do not load ({first_line}). Copy or download it anew."
            ) from error
        encoders = [name.replace("tokenizer", "text_encoder") for name in base.tokenizers]
        # 77 is CLIP's own default, and what SDXL's encoders read; a tokenizer without a limit says 1e30.
        positions = [int(base.config(name).get("max_position_embeddings", 77)) for name in encoders]
        self.limit: int = min(*positions, *(tokenizer.model_max_length for tokenizer in self.tokenizers.values()))

    def count(self, text: str) -> int:
        """Tokens of `text` with the two that mark begin and end; of two tokenizers, the larger number."""
        # verbose: transformers would log a warning for every text above the limit, and counting is how we find those.
        return max(len(tokenizer(text, verbose=False).input_ids) for tokenizer in self.tokenizers.values())
