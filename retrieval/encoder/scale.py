"""What an encoder sees of an image whose scale is known: the whole of it, or fields of one physical size.

An encoder scales every image to the same pixels. So a cell is twice as large in a photograph by 40× as in one by 20×,
and images of one magnification find each other before images of one diagnosis. An encoder that was imported with a
field's size (`coin encoder import --field-um`) sees fields of that size, and an image's vector is the mean of theirs.
Others, the starter among them, see images whole: fields helped phantoms and harmed real smears (`benchmarks.scale`).
An image whose scale is not known is seen whole in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import PIL.Image

MOST_FIELDS: Final = 3
"""Fields along each side of an image: at most nine, spread evenly."""


def fields_of(image: PIL.Image.Image, mpp: float | None, size: float | None) -> list[PIL.Image.Image]:
    """The fields of an image, from left to right and top to bottom: squares with a side of `size` µm.

    Args:
        image: RGB.
        mpp: µm a pixel; None: the image itself.
        size: in µm; None: the image itself.
    """
    side = 0 if mpp is None or size is None else round(size / mpp)
    if not 0 < side < min(image.size):
        return [image]
    rows, columns = (_starts(length, side) for length in (image.height, image.width))
    return [image.crop((left, top, left + side, top + side)) for top in rows for left in columns]


def _starts(length: int, side: int) -> list[int]:
    """Where the fields along a side begin, in pixels: from end to end, or one in the middle."""
    number = min(MOST_FIELDS, round(length / side))
    if number == 1:
        return [(length - side) // 2]
    return [round(i * (length - side) / (number - 1)) for i in range(number)]
