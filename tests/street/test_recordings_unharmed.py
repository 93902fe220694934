"""Recorded exchanges of providers that speak OpenAI's protocol, through the running program: what the client sent
reaches the provider unharmed, what the provider answered reaches the client unharmed, and the log says what it cost."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests import replay
from tests.gateway import Gateway
from tests.needs import lacking
from tests.relay.protocols.recordings import plain_request
from tests.street.console import ROOT_KEY, UNLIMITED, Console

RECORDINGS, WRITTEN = (Path(folder) for folder in replay.DIRS)
Json = dict[str, Any]

# Path of the client's request, by how the provider's own path ends; the longest first.
PATHS = (
    ("/text/chatcompletion_v2", "/v1/chat/completions"),
    ("/chat/completions", "/v1/chat/completions"),
    ("/completions", "/v1/completions"),
    ("/embeddings", "/v1/embeddings"),
    ("/moderations", "/v1/moderations"),
    ("/images/generations", "/v1/images/generations"),
    ("/images/edits", "/v1/images/edits"),
    ("/audio/speech", "/v1/audio/speech"),
    ("/audio/transcriptions", "/v1/audio/transcriptions"),
    ("/rerank", "/v1/rerank"),
)
OPENAI, AZURE, MINIMAX, MISTRAL, DEEPSEEK, COMPATIBLE = 1, 3, 27, 28, 36, 50
# Provider's host and the path before the mode's own → channel type, and what its base URL has after the host.
SERVICES = (
    (r"api\.openai\.com/v1", OPENAI, ""),
    (r"RESOURCE\.openai\.azure\.com/+openai/deployments/[^/]+", AZURE, ""),
    (r"RESOURCE\.services\.ai\.azure\.com/openai/v1", AZURE, "/openai/v1"),
    (r"api\.deepseek\.com", DEEPSEEK, ""),
    (r"api\.groq\.com/openai/v1", 29, "/openai"),
    (r"api\.minimax\.chat/v1", MINIMAX, ""),
    (r"api\.mistral\.ai/v1", MISTRAL, ""),
    (r"api\.moonshot\.cn/v1", 25, ""),
    (r"api\.novita\.ai/v3/openai", 41, "/v3/openai"),
    (r"api\.together\.xyz/v1", 39, ""),
    (r"api\.x\.ai/v1", 45, ""),
    (r"ark\.cn-beijing\.volces\.com/api/v3", 40, ""),
    (r"dashscope\.aliyuncs\.com/compatible-mode/v1", 49, ""),
    (r"openrouter\.ai/api/v1", 20, "/api"),
    (r"qianfan\.baidubce\.com/v2", 47, ""),
    (r"spark-api-open\.xf-yun\.com/v1", 48, ""),
)
# Services without a channel type of their own; the base URL of type 50 holds all that stands before the mode's path.
OTHERS = re.compile(
    r"api\.(?:cerebras\.ai|fireworks\.ai|hunyuan\.cloud\.tencent\.com|hyperbolic\.xyz|perplexity\.ai|sambanova\.ai"
    r"|studio\.nebius\.ai|voyageai\.com|z\.ai|cloudflare\.com)|RESOURCE\.azuredatabricks\.net"
    r"|RESOURCE\.services\.ai\.azure\.com|localhost:8080|ollama\.com|open\.bigmodel\.cn|router\.huggingface\.co"
)
# OpenAI's paths, but not its forms.
OWN_FORMS = {"documented/minimax/embed", "hyperbolic/image-gen-url"}
ASKS_NO_USAGE = {MISTRAL, MINIMAX, 48}  # usage comes unasked, and a field they do not know might be refused


@dataclass(frozen=True)
class Case:
    name: str
    data: Json
    path: str  # the client's
    channel_type: int
    base: str  # after the replaying server's address

    @property
    def request(self) -> Json:
        found: Json = self.data["request"]
        return found

    @property
    def service(self) -> tuple[int, str, str]:
        """What the channel depends on: its type, its base URL, and Azure's API version."""
        version = re.search(r"api-version=([^&]+)", self.request["url"]) if self.channel_type == AZURE else None
        return self.channel_type, self.base, version[1] if version else ""

    @property
    def upstream_path(self) -> str:
        """The path that the provider must be asked at."""
        path = replay.norm_path(urlsplit(self.request["url"]).path)
        if self.channel_type != DEEPSEEK:
            return path
        # The same service with /v1 and without; tools held to their schemas are in beta.
        tools = (self.request["body"] or {}).get("tools") or ()
        is_strict = any(tool["function"].get("strict") for tool in tools)
        return ("/beta" if is_strict else "/v1") + path.removeprefix("/v1")

    @property
    def is_translated(self) -> bool:
        """Whether the answer is told in other words, because OpenAI's clients would not understand it as it is."""
        return self.channel_type == MISTRAL and self.path == "/v1/chat/completions"

    @property
    def status(self) -> int:
        return int(self.data["response"]["status"])

    @property
    def answer(self) -> bytes:
        response = self.data["response"]
        body = response["body"] or ""
        return base64.b64decode(body) if response["body_encoding"] == "base64" else body.encode()

    @property
    def content_type(self) -> str:
        return next((v for k, v in self.data["response"]["headers"].items() if k.lower() == "content-type"), "")

    @property
    def is_stream(self) -> bool:
        return "event-stream" in self.content_type


