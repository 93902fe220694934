"""Replay upstream: serves recorded provider exchanges on 127.0.0.1, with nothing but the standard library.

    python tests/replay.py [--dir DIR]... [--port 0] [--delay MS] [--loose] [--no-rewrite] [--port-file FILE]

Prints one line, "replay: http://127.0.0.1:PORT N fixtures", when it is ready. --dir defaults to the recordings
(ONEAPI_FIXTURES, or ../shared/fixtures beside the checkout) and tests/fixtures, whose documented/ was written by hand
from providers' documentation; --port 0 takes a free port.

Choosing the answer
  1. /@PROVIDER/CASE/<path>          that fixture, e.g. base URL http://127.0.0.1:PORT/@openai/tool-call-stream .
     CASE may also be a sequence (replicate/image-prediction): its steps are served in turn.
     documented/x/y is reached as /@documented/x/y .
     Method and path must be the recorded ones, otherwise the answer is 404 with a "replay" object that says
     what was expected; --loose or ;loose serves it all the same.
  2. /@PROVIDER/<path>               the best match by method, path and body among that provider's fixtures
  3. header x-replay-case: PROVIDER/CASE   as 1
  4. /<host>/<path> or /<path>       the best match among all fixtures; a first segment that is a host name of
     the fixtures narrows it to that host.
  "Best match": same method and path (placeholders ACCOUNT_ID, PROJECT, RESOURCE, GROUP_ID match anything; the query
  parameters key, access_token and auth are ignored), then the highest score of: equal body, equal last message,
  same model, same stream flag, tools in both or neither. Ties: the first name in the alphabet.

Options in the CASE or PROVIDER segment, each after a semicolon:
  ;delay=MS between events   ;first=MS before the first byte   ;split=N write the body in pieces of N bytes that
  ignore event borders   ;cut=N drop the connection after N events (or pieces)   ;hang after ;cut keep it open
  ;status=NNN with the recorded body   ;loose   ;gzip compress a body that is not streamed, if the client accepts it

How bodies go out: text/event-stream event by event, NDJSON line by line, AWS event-stream frame by frame
(all chunked, flushed one by one), everything else at once with Content-Length; body_encoding "websocket": one text
frame is awaited, each list element goes out as one text frame, then the server closes. In a sequence, absolute URLs
of the provider's own hosts in the body are rewritten to this server, so that polling works (--no-rewrite: not).

Control
  GET /__requests[?fixture=a/b]   what came in: n, method, path, query, headers, body (JSON, text or multipart parts),
                                  body_base64 when it is neither, fixture, matched, status, events, sent_all,
                                  client_closed
  DELETE /__requests (or POST /__reset)   forget them and start the sequences again
  GET /__diff/N                   request N against the recorded request of its fixture
  GET /__fixtures                 names, methods, paths, status
  GET /__health
"""

import argparse
import base64
import contextlib
import gzip
import hashlib
import json
import os
import re
import socket
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TESTS = os.path.dirname(os.path.abspath(__file__))
RECORDINGS = os.environ.get("ONEAPI_FIXTURES") or os.path.join(TESTS, "..", "..", "shared", "fixtures")
DIRS = (RECORDINGS, os.path.join(TESTS, "fixtures"))
WILD = {"ACCOUNT_ID", "PROJECT", "RESOURCE", "GROUP_ID", "REDACTED"}
SKIP_QUERY = {"key", "access_token", "auth_key", "authorization", "date", "host", "client_id", "client_secret"}
SKIP_OUT = {"content-length", "transfer-encoding", "connection", "content-encoding", "date"}


class Fixture:
    def __init__(self, name, data):
        self.name, self.data = name, data
        self.provider = name.rsplit("/", 1)[0]
        q = data["request"]
        u = urllib.parse.urlsplit(q["url"])
        self.method, self.host, self.path = q["method"].upper(), u.netloc, norm_path(u.path)
        self.query = {k: v for k, v in urllib.parse.parse_qsl(u.query, keep_blank_values=True) if k not in SKIP_QUERY}
        self.body = q.get("body")
        s = data.get("sequence")
        self.seq, self.step = (s["id"], s["step"]) if s else (None, 0)
        if self.seq and name.startswith("documented/"):
            self.seq = "documented/" + self.seq

    def raw(self):
        r = self.data["response"]
        b = r.get("body")
        if b is None:
            return b""
        return base64.b64decode(b) if r.get("body_encoding") == "base64" else b.encode("utf-8")


def norm_path(p):
    return re.sub(r"/{2,}", "/", urllib.parse.unquote(p)).rstrip("/") or "/"


