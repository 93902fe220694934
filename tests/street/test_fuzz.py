"""Random requests at the relay's door: whatever is sent, the answer is no fault of the program's, and the books agree.

The examples are the same in every run. `ONEAPI_FUZZ=50` tries fifty times as many, chosen anew.
"""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.gateway import Gateway
from tests.street.console import UNLIMITED, Console
from tests.street.obliging import Obliging
from tests.street.wire import Reply, ask, request

TIMES = int(os.environ.get("ONEAPI_FUZZ", "1"))
CHAT = "/v1/chat/completions"
# Models, by the channel type that serves them; providers whose own protocols are not OpenAI's answer in vain, but
# what they are asked for has been translated by then.
NATIVE = {"claude-3-5-haiku-latest": 14, "gemini-2.0-flash": 24, "llama3:latest": 30, "command-r": 35, "qwen-max": 17}
PLAIN, MAPPED, UNCOUNTED = "gpt-4o", "mapped", "uncounted"
CHATTING = (PLAIN, MAPPED, UNCOUNTED, *NATIVE)


def fuzz(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@dataclass(frozen=True)
class Target:
    console: Console
    keys: tuple[str, ...]  # of a rich user, a poor one, one with a limited token, an administrator

    def send(self, raw: bytes, method: str = "POST") -> Reply:
        """The answer, which must be a success or a well-told error, and never a fault of ours."""
        reply = ask(self.console.url, raw, method)
        event(f"status {reply.status}")
        assert reply.status not in (500, 505), reply
        if reply.status >= 400 and method != "HEAD":
            assert "Traceback" not in str(reply.error)
        return reply


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    environ = {**UNLIMITED, "MAX_BODY_BYTES": str(1 << 20), "WEB_CONCURRENCY": "2"}
    folder = tmp_path_factory.mktemp("fuzz")
    with Obliging() as upstream, Gateway(folder, environ) as gateway, Console(gateway) as console:
        everything = {model for path in BODIES for model in [BODIES[path].get("model")] if isinstance(model, str)}
        models = ",".join(sorted(everything | {"whisper-1", "text-embedding-3-small"} - {UNCOUNTED}))
        console.channel(upstream.url, type=8, models=models)
        console.channel(f"{upstream.url}/uncounted", models=UNCOUNTED)
        prompt, mapping = "Be brief.", {MAPPED: "o3-mini"}
        console.channel(f"{upstream.url}/uncounted", models=MAPPED, model_mapping=mapping, system_prompt=prompt)
        for model, kind in NATIVE.items():
            console.channel(upstream.url, type=kind, models=model)
        rich, poor, admin = console.user(quota=10**12), console.user(quota=3000), console.user(role="admin")
        limited = console.token(rich, unlimited_quota=False, remain_quota=100)
        keys = (console.token(rich), console.token(poor), limited, console.token(admin))
        console.wait_until_known(model)
        yield Target(console, keys)
        console.wait_until(lambda: console.holds() == 0)
        command = [sys.executable, "-m", "oneapi", "verify"]
        verified = subprocess.run(command, cwd=folder, env=gateway.environ, capture_output=True, text=True, check=False)
        log = gateway.log()
    assert verified.returncode == 0, verified.stdout
    assert "Traceback" not in log
    assert "sk-upstream" not in log


# ---- bodies ----

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {
        "model": PLAIN,
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, IMAGE], "name": "me"},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "seen"}]},
            {"role": "user", "content": "and?"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 1,
        "n": 1,
        "stop": ["end"],
        "seed": 7,
        "logit_bias": {"50256": -100},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
        "metadata": {"a": "b"},
        "user": "me",
    },
    "/v1/completions": {
        "model": UNCOUNTED,
        "prompt": ["hi", "ho"],
        "max_tokens": 9,
        "n": 2,
        "best_of": 2,
        "stream": True,
    },
    "/v1/edits": {"model": "text-davinci-edit-001", "input": "hi", "instruction": "shout", "n": 1},
    "/v1/embeddings": {"model": UNCOUNTED, "input": ["hi", "ho"], "dimensions": 2, "encoding_format": "float"},
    "/v1/engines/text-embedding-3-small/embeddings": {"input": [[1, 2], [3]]},
    "/v1/moderations": {"model": UNCOUNTED, "input": [{"type": "text", "text": "hi"}, IMAGE]},
    "/v1/images/generations": {"model": "dall-e-3", "prompt": "a cat", "n": 1, "size": "1024x1024", "quality": "hd"},
    "/v1/images/edits": {"model": "gpt-image-1", "prompt": "a cat", "images": [IMAGE], "n": 2, "stream": True},
    "/v1/audio/speech": {"model": "tts-1", "input": "hi", "voice": "alloy", "response_format": "mp3"},
    "/v1/rerank": {"model": "bge-reranker", "query": "hi", "documents": ["a", {"text": "b"}], "top_n": 1},
}

TEXTS = (
    "",
    "\0",
    "\ud800",
    "\udfff\ud800",
    "\r\n",
    "模型",
    "\U0001f600",
    "a" * 5000,
    "<|endoftext|>",
    "{}",
    "\ufeff",
    "%s",
)
NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 10**40, 0.1, -0.0, 1e308, 5e-324, 1.5)
WORDS = ("type", "text", "role", "content", "function", "name", "image_url", "url", "parameters", "id", "", "\ud800")
scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.text(max_size=8)
words = st.sampled_from(WORDS)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=4), inner, max_size=3)
)