def cases() -> Iterator[Case]:
    """Every recorded call that a client of this program could have made in OpenAI's dialect."""
    for folder in (RECORDINGS, WRITTEN):
        for path in sorted(folder.glob("*/*.json" if folder is RECORDINGS else "documented/*/*.json")):
            data = json.loads(path.read_text("utf-8"))
            name = str(path.relative_to(folder).with_suffix(""))
            if data["request"]["method"] == "POST" and (case := _case(name, data)) is not None:
                yield case


def _case(name: str, data: Json) -> Case | None:
    url = urlsplit(data["request"]["url"])
    ending = next((pair for pair in PATHS if url.path.endswith(pair[0])), None)
    if ending is None:
        return None
    if name in OWN_FORMS:
        return None
    before = url.netloc + url.path.removesuffix(ending[0])
    for pattern, channel_type, base in SERVICES:
        if re.fullmatch(pattern, before):
            return Case(name, data, ending[1], channel_type, base)
    if OTHERS.match(before) and "/ai/run" not in before:
        return Case(name, data, ending[1], COMPATIBLE, f"/{before.partition('/')[2]}".rstrip("/"))
    return None


CASES = tuple(cases())


class Chosen(replay.Handler):
    """Answers with the recording that the client's Idempotency-Key names: the program sends that header on."""

    def parse_request(self) -> bool:
        is_good = super().parse_request()
        if is_good:
            self.headers["x-replay-case"] = self.headers.get("Idempotency-Key", "")
        return is_good


class Street:
    """The program with a channel for each service, a replaying upstream behind it, and a client before it."""

    def __init__(self, console: Console, upstream: replay.Server) -> None:
        self.console = console
        self.upstream = upstream
        self.client = requests.Session()
        self.client.trust_env = False
        self.channels: dict[tuple[int, str, str], int] = {}
        for case in CASES:
            if case.service not in self.channels:
                self.channels[case.service] = self._channel(*case.service)
        console.channel(upstream.url, models="the-last-one")
        console.wait_until_known("the-last-one")

    def _channel(self, channel_type: int, base: str, api_version: str) -> int:
        config = {"api_version": api_version} if channel_type == AZURE and api_version else {}
        return self.console.channel(self.upstream.url + base, type=channel_type, models="of-its-own", config=config)

    def send(self, case: Case) -> tuple[bytes, requests.Response, list[Json]]:
        """The body that was sent, the answer, and what the upstream received."""
        body, content_type = client_body(case)
        query = urlsplit(case.request["url"]).query
        seen = len(self.upstream.state.log)
        answer = self.client.post(
            f"{self.console.url}{case.path}" + (f"?{query}" if query else ""),
            data=body,
            headers={
                "Authorization": f"Bearer {ROOT_KEY}-{self.channels[case.service]}",
                "Content-Type": content_type,
                "Idempotency-Key": case.name,
            },
            timeout=30,
        )
        return body, answer, self.upstream.state.log[seen:]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    upstream = replay.serve()
    upstream.RequestHandlerClass = Chosen
    upstream.state.args.loose = True  # the tests look at paths themselves
    with Gateway(tmp_path_factory.mktemp("recordings"), UNLIMITED) as gateway, Console(gateway) as console:
        made = Street(console, upstream)
        yield made
        made.client.close()
    upstream.shutdown()
    upstream.server_close()


# ---- what the client sends ----


