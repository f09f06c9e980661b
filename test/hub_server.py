# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A hub on the loopback: what ``huggingface_hub`` asks for, answered from folders."""

from collections.abc import Iterator
from contextlib import contextmanager
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import threading
import time

COMMIT = '0123456789abcdef0123456789abcdef01234567'
_BLOCK = 1 << 16


class Hub:
    """Repositories by their ids, and how well they are served."""

    def __init__(self, repositories: dict[str, Path]) -> None:
        """
        Serve nothing yet.

        :param repositories: the folder of each id.
        """
        self.repositories = repositories
        self.endpoint = ''
        self.bytes_per_s = float('inf')
        self.status = 200
        self.damage = False
        self.num_cut = 0
        self.num_failing = 0
        self.requests: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        """Answer what a file is."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """Answer with a file."""
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        self.hub.requests.append(f'{self.command} {self.path}')
        repository, _, rest = self.path.lstrip('/').partition('/resolve/')
        folder = self.hub.repositories.get(repository)
        file = None if folder is None else folder / rest.partition('/')[2]
        status = self.hub.status
        if self.hub.num_failing > 0:
            self.hub.num_failing -= 1
            status = 503
        if status != 200 or file is None or not file.is_file():
            self.send_response(404 if status == 200 else status)
            if status == 200:
                self.send_header(
                    'X-Error-Code', 'RepoNotFound' if folder is None else 'EntryNotFound')
            self.send_header('X-Repo-Commit', COMMIT)
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header('X-Repo-Commit', COMMIT)
        self.send_header('ETag', f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if with_body and self.hub.num_cut > 0:
            self.hub.num_cut -= 1
            self._send(content[:len(content) // 2])
        elif with_body:
            self._send(bytes(len(content)) if self.hub.damage else content)

    def _send(self, content: bytes) -> None:
        for start in range(0, len(content), _BLOCK):
            try:
                self.wfile.write(content[start:start + _BLOCK])
            except OSError:
                # The other side has gone.
                return
            time.sleep(_BLOCK / self.hub.bytes_per_s)


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """Serve a hub, and give it with its endpoint."""
    server = ThreadingHTTPServer(
        ('127.0.0.1', 0), type('Handler', (_Handler,), {'hub': hub}))
    server.daemon_threads = True
    hub.endpoint = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
