"""An archive under any sequence of calls equals a plain dictionary searched by brute force."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from archive_builders import DIM, FINGERPRINT, encoded, picture, stored_files, vector_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from index_store import Archive, CaseFilter, ManifestRow, NewImage, PlannedImage, content_hash, decode_image

MEMORY = Path("/dev/shm")  # hundreds of small transactions: no need to wait for a disk each time
CASES = [f"case-{i}" for i in range(6)]
PATIENTS = ["ann", "bob", "cy"]
SITES = ["cervix", "urine"]
STAINS = ["Pap", "MGG"]
CONTENTS = [encoded(picture(seed, size=(8, 8)), "PNG" if seed % 2 else "JPEG") for seed in range(8)]


@dataclass
class ModelCase:
    report: str
    site: str
    patient: str
    images: dict[str, str] = field(default_factory=dict)  # content hash -> stain


def rows() -> st.SearchStrategy[tuple[ManifestRow, bytes]]:
    def build(case: str, patient: str, site: str, stain: str, report: str, content: bytes) -> tuple[ManifestRow, bytes]:
        row = ManifestRow(2, "x.png", Path("x.png"), case, patient, report, site=site, stain=stain)
        return row, content

    reports = st.sampled_from(["Benign.", "Malignant.", "Größe ≥ 3 µm"])
    choices = (st.sampled_from(values) for values in (CASES, PATIENTS, SITES, STAINS))
    return st.builds(build, *choices, reports, st.sampled_from(CONTENTS))


class ArchiveMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.model: dict[str, ModelCase] = {}

    @initialize()
    def create(self) -> None:
        self.archive = Archive.create(self.folder / "archive")
        self.archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)

    def teardown(self) -> None:
        self.archive.close()
        shutil.rmtree(self.folder)

    def note(self, row: ManifestRow) -> ModelCase:
        case = self.model.setdefault(row.case, ModelCase("", "", ""))
        case.report, case.site, case.patient = row.report, row.site, row.patient
        return case

    @rule(batch=st.lists(rows(), min_size=1, max_size=4))
    def add(self, batch: list[tuple[ManifestRow, bytes]]) -> None:
        items = [NewImage(row, content_hash(data), data, decode_image(data)) for row, data in batch]
        vectors = np.array([vector_of(item.sha256) for item in items])
        added = 0
        for item in items:
            if item.sha256 not in self.model.get(item.row.case, ModelCase("", "", "")).images:
                self.note(item.row).images[item.sha256] = item.row.stain
                added += 1
        assert self.archive.add(items, vectors, fingerprint=FINGERPRINT) == added

    @rule(changed=rows())
    def update(self, changed: tuple[ManifestRow, bytes]) -> None:
        row, data = changed
        known = row.case in self.model and content_hash(data) in self.model[row.case].images
        assert self.archive.update([PlannedImage(row, content_hash(data))]) == known
        if known:
            self.note(row).images[content_hash(data)] = row.stain

    @rule(key=st.sampled_from(CASES))
    def remove(self, key: str) -> None:
        if key in self.model:
            assert self.archive.remove(key) == len(self.model.pop(key).images)

    @rule(read_only=st.booleans())
    def reopen(self, read_only: bool) -> None:
        self.archive.close()
        if read_only:
            with Archive.open(self.folder / "archive", read_only=True) as archive:
                assert archive.notes == ()
        self.archive = Archive.open(self.folder / "archive")
        assert self.archive.notes == ()

    @rule()
    def lose_the_index(self) -> None:
        self.archive.close()
        shutil.rmtree(self.folder / "archive" / "index", ignore_errors=True)
        self.archive = Archive.open(self.folder / "archive")

    @rule(
        seed=st.integers(0, 20),
        k=st.integers(1, 12),
        sites=st.sets(st.sampled_from(SITES), max_size=1),
        stains=st.sets(st.sampled_from(STAINS), max_size=1),
        without=st.sets(st.sampled_from(PATIENTS), max_size=2),
    )
    def search(self, seed: int, k: int, sites: set[str], stains: set[str], without: set[str]) -> None:
        query = vector_of(f"{seed:064x}")
        where = CaseFilter(sites=tuple(sites), stains=tuple(stains), exclude_patients=tuple(without))
        expected = sorted(
            -float((vector_of(sha256).astype(np.float64) * query.astype(np.float64)).sum())
            for case in self.model.values()
            for sha256, stain in case.images.items()
            if (not sites or case.site in sites) and (not stains or stain in stains) and case.patient not in without
        )[:k]
        (hits,) = self.archive.search(query[None], k, where=where, fingerprint=FINGERPRINT)
        assert [-hit.score for hit in hits] == expected
        for hit, case in ((hit, self.archive.cases_of_images([hit.image_id])[hit.image_id]) for hit in hits):
            image = self.archive.image(hit.image_id)
            assert image.sha256 in self.model[case.key].images
            assert hit.score == float((vector_of(image.sha256).astype(np.float64) * query.astype(np.float64)).sum())

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        found = {
            case.key: ModelCase(
                case.report, case.site, case.patient, {image.sha256: image.stain for image in case.images}
            )
            for case in self.archive.cases()
        }
        assert found == self.model
        contents = {sha256 for case in self.model.values() for sha256 in case.images}
        assert {name.split(".")[0] for name in stored_files(self.folder / "archive")} == contents
        status = self.archive.status()
        assert status.images == status.indexed == sum(len(case.images) for case in self.model.values())
        assert status.patients == len({case.patient for case in self.model.values()})


TestArchive = ArchiveMachine.TestCase
TestArchive.settings = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
