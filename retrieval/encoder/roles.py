"""The encoders of a search by role: one compares images with images, one texts with images and with reports.

They are one encoder unless the archive has given the role `text` to another (`index_store.Archive.switch_encoder`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from index_store import COLOUR, COLOUR_FINGERPRINT
from retrieval.encoder.encoder import Encoder
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    from index_store import Archive, EncoderInfo, Role


@dataclass(frozen=True, eq=False)
class RoleEncoders:
    """The encoder at hand for each role, checked against the archive."""

    image: Encoder
    text: Encoder | None
    """None where the archive's encoder of this role is not at hand: `missing` says which it is."""
    missing: str = ""
    """In a sentence, what is missing; empty where nothing is."""

    @property
    def is_separate(self) -> bool:
        """Whether texts are compared by another encoder than images are."""
        return self.text is not self.image

    @property
    def fingerprints(self) -> dict[str, str]:
        """By role, the fingerprint of the encoder at hand."""
        known = {"image": self.image, "text": self.text}
        return {role: encoder.fingerprint for role, encoder in known.items() if encoder is not None}

    def of(self, role: Role) -> Encoder | None:
        """A role's encoder; None where it is not at hand, and for colours, which need none."""
        return {"image": self.image, "text": self.text}.get(role)

    def fingerprint(self, role: Role) -> str:
        """The fingerprint of a role's encoder. Raises ValueError where it is not at hand."""
        if role == COLOUR:
            return COLOUR_FINGERPRINT
        encoder = self.of(role)
        if encoder is None:
            raise ValueError(self.missing)
        return encoder.fingerprint


def role_encoders(archive: Archive, encoder: Encoder, text_encoder: Encoder | None = None) -> RoleEncoders:
    """The encoders of a search in this archive.

    Args:
        archive: the archive.
        encoder: compares images, and texts where the archive has no other encoder for them.
        text_encoder: compares texts; None: `encoder`, or none where the archive has another one.

    Raises:
        EncoderLoadError: an encoder lacks the tower that its role needs.
        index_store.EncoderMismatchError: the archive has given a role to another encoder.
    """
    from index_store import EncoderMismatchError

    check_role(encoder, "image")
    active, known = archive.encoder, archive.encoder_of("text")
    if active is not None and active.fingerprint != encoder.fingerprint:
        if known is not None and known.fingerprint == encoder.fingerprint:
            raise EncoderMismatchError(
                f"In this archive {described(known)} compares texts alone, and images are compared by "
                f"{described(active)}: name that one with --encoder, and this one with --text-encoder."
            )
        archive.use_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)  # refuses
    if text_encoder is None or text_encoder.fingerprint == encoder.fingerprint:
        if known is None or known.fingerprint == encoder.fingerprint:
            return RoleEncoders(encoder, encoder)
        if text_encoder is None:
            return RoleEncoders(encoder, None, _missing(known))
    check_role(text_encoder, "text")
    if known is not None and known.fingerprint == encoder.fingerprint and not encoder.reads_texts:
        raise EncoderMismatchError(
            f"In this archive no encoder compares texts yet: its only one, {described(known)}, reads images only. "
            f"Give the role to {text_encoder.name} ({text_encoder.fingerprint[:12]}), which embeds the images for it, "
            "too: `coin reembed --role text --encoder …`."
        )
    if known is not None and known.fingerprint != text_encoder.fingerprint:
        raise EncoderMismatchError(
            f"In this archive texts are compared by {described(known)}, and the text encoder at hand is "
            f"{text_encoder.name} ({text_encoder.fingerprint[:12]}). Use the archive's (--text-encoder), or give the "
            "role to the one at hand: `coin reembed --role text --encoder …`."
        )
    return RoleEncoders(encoder, text_encoder)


def check_role(encoder: Encoder, role: Role) -> None:
    """Raise EncoderLoadError where an encoder cannot have a role: it lacks a tower that the role needs."""
    if role == "image":
        encoder.require_images()
    elif not encoder.reads_images:
        raise EncoderLoadError(
            f"The encoder '{encoder.name}' reads texts only: the role `text` compares texts with images of the same "
            "encoder, too. Use an encoder that reads both."
        )
    elif not encoder.reads_texts:
        raise EncoderLoadError(
            f"The encoder '{encoder.name}' reads images only: it cannot compare texts. For the role `text`, use an "
            "encoder that reads both."
        )


def described(encoder: EncoderInfo) -> str:
    """An encoder by its name and the beginning of its fingerprint."""
    return f"{encoder.name} ({encoder.fingerprint[:12]})"


def _missing(known: EncoderInfo) -> str:
    return (
        f"In this archive texts are compared by {described(known)}, which this search does not have: name it with "
        "--text-encoder."
    )
