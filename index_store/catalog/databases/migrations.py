"""The schema's history: numbered, forward-only steps, each in one transaction.

Step n brings an archive from version n-1 to n. A released step is never edited: it describes the past, so
it defines its tables itself and does not use `models.py`. On every database the steps make the same tables; only the
names of types differ.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    text,
)
from sqlalchemy.schema import SchemaItem

from index_store.errors import NewerArchiveError

Migration = Callable[[Connection], None]

NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits on both databases: SQLite's INTEGER has them, PostgreSQL's does not."""


def _first_tables(connection: Connection) -> None:
    metadata = MetaData()

    def table(name: str, *items: SchemaItem) -> None:
        Table(name, metadata, *items, sqlite_autoincrement=name in numbered)

    def key() -> Column[int]:
        return Column("id", NUMBER, primary_key=True)

    def words(*names: str) -> list[Column[str]]:
        return [Column(name, Text, nullable=False) for name in names]

    numbered = {"encoders", "patients", "cases", "images", "changes"}
    table(
        "archive",
        Column("uuid", Text, primary_key=True),
        *words("name", "created"),
        Column("active_encoder_id", ForeignKey("encoders.id")),
    )
    table(
        "encoders",
        key(),
        Column("fingerprint", Text, nullable=False, unique=True),
        *words("name"),
        Column("dim", Integer, nullable=False),
        *words("created"),
    )
    table("patients", key(), Column("key", Text, nullable=False, unique=True))
    table(
        "cases",
        key(),
        Column("key", Text, nullable=False, unique=True),
        Column("patient_id", ForeignKey("patients.id"), nullable=False, index=True),
        *words("report", "site", "system", "category", "source", "license"),
        Column("phantom", Boolean, nullable=False),
    )
    table(
        "images",
        key(),
        Column("case_id", ForeignKey("cases.id"), nullable=False),
        Column("sha256", Text, nullable=False, index=True),
        *words("file", "file_sha256", "path"),
        Column("width", Integer, nullable=False),
        Column("height", Integer, nullable=False),
        *words("slide", "kind", "stain", "preparation"),
        Column("attributes", JSON, nullable=False),
        UniqueConstraint("case_id", "sha256"),
    )
    table(
        "embeddings",
        Column("encoder_id", ForeignKey("encoders.id"), primary_key=True),
        Column("image_id", ForeignKey("images.id"), primary_key=True, index=True),
        Column("vector", LargeBinary, nullable=False),
    )
    table(
        "changes",
        Column("sequence", NUMBER, primary_key=True),
        Column("encoder_id", ForeignKey("encoders.id"), nullable=False),
        Column("image_id", NUMBER, nullable=False),
        *words("operation"),
        Column("token", BigInteger, nullable=False),
        Index("changes_by_encoder", "encoder_id", "sequence"),
    )
    table("loose_files", Column("name", Text, primary_key=True))
    metadata.create_all(connection)


def _report_vectors_and_revision(connection: Connection) -> None:
    number, data = ("INTEGER", "BLOB") if connection.dialect.name == "sqlite" else ("BIGINT", "BYTEA")
    connection.execute(text(f"ALTER TABLE archive ADD COLUMN revision {number} NOT NULL DEFAULT 0"))
    connection.execute(
        text(
            "CREATE TABLE report_embeddings ("
            f"encoder_id {number} NOT NULL REFERENCES encoders (id), "
            f"case_id {number} NOT NULL REFERENCES cases (id), "
            f"report_sha256 TEXT NOT NULL, vector {data} NOT NULL, PRIMARY KEY (encoder_id, case_id))"
        )
    )
    connection.execute(text("CREATE INDEX ix_report_embeddings_case_id ON report_embeddings (case_id)"))


