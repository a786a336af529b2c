"""An archive under any sequence of calls equals a plain dictionary searched by brute force."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from archive_builders import (
    DIM,
    FINGERPRINT,
    embed_reports,
    encoded,
    picture,
    reports_embedded,
    stored_files,
    vector_of,
    vector_of_text,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from index_store import Archive, CaseFilter, ManifestRow, NewImage, Owner, PlannedImage, content_hash, decode_image
from tests.postgres_server import PostgresServer

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
    derived: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)  # content hash -> stain


def rows() -> st.SearchStrategy[tuple[ManifestRow, bytes]]:
    def build(
        case: str, patient: str, site: str, stain: str, report: str, derived: tuple[str, ...] | None, content: bytes
    ) -> tuple[ManifestRow, bytes]:
        row = ManifestRow(2, "x.png", Path("x.png"), case, patient, report, site=site, stain=stain, derived=derived)
        return row, content

    reports = st.sampled_from(["Benign.", "Malignant.", "Größe ≥ 3 µm", " \n"])
    choices = (st.sampled_from(values) for values in (CASES, PATIENTS, SITES, STAINS))
    derived = st.sampled_from([None, (), ("site",)])
    return st.builds(build, *choices, reports, derived, st.sampled_from(CONTENTS))


class ArchiveMachine(RuleBasedStateMachine):
    vectors = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.model: dict[str, ModelCase] = {}
        self.embedded: dict[str, str] = {}  # case -> the report its vector was made of
        self.revision = 0

    @initialize()
    def create(self) -> None:
        self.archive = Archive.create(self.folder / "archive", catalog=self.new_catalog(), vectors=self.vectors)
        self.archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)

    def new_catalog(self) -> str:
        return ""

    def teardown(self) -> None:
        self.archive.close()
        shutil.rmtree(self.folder)

    def note(self, row: ManifestRow) -> ModelCase:
        case = self.model.setdefault(row.case, ModelCase("", "", ""))
        case.report, case.site, case.patient = row.report, row.site, row.patient
        case.derived = row.derived or ()  # a site given without a mark has none
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
        self.revision += added > 0

    @rule(changed=rows())
    def update(self, changed: tuple[ManifestRow, bytes]) -> None:
        row, data = changed
        known = row.case in self.model and content_hash(data) in self.model[row.case].images
        assert self.archive.update([PlannedImage(row, content_hash(data))]) == known
        if known:
            self.note(row).images[content_hash(data)] = row.stain
            self.revision += 1

    @rule(key=st.sampled_from(CASES))
    def remove(self, key: str) -> None:
        if key in self.model:
            assert self.archive.remove(key) == len(self.model.pop(key).images)
            self.embedded.pop(key, None)
            self.revision += 1

    @rule()
    def embed_reports(self) -> None:
        lacking = {key for key, case in self.model.items() if case.report.strip() and not self.is_embedded(key)}
        assert embed_reports(self.archive, batch=len(CASES)) == len(lacking)
        self.embedded.update((key, self.model[key].report) for key in lacking)
        self.revision += bool(lacking)

    @rule(key=st.sampled_from(CASES), report=st.sampled_from(["Benign.", "Malignant."]))
    def embed_one_report(self, key: str, report: str) -> None:
        """As somebody does who has read the report a while ago."""
        ids = [case.id for case in self.archive.cases() if case.key == key] or [999_999]
        still = key in self.model and self.model[key].report == report
        vectors = vector_of_text(report)[None]
        assert self.archive.add_report_vectors(ids, [report], vectors, fingerprint=FINGERPRINT) == still
        if still:
            self.embedded[key] = report
            self.revision += 1

    def is_embedded(self, key: str) -> bool:
        return self.embedded.get(key) == self.model[key].report

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
                case.report, case.site, case.patient, case.derived, {image.sha256: image.stain for image in case.images}
            )
            for case in self.archive.cases()
        }
        assert found == self.model
        contents = {sha256 for case in self.model.values() for sha256 in case.images}
        assert {name.split(".")[0] for name in stored_files(self.folder / "archive")} == contents
        status = self.archive.status()
        assert status.images == status.indexed == sum(len(case.images) for case in self.model.values())
        assert status.patients == len({case.patient for case in self.model.values()})
        assert self.archive.revision == self.revision

    @invariant()
    def lists_what_it_holds(self) -> None:
        cases = self.archive.cases()
        assert [(r.case_id, r.case_key, r.patient, r.text) for r in self.archive.reports()] == [
            (case.id, case.key, case.patient, case.report) for case in cases
        ]
        assert self.archive.case_ids().tolist() == [case.id for case in cases]
        images = [image.id for case in cases for image in case.images]
        owners = {image.id: Owner(case.id, case.patient) for case in cases for image in case.images}
        assert self.archive.owners([*images, 999_999]) == owners
        assert reports_embedded(self.archive).keys() == {key for key in self.model if self.is_embedded(key)}


def test_an_archive_on_a_server(postgres: PostgresServer) -> None:
    class OnServer(ArchiveMachine):
        def new_catalog(self) -> str:
            self.schema = postgres.schema()
            return self.schema.__enter__()

        def teardown(self) -> None:
            super().teardown()
            self.schema.__exit__(None, None, None)

    few = settings(max_examples=5, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(OnServer, settings=few)


TestArchive = ArchiveMachine.TestCase
TestArchive.settings = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