def client_body(case: Case) -> tuple[bytes, str]:
    """The recorded request's body, or, where only the answer was recorded, one that asks for such an answer."""
    match case.request["body_encoding"]:
        case "json":
            return json.dumps(named(case), ensure_ascii=False).encode(), "application/json"
        case "multipart":
            return form(case.request["body"]), f"multipart/form-data; boundary={BOUNDARY}"
    if case.path == "/v1/audio/transcriptions":
        parts = [{"name": "model", "text": "whisper-1"}, {"name": "file", "filename": "a.mp3", "base64": "AAAA"}]
        return form(parts), f"multipart/form-data; boundary={BOUNDARY}"
    if case.path == "/v1/rerank":
        return json.dumps({"model": "m", "query": "q", "documents": ["a", "b"]}).encode(), "application/json"
    asked = {"model": deployment(case) or "m", "messages": [{"role": "user", "content": "?"}], "stream": case.is_stream}
    return json.dumps(asked).encode(), "application/json"


def deployment(case: Case) -> str:
    found = re.search(r"/deployments/([^/]+)/", case.request["url"])
    return found[1] if found else ""


def named(case: Case) -> Json:
    """The recorded body; on Azure's deployments, where the path names the model, it names that one."""
    body: Json = case.request["body"]
    return {**body, "model": deployment(case)} if deployment(case) else body


BOUNDARY = "a-boundary-of-the-client"


def form(parts: list[Json]) -> bytes:
    lines = []
    for part in parts:
        disposition = f'form-data; name="{part["name"]}"'
        if "filename" in part:
            disposition += f'; filename="{part["filename"]}"'
        content = base64.b64decode(part["base64"]) if "base64" in part else part["text"].encode()
        head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n"
        if "content_type" in part:
            head += f"Content-Type: {part['content_type']}\r\n"
        lines.append(head.encode() + b"\r\n" + content + b"\r\n")
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()


# ---- what the upstream must receive ----


def expected_upstream(case: Case, sent: Json) -> Json:
    """The client's object with the edits that README and adaptors declare, and nothing else."""
    body = dict(sent)
    if case.path == "/v1/images/generations":
        body.setdefault("model", "dall-e-2")
    if asks_usage(case, sent):
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if case.channel_type in (OPENAI, AZURE) and re.match(r"o\d|gpt-5", body.get("model", "")) and "max_tokens" in body:
        body.setdefault("max_completion_tokens", body.pop("max_tokens"))
    return body


def asks_usage(case: Case, sent: Json) -> bool:
    """Whether the program asks for a usage chunk that the client did not ask for."""
    return (
        bool(sent.get("stream"))
        and case.path in ("/v1/chat/completions", "/v1/completions")
        and not (sent.get("stream_options") or {}).get("include_usage")
        and case.channel_type not in ASKS_NO_USAGE
        and not (case.channel_type == AZURE and "api-version=2024-02" in case.request["url"])
    )


def telling(body: Json) -> Any:
    """A chat request in one of its equal spellings, without what says nothing or has no place at Mistral's."""
    kept = {name: value for name, value in body.items() if name != "stream_options"}
    if "seed" in kept:
        kept["random_seed"] = kept.pop("seed")
    return plain_request(kept)


def same_json(one: object, other: object) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


# ---- what the client must get ----


def expected_stream(case: Case, hides_usage: bool) -> bytes:
    """The recorded frames, without a usage chunk that nobody asked for, and with [DONE] where the provider has none."""
    frames = replay.pieces(case.answer, case.content_type) or []
    kept = [frame for frame in frames if not (hides_usage and is_usage_only(frame))]
    if case.path in ("/v1/chat/completions", "/v1/completions") and not any(b"[DONE]" in frame for frame in kept):
        kept.append(b"data: [DONE]\n\n")
    return b"".join(kept).replace(b"\n\n\n\n", b"\n\n")  # more than one blank line says no more than one


def is_usage_only(frame: bytes) -> bool:
    chunk = chunk_in(frame)
    return bool(chunk.get("usage")) and not chunk.get("choices")


def chunk_in(frame: bytes) -> Json:
    data = b"".join(line[5:] for line in frame.splitlines() if line.startswith(b"data:")).strip()
    return json.loads(data) if data.startswith(b"{") else {}


def said(answer: bytes, content_type: str) -> Json:
    """What an answer says, whole or streamed, OpenAI's or Mistral's."""
    if "event-stream" in content_type:
        chunks = [chunk_in(frame) for frame in replay.pieces(answer, content_type) or []]
    else:
        chunks = [json.loads(answer)]
    told: Json = {"text": "", "thoughts": "", "calls": "", "finish": set(), "ids": {c["id"] for c in chunks if c}}
    for choice in (choice for chunk in chunks for choice in chunk.get("choices") or ()):
        message = choice.get("delta") or choice.get("message") or {}
        pieces = message.get("content") or ""
        for piece in [{"text": pieces}] if isinstance(pieces, str) else pieces:
            told["text"] += piece.get("text") or ""
            told["thoughts"] += "".join(thought["text"] for thought in piece.get("thinking") or ())
        told["thoughts"] += message.get("reasoning_content") or ""
        for call in message.get("tool_calls") or ():
            told["calls"] += (call["function"].get("name") or "") + call["function"]["arguments"]
        told["finish"].add(choice.get("finish_reason"))
    told["finish"].discard(None)
    return told