def _derived_labels(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE cases ADD COLUMN derived TEXT NOT NULL DEFAULT ''"))


def _text_role(connection: Connection) -> None:
    number = "INTEGER" if connection.dialect.name == "sqlite" else "BIGINT"
    connection.execute(text(f"ALTER TABLE archive ADD COLUMN text_encoder_id {number} REFERENCES encoders (id)"))


def _scale(connection: Connection) -> None:
    double = "DOUBLE" if connection.dialect.name == "sqlite" else "DOUBLE PRECISION"
    connection.execute(text(f"ALTER TABLE images ADD COLUMN mpp {double}"))
    connection.execute(text("ALTER TABLE images ADD COLUMN mpp_source TEXT NOT NULL DEFAULT ''"))


def _counts(connection: Connection) -> None:
    """Only the table: a migration fills it at its end, and whoever finds it empty counts the rows."""
    Table(
        "counts",
        MetaData(),
        Column("id", Text, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("value", Text, nullable=False),
        Column("number", NUMBER, nullable=False),
    ).create(connection)


def _slides(connection: Connection) -> None:
    number = "INTEGER" if connection.dialect.name == "sqlite" else "BIGINT"
    words = [Column(name, Text, nullable=False) for name in ("overview", "overview_sha256", "notes")]
    metadata = MetaData()
    Table("cases", metadata, Column("id", NUMBER, primary_key=True))
    Table(
        "slides",
        metadata,
        Column("id", NUMBER, primary_key=True),
        Column("case_id", ForeignKey("cases.id"), nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("format", Text, nullable=False),
        Column("width", NUMBER, nullable=False),
        Column("height", NUMBER, nullable=False),
        Column("mpp", Double),
        Column("planes", Integer, nullable=False),
        *words,
        Column("choices", JSON, nullable=False),
        UniqueConstraint("case_id", "fingerprint"),
        sqlite_autoincrement=True,
    ).create(connection)
    connection.execute(text(f"ALTER TABLE images ADD COLUMN slide_id {number} REFERENCES slides (id)"))
    for name in ("x", "y", "width", "height"):
        connection.execute(text(f"ALTER TABLE images ADD COLUMN slide_{name} {number}"))
    for name in ("level", "plane"):
        connection.execute(text(f"ALTER TABLE images ADD COLUMN slide_{name} INTEGER"))


def _keys_in_order(connection: Connection) -> None:
    """By which keys are found by their beginning. SQLite orders texts so in any index; PostgreSQL by a language."""
    if connection.dialect.name == "postgresql":
        connection.execute(text('CREATE INDEX cases_by_key ON cases (key COLLATE "C")'))


MIGRATIONS: tuple[Migration, ...] = (
    *(_first_tables, _report_vectors_and_revision, _derived_labels, _text_role),
    *(_scale, _counts, _slides, _keys_in_order),
)

OPTIONAL_FOR_READERS: frozenset[Migration] = frozenset({_text_role, _scale, _counts, _slides, _keys_in_order})
"""Steps without which an archive can be read all the same: it is read as if what they add were empty, or
without it."""

ROLES_VERSION = 4
"""The version that knows an encoder of the text role."""
SCALE_VERSION = 5
"""The version that knows the scale of images."""
COUNTS_VERSION = 6
"""The version that keeps counts."""
SLIDES_VERSION = 7
"""The version that knows fields of whole slides."""


def current_version() -> int:
    """The schema version this software writes."""
    return len(MIGRATIONS)


def schema_version(connection: Connection) -> int:
    """The schema version of the database; 0 where it holds no archive."""
    if not inspect(connection).has_table("schema_version"):
        return 0
    return int(connection.scalar(text("SELECT version FROM schema_version")) or 0)


def is_readable(version: int) -> bool:
    """Whether an archive of this earlier version can be read without bringing it up to date."""
    return version > 0 and set(MIGRATIONS[version:]) <= OPTIONAL_FOR_READERS


def refuse_newer(version: int, where: str) -> None:
    """Raise `NewerArchiveError` for a version this software does not know."""
    if version > current_version():
        raise NewerArchiveError(
            f"{where} was written by a newer version (schema {version}; this one knows {current_version()}). "
            "Nothing was touched. Update coin-retrieval to open it."
        )


def apply_next(connection: Connection) -> int:
    """Apply the next step within the caller's transaction; returns the version that it leads to."""
    version = schema_version(connection)
    if version == 0:
        connection.execute(text("CREATE TABLE schema_version (version INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO schema_version VALUES (0)"))
    MIGRATIONS[version](connection)
    connection.execute(text("UPDATE schema_version SET version = :version"), {"version": version + 1})
    return version + 1
