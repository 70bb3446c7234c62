"""Serves the pages on this machine: 127.0.0.1 only, to itself only, read only."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vestige.types import InputError, MissingError
from vestige.view.site import ID, Site

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""The names under which the page may be asked for: any other one was pointed here by someone else."""
SAME = ("same-origin", "none")
"""What a browser says of a request that comes from the page itself, or from its user."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
NOTHING = "default-src 'none'"
"""The content security policy of what is no page."""


def check_installed() -> None:
    """Raise MissingError where a package is missing that serving needs."""
    gone = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if gone:
        raise MissingError(f"vestige view needs {' and '.join(gone)}: pip install 'vestige[view]'")


def bind(port: int = 0) -> socket.socket:
    """A socket on 127.0.0.1, 0: at a free port. Raises InputError where the port is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
    except OSError as error:
        made.close()
        raise InputError(f"port {port} cannot be used: {error.strerror}; leave --port out for a free one") from None
    return made


def serve(site: Site, at: socket.socket, ready: Callable[[], object] = lambda: None) -> None:
    """Answer requests until interrupted. ready: called once requests are answered.

    Raises MissingError where starlette or uvicorn is not installed.
    """
    check_installed()
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    settings = uvicorn.Config(
        application(site, at.getsockname()[1]), lifespan="off", log_level="error", access_log=False,
        server_header=False, ws="none", timeout_graceful_shutdown=2,
    )  # fmt: skip
    Server(settings).run(sockets=[at])


def application(site: Site, port: int) -> Starlette:
    """The pages as an ASGI application that answers on this port."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, RedirectResponse, Response
    from starlette.routing import Route

    hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())

    def answer(request: Request) -> Response:
        refused = refusal(request, hosts)
        if refused:
            return PlainTextResponse(f"refused: {refused}\n", 403, _headers())
        path = request.path_params["path"]
        if path == "compare":
            asked = request.query_params.getlist("run")
            if len(asked) != 2 or not all(re.fullmatch(ID, one) for one in asked):
                return PlainTextResponse("choose two runs to compare\n", 400, _headers())
            return RedirectResponse(f"/compare/{asked[1]}-{asked[0]}.html", 303, _headers())
        path += "index.html" if path == "" or path.endswith("/") else ""
        try:
            found = site.answer(path)
        except (InputError, MissingError) as error:
            return PlainTextResponse(f"{error}\n", 500, _headers())
        if found is None:
            return PlainTextResponse("there is nothing here; all runs stand at /\n", 404, _headers())
        return Response(found.body, media_type=found.media, headers=_headers(found.policy))

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD"])])


def refusal(request: Request, hosts: set[str]) -> str:
    """Why a request is not answered: it names another host, or another page sent it; "" where it is."""
    host = request.headers.get("host", "")
    if host not in hosts:
        return f"this page is {min(hosts)}, not {host[:100]!r}"
    origin = request.headers.get("origin")
    if origin is not None and origin not in {f"http://{name}" for name in hosts}:
        return f"another page asks, of {origin[:100]!r}"
    if request.headers.get("sec-fetch-site", "none") not in SAME:
        return "another page asks; open the address yourself"
    return ""


def _headers(policy: str = "") -> dict[str, str]:
    return {**HEADERS, "Content-Security-Policy": f"{policy or NOTHING}; frame-ancestors 'none'"}