def same_path(want, got):
    a, b = want.split("/"), got.split("/")
    return len(a) == len(b) and all(x == y or x in WILD for x, y in zip(a, b, strict=True))


def load(dirs):
    out = {}
    for d in dirs:
        for base, sub, files in os.walk(d):
            sub.sort()
            for f in sorted(files):
                if not f.endswith(".json"):
                    continue
                p = os.path.join(base, f)
                with open(p, encoding="utf-8") as h:
                    o = json.load(h)
                if not isinstance(o, dict) or "request" not in o or "response" not in o:
                    continue
                name = os.path.relpath(p, d)[:-5].replace(os.sep, "/")
                out[name] = Fixture(name, o)
    return out


def pieces(raw, ctype):
    """a body as the list of writes that a real upstream would make"""
    if "amazon.eventstream" in ctype:
        out, p = [], 0
        while p + 4 <= len(raw):
            n = struct.unpack(">I", raw[p : p + 4])[0]
            if n < 16 or p + n > len(raw):
                break
            out.append(raw[p : p + n])
            p += n
        return out + ([raw[p:]] if p < len(raw) else [])
    if "event-stream" in ctype:
        out, p = [], 0
        for m in re.finditer(rb"(?:\r\n){2,}|\n{2,}|\n(?:\r\n)+|\r{2,}", raw):
            out.append(raw[p : m.end()])
            p = m.end()
        return out + ([raw[p:]] if p < len(raw) else [])
    if "ndjson" in ctype or "stream+json" in ctype:
        return raw.splitlines(keepends=True)
    return None


def multipart(body, ctype):
    m = re.search(r'boundary="?([^";]+)', ctype)
    if not m:
        return None
    parts = []
    for p in body.split(b"--" + m.group(1).encode())[1:]:
        if p[:2] == b"--":
            break
        h, _, v = p.partition(b"\r\n\r\n")
        v = v[:-2] if v.endswith(b"\r\n") else v
        h = h.decode("latin1")
        d = {"name": (re.search(r'[; ]name="([^"]*)"', h) or [0, ""])[1]}
        f = re.search(r'filename="([^"]*)"', h)
        c = re.search(r"content-type:\s*([^\r\n]+)", h, re.I)
        if c:
            d["content_type"] = c.group(1).strip()
        if f:
            d.update(filename=f.group(1), size=len(v), base64=base64.b64encode(v[:4096]).decode())
        else:
            d["text"] = v.decode("utf-8", "replace")
        parts.append(d)
    return parts


def last_message(b):
    if not isinstance(b, dict):
        return None
    for k in ("messages", "contents", "input", "prompt", "message", "text", "Messages"):
        if k in b:
            v = b[k]
            if isinstance(v, dict):
                v = v.get("messages", v)
            return json.dumps(v[-1] if isinstance(v, list) and v else v, sort_keys=True)
    return None


def has_tools(body):
    return bool(body.get("tools") or body.get("toolConfig") or body.get("functions"))


def score(fx, body):
    if fx.body == body:
        return 1000
    if not isinstance(body, dict) or not isinstance(fx.body, dict):
        return 0
    s = 0
    lm = last_message(body)
    if lm is not None and lm == last_message(fx.body):
        s += 100
    for k in ("model", "Model"):
        if body.get(k) is not None and body.get(k) == fx.body.get(k):
            s += 40
    s += 20 if bool(body.get("stream")) == bool(fx.body.get("stream")) else -50
    s += 20 if has_tools(body) == has_tools(fx.body) else -20
    s += sum(1 for k in body if k in fx.body) - sum(1 for k in fx.body if k not in body)
    return s


def diff(want, got, at=""):
    """differences as [path, kind, recorded, received]"""
    if type(want) is not type(got) and not (isinstance(want, (int, float)) and isinstance(got, (int, float))):
        return [[at or ".", "type", want, got]]
    out = []
    if isinstance(want, dict):
        for k in sorted(set(want) | set(got), key=str):
            p = f"{at}.{k}" if at else k
            if k not in got:
                out.append([p, "missing", want[k], None])
            elif k not in want:
                out.append([p, "extra", None, got[k]])
            else:
                out += diff(want[k], got[k], p)
    elif isinstance(want, list):
        if len(want) != len(got):
            out.append([at or ".", "length", len(want), len(got)])
        for i, (a, b) in enumerate(zip(want, got, strict=False)):
            out += diff(a, b, f"{at}[{i}]")
    elif want != got:
        out.append([at or ".", "value", want, got])
    return out


