"""nginx, as a child process of a test, with sites of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.needs import require_service

DEPLOYED = (Path(__file__).parent.parent / "deploy" / "nginx.conf").read_text()


def deployed_site(backend: str, port: int) -> str:
    """The site in deploy/, in front of `backend` ("127.0.0.1:3000"), on a port of the loopback interface."""
    site = DEPLOYED.replace("server 127.0.0.1:3000;", f"server {backend};")
    return site.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("listen [::]:80;", "")


def written(folder: Path, *sites: str) -> Path:
    """A whole configuration with these sites; everything that nginx writes goes to the folder."""
    conf = folder / "nginx.conf"
    temp = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    listed = "\n".join(sites)
    conf.write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temp}\n{listed}\n}}\n"
    )
    return conf


@contextlib.contextmanager
def serving(folder: Path, port: int, *sites: str) -> Iterator[None]:
    """nginx serves these sites within the context, one of which listens on the port."""
    nginx = require_service("nginx")
    process = subprocess.Popen([nginx, "-p", folder, "-c", written(folder, *sites)])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)
