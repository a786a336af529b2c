"""CLIP's own vocabulary, which open_clip brings along: counted with it, the numbers are those of the real SDXL."""

from __future__ import annotations

from collections import Counter

from open_clip import SimpleTokenizer

_CLIP = SimpleTokenizer()


def count_tokens(text: str) -> int:
    """With the two tokens that mark begin and end."""
    return len(_CLIP.encode(text)) + 2


def characters(*texts: str) -> Counter[str]:
    """Letters and digits, and how often each stands there."""
    return Counter(c for text in texts for c in text if c.isalnum())