def told_usage(case: Case) -> Json | None:
    """The last usage that the recorded answer tells."""
    if not case.is_stream:
        return usage_in(json.loads(case.answer)) if case.answer.startswith(b"{") else None
    found = None
    for frame in replay.pieces(case.answer, case.content_type) or []:
        found = usage_in(chunk_in(frame)) or found
    return found


def usage_in(body: Json) -> Json | None:
    choices = body.get("choices") or [{}]
    return body.get("usage") or (body.get("x_groq") or {}).get("usage") or choices[0].get("usage")


# ---- the tests ----

# What the recorded requests lack, the gateway must know: nobody is asked.
LACKING = {
    "documented/mistral/error-422": "messages",
    "huggingface/chat": "model",
    "huggingface/error-422": "messages",
    "hyperbolic/error-400": "model",
    "hyperbolic/error-422": "messages",
    "llamacpp/rerank-error-400": "documents",
    "together/completions-error-400": "model",
}
# Errors that are about the gateway's own account, though their status is not.
OWN_ACCOUNT = {
    "documented/moonshot/error-429-quota",
    "documented/openai/error-429-quota",
    "documented/xai/error-429",
    "documented/xunfei/http-error-11200",
    "xai/error-400",
}
# What is told by a status or code that clients know, where the provider's own says less.
TOLD_APART: dict[str, tuple[int, str]] = {
    "deepseek/error-context-length": (400, "context_length_exceeded"),
    "documented/doubao/error-400-content": (400, "content_filter"),
    "documented/doubao/error-400-length": (400, "context_length_exceeded"),
    "documented/moonshot/error-400-length": (400, "context_length_exceeded"),
    "mistral/embed-error-400": (404, "model_not_found"),
    "mistral/error-400": (404, "model_not_found"),
    "openrouter/embed-error-400": (404, "model_not_found"),
    "openrouter/error-400": (404, "model_not_found"),
    "openrouter/error-context-length": (400, "context_length_exceeded"),
}
# Streams that break off or tell an error after their first content, and what the client is told instead of [DONE].
BROKEN = {
    "documented/openai/error-mid-stream": "The server had an error while processing your request. Sorry about that!",
    "documented/openai/stream-cut": "The provider's answer is not valid JSON.",
    "documented/openrouter/error-mid-stream": "Provider disconnected unexpectedly",
    "openrouter/max-tokens-stream": "",
}
# Errors inside a 200, and the status that they would have had; 502 where it is about the gateway's own account.
ERRORS_INSIDE = {
    "azure/deployment-refusal": 400,
    "documented/minimax/error-1002-rate": 429,
    "documented/minimax/error-1004-auth": 502,
    "documented/minimax/error-1008-balance": 502,
    "documented/minimax/error-1026-content": 400,
    "documented/minimax/error-2013-params": 400,
}
ODD = {*LACKING, *BROKEN, *ERRORS_INSIDE}


def parameters(wanted: Callable[[Case], bool]) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in CASES if wanted(case)]


def test_recordings_are_there() -> None:
    if not RECORDINGS.is_dir():
        lacking(f"no recordings in {RECORDINGS}: set ONEAPI_FIXTURES to their folder")
    assert len(CASES) > 330


@pytest.mark.parametrize("case", parameters(lambda case: case.status == 200 and case.name not in ODD))
def test_request_and_answer_pass_unharmed(street: Street, case: Case) -> None:
    sent, answer, received = street.send(case)
    assert answer.status_code == 200, answer.text
    (request,) = received
    hides_usage = check_request(case, sent, request)
    if case.is_translated:
        assert said(answer.content, answer.headers["Content-Type"]) == said(case.answer, case.content_type)
    elif case.name == "mistral/speech":  # a text that holds the sound
        assert answer.content == base64.b64decode(json.loads(case.answer)["audio_data"])
    else:
        assert answer.headers["Content-Type"] == case.content_type
        assert answer.content == (expected_stream(case, hides_usage) if case.is_stream else case.answer)
    check_books(street, case, answer)


