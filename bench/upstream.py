"""What the transport costs: CPU per exchange and per streamed chunk, against a server in another process.

    python bench/upstream.py [--exchanges 20000] [--streams 50] [--chunks 200] [--tls]

The figures are this process's CPU time: the socket's system calls are in them, the server is not.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gevent.server import StreamServer
from gevent.ssl import SSLContext

from oneapi.config import Config
from oneapi.relay.adaptor import UpstreamRequest
from oneapi.relay.transport.connections import tls_context
from oneapi.relay.upstream import Upstream

_BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"content":"'
    + b"x" * 600
    + b'"}}]}'
)
_EVENT = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"delta":{"content":"hello"}}]}\n\n'
_REQUEST_BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"y" * 400 + b'"}]}'
_HEADERS = {"authorization": "Bearer sk-0123456789", "content-type": "application/json", "accept": "*/*"}


def serve(folder: str, chunks: int, pause_s: float) -> None:
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r\r\ncontent-length: %d\r\n\r\n" % len(
        _BODY
    )
    start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(_EVENT), _EVENT)

    def handle(sock: Any, _address: Any) -> None:
        while data := sock.recv(65536):
            if data.startswith(b"POST /stream"):
                sock.sendall(start)
                for _ in range(chunks):
                    sock.sendall(chunk)
                    gevent.sleep(pause_s)
                sock.sendall(b"0\r\n\r\n")
            else:
                sock.sendall(whole + _BODY)

    tls = {"keyfile": f"{folder}/key.pem", "certfile": f"{folder}/cert.pem"} if folder else {}
    server = StreamServer(("127.0.0.1", 0), handle, **tls)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


def measure(upstream: Upstream, base: str, exchanges: int, streams: int, chunks: int) -> None:
    channel: Any = SimpleNamespace(proxy=None)

    def exchange() -> None:
        reply = upstream.send(
            UpstreamRequest(url=f"{base}/whole", headers=_HEADERS, body=_REQUEST_BODY), channel, False
        )
        while not reply.wait(15):
            pass
        while reply.read(15) != b"":
            pass
        reply.close()

    reads = 0

    def stream() -> None:
        nonlocal reads
        reply = upstream.send(
            UpstreamRequest(url=f"{base}/stream", headers=_HEADERS, body=_REQUEST_BODY), channel, True
        )
        while not reply.wait(15):
            pass
        while reply.read(15) != b"":
            reads += 1
        reply.close()

    exchange()
    began = time.process_time()
    for _ in range(exchanges):
        exchange()
    print(f"exchange, one at a time   {(time.process_time() - began) / exchanges * 1e6:6.1f} us")
    many = 20
    began = time.process_time()
    gevent.joinall([gevent.spawn(lambda: [exchange() for _ in range(exchanges // many)]) for _ in range(many)])
    print(f"exchange, {many} at a time    {(time.process_time() - began) / exchanges * 1e6:6.1f} us")
    began = time.process_time()
    gevent.joinall([gevent.spawn(stream) for _ in range(streams)])
    used = time.process_time() - began
    print(f"stream of {chunks} chunks      {used / (streams * chunks) * 1e6:6.1f} us a chunk ({reads} reads)")


def make_certificate(folder: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    Path(folder, "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    Path(folder, "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exchanges", type=int, default=20000)
    arguments.add_argument("--streams", type=int, default=50)
    arguments.add_argument("--chunks", type=int, default=200)
    arguments.add_argument("--pause", type=float, default=0.02, help="seconds between chunks")
    arguments.add_argument("--tls", action="store_true")
    arguments.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.serve is not None:
        serve(chosen.serve, chosen.chunks, chosen.pause)
        return
    with tempfile.TemporaryDirectory() as folder:
        if chosen.tls:
            make_certificate(folder)

        def trusting() -> SSLContext:
            context = tls_context()
            if chosen.tls:
                context.load_verify_locations(f"{folder}/cert.pem")
            return context

        command = [sys.executable, __file__, "--serve", folder if chosen.tls else ""]
        command += ["--chunks", str(chosen.chunks), "--pause", str(chosen.pause)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            base = f"{'https' if chosen.tls else 'http'}://127.0.0.1:{port}"
            try:
                measure(Upstream(Config(), make_tls=trusting), base, chosen.exchanges, chosen.streams, chosen.chunks)
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
