"""An upstream that grants every wish: whatever it is asked for, in OpenAI's protocol or Anthropic's, it answers well.

Under /uncounted in its path it reports no usage, so that whoever asks must count for himself; under /echo it sends back
what came, with headers that should not go any further.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "o3", "text-embedding-3-small", "whisper-1")
NOTHING: Mapping[str, str] = {}
ECHOED = {
    "X-Kept": "1",
    "Set-Cookie": "upstream=1",
    "Access-Control-Allow-Origin": "https://provider.example",
    "X-Oneapi-Request-Id": "the-providers",
    "Keep-Alive": "timeout=5",
}
_TEXT = "Quite so."
_CHAT = {"role": "assistant", "content": _TEXT}


def _chat(body: Json) -> Json:
    choice = {"index": 0, "message": _CHAT, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": [choice], "usage": USAGE}


def _completion(body: Json) -> Json:
    choice = {"index": 0, "text": _TEXT, "finish_reason": "stop"}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "choices": [choice], "usage": USAGE}


def _embedding(body: Json) -> Json:
    row = {"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}
    return {"object": "list", "data": [row], "usage": {"prompt_tokens": 7, "total_tokens": 7}}


def _images(body: Json) -> Json:
    return {"created": 1, "data": [{"b64_json": "aGk="}]}


def _transcript(body: Json) -> Json:
    return {"text": _TEXT, "usage": {"type": "duration", "seconds": 2}}


def _moderation(body: Json) -> Json:
    return {"id": "modr-1", "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}


def _ranking(body: Json) -> Json:
    return {"results": [{"index": 0, "relevance_score": 0.9}], "usage": {"prompt_tokens": 7, "total_tokens": 7}}


def _anthropic(body: Json) -> Json:
    said = [{"type": "text", "text": _TEXT}]
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "content": said, "stop_reason": "end_turn"}
    return {**answer, "model": "claude", "usage": {"input_tokens": 7, "output_tokens": 3}}


def _models(body: Json) -> Json:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}


ANSWERS = {
    "/chat/completions": _chat,
    "/completions": _completion,
    "/embeddings": _embedding,
    "/images/generations": _images,
    "/images/edits": _images,
    "/images/variations": _images,
    "/edits": _completion,
    "/audio/transcriptions": _transcript,
    "/audio/translations": _transcript,
    "/moderations": _moderation,
    "/rerank": _ranking,
    "/messages": _anthropic,
    "/models": _models,
}


def _stream(path: str, *, is_counted: bool) -> bytes:
    """What is said to a client of a stream, in one piece."""
    usage = USAGE if is_counted else None
    if path.endswith("/messages"):
        counted = {"usage": {"input_tokens": 7, "output_tokens": 3}} if is_counted else {}
        events: list[Json] = [
            {"type": "message_start", "message": {**_anthropic({}), "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": _TEXT}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, **counted},
            {"type": "message_stop"},
        ]
        return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    if "/images/" in path:
        done = {"type": "image_generation.completed", "b64_json": "aGk="}
        return f"event: {done['type']}\ndata: {json.dumps(done)}\n\n".encode()
    if "/audio/" in path:
        events = [{"type": "transcript.text.delta", "delta": _TEXT}, {"type": "transcript.text.done", "text": _TEXT}]
        return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    said: Json = {"delta": _CHAT} if path.endswith("/chat/completions") else {"text": _TEXT}
    choices = [{"index": 0, **said, "finish_reason": None}], [{"index": 0, "delta": {}, "finish_reason": "stop"}], []
    chunks = [{"id": "chatcmpl-1", "created": 1, "choices": choice} for choice in choices[: 3 if usage else 2]]
    if usage:
        chunks[-1]["usage"] = usage
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Obliging

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.received.append((self.path, dict(self.headers.items()), raw))
        if "/echo" in path:
            return self._answer("application/octet-stream", raw, 418 if "/teapot" in path else 200, ECHOED)
        if path.endswith("/audio/speech"):
            return self._answer("audio/mpeg", b"\xff\xfb" * 100)
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = {}
        is_counted = "/uncounted" not in path
        if (isinstance(body, dict) and body.get("stream") is True) or b'name="stream"\r\n\r\ntrue' in raw:
            return self._answer("text/event-stream", _stream(path, is_counted=is_counted))
        for ending, answer in ANSWERS.items():
            if path.endswith(ending):
                whole = answer(body)
                if not is_counted:
                    whole.pop("usage", None)
                return self._answer("application/json", json.dumps(whole).encode())
        self._answer("application/json", json.dumps({"error": {"message": f"no such path: {path}"}}).encode(), 404)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

    def _answer(self, content_type: str, body: bytes, status: int = 200, headers: Mapping[str, str] = NOTHING) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Obliging(ThreadingHTTPServer):
    """Serves from its making until it is closed, which a context manager does. `received`: (path, headers, body)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        super().__exit__(*error)
