"""The routes of pictures, beside the pages of the view and behind the same guard."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ui.errors import user_message
from ui.serving.pictures.addresses import ROOT
from ui.serving.pictures.archive_pictures import image_file, image_tag, overview_file, small_file
from ui.serving.pictures.kept import kept_picture

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from ui.service import Service
    from ui.serving.pictures.slide_files import SlideFiles

LARGEST_SIDE: Final = 2_000
"""Pixels that may be asked for as a smaller picture."""
# A picture is asked for again each time: a removed case's picture is gone at once. What did not change is not sent.
FRESH: Final = "private, no-cache"
FOREVER: Final = "private, max-age=86400, immutable"
logger = logging.getLogger(__name__)


class _NoPicture(Exception):
    """There is no picture at an address; says why."""


def picture_routes(service: Service, slides: SlideFiles, base: str = "") -> list[Route]:
    """Routes below `base`, the view's path without slashes around it."""
    from starlette.routing import Route

    def image(request: Request) -> Response:
        asked = request.query_params.get("side", "")
        if asked and not (asked.isdecimal() and len(asked) < 5 and 1 <= int(asked) <= LARGEST_SIDE):
            raise _NoPicture(f"A picture is made smaller to 1 to {LARGEST_SIDE} pixels.")
        found, side = service.archive.image(request.path_params["image"]), int(asked) if asked else None
        tag = image_tag(found, side)
        if tag and _has(request, tag):  # what did not change is not even read
            return _unchanged(tag, FRESH)
        data = small_file(found, side, tag) if tag and side else image_file(found, side)
        return _answer(request, data, "image/png", FRESH, tag)

    def kept(request: Request) -> Response:
        picture = kept_picture(request.path_params["token"])
        if picture is None:
            raise _NoPicture("This picture is kept no longer: choose its file again.")
        return _answer(request, picture.data, "image/png", FRESH)

    def overview(request: Request) -> Response:
        case = request.query_params.get("case", "")
        data = overview_file(service.archive, case, request.path_params["slide"])
        if data is None:
            raise _NoPicture("The archive keeps no overview of this slide.")
        return _answer(request, data, "image/jpeg", FRESH)

    def tile(request: Request) -> Response:
        asked = request.path_params
        data = slides.tile(asked["slide"], asked["plane"], asked["level"], asked["x"], asked["y"])
        return _answer(request, data, "image/jpeg", FOREVER)

    def whole(request: Request) -> Response:
        slides.described(request.path_params["slide"])
        raise _NoPicture("A slide is shown as tiles.")

    root = f"/{base}/{ROOT}" if base else f"/{ROOT}"
    slide = f"{root}/slides/{{slide}}/{{plane:int}}"
    return [
        Route(f"{root}/images/{{image:int}}.png", _explained(image)),
        Route(f"{root}/kept/{{token}}.png", _explained(kept)),
        Route(f"{root}/overviews/{{slide}}.jpg", _explained(overview)),
        Route(slide, _explained(whole)),
        Route(f"{slide}/{{level:int}}/{{x:int}}_{{y:int}}.jpg", _explained(tile)),
    ]


def _explained(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """The route's answer, or the sentence why there is none. Starlette calls it in a thread of its own."""
    from starlette.responses import PlainTextResponse

    def explained(request: Request) -> Response:
        try:
            return answer(request)
        except _NoPicture as reason:
            return PlainTextResponse(str(reason), 404)
        except Exception as error:
            message = user_message(error)
            if message is None:
                logger.exception("A picture could not be served")
                return PlainTextResponse("Something went wrong. What happened is in the log of the server.", 500)
            return PlainTextResponse(message, 404)

    return explained


def _answer(request: Request, data: bytes, kind: str, keeping: str, tag: str = "") -> Response:
    from starlette.responses import Response

    tag = tag or hashlib.sha256(data).hexdigest()[:32]
    if _has(request, tag):
        return _unchanged(tag, keeping)
    return Response(data, media_type=kind, headers=_headers(tag, keeping))


def _has(request: Request, tag: str) -> bool:
    """Whether the browser has what this tag names."""
    return request.headers.get("if-none-match") == f'"{tag}"'


def _unchanged(tag: str, keeping: str) -> Response:
    from starlette.responses import Response

    return Response(status_code=304, headers=_headers(tag, keeping))


def _headers(tag: str, keeping: str) -> dict[str, str]:
    return {"cache-control": keeping, "etag": f'"{tag}"'}
