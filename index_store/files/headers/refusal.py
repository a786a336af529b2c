"""Why a picture is not read, before its file's name is put in front."""

from __future__ import annotations

EXPORT = "Export the picture as PNG or JPEG."
EXPORT_AGAIN = "Export or copy it again."
CUT_OUT = "Cut out fields and add those instead."


class PictureRefused(Exception):
    """Raised within the package; `decode_picture` makes an `ImageProblem` of it."""

    def __init__(self, what: str, advice: str = EXPORT) -> None:
        super().__init__(what)
        self.what = what
        """Continues "field.tif …": "is a PDF"."""
        self.advice = advice
