"""Check whether the vector index holds the vectors of the records, and finds them. Works with every `VectorIndex`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.change_log import log_head, stored_vectors
from index_store.catalog.models import EmbeddingRow, EncoderRow
from index_store.index.storage import MISSING
from index_store.maintenance.findings import Diagnosis, diagnosis
from index_store.records import Role
from index_store.search.protocols import REBUILT_NOTE, VectorSearch
from index_store.vectors import Ids, Selection, VectorIndex, Vectors

RECALLED = 10_000
"""The most stored vectors that are searched for, evenly sampled: 1e4 among 1e4 take seconds, 1e5 among 1e5 minutes."""
BATCH = 256
SAME = 1e-4
"""Tolerance of a score against the product of the stored vectors: half precision deviates less."""

SAVED = "Nothing was lost: the records are the truth. With --repair it is saved; if it comes again, check the disk."
REBUILT = "With --repair the index is made anew from the records. Report this."


def check_index(index: VectorSearch, role: Role, *, recalled: int, reported: int) -> tuple[int, list[Diagnosis]]:
    """Check the index of a role's encoder.

    Args:
        index: the indexes.
        role: the role.
        recalled: the most stored vectors to search for.
        reported: how many of the notes on the indexes were reported before.

    Returns:
        How many vectors were searched for, and what is wrong.
    """
    with index.synced(role) as held:
        if held is None:
            return 0, []
        session, encoder, synced = held
        synced.verify(session)
        anew = [note for note in index.notes[reported:] if note.startswith(REBUILT_NOTE)]
        missing = [note for note in anew if note.endswith(f"{MISSING}.")]
        found = diagnosis(
            "index",
            "there was no saved vector index (deleted, or the first addition was interrupted); it was made anew",
            missing,
            "Nothing was lost: the records are the truth. The next command that writes, or --repair, saves it.",
            repair=index.save,
            harmless=True,
        )
        unfit = [note for note in anew if note not in missing]
        found += diagnosis(
            "index", "the saved vector index did not fit and was made anew", unfit, SAVED, repair=index.save
        )
        stored = _stored_ids(session, encoder)
        repair = _rebuild(index, role)
        if synced.position != log_head(session):
            found += diagnosis("index", "the index is behind the change log", [synced.position], REBUILT, repair=repair)
        if synced.count != len(stored):
            counts = [f"{synced.count} vectors in the index, {len(stored)} in the records"]
            found += diagnosis("index", "index and records differ in number", counts, REBUILT, repair=repair)
        if not synced.count:  # nothing to look into; that it lacks what is stored has been said
            return 0, found
        strays = _strays(synced.index, stored, encoder.dim)
        found += diagnosis("index", "the index holds images that the records do not", strays, REBUILT, repair=repair)
        sample = stored[np.linspace(0, len(stored) - 1, min(recalled, len(stored))).astype(np.int64)]
        lost = _not_found(session, synced.index, encoder, sample)
        found += diagnosis(
            "index",
            "stored vectors do not find themselves",
            [f"image {image_id}" for image_id in lost],
            REBUILT,
            repair=repair,
        )
        return len(sample), found


def _stored_ids(session: Session, encoder: EncoderRow) -> Ids:
    query = select(EmbeddingRow.image_id).where(EmbeddingRow.encoder_id == encoder.id).order_by(EmbeddingRow.image_id)
    return np.array(session.scalars(query).all(), dtype=np.int64)


def _strays(index: VectorIndex, stored: Ids, dim: int) -> list[str]:
    """Images that the index finds when all stored ones are excluded."""
    query = np.zeros((1, dim), dtype=np.float32)
    query[0, 0] = 1.0
    (found,) = index.search(query, 1, selection=Selection(stored, excluding=True))
    return [f"image {image_id}" for image_id, _ in found]


def _not_found(session: Session, index: VectorIndex, encoder: EncoderRow, sample: Ids) -> list[int]:
    """Those of the sample that a search for their own vector does not return with the right score."""
    lost: list[int] = []
    for start in range(0, len(sample), BATCH):
        ids, vectors = stored_vectors(session, encoder.id, sample[start : start + BATCH], encoder.dim)
        own = (vectors.astype(np.float64) ** 2).sum(axis=1)
        for i, ranking in enumerate(index.search(vectors, 1)):
            first = ranking[0] if ranking else (-1, -np.inf)
            if first[0] != ids[i]:
                # Another image's vector may be equal, or a little longer: then look for this image only.
                if first[1] < own[i] - SAME:
                    lost.append(int(ids[i]))
                    continue
                first = _score_of(index, vectors[i : i + 1], int(ids[i]))
            if first[0] != ids[i] or abs(first[1] - own[i]) > SAME:
                lost.append(int(ids[i]))
    return lost


def _score_of(index: VectorIndex, vector: Vectors, image_id: int) -> tuple[int, float]:
    (ranking,) = index.search(vector, 1, selection=Selection(np.array([image_id], dtype=np.int64)))
    return ranking[0] if ranking else (-1, -np.inf)


def _rebuild(index: VectorSearch, role: Role) -> Callable[[], None]:
    def repair() -> None:
        with index.synced(role) as held:
            if held is not None:
                session, _, synced = held
                synced.rebuild(session, "an examination found it wanting")
        index.save()

    return repair