def check_request(case: Case, sent: bytes, request: Json) -> bool:
    """Checks what the upstream received; returns whether it was asked for usage that the client did not ask for."""
    headers = request["headers"]
    assert request["path"] == case.upstream_path
    assert ROOT_KEY not in str(headers)
    if headers["content-type"].startswith("multipart/"):
        assert request["body"] == replay.multipart(sent, headers["content-type"])
        assert int(headers["content-length"]) == len(sent)
        return False
    asked = json.loads(sent)
    if case.is_translated:
        assert telling(request["body"]) == telling(asked)
        return False
    expected = expected_upstream(case, asked)
    assert same_json(request["body"], expected)
    if same_json(expected, asked):  # nothing to change: byte for byte
        assert int(headers["content-length"]) == len(sent)
    return asks_usage(case, asked)


def check_books(street: Street, case: Case, answer: requests.Response) -> None:
    row = street.console.log_row(answer.headers["X-Oneapi-Request-Id"])
    assert row is not None
    assert row["channel_id"] == street.channels[case.service]
    usage = told_usage(case)
    if usage is None:
        return
    told = {name: count for name, count in usage.items() if isinstance(count, int)}
    given = told.get("prompt_tokens", told.get("input_tokens", 0))
    made = told.get("completion_tokens", told.get("output_tokens", 0))
    logged = (row["prompt_tokens"], row["completion_tokens"])
    if given + made == told.get("total_tokens", given + made):
        assert logged == (given, made)
    else:  # reasoning or sound that the parts leave out is in the total
        assert (sum(logged), logged[0] >= given, logged[1] >= made) == (told["total_tokens"], True, True)


@pytest.mark.parametrize("case", parameters(lambda case: case.status >= 400 and case.name not in ODD))
def test_a_refusal_keeps_its_words_and_costs_nothing(street: Street, case: Case) -> None:
    sent, answer, received = street.send(case)
    (request,) = received
    check_request(case, sent, request)
    error = check_refusal(street, answer)
    if case.status in (401, 402, 403) or case.name in OWN_ACCOUNT:
        assert (answer.status_code, error["code"]) == (502, "upstream_credential_rejected")
        assert error["upstream_status"] == case.status or case.name in OWN_ACCOUNT
        return
    status, code = TOLD_APART.get(case.name, (case.status, None))
    assert answer.status_code == status
    assert code in (None, error["code"])
    try:
        told = json.loads(case.answer)["error"]
        words = told["message"]
    except (ValueError, KeyError, TypeError):
        return  # not OpenAI's form; check_refusal has seen that the client is told something
    assert error["message"].startswith(words.strip())
    assert code or error["code"] == told.get("code")


@pytest.mark.parametrize("case", parameters(lambda case: case.name in ERRORS_INSIDE))
def test_an_error_inside_a_200_is_told_as_one(street: Street, case: Case) -> None:
    _, answer, received = street.send(case)
    assert len(received) == 1
    check_refusal(street, answer)
    assert answer.status_code == ERRORS_INSIDE[case.name]


@pytest.mark.parametrize("case", parameters(lambda case: case.name in LACKING))
def test_a_request_that_lacks_something_is_refused_before_anybody_is_asked(street: Street, case: Case) -> None:
    _, answer, received = street.send(case)
    assert (answer.status_code, received) == (400, [])
    assert answer.json()["error"]["param"] == LACKING[case.name]


def check_refusal(street: Street, answer: requests.Response) -> Json:
    """The envelope's error, when it is whole and nothing was charged."""
    error: Json = answer.json()["error"]
    request_id = answer.headers["X-Oneapi-Request-Id"]
    assert error["message"].endswith(f" (request id: {request_id})")
    assert len(error["message"]) > len(f" (request id: {request_id})")
    row = street.console.log_row(request_id)
    assert row is not None
    assert (row["type"], row["quota"]) == (6, 0)
    return error


@pytest.mark.parametrize("delay_ms", [0, 150])
@pytest.mark.parametrize("case", parameters(lambda case: case.name in BROKEN))
def test_a_stream_that_breaks_is_told_as_far_as_it_came(
    street: Street, case: Case, delay_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(street.upstream.state.args, "delay", delay_ms)
    _, answer, _ = street.send(case)
    if answer.status_code != 200:  # error and content came in one piece: nothing had been sent, nothing is charged
        assert delay_ms == 0
        assert check_refusal(street, answer)["message"].startswith(BROKEN[case.name])
        return
    *frames, last = replay.pieces(answer.content, case.content_type) or []
    assert frames
    assert case.answer.startswith(b"".join(frames))
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"].startswith(BROKEN[case.name])


def test_no_hold_is_left(street: Street) -> None:
    assert street.console.holds() == 0
