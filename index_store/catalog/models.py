"""The tables, as typed SQLAlchemy models. They are authoritative; everything else in an archive is derived from them,
or a file that they name.

The tables are made by `databases/migrations.py`, never by `create_all`; a test compares the two.
Text is never NULL: the empty string means "not given".
"""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# By default SQLite reuses the id of a deleted last row. An index that follows the log, and a result that somebody has
# noted down, must never get another image under an old id.
NEVER_REUSED = {"sqlite_autoincrement": True}

# 64 bits everywhere: SQLite's INTEGER has them, PostgreSQL's does not.
Number = Annotated[int, mapped_column(BigInteger().with_variant(Integer, "sqlite"))]
Key = Annotated[int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)]

ADDED, REMOVED = "add", "remove"

PICTURE_NOTE = " picture note"
"""Among an image's attributes: how its file was read. A manifest's columns are stripped, so that none is called so."""


class Base(DeclarativeBase):
    """Base of the models; maps Python types to column types."""

    type_annotation_map = {str: Text, dict[str, str]: JSON, dict[str, Any]: JSON}  # noqa: RUF012  # SQLAlchemy's own protocol


class ArchiveRow(Base):
    """The archive itself: exactly one row. `active_encoder_id` has the image role; so it has the text role where
    `text_encoder_id` is NULL."""

    __tablename__ = "archive"

    uuid: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created: Mapped[str]
    active_encoder_id: Mapped[int | None] = mapped_column(ForeignKey("encoders.id"))
    revision: Mapped[Number] = mapped_column(default=0, server_default="0")  # see `catalog.current_revision`
    # Deferred, since an archive of the version before, opened read-only, does not have it: see `encoders.encoder_of`.
    text_encoder_id: Mapped[int | None] = mapped_column(ForeignKey("encoders.id"), deferred=True)


class EncoderRow(Base):
    """An encoder that embedded images of this archive. There may be several; the archive's row gives one or two of them
    a role in searches."""

    __tablename__ = "encoders"
    __table_args__ = NEVER_REUSED

    id: Mapped[Key]
    fingerprint: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    dim: Mapped[int]
    created: Mapped[str]


class PatientRow(Base):
    """A patient, with the key that the manifest gives."""

    __tablename__ = "patients"
    __table_args__ = NEVER_REUSED

    id: Mapped[Key]
    key: Mapped[str] = mapped_column(unique=True)


