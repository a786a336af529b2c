"""From settings to a search in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.encoder.encoder import Encoder
from retrieval.search.case_search import CaseSearch
from retrieval.search.fusion import FusionRule, read_rules

if TYPE_CHECKING:
    from generation import CoinGenerator


@contextmanager
def open_search(
    archive: str | Path,
    *,
    encoder: str | Path | None = None,
    text_encoder: str | Path | None = None,
    base: str | Path | None = None,
    lora: str | Path | None = None,
    device: str = "auto",
    rules: str | Path | Mapping[str, FusionRule] | None = None,
    cache: str | Path | None = None,
    site_hint: bool = True,
    glossary: bool = True,
    **generator: Any,
) -> Iterator[CaseSearch]:
    """Open an archive for searching, and close it afterwards.

        with open_search("cases") as search:
            result = search.by_image(Path("smear.png"))

    No model is read before it is needed: queries by case load none, those by image the encoder alone.

    Args:
        archive: the archive's folder. It is opened for reading.
        encoder: the model that the archive was embedded by (`Encoder`); None: the starter.
        text_encoder: the model that the archive gave the role `text`, where it is another; None: `encoder`.
        base, lora: the models that generate images (`generation.CoinGenerator`); None: the starter's.
        device: where all models run: "auto", "cpu", "cuda" or "mps".
        rules: how channels are fused: a file of rules (`read_rules`), or rules by what a query holds, in the place of
            those that ship.
        cache: a folder that keeps generated images; None: they are not kept.
        site_hint, glossary: see `CaseSearch`.
        generator: further options of `generation.CoinGenerator`.

    Raises:
        index_store.ArchiveError: the folder is no archive, or (`EncoderMismatchError`) was embedded by another
            encoder.
        EncoderLoadError: the encoder's files are missing or broken.
        QueryError: the file of rules is wrong.
    """
    from index_store import Archive

    if isinstance(rules, str | Path):
        rules = read_rules(Path(rules))
    with Archive.open(Path(archive), read_only=True) as opened:
        yield CaseSearch(
            opened,
            Encoder(encoder, device=device),
            _generator(base, lora, device=device, cache=cache, **generator),
            text_encoder=None if text_encoder is None else Encoder(text_encoder, device=device),
            rules=rules,
            site_hint=site_hint,
            glossary=glossary,
        )


def _generator(
    base: str | Path | None, lora: str | Path | None, *, cache: str | Path | None, **options: Any
) -> CoinGenerator:
    from generation import CoinGenerator, GenerationCache

    return CoinGenerator(base, lora, cache=None if cache is None else GenerationCache(Path(cache)), **options)