@st.composite
def mutated(draw: st.DrawFn, base: Any) -> Any:
    """The value, changed in one to four places."""
    changed = json.loads(json.dumps(base))
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(changed))
        if not places:
            break
        holder, at = draw(st.sampled_from(places))
        match draw(st.sampled_from(("replace", "replace", "drop", "wrap", "add", "repeat"))):
            case "replace":
                holder[at] = draw(values)
            case "drop":
                del holder[at]
            case "wrap":
                holder[at] = draw(st.sampled_from(([holder[at]], {"type": holder[at]}, {"text": holder[at]})))
            case "add" if isinstance(holder, dict):
                holder[draw(words)] = draw(values)
            case _ if isinstance(holder, list):
                holder.insert(0, draw(values) if draw(st.booleans()) else holder[at])
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for at in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, at
            yield from _places(value[at])


def encoded(value: Any) -> bytes:
    """JSON, lone surrogates as escapes, the rest as it is."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


@given(data=st.data())
@pytest.mark.parametrize("model", CHATTING)
@fuzz(60)
def test_chats_with_odd_fields(target: Target, model: str, data: st.DataObject) -> None:
    body = data.draw(mutated({**BODIES[CHAT], "model": model}))
    key = data.draw(st.sampled_from(target.keys))
    target.send(request(CHAT, encoded(body), key=key))


@given(data=st.data())
@pytest.mark.parametrize("path", [path for path in BODIES if path != CHAT])
@fuzz(30)
def test_other_modes_with_odd_fields(target: Target, path: str, data: st.DataObject) -> None:
    body = data.draw(mutated(BODIES[path]))
    key = data.draw(st.sampled_from(target.keys))
    target.send(request(path, encoded(body), key=key))


@given(body=values, path=st.sampled_from([*BODIES, "/v1/audio/transcriptions"]))
@fuzz(60)
def test_any_json(target: Target, body: Any, path: str) -> None:
    target.send(request(path, encoded(body), key=target.keys[0]))


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """The bytes, with one to four pieces taken out, put in, or put elsewhere."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 40)))
        raw = raw[:start] + draw(st.binary(max_size=6) | st.just(raw[start:end] * 2)) + raw[end:]
    return raw


@given(data=st.data())
@fuzz(80)
def test_damaged_json(target: Target, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(BODIES)))
    body = data.draw(damaged(encoded(BODIES[path])))
    target.send(request(path, body, key=target.keys[0]))


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nhi\r\n'
    b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\nfalse\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
    b"data\x00\x00\x00\x00\r\n"
    b"--b--\r\n"
)


@given(
    path=st.sampled_from(
        ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations", CHAT]
    ),
    form=damaged(FORM),
    boundary=st.sampled_from(["b", '"b"', "b; charset=utf-8", "c", "", '"', "b" * 80, "\xe9"]),
)
@fuzz(80)
def test_damaged_forms(target: Target, path: str, form: bytes, boundary: str) -> None:
    content_type = f"multipart/form-data; boundary={boundary}"
    target.send(request(path, form, key=target.keys[0], headers={"Content-Type": content_type}))


# ---- paths, methods and headers ----

SEGMENTS = """
v1 chat completions models embeddings engines images generations edits audio speech rerank files threads runs oneapi
proxy 1 2 99999 dashboard billing usage . .. %2e %2F %00 %0d%0a %zz %
"""
QUERIES = ("", "?", "?key=x", "?api-version=1&key=", "?a=b&a=c", "?%00=%ff", "??", "?key=%0d%0a", "?" + "x" * 3000)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW")
HEADERS = """
Accept Accept-Encoding Accept-Language Api-Key Authorization Content-Encoding Content-Type Cookie Expect Idempotency-Key
If-None-Match OpenAI-Beta Origin Range Referer TE Traceparent User-Agent X-Api-Key X-Forwarded-For X-Forwarded-Host
X-Forwarded-Proto X-Goog-Api-Key X-HTTP-Method-Override X-OneAPI-Strict X-Request-Id
"""
VALUES = ("true", "gzip", "application/json", "multipart/form-data", "https://a.example", "127.0.0.1", "*", "bytes=0-")
segments = st.sampled_from(SEGMENTS.split()) | st.text(
    string.ascii_letters + "0123456789-._~!$&'()*+,;=:@%", max_size=8
)
paths = st.lists(segments, min_size=1, max_size=5).map(lambda found: "/v1/" + "/".join(found))
known = st.sampled_from([*BODIES, "/v1/models", "/v1/files", "/v1/oneapi/proxy/1/v1/chat/completions"])
printable = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)


@given(
    method=st.sampled_from(METHODS) | st.just("POST"),
    path=paths | known,
    query=st.sampled_from(QUERIES),
    headers=st.dictionaries(st.sampled_from(HEADERS.split()), printable | st.sampled_from(VALUES), max_size=4),
    who=st.integers(0, 4),
    body=st.sampled_from([b"", b"{}", encoded(BODIES[CHAT]), FORM]),
)
@fuzz(250)
def test_any_path_method_and_headers(
    target: Target, method: str, path: str, query: str, headers: dict[str, str], who: int, body: bytes
) -> None:
    # What Expect asks for besides 100-continue a server may refuse in words of its own.
    if "Expect" in headers:
        headers["Expect"] = "100-continue"
    key = target.keys[who] if who < len(target.keys) else ""
    reply = target.send(request(path + query, body, key=key, method=method, headers=headers), method)
    assert "x-oneapi-request-id" in reply.headers


@given(name=st.text(max_size=30))
@fuzz(60)
def test_any_name_of_a_model(target: Target, name: str) -> None:
    spelled = quote(name.encode("utf-8", "surrogatepass"), safe="")
    reply = target.send(request(f"/v1/models/{spelled}", key=target.keys[0], method="GET"), "GET")
    assert reply.status in (200, 404)
    if name:
        reply = target.send(request(CHAT, encoded({**BODIES[CHAT], "model": name}), key=target.keys[0]))
        assert reply.status in (200, 400, 503)