class CaseRow(Base):
    """One specimen with one report."""

    __tablename__ = "cases"
    __table_args__ = NEVER_REUSED

    id: Mapped[Key]
    key: Mapped[str] = mapped_column(unique=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    report: Mapped[str]
    site: Mapped[str]
    system: Mapped[str]
    category: Mapped[str]
    source: Mapped[str]
    license: Mapped[str]
    phantom: Mapped[bool]
    derived: Mapped[str] = mapped_column(default="", server_default="")  # names of columns, joined by commas

    patient: Mapped[PatientRow] = relationship()
    images: Mapped[list[ImageRow]] = relationship(back_populates="case", order_by="ImageRow.id")
    slides: Mapped[list[SlideRow]] = relationship(back_populates="case", order_by="SlideRow.id")


# In the order of characters: PostgreSQL's own index of the keys has a language's, by which no beginning is found.
Index("cases_by_key", CaseRow.key.collate("C")).ddl_if(dialect="postgresql")


class SlideRow(Base):
    """A whole slide of which a case has fields. The same slide in two cases is two rows; its overview is one file."""

    __tablename__ = "slides"
    __table_args__ = (UniqueConstraint("case_id", "fingerprint"), NEVER_REUSED)

    id: Mapped[Key]
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    fingerprint: Mapped[str]
    format: Mapped[str]
    width: Mapped[Number]  # in pixels of level 0
    height: Mapped[Number]
    mpp: Mapped[float | None]  # µm a pixel of level 0
    planes: Mapped[int]
    overview: Mapped[str]  # within the store; '' where there is none
    overview_sha256: Mapped[str]
    notes: Mapped[str]  # a sentence a line
    # By settings, the fields that were chosen (as `slide_tables.rows` packs them) until all are stored; then none.
    choices: Mapped[dict[str, Any]]

    case: Mapped[CaseRow] = relationship(back_populates="slides")


class ImageRow(Base):
    """A field or a cell crop of a case. The same content in two cases is two rows and one file."""

    __tablename__ = "images"
    __table_args__ = (UniqueConstraint("case_id", "sha256"), NEVER_REUSED)

    id: Mapped[Key]
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    sha256: Mapped[str] = mapped_column(index=True)  # of the source's bytes
    file: Mapped[str]  # within the store; '' when referenced in place
    file_sha256: Mapped[str]  # of the bytes at `file` or `path`
    path: Mapped[str]  # absolute, when referenced in place; else ''
    width: Mapped[int]
    height: Mapped[int]
    slide: Mapped[str]
    kind: Mapped[str]
    stain: Mapped[str]
    preparation: Mapped[str]
    attributes: Mapped[dict[str, str]]
    # Both deferred, since an archive of an earlier version, opened read-only, does not have them (`catalog.has_scale`).
    mpp: Mapped[float | None] = mapped_column(deferred=True)  # µm a pixel
    mpp_source: Mapped[str] = mapped_column(default="", server_default="", deferred=True)  # a key of `scale.RANK`
    # Where on which slide, as of `SlidePlace`: likewise (`catalog.has_slides`). All of them, or none.
    slide_id: Mapped[int | None] = mapped_column(ForeignKey("slides.id"), deferred=True, deferred_group="place")
    slide_x: Mapped[Number | None] = mapped_column(deferred=True, deferred_group="place")
    slide_y: Mapped[Number | None] = mapped_column(deferred=True, deferred_group="place")
    slide_width: Mapped[Number | None] = mapped_column(deferred=True, deferred_group="place")
    slide_height: Mapped[Number | None] = mapped_column(deferred=True, deferred_group="place")
    slide_level: Mapped[int | None] = mapped_column(deferred=True, deferred_group="place")
    slide_plane: Mapped[int | None] = mapped_column(deferred=True, deferred_group="place")

    case: Mapped[CaseRow] = relationship(back_populates="images")
    of_slide: Mapped[SlideRow | None] = relationship()


class EmbeddingRow(Base):
    """A unit vector, keyed by encoder and image: little-endian float32, `dim` of them."""

    __tablename__ = "embeddings"

    # In this order, so that one encoder's vectors are one range of the key.
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoders.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True, index=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class ReportEmbeddingRow(Base):
    """A unit vector of a case's report, keyed by encoder and case, in the format of `EmbeddingRow`.

    Current while `report_sha256` is that of the case's report: see report_vectors.py.
    """

    __tablename__ = "report_embeddings"

    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoders.id"), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True, index=True)
    report_sha256: Mapped[str]
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class ChangeRow(Base):
    """The change log, which every vector index follows. Written in the transaction of the change itself.

    `image_id` is no foreign key, since the entry of a removal outlives its image. `token` is a random number: an index
    that remembers (sequence, token) notices when the catalog was restored from a backup and has a different history
    since then.
    """

    __tablename__ = "changes"
    __table_args__ = (Index("changes_by_encoder", "encoder_id", "sequence"), NEVER_REUSED)

    sequence: Mapped[Key]
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoders.id"))
    image_id: Mapped[Number]
    operation: Mapped[str]
    token: Mapped[int] = mapped_column(BigInteger)


class CountRow(Base):
    """How many there are of one kind and value: see `counts/tally.py`. Derived from the rows, and changed with them."""

    __tablename__ = "counts"

    id: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of kind and value
    kind: Mapped[str]
    value: Mapped[str]
    number: Mapped[Number]


class OrphanFileRow(Base):
    """A stored file that may have no row that needs it (see `orphan_files`).

    Inserted in a transaction of its own before files are written, and in the transaction that removes their last row;
    deleted when the files have rows, or are gone. So the files that a killed process leaves are known by name, and the
    next writer deletes them without searching the store.
    """

    __tablename__ = "loose_files"

    name: Mapped[str] = mapped_column(primary_key=True)
