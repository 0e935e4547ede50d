"""The page on this machine alone, made anew as records change: what `optbench view` serves while a sweep runs.

It answers on 127.0.0.1, to requests for that host and with the token in the address, and to nothing else: another page
in the same browser can neither guess the token nor, by a name that it lets point here (DNS rebinding), ask for it. It
only reads. The comparison is made when somebody asks and the last one is old; a request never waits for two.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from optbench.pages.embed import page

HOST = "127.0.0.1"
_LEAST_SECONDS = 2.0  # between two comparisons
_SHARE = 4.0  # they take at most one part in so many of the time
Make = Callable[[], Mapping[str, Any]]
"""Makes the document as it is now."""


class Latest:
    """The newest document and its stamp, made when it is asked for.

    Args:
        make: makes it.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._next = 0.0
        self._document: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """The document, with its `stamp`: equal for documents that say the same."""
        with self._lock:
            began = time.monotonic()
            if began >= self._next:
                made = dict(self._make())
                made["stamp"] = sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
                self._document = made
                ended = time.monotonic()
                self._next = ended + max(_LEAST_SECONDS, _SHARE * (ended - began))
            return self._document


class Server(ThreadingHTTPServer):
    """Serves the page of the latest document.

    Args:
        make: makes the document as it is now.
        port: to listen on; 0: any that is free.

    Attributes:
        token: what an address must begin with.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, make: Make, port: int = 0) -> None:
        self.latest = Latest(make)
        self.token = secrets.token_urlsafe(24)
        super().__init__((HOST, port), _Handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    """One request: the page, or the newest document as JSON."""

    server: Server
    server_version, sys_version = "optbench", ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """The page under its token; `data` below it: the document, nothing where the reader has it."""
        if (refused := self._refused()) is not None:
            self._answer(refused, b"", "text/plain")
            return
        asked = urlsplit(self.path)
        name = asked.path.removeprefix(f"/{self.server.token}/")
        if name == "":
            text = page(self.server.latest(), live="data")
            self._answer(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8")
        elif name == "data":
            found = self.server.latest()
            if parse_qs(asked.query).get("have") == [found["stamp"]]:
                self._answer(HTTPStatus.NOT_MODIFIED, b"", "application/json")
            else:
                self._answer(HTTPStatus.OK, json.dumps(found, allow_nan=False).encode(), "application/json")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"", "text/plain")

    do_HEAD = do_GET  # noqa: N815  the name that http.server asks for

    def _refused(self) -> HTTPStatus | None:
        """Why the request is not answered; None: it is. Whoever lacks the token learns nothing else."""
        port = self.server.port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            return HTTPStatus.MISDIRECTED_REQUEST
        own = (self.path.split("/", 2)[1:2] or [""])[0]
        if not hmac.compare_digest(own.encode(), self.server.token.encode()):
            return HTTPStatus.FORBIDDEN
        return None

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed of a request."""


_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