class State:
    def __init__(self, fixtures, args):
        self.fx, self.args = fixtures, args
        self.lock = threading.Lock()
        self.log, self.steps = [], {}
        self.hosts = {f.host for f in fixtures.values()}
        self.seqs = {}
        for f in fixtures.values():
            if f.seq:
                self.seqs.setdefault(f.seq, []).append(f)
        for v in self.seqs.values():
            v.sort(key=lambda f: f.step)

    def next_step(self, seq, method, path, loose):
        """the next step of a sequence that fits; the last one that fits is repeated"""
        with self.lock:
            at = self.steps.get(seq, 0)
            fit = [f for f in self.seqs[seq] if loose or (f.method == method and same_path(f.path, path))]
            if not fit:
                return None
            f = next((f for f in fit if f.step > at), fit[-1])
            self.steps[seq] = max(at, f.step)
            return f


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "replay", ""

    def log_message(self, *a):
        pass

    # ---- reading
    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            out = b""
            while True:
                n = int(self.rfile.readline().split(b";")[0] or b"0", 16)
                if n == 0:
                    while self.rfile.readline().strip():
                        pass
                    return out
                out += self.rfile.read(n)
                self.rfile.readline()
        n = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(n) if n else b""

    def decode(self, raw):
        if self.headers.get("Content-Encoding", "") == "gzip":
            raw = gzip.decompress(raw)
        ct = self.headers.get("Content-Type", "")
        if not raw:
            return None, raw
        if "multipart/" in ct:
            return multipart(raw, ct), raw
        try:
            return json.loads(raw), raw
        except ValueError:
            try:
                return raw.decode("utf-8"), raw
            except UnicodeDecodeError:
                return None, raw

    # ---- choosing
    def choose(self, method, path, query, body):
        """-> (fixture or None, options, path after the prefix, prefix, why not)"""
        st = self.server.state
        opts, prefix, want, prov, host = {}, "", self.headers.get("x-replay-case"), None, None
        segs = path.split("/")[1:]
        if segs and segs[0].startswith("@"):
            first = segs.pop(0)
            name, o = self.options(first[1:])
            opts.update(o)
            prefix = "/" + first
            if name == "documented" and segs:
                nxt = segs.pop(0)
                n2, o = self.options(nxt)
                opts.update(o)
                name, prefix = "documented/" + n2, prefix + "/" + nxt
            prov = name
            if segs:
                case, o = self.options(segs[0])
                whole = norm_path("/" + "/".join(segs))  # /@deepseek + /chat/completions is not the case "chat"
                named = f"{name}/{case}" in st.fx or f"{name}/{case}" in st.seqs
                if named and not any(f.provider == name and same_path(f.path, whole) for f in st.fx.values()):
                    want = f"{name}/{case}"
                    opts.update(o)
                    prefix += "/" + segs.pop(0)
        if segs and segs[0] in st.hosts:
            host = segs.pop(0)
        rest = norm_path("/" + "/".join(segs))
        loose = st.args.loose or "loose" in opts
        if want:
            if want in st.seqs and want not in st.fx:
                f = st.next_step(want, method, rest, loose)
                return f, opts, rest, prefix, None if f else {"expected": [[x.method, x.path] for x in st.seqs[want]]}
            f = st.fx.get(want)
            if not f:
                return None, opts, rest, prefix, {"unknown fixture": want}
            if loose or (f.method in (method, "WS") and same_path(f.path, rest)):
                return f, opts, rest, prefix, None
            return None, opts, rest, prefix, {"fixture": want, "expected": [f.method, f.path], "got": [method, rest]}
        c = [
            f
            for f in st.fx.values()
            if f.method in (method, "WS")
            and same_path(f.path, rest)
            and (not prov or f.provider == prov)
            and (not host or f.host == host)
        ]
        if not c:
            return None, opts, rest, prefix, {"no fixture for": [method, rest], "provider": prov, "host": host}
        seqs = sorted({f.seq for f in c if f.seq})
        top = max(score(f, body) for f in c)
        best = sorted((f for f in c if score(f, body) == top), key=lambda f: f.name)
        if best[0].seq and seqs:
            return st.next_step(best[0].seq, method, rest, False), opts, rest, prefix, None
        return best[0], opts, rest, prefix, None

    @staticmethod
    def options(seg):
        name, *rest = urllib.parse.unquote(seg).split(";")
        o = {}
        for x in rest:
            k, _, v = x.partition("=")
            o[k] = int(v) if v.isdigit() else (v or True)
        return name, o

    # ---- answering
    def send_json(self, status, obj):
        b = json.dumps(obj, ensure_ascii=False, indent=1).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(b)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b)

    def control(self, u, method):
        st = self.server.state
        p = u.path
        if p == "/__health":
            return self.send_json(200, {"ok": True, "fixtures": len(st.fx)})
        if p == "/__fixtures":
            return self.send_json(
                200,
                [
                    {
                        "name": f.name,
                        "method": f.method,
                        "host": f.host,
                        "path": f.path,
                        "status": f.data["response"]["status"],
                        "sequence": f.seq,
                    }
                    for f in st.fx.values()
                ],
            )
        if p == "/__reset" or (p == "/__requests" and method == "DELETE"):
            with st.lock:
                st.log.clear()
                st.steps.clear()
            return self.send_json(200, {"ok": True})
        if p == "/__requests":
            want = urllib.parse.parse_qs(u.query).get("fixture", [None])[0]
            with st.lock:
                return self.send_json(200, [dict(r) for r in st.log if not want or r["fixture"] == want])
        m = re.match(r"/__diff/(\d+)$", p)
        if m:
            with st.lock:
                r = next((dict(x) for x in st.log if x["n"] == int(m.group(1))), None)
            f = r and st.fx.get(r["fixture"])
            if not f:
                return self.send_json(404, {"error": "no such request or it matched no fixture"})
            return self.send_json(
                200,
                {
                    "fixture": f.name,
                    "method": [f.method, r["method"]],
                    "path": [f.path, r["path"]],
                    "path_equal": same_path(f.path, r["path"]),
                    "query": diff(f.query, {k: v for k, v in r["query"].items() if k not in SKIP_QUERY}),
                    "body_equal": f.body == r["body"],
                    "body": diff(f.body, r["body"]),
                    "recorded_body": f.body,
                },
            )
        return self.send_json(404, {"error": "unknown control path"})

    def handle_any(self):
        u = urllib.parse.urlsplit(self.path)
        method = self.command
        if u.path.startswith("/__"):
            self.read_body()
            return self.control(u, method)
        st = self.server.state
        body, raw = self.decode(self.read_body())
        query = dict(urllib.parse.parse_qsl(u.query, keep_blank_values=True))
        f, opts, rest, prefix, why = self.choose(method, u.path, query, body)
        rec = {
            "time": time.time(),
            "method": method,
            "path": rest,
            "raw_path": self.path,
            "query": query,
            "headers": {k.lower(): v for k, v in self.headers.items()},
            "body": body,
            "fixture": f.name if f else None,
            "matched": bool(f),
            "status": None,
            "events": 0,
            "sent_all": False,
            "client_closed": False,
        }
        if body is None and raw:
            rec["body_base64"] = base64.b64encode(raw[: 1 << 20]).decode()
        with st.lock:
            st.log.append(rec)
            rec["n"] = len(st.log)
        if not f:
            rec["status"] = 404
            return self.send_json(
                404,
                {
                    "error": {
                        "message": "replay: no fixture",
                        "type": "replay_no_fixture",
                        "code": "replay_no_fixture",
                    },
                    "replay": why,
                },
            )
        try:
            if f.data["response"].get("body_encoding") == "websocket":
                self.websocket(f, rec, opts)
            else:
                self.answer(f, rec, opts, prefix)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            rec["client_closed"] = True
            self.close_connection = True

    def rewrite(self, f, raw, prefix):
        st = self.server.state
        if not f.seq or st.args.no_rewrite:
            return raw
        base = "http://" + (self.headers.get("Host") or f"127.0.0.1:{self.server.server_port}") + prefix
        for h in {x.host for x in st.seqs[f.seq]}:
            for scheme in ("https://", "http://"):
                raw = raw.replace((scheme + h + "/").encode(), (base + "/" + h + "/").encode())
        return raw

    def answer(self, f, rec, opts, prefix):
        r = f.data["response"]
        status = opts.get("status") or r["status"]
        heads = {k: v for k, v in r["headers"].items() if k.lower() not in SKIP_OUT}
        ct = next((v for k, v in heads.items() if k.lower() == "content-type"), "")
        raw = self.rewrite(f, f.raw(), prefix)
        parts = pieces(raw, ct)
        streamed = parts is not None or "split" in opts or "cut" in opts
        if "split" in opts:
            n = max(1, opts["split"])
            parts = [raw[i : i + n] for i in range(0, len(raw), n)]
        if parts is None:
            parts = [raw] if raw else []
        rec["status"] = status
        if opts.get("first"):
            time.sleep(opts["first"] / 1000)
        zipped = False
        if not streamed and "gzip" in opts and "gzip" in self.headers.get("Accept-Encoding", ""):
            parts, zipped = [gzip.compress(raw)], True
        self.send_response(status)
        for k, v in heads.items():
            self.send_header(k, v)
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        chunked = streamed and self.request_version != "HTTP/1.0"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif streamed:
            self.send_header("Connection", "close")
            self.close_connection = True
        elif status not in (204, 304):
            self.send_header("Content-Length", str(sum(map(len, parts))))
        self.end_headers()
        self.wfile.flush()
        delay = opts.get("delay", self.server.state.args.delay) / 1000
        for i, p in enumerate(parts):
            if "cut" in opts and i >= opts["cut"]:
                if "hang" in opts:
                    self.wait_close(rec)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if i and delay:
                time.sleep(delay)
            if self.gone():
                rec["client_closed"] = True
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(p), p) if chunked else p)
            self.wfile.flush()
            rec["events"] += 1
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        rec["sent_all"] = True

    def gone(self):
        """has the client closed its side?"""
        try:
            self.connection.setblocking(False)
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        finally:
            with contextlib.suppress(OSError):
                self.connection.setblocking(True)

    def wait_close(self, rec, limit=120):
        end = time.time() + limit
        while time.time() < end and not self.gone():
            time.sleep(0.05)
        rec["client_closed"] = self.gone()

    # ---- websocket (RFC 6455, enough for one question and its answers)
    def websocket(self, f, rec, opts):
        key = self.headers.get("Sec-WebSocket-Key")
        if not key:
            rec["status"] = 426
            return self.send_json(426, {"error": "this fixture is a websocket"})
        acc = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        self.send_response(101)
        for k, v in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", acc)):
            self.send_header(k, v)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        rec["status"] = 101
        text = b""
        while True:
            op, fin, data = self.ws_read()
            if op == 8:
                rec["client_closed"] = True
                return
            if op == 9:
                self.ws_write(10, data)
                continue
            text += data
            if fin:
                break
        try:
            rec["body"] = json.loads(text)
        except ValueError:
            rec["body"] = text.decode("utf-8", "replace")
        delay = opts.get("delay", self.server.state.args.delay) / 1000
        for i, m in enumerate(f.data["response"]["body"]):
            if "cut" in opts and i >= opts["cut"]:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if i and delay:
                time.sleep(delay)
            self.ws_write(1, (m if isinstance(m, str) else json.dumps(m, ensure_ascii=False)).encode("utf-8"))
            rec["events"] += 1
        rec["sent_all"] = True
        self.ws_write(8, struct.pack(">H", 1000))
        try:
            self.connection.settimeout(2)
            self.ws_read()
        except (OSError, ValueError):
            pass

    def ws_read(self):
        h = self.rfile.read(2)
        if len(h) < 2:
            return 8, True, b""
        n, masked = h[1] & 127, h[1] & 128
        if n == 126:
            n = struct.unpack(">H", self.rfile.read(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.rfile.read(8))[0]
        mask = self.rfile.read(4) if masked else b"\0\0\0\0"
        data = self.rfile.read(n)
        return h[0] & 15, bool(h[0] & 128), bytes(b ^ mask[i % 4] for i, b in enumerate(data))

    def ws_write(self, op, data):
        n = len(data)
        h = bytes([128 | op]) + (
            bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else b"\x7f" + struct.pack(">Q", n)
        )
        self.wfile.write(h + data)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_any


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


def serve(dirs=None, port=0, delay=0, loose=False, no_rewrite=False):
    """start in a thread, for tests in Python: s = serve(); s.url; s.shutdown()"""
    args = argparse.Namespace(delay=delay, loose=loose, no_rewrite=no_rewrite)
    s = Server(("127.0.0.1", port), Handler)
    s.state = State(load(dirs or DIRS), args)
    s.url = f"http://127.0.0.1:{s.server_port}"
    threading.Thread(target=s.serve_forever, daemon=True).start()
    return s


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--dir", action="append", help="folder with <provider>/<case>.json (may be given more than once)")
    ap.add_argument("--port", type=int, default=0)
    ap.add_argument("--delay", type=int, default=0, help="milliseconds between events")
    ap.add_argument("--loose", action="store_true", help="serve a named fixture whatever the method and path")
    ap.add_argument("--no-rewrite", action="store_true")
    ap.add_argument("--port-file", help="write the port number here when ready")
    a = ap.parse_args()
    s = serve(a.dir, a.port, a.delay, a.loose, a.no_rewrite)
    if a.port_file:
        with open(a.port_file, "w") as h:
            h.write(str(s.server_port))
    print(f"replay: {s.url} {len(s.state.fx)} fixtures", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        s.shutdown()


if __name__ == "__main__":
    sys.exit(main())
