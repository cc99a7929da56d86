"""Serving the page of a run that is going on, to this machine alone."""

import contextlib
import os
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tensor_optix.core.storage.line_log import RECORDS
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.report.page import page_of
from tensor_optix.report.run_data import RunData
from tensor_optix.support.terminal import say

HOST = "127.0.0.1"


def serve(run_dir: Path, port: int) -> None:
    """Serve the page of a run until Ctrl-C, and print where.

    Args:
        run_dir: the folder of the run.
        port: where; 0 = any that is free.

    Raises:
        InvalidArgumentError: the folder holds no run, or the port cannot be served.
    """
    RunData.read(run_dir)
    with PageServer(run_dir, port) as server, contextlib.suppress(KeyboardInterrupt):
        say(f"{server.url} shows {run_dir} as it goes on; Ctrl-C ends it.", flush=True)
        server.serve_forever()


class PageServer(ThreadingHTTPServer):
    """Serves the page at `/`, made anew for each request, and at `/version` what changes with the run.

    Args:
        run_dir: the folder of the run.
        port: where; 0 = any that is free.

    Raises:
        InvalidArgumentError: the port is taken, or may not be used.
    """

    daemon_threads = True

    def __init__(self, run_dir: Path, port: int) -> None:
        self.run_dir = run_dir
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InvalidArgumentError(
                f"--port {port} cannot be served on {HOST}: {error}. Give another one, or 0 for any that is free."
            ) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def version(self) -> str:
        """Return what changes whenever a record of the run does."""
        return " ".join(_stamp(self.run_dir / name) for name in RECORDS)

    def serve_in_thread(self) -> threading.Thread:
        """Serve in a thread until `shutdown` is called, and return the thread."""
        thread = threading.Thread(target=self.serve_forever, daemon=True, name="report page")
        thread.start()
        return thread


class _Handler(BaseHTTPRequestHandler):
    @property
    def _page_server(self) -> PageServer:
        assert isinstance(self.server, PageServer)  # noqa: S101 - nobody else makes this handler
        return self.server

    def do_GET(self) -> None:
        """Answer a request."""
        if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)  # another site's name for this machine
        elif self.path == "/version":
            self._answer("text/plain", self._page_server.version())
        elif self.path == "/":
            self._answer("text/html", page_of(RunData.read(self._page_server.run_dir), reloads=True))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal quiet."""


def _stamp(path: Path) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return "-"
    return f"{found.st_size}.{found.st_mtime_ns}"
