"""Single-frame DICOM images: read like any other picture, with their scale and nothing else of what they say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import Archive, ImageProblem, decode_picture
from tests.index_store.archive_builders import add_manifest, encoded, picture, write_manifest

MICROSCOPIC, PHOTOGRAPHIC, WHOLE_SLIDE, CT = (
    *("1.2.840.10008.5.1.4.1.1.77.1.2", "1.2.840.10008.5.1.4.1.1.77.1.4", "1.2.840.10008.5.1.4.1.1.77.1.6"),
    "1.2.840.10008.5.1.4.1.1.2",
)
NAME = "Mustermann^Erika"


def dicom(kind: str = MICROSCOPIC, *, jpeg: bool = False, preamble: bool = True, **values: Any) -> bytes:
    """A DICOM file of `picture()` with these attributes, which names a patient."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid(entropy_srcs=["test"])
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128 if preamble else None)
    image.SOPClassUID, image.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    image.PatientName, image.PatientID, image.PatientBirthDate = NAME, "4711", "19700101"
    pixels = np.asarray(picture())
    image.Rows, image.Columns, image.SamplesPerPixel = *pixels.shape[:2], 3
    image.PhotometricInterpretation, image.PlanarConfiguration = "YBR_FULL_422" if jpeg else "RGB", 0
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PixelData = encapsulate([encoded(picture(), "JPEG", quality=95)]) if jpeg else pixels.tobytes()
    for name, value in values.items():
        setattr(image, name, value)
    file = io.BytesIO()
    image.save_as(file, enforce_file_format=preamble)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MICROSCOPIC, PHOTOGRAPHIC])
def test_it_is_a_picture_like_any_other(kind: str) -> None:
    decoded = decode_picture(dicom(kind, PixelSpacing=[0.00025, 0.00025]))
    assert np.array_equal(np.asarray(decoded.image), np.asarray(picture()))
    assert (decoded.mpp, decoded.mpp_source) == (pytest.approx(0.25), "DICOM")


@pytest.mark.slow
def test_a_compressed_one_is_read_in_its_colours() -> None:
    decoded = decode_picture(dicom(jpeg=True))
    difference = np.asarray(decoded.image, dtype=int) - np.asarray(picture(), dtype=int)
    assert np.abs(difference).mean() < 8
    assert decoded.mpp is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"PixelSpacing": [0.25, 0.25]},
        {"PixelSpacing": [0.00025, 0.0005]},
        {"ImagerPixelSpacing": [0.00345, 0.00345]},  # of the camera's pixels, not of the specimen's
    ],
)
def test_a_scale_that_is_none_of_the_specimen_is_not_taken(values: dict[str, Any]) -> None:
    assert decode_picture(dicom(**values)).mpp is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (dicom(CT), "no photograph or microscopic image"),
        (dicom(WHOLE_SLIDE), "whole slide"),
        (dicom(NumberOfFrames=2), "several frames"),
        (dicom(BurnedInAnnotation="YES"), "burned into it"),
        (dicom(BitsAllocated=16), "more than 8 bits"),
        (dicom(PhotometricInterpretation="PALETTE COLOR"), "colours are not read"),
        (dicom()[:900], "damaged"),
        (dicom(Rows=60_000, Columns=60_000), "limit"),
    ],
)
def test_what_is_not_read_is_refused_without_a_word_of_the_patient(data: bytes, what: str) -> None:
    with pytest.raises(ImageProblem, match=what) as refused:
        decode_picture(data)
    assert NAME.partition("^")[0] not in str(refused.value)


@pytest.mark.slow
def test_nothing_of_the_patient_is_stored(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom(PixelSpacing=[0.00025, 0.00025]))
    add_manifest(archive, write_manifest(tmp_path / "m.csv", [{"image": "a.dcm", "case": "c", "report": "R."}]))
    (image,) = archive.case("c").images
    assert (image.mpp, image.mpp_source) == (pytest.approx(0.25), "DICOM")
    held = [path.read_bytes() for path in archive.path.rglob("*") if path.is_file()]
    assert any(data.startswith(b"\x89PNG") for data in held)
    for word in (b"Mustermann", b"4711", b"19700101"):
        assert not any(word in data for data in held)
