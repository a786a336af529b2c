"""The server of the view: Streamlit with our options, behind the guard."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ui.errors import ViewError
from ui.serving.addresses import ADDRESS, Addresses
from ui.serving.guard import Guard, Message, Receive, Send, content_security_policy, inline_script_hashes
from ui.serving.pictures.routes import picture_routes
from ui.serving.pictures.slide_files import slide_files
from ui.serving.shared_service import shared_loading, shared_service
from ui.serving.sign_in import SignIn, read_sign_in, user_of_cookies
from ui.serving.theme import theme_options
from ui.settings import Settings

APP: Final = Path(__file__).resolve().parents[1] / "view" / "app.py"
LONGEST_HEADER: Final = 32 * 1024  # bytes, as in docs/reverse-proxy.md


def streamlit_options(settings: Settings, addresses: Addresses) -> dict[str, Any]:
    """Options of the Streamlit server: this machine only, no telemetry, no error details on screen, our themes.

    What protects is set here even where it is Streamlit's default: neither a `.streamlit` folder where the view is
    started nor Streamlit's variables of the environment can take it back.
    """
    return {
        "server.address": ADDRESS,
        "server.port": settings.port,
        "server.baseUrlPath": addresses.path,
        "server.allowedHosts": list(addresses.names),
        "server.enableCORS": True,
        "server.corsAllowedOrigins": [],
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "server.trustedUserHeaders": {},
        "global.developmentMode": False,  # would take requests from every origin
        # Who may send messages to the page; unless set, pages of Streamlit's own hosting.
        "client.allowedOrigins": list(addresses.origins),
        # Unless set, Streamlit asks a server elsewhere for this machine's address when an Origin is not its own.
        "browser.serverAddress": addresses.public_name or ADDRESS,
        # The browser is opened by `serve`. In its own mode the first start on a machine waits in the terminal for an
        # e-mail address, and where Streamlit finds the tools of a developer the page offers to install something.
        "server.headless": True,
        "server.showEmailPrompt": False,
        "logger.hideWelcomeMessage": True,
        "server.fileWatcherType": "none",
        # Else all objects of the process are searched for garbage after each touch of each session: 0.6 s once the
        # models' libraries are loaded, in which no other session's code runs.
        "runner.postScriptGC": False,
        "server.maxUploadSize": settings.max_upload_mb,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,  # to search engines, with the error's words
        "client.toolbarMode": "minimal",
        **theme_options(),
    }


def serve(settings: Settings, addresses: Addresses, sign_in: SignIn | None, *, browser: bool) -> None:
    """Serve the view until the process is stopped."""
    import streamlit
    from streamlit import cli_util

    policy = content_security_policy(inline_script_hashes(_start_page(Path(streamlit.__file__).parent)))

    class GuardedApp(streamlit.App):
        """The guard is around all of the application: also around what answers where Streamlit itself fails."""

        async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
            await guard(scope, receive, send)

    @contextlib.asynccontextmanager
    async def started(_: streamlit.App) -> AsyncIterator[None]:
        if settings.reading_only != "yes":
            shared_loading(settings).start()
        if browser:
            cli_util.open_browser(addresses.url)
        yield

    secrets = sign_in.secrets(addresses) if sign_in else None
    service, slides = shared_service(settings), slide_files(settings.slides)
    # A reader of a blinded study must not look pictures up.
    routes = [] if settings.reading_only == "yes" else picture_routes(service, slides, addresses.path)
    app = GuardedApp(APP, secrets={"auth": secrets} if secrets else None, lifespan=started, routes=routes)
    guard = Guard(super(GuardedApp, app).__call__, addresses, policy, admission(settings.sign_in, secrets))
    os.environ.update(settings.to_env())
    # The websocket's library refuses headers of more than 8 KB, unless told otherwise before it is imported. Cookies of
    # a user in many groups are longer: the page would stay dead.
    os.environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", str(LONGEST_HEADER))
    # Streamlit puts the folder of what was started at the head of the path for imports: started as `python -m ui`, that
    # of the package, and `import html` would find `ui/html`.
    sys.argv = [str(APP)]
    with contextlib.closing(service), contextlib.closing(slides), contextlib.suppress(KeyboardInterrupt):
        app.run(config=streamlit_options(settings, addresses))  # stopped by Ctrl-C, once all answers are given


def admission(file: str | None, secrets: Mapping[str, Any] | None) -> Callable[[str], bool] | None:
    """What tells from a request's cookies whether its user may enter, by the file as it is then; None: no sign-in."""
    if file is None or secrets is None:
        return None
    cookie_secret = secrets["cookie_secret"]

    def admits(cookies: str) -> bool:
        try:
            return read_sign_in(file).admits(user_of_cookies(cookies, cookie_secret))
        except ViewError:  # the page says why
            return False

    return admits


def _start_page(streamlit_folder: Path) -> str:
    """Streamlit's HTML page, which holds a script whose hash the policy names."""
    return (streamlit_folder / "static" / "index.html").read_text(encoding="utf-8")
