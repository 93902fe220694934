"""Bad input, one by one, at both servers' doors: a clear error with the right status, and nothing charged.

`worker` reads POSTs to the relay itself; `gevent` is Gunicorn's own code in front of the same door.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.gateway import Gateway
from tests.street.console import ROOT_KEY, UNLIMITED, Console, User
from tests.street.obliging import Obliging
from tests.street.wire import Reply, ask, chunked, line, request

MAX_BODY_BYTES = 12 * 1024 * 1024
QUOTA = 50_000_000  # 100 dollars
COMMANDS = {"worker": ("-m", "oneapi"), "gevent": ("-m", "oneapi", "serve", "-k", "gevent")}

# One valid body for each path that takes JSON.
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"},
    "/v1/edits": {"model": "text-davinci-edit-001", "instruction": "hi"},
    "/v1/embeddings": {"model": "text-embedding-3-small", "input": "hi"},
    "/v1/engines/text-embedding-3-small/embeddings": {"input": "hi"},
    "/v1/moderations": {"input": "hi"},
    "/v1/images/generations": {"model": "gpt-image-1", "prompt": "a cat"},
    "/v1/images/edits": {"model": "gpt-image-1", "prompt": "a cat"},
    "/v1/images/variations": {"model": "gpt-image-1"},
    "/v1/audio/speech": {"model": "tts-1", "input": "hi", "voice": "alloy"},
    "/v1/rerank": {"model": "bge-reranker", "query": "hi", "documents": ["a", "b"]},
}
FORMS = ("/v1/audio/transcriptions", "/v1/audio/translations")
CHAT = "/v1/chat/completions"


@dataclass
class Door:
    console: Console
    user: User
    key: str  # of a user who must never be charged
    rich_key: str  # of one who may
    claude: str = "claude-sonnet-4-5"  # served by a provider with another protocol
    mapped: str = "mapped"  # a model whose body is edited on its way

    @property
    def url(self) -> str:
        return self.console.url

    def ask(self, path: str, body: bytes | object, **headers: str | bytes) -> Reply:
        """The reply to a request that must not be charged."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.url, request(path, data, key=self.key, headers=names))

    @property
    def balance(self) -> int:
        return self.console.balance(self.user.id)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Obliging]:
    with Obliging() as serving:
        yield serving


@pytest.fixture(scope="module", params=["worker", "gevent"])
def door(
    request: pytest.FixtureRequest, upstream: Obliging, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp(f"bad-input-{request.param}")
    environ = {**UNLIMITED, "MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with Gateway(folder, environ, COMMANDS[request.param]) as gateway, Console(gateway) as console:
        models = {body["model"] for body in VALID.values() if "model" in body}
        models |= {"omni-moderation-latest", "text-moderation-latest", "whisper-1", "dall-e-2", "dall-e-3"}
        console.channel(upstream.url, models=",".join(sorted(models - {"bge-reranker"})))
        console.channel(f"{upstream.url}/uncounted", type=2, models="bge-reranker")
        console.channel(upstream.url, type=14, models=Door.claude)
        mapping = {Door.mapped: "gpt-4o"}
        prompt = "Be brief."
        console.channel(f"{upstream.url}/uncounted", models=Door.mapped, model_mapping=mapping, system_prompt=prompt)
        user, rich = console.user(quota=QUOTA), console.user(quota=10**12)
        made = Door(console, user, console.token(user), console.token(rich))
        console.wait_until_known(Door.mapped)
        yield made
        log = gateway.log()
    assert "Traceback" not in log
    for secret in (made.key, made.rich_key, ROOT_KEY, "sk-upstream"):
        assert secret not in log


@pytest.fixture(autouse=True)
def nothing_is_charged(door: Door) -> Iterator[None]:
    before = door.balance
    yield
    door.console.wait_until(lambda: door.console.holds() == 0)
    assert door.balance == before


def refused(reply: Reply, status: int, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The error of a reply that must be a refusal of ours."""
    assert reply.status == status, reply
    error = reply.error
    assert error["type"] == "one_api_error"
    assert error["message"].endswith(f" (request id: {reply.request_id})")
    assert code in (None, error.get("code")), error
    assert param in (None, error.get("param")), error
    return error


# ---- bodies that are no JSON object ----

NO_JSON = {
    "empty": b"",
    "blank": b" \n",
    "text": b"hello",
    "cut": b'{"model": "gpt-4o", "messages": [{"role": "us',
    "two values": b'{"model":"gpt-4o"} {"model":"gpt-4o"}',
    "single quotes": b"{'model': 'gpt-4o'}",
    "comma at the end": b'{"model": "gpt-4o",}',
    "NaN": b'{"model": NaN}',
    "UTF-16": '{"model": "gpt-4o"}'.encode("utf-16"),
    "invalid UTF-8": b'{"model": "gpt-4o\xff", "messages": "\xc3\x28", "input": "\xff", "prompt": "\xff"}',
    "a control character in a text": b'{"model": "gpt-4o\x00", "messages": [{"role": "user", "content": "\x01"}]}',
    "a number that is none": b'{"model": 01}',
    "a bad escape": b'{"model": "\\x41"}',
    "an array": b"[]",
    "a text value": b'"gpt-4o"',
    "a number value": b"1",
    "null": b"null",
    "true": b"true",
    "a form": b"model=gpt-4o&prompt=hi",
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_a_body_that_is_no_json_object_is_refused(door: Door, body: bytes) -> None:
    for path in VALID:
        refused(door.ask(path, body), 400)


@pytest.mark.parametrize("path", VALID)
def test_nesting_without_end_is_refused(door: Door, path: str) -> None:
    valid = json.dumps(VALID[path]).encode()
    for nested in (b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 200_000 + b"1" + b"}" * 200_000):
        refused(door.ask(path, valid[:-1] + b', "unread": ' + nested + b"}"), 400)


@pytest.mark.parametrize("depth", [100, 480, 500, 900, 960, 980, 990, 1000, 1010, 1100, 5000])
def test_nesting_at_the_limits_of_a_parser_is_refused_or_passed_on(door: Door, depth: int) -> None:
    """Where a body is edited on its way, it is parsed whole and written anew."""
    hi = '[{"role": "user", "content": "hi"}]'
    for model in ("gpt-4o", door.mapped, door.claude):
        for nested in ("[" * depth + "]" * depth, '{"a":[' * depth + "]}" * depth):
            for messages, metadata in ((hi, nested), (hi.replace('"hi"', nested), "1"), (nested, "1")):
                body = f'{{"model": "{model}", "messages": {messages}, "metadata": {metadata}}}'
                passed_or_refused(door, body.encode())


def passed_or_refused(door: Door, body: bytes) -> None:
    reply = ask(door.url, request(CHAT, body, key=door.rich_key))
    assert reply.status in (200, 400), reply
    if reply.status == 400:
        refused(reply, 400)


# ---- wrong types and values, field by field ----

NO_TEXT: tuple[Any, ...] = (1, 1.5, True, [], {}, ["x"])
NO_INT: tuple[Any, ...] = ("1", "x", 1.5, True, [], {}, 10**30, -(10**30))
NO_BOOL: tuple[Any, ...] = ("true", "", 1, 0, [], {})
NO_LIST: tuple[Any, ...] = ("x", 1, True, {})
EMPTY: tuple[Any, ...] = (None, "", [])
MODEL = ("model", (*NO_TEXT, None, ""))
N = ("n", (*NO_INT, 0, -1, 129, 2**31, 2**63))
MAX_TOKENS = (*NO_INT, -1, -(2**31), 2**30, 2**63)
STREAM = (
    ("stream", NO_BOOL),
    ("stream_options", ("x", 1, True, [])),
    ("stream_options.include_usage", NO_BOOL),
)
FIELDS: dict[str, tuple[tuple[str, tuple[Any, ...]], ...]] = {
    "/v1/chat/completions": (
        MODEL,
        ("messages", (*EMPTY, *NO_LIST)),
        ("max_tokens", MAX_TOKENS),
        ("max_completion_tokens", MAX_TOKENS),
        N,
        *STREAM,
    ),
    "/v1/completions": (
        MODEL,
        ("prompt", (*EMPTY, 1, True, {})),
        ("max_tokens", MAX_TOKENS),
        N,
        ("best_of", N[1]),
        *STREAM,
    ),
    "/v1/edits": (MODEL, ("instruction", (*NO_TEXT, None, "")), N),
    "/v1/embeddings": (MODEL, ("input", (*EMPTY, 1, True, {}))),
    "/v1/engines/text-embedding-3-small/embeddings": (
        ("model", NO_TEXT),
        ("input", (*EMPTY, 1, True, {})),
    ),
    "/v1/moderations": (("model", NO_TEXT), ("input", (*EMPTY, 1, True, {}))),
    "/v1/images/generations": (
        ("model", NO_TEXT),
        ("prompt", (*NO_TEXT, None, "")),
        ("n", (*NO_INT, 0, -1, 11, 2**63)),
        ("size", NO_TEXT),
        ("quality", NO_TEXT),
        ("stream", NO_BOOL),
    ),
    "/v1/images/edits": (("model", NO_TEXT), ("prompt", (*NO_TEXT, None, "")), ("n", (*NO_INT, 0, -1, 11, 2**63))),
    "/v1/images/variations": (("model", NO_TEXT), ("n", (*NO_INT, 0, -1, 11, 2**63)), ("size", NO_TEXT)),
    "/v1/audio/speech": (MODEL, ("input", (*NO_TEXT, None, "", "x" * 4097)), ("stream_format", NO_TEXT)),
    "/v1/rerank": (
        MODEL,
        ("query", (*NO_TEXT, None, "")),
        ("documents", (*EMPTY, *NO_LIST)),
        ("top_n", (*NO_INT, 0, -1)),
    ),
}
WRONG = [
    pytest.param(path, name, values, id=f"{path[4:]}-{name}") for path, rows in FIELDS.items() for name, values in rows
]


@pytest.mark.parametrize(("path", "name", "values"), WRONG)
def test_a_wrong_type_or_value_is_refused_and_the_field_named(
    door: Door, path: str, name: str, values: tuple[Any, ...]
) -> None:
    for value in values:
        outer, _, inner = name.partition(".")
        body = {**VALID[path], "stream": True, outer: {inner: value} if inner else value}
        if path not in (CHAT, "/v1/completions") and outer != "stream":
            del body["stream"]
        error = refused(door.ask(path, body), 400)
        assert error["param"] == name, (value, error)


def test_every_path_has_its_fields_tried() -> None:
    assert FIELDS.keys() == VALID.keys()


# What a translated request is read for, besides; the provider speaks another protocol.
TRANSLATED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("messages[0]", (1, "x", None, [], True)),
    ("messages[0].role", (1, None, [], {}, "", "nobody")),
    ("messages[0].content", (1, True, {}, [1], ["x"], [None], [{}], [{"type": 1}], [{"type": "nothing"}])),
    ("messages[0].content", ([{"type": "text"}], [{"type": "text", "text": 1}])),
    ("messages[0].content", ([{"type": "image_url"}], [{"type": "image_url", "image_url": 1}])),
    (
        "messages[0].content",
        ([{"type": "image_url", "image_url": {}}], [{"type": "image_url", "image_url": {"url": 1}}]),
    ),
    ("messages[0].name", (1, [], {})),
    ("temperature", ("hot", [], {}, True)),
    ("top_p", ("x", [], {}, True)),
    ("stop", (1, {}, [1], [None], True)),
    ("tools", ("x", 1, {}, [1], [{}], [{"type": "function"}], [{"type": "function", "function": 1}])),
    ("tools", ([{"type": "function", "function": {}}], [{"type": "function", "function": {"name": 1}}])),
    ("tools", ([{"type": "function", "function": {"name": "f", "parameters": "x"}}],)),
    ("tool_choice", (1, [], "sometimes", {"type": "function"}, {"type": "function", "function": {}})),
    ("parallel_tool_calls", ("yes", 1, [], {})),
    (
        "response_format",
        (1, "json", [], {}, {"type": 1}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": 1}),
    ),
    (
        "response_format",
        tuple({"type": "json_schema", "json_schema": {"name": n, "schema": s}} for n, s in ((1, {}), ("a", 1))),
    ),
    ("reasoning_effort", (1, [], {})),
    ("user", (1, [], {})),
    ("metadata", (1, "x", [])),
    ("seed", ("x", [], {})),
    ("logit_bias", (1, "x", [])),
)


@pytest.mark.parametrize(("name", "values"), TRANSLATED, ids=[f"{n}-{i}" for i, (n, _) in enumerate(TRANSLATED)])
def test_what_cannot_be_translated_is_refused_and_the_field_named(
    door: Door, name: str, values: tuple[Any, ...]
) -> None:
    for value in values:
        body: dict[str, Any] = {"model": door.claude, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
        match name.partition("."):
            case ("messages[0]", "", ""):
                body["messages"] = [value]
            case ("messages[0]", ".", inner):
                body["messages"] = [{"role": "user", "content": "hi", inner: value}]
            case _:
                body[name] = value
        reply = door.ask(CHAT, body)
        error = refused(reply, 400)
        assert str(error["param"]).startswith(name), (value, error)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "tool_calls": value}]
        for value in (
            1,
            "x",
            {},
            [1],
            [{}],
            [{"function": 1}],
            [{"function": {"name": 1}}],
            [{"id": 1, "function": {}}],
        )
    ]
    + [
        [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": value}}]}]
        for value in (1, [], "{")
    ]
    + [[{"role": "tool", "content": "x"}], [{"role": "tool", "tool_call_id": 1, "content": "x"}]],
    ids=repr,
)
def test_odd_tool_calls_are_refused_or_passed_on(door: Door, messages: list[Any]) -> None:
    body = {"model": door.claude, "messages": [{"role": "user", "content": "hi"}, *messages], "max_tokens": 9}
    passed_or_refused(door, json.dumps(body).encode())


# ---- models and balances ----


def test_an_unknown_model_has_no_channel(door: Door) -> None:
    for path, valid in VALID.items():
        error = refused(door.ask(path, {**valid, "model": "no-such-model"}), 503)
        assert "no-such-model" in error["message"]


@pytest.mark.parametrize("model", ["\ud800", "gpt-4o\0", " gpt-4o", "GPT-4O", "x" * 1_000_000, "../gpt-4o", "模型"])
def test_an_odd_model_has_no_channel(door: Door, model: str) -> None:
    refused(door.ask(CHAT, {**VALID[CHAT], "model": model}), 503)


@pytest.mark.parametrize(
    "wishes",
    [
        {"max_tokens": 1_073_741_823},
        {"max_completion_tokens": 1_073_741_823},
        {"max_tokens": 1_073_741_823, "n": 128},
        {"max_tokens": 100_000, "n": 128},
    ],
    ids=repr,
)
def test_more_than_the_balance_may_not_be_asked_for(door: Door, wishes: dict[str, int]) -> None:
    refused(door.ask(CHAT, {**VALID[CHAT], **wishes}), 403, code="insufficient_user_quota")


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1e400", b"9" * 5000, b"-" + b"9" * 5000, b"0." + b"9" * 5000, b"1e-400"]
)
@pytest.mark.parametrize("name", ["max_tokens", "n", "max_completion_tokens"])
def test_enormous_numbers_are_refused(door: Door, name: str, number: bytes) -> None:
    valid = json.dumps(VALID[CHAT]).encode()
    refused(door.ask(CHAT, b'%s, "%s": %s}' % (valid[:-1], name.encode(), number)), 400)


@pytest.mark.parametrize("number", [b"1e400", b"9" * 4000, b"9" * 5000, b"1e-400", b"-0", b"0.1e309"])
def test_enormous_numbers_that_nobody_reads_pass_or_are_refused(door: Door, number: bytes) -> None:
    for model in (b"gpt-4o", door.mapped.encode(), door.claude.encode()):
        for name in (b"temperature", b"unread"):
            body = b'{"model": "%s", "messages": [{"role": "user", "content": "hi"}], "%s": %s}' % (model, name, number)
            passed_or_refused(door, body)


# ---- size and coding ----


def test_texts_of_ten_megabytes_pass(door: Door) -> None:
    for model in ("gpt-4o", door.mapped):
        body = {"model": model, "messages": [{"role": "user", "content": "x" * 10_000_000}]}
        reply = ask(door.url, request(CHAT, json.dumps(body).encode(), key=door.rich_key))
        assert reply.status == 200, reply


def test_ten_megabytes_in_a_field_that_must_be_short(door: Door) -> None:
    refused(door.ask("/v1/audio/speech", {**VALID["/v1/audio/speech"], "input": "x" * 10_000_000}), 400)
    refused(door.ask(CHAT, {**VALID[CHAT], "model": "x" * 10_000_000}), 503)


def test_a_body_beyond_the_limit_is_refused_though_the_client_sends_it_whole(door: Door) -> None:
    body = b'{"model": "gpt-4o", "messages": "' + b"x" * MAX_BODY_BYTES + b'"}'
    refused(door.ask(CHAT, body), 413, code="request_too_large")


def test_a_body_that_is_announced_beyond_the_limit_is_refused_before_it_comes(door: Door) -> None:
    refused(ask(door.url, request(CHAT, key=door.key, headers={"Content-Length": str(10**15)})), 413)
    with line(door.url) as client:
        client.send(request(CHAT, key=door.key, headers={"Content-Length": str(10**9), "Expect": "100-continue"}))
        refused(client.reply(), 413)


def test_chunks_beyond_the_limit_are_refused(door: Door) -> None:
    raw = request(CHAT, key=door.key, headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    with line(door.url) as client:
        client.send(raw)
        piece = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
        with contextlib.suppress(ConnectionError):
            for _ in range(13):
                client.send(piece)
        refused(client.reply(), 413)


def test_a_zip_bomb_is_refused(door: Door) -> None:
    bomb = gzip.compress(b" " * (64 << 20), 9)
    assert len(bomb) < 100_000
    refused(door.ask(CHAT, bomb, Content_Encoding="gzip"), 413)
    refused(door.ask(CHAT, zlib.compress(b" " * (64 << 20), 9), Content_Encoding="deflate"), 413)


GZIPPED = gzip.compress(json.dumps(VALID[CHAT]).encode())


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"{}"),
        ("gzip", b""),
        ("gzip", GZIPPED[:-9]),
        ("gzip", GZIPPED[:10] + b"\xff" * 20),
        ("gzip", GZIPPED[:-8] + b"\0" * 8),
        ("gzip", GZIPPED + b"more"),
        ("deflate", b"{}"),
        ("deflate", zlib.compress(b"{}")[:-2]),
        ("br", b"{}"),
        ("zstd", b"{}"),
        ("gzip, gzip", gzip.compress(GZIPPED)),
        ("x" * 4000, b"{}"),
        ("\xff", b"{}"),
    ],
)
def test_a_coding_that_is_damaged_or_unknown_is_refused(door: Door, coding: str, body: bytes) -> None:
    refused(door.ask(CHAT, body, Content_Encoding=coding), 400)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate", "bare deflate", "identity"])
def test_known_codings_are_undone(door: Door, coding: str) -> None:
    data = json.dumps(VALID[CHAT]).encode()
    bare = zlib.compressobj(wbits=-15)
    coded = {"deflate": zlib.compress(data), "bare deflate": bare.compress(data) + bare.flush(), "identity": data}
    headers = {"Content-Encoding": coding.removeprefix("bare ")}
    raw = request(CHAT, coded.get(coding, gzip.compress(data)), key=door.rich_key, headers=headers)
    assert ask(door.url, raw).status == 200


# ---- forms ----

FORM = "multipart/form-data; boundary=b"


def part(name: str, content: str = "x", more: str = "") -> str:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{content}\r\n'


FILE = part("file", "RIFF", '; filename="a.wav"')
BAD_FORMS: dict[str, tuple[str, str]] = {
    "no form": ("application/json", "{}"),
    "no boundary": ("multipart/form-data", FILE + "--b--\r\n"),
    "an empty boundary": ("multipart/form-data; boundary=", FILE + "--b--\r\n"),
    "another boundary": ("multipart/form-data; boundary=c", FILE + "--b--\r\n"),
    "a boundary of 60 kB": ("multipart/form-data; boundary=" + "b" * 16_000, FILE + "--b--\r\n"),
    "an odd boundary": ('multipart/form-data; boundary="\xff\xfe"', FILE + "--b--\r\n"),
    "empty": (FORM, ""),
    "nothing in it": (FORM, "--b--\r\n"),
    "cut in a part": (FORM, FILE[:-4]),
    "cut after a part": (FORM, part("model", "whisper-1")),
    "a part without a name": (FORM, "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + FILE + "--b--\r\n"),
    "a part without a head": (FORM, "--b\r\n\r\nx\r\n" + FILE + "--b--\r\n"),
    "a thousand parts": (FORM, part("a") * 1100 + FILE + "--b--\r\n"),
    "a head of 20 kB": (FORM, part("a", "x", "; more=" + "x" * 20_000) + FILE + "--b--\r\n"),
    "a model of 2 MB": (FORM, part("model", "x" * 2_000_000) + FILE + "--b--\r\n"),
    "no file": (FORM, part("model", "whisper-1") + "--b--\r\n"),
    "a name with a line break": (FORM, part("a\r\nX-Injected: 1") + "--b--\r\n"),
}


@pytest.mark.parametrize(("content_type", "form"), BAD_FORMS.values(), ids=BAD_FORMS)
@pytest.mark.parametrize("path", FORMS)
def test_a_bad_form_is_refused(door: Door, path: str, content_type: str, form: str) -> None:
    refused(door.ask(path, form.encode("latin-1"), Content_Type=content_type), 400)


@pytest.mark.parametrize("path", ["/v1/images/edits", "/v1/images/variations"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("n", "two"), ("n", "0"), ("n", "9" * 5000), ("n", "1.5"), ("model", "\xff")],
)
def test_a_bad_field_of_a_form_is_refused(door: Door, path: str, name: str, value: str) -> None:
    form = part("prompt", "a cat") + part("image", "x", '; filename="a.png"') + part(name, value) + "--b--\r\n"
    refused(door.ask(path, form.encode("latin-1"), Content_Type=FORM), 400, param=name)


def test_line_breaks_in_names_go_nowhere(door: Door) -> None:
    form = (
        part("model", "whisper-1") + part("a\r\nX-Injected: 1\r\n\r\n", "x", '; filename="b\r\nX-Injected: 1"') + FILE
    )
    raw = request(FORMS[0], (form + "--b--\r\n").encode(), key=door.rich_key, headers={"Content-Type": FORM})
    reply = ask(door.url, raw)
    assert reply.status in (200, 400)
    assert "x-injected" not in reply.headers


# ---- header injection ----


@pytest.mark.parametrize("model", ["gpt-4o\r\nX-Injected: 1", "gpt-4o\r\n\r\nHTTP/1.1 200 OK", "\nX-Injected: 1"])
@pytest.mark.parametrize("path", VALID)
def test_line_breaks_in_a_model_reach_no_header(door: Door, path: str, model: str) -> None:
    reply = door.ask(path, {**VALID[path], "model": model})
    refused(reply, 503)
    assert not reply.headers.keys() & {"x-injected", "x-injected:"}


def test_line_breaks_in_a_path_reach_no_header(door: Door) -> None:
    path = "/v1/engines/a%0d%0aX-Injected:%201/embeddings"
    reply = door.ask(path, {"input": "hi"})
    refused(reply, 503)
    assert "x-injected" not in reply.headers
    assert "X-Injected" not in door.console.gateway.log()


BAD_HEADERS = {
    "a bare CR": {"X-Odd": b"a\rX-Injected: 1"},
    "a bare LF": {"X-Odd": b"a\nX-Injected: 1"},
    "NUL": {"X-Odd": b"a\0b"},
    "a control character": {"X-Odd": b"a\x01b"},
    "a blank in the name": {"X Odd": b"a"},
    "an empty name": {"": b"a"},
    "folding": {"X-Odd": b"a\r\n b"},
    "two lengths": {"Content-Length": b"5\r\nContent-Length: 6"},
    "a negative length": {"Content-Length": b"-1"},
    "a length that is no number": {"Content-Length": b"ten"},
    "a signed length": {"Content-Length": b"+2"},
    "length and chunks": {"Transfer-Encoding": b"chunked", "Content-Length": b"2"},
    "an unknown coding": {"Transfer-Encoding": b"sparse", "Content-Length": ""},
    "chunked twice": {"Transfer-Encoding": b"chunked, chunked", "Content-Length": ""},
    "chunked before another": {"Transfer-Encoding": b"chunked, gzip", "Content-Length": ""},
    "too large": {"X-Odd": b"x" * 100_000},
    "too many": {f"X-Odd-{number}": b"x" * 50 for number in range(2000)},
}


@pytest.mark.parametrize("headers", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_headers_that_break_http_are_refused(door: Door, headers: dict[str, bytes]) -> None:
    with line(door.url) as client:
        with contextlib.suppress(ConnectionError):
            client.send(request(CHAT, b"{}", key=door.key, headers=headers))
        reply = client.reply()
        assert 400 <= reply.status < 500 or reply.status == 501, reply
        assert "x-injected" not in reply.headers
        assert client.is_closed()


@pytest.mark.parametrize(
    "first",
    [
        b"POST /v1/chat/completions",
        b"POST /v1/chat/completions HTTP/9.9",
        b"POST /v1/chat/completions HTTP/1.1.1",
        b"POST  /v1/chat/completions HTTP/1.1",
        b"POST /v1/chat completions HTTP/1.1",
        b"POST /v1/chat/completions\x00 HTTP/1.1",
        b"POST /v1/chat/completions\xff HTTP/1.1",
        b"P\xd6ST /v1/chat/completions HTTP/1.1",
        b"POST /v1/" + b"x" * 100_000 + b" HTTP/1.1",
        b"POST /v1/chat/completions?" + b"x" * 100_000 + b" HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0",
    ],
)
def test_request_lines_that_break_http_are_refused(door: Door, first: bytes) -> None:
    raw = (
        first + b"\r\nHost: gateway\r\nAuthorization: Bearer " + door.key.encode() + b"\r\nContent-Length: 2\r\n\r\n{}"
    )
    with line(door.url) as client:
        with contextlib.suppress(ConnectionError):
            client.send(raw)
        reply = client.reply()
        assert 400 <= reply.status < 500 or reply.status == 505, reply


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": b"\xff\xfe caf\xe9"},
        {"Accept": b"text/event-stream\t; q=\xff"},
        {"Idempotency-Key": b"a\tb"},
        {"Traceparent": b"\x80\x81"},
        {"OpenAI-Beta": "模型".encode()},
        {"Content-Type": b"application/json; charset=\xe9"},
        {"Content-Type": b"\xff"},
        {"Content-Type": b"text/plain"},
        {"Content-Type": b"application/x-www-form-urlencoded"},
        {"X-Forwarded-For": b"\xff, ::::, 999.1.1.1"},
        {"Origin": b"\xff"},
        {"Accept-Language": b"\xff"},
        {"Cookie": b"session=\xff"},
        {"Connection": b"Upgrade, HTTP2-Settings", "Upgrade": b"h2c", "HTTP2-Settings": b"AAMAAABkAAQAAP__"},
        {"Connection": b"Upgrade", "Upgrade": b"websocket"},
    ],
    ids=repr,
)
def test_odd_headers_do_no_harm(door: Door, headers: dict[str, bytes]) -> None:
    raw = request(CHAT, json.dumps(VALID[CHAT]).encode(), key=door.rich_key, headers=headers)
    assert ask(door.url, raw).status == 200


# ---- the connection ----


GOOD = json.dumps(VALID[CHAT]).encode()
CHUNKED = {"Content-Length": "", "Transfer-Encoding": "chunked"}


def test_chunked_bodies_are_read(door: Door) -> None:
    raw = request(CHAT, key=door.rich_key, headers=CHUNKED)
    for body in (
        chunked(GOOD),
        chunked(*(bytes([byte]) for byte in GOOD)),
        b"%X;name=value\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(GOOD), GOOD),
    ):
        assert ask(door.url, raw + body).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"0x2\r\n{}\r\n0\r\n\r\n",
        b"\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}0\r\n\r\n",
        b"1\r\n{}\r\n0\r\n\r\n",
        b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_damaged_chunks_are_refused(door: Door, body: bytes) -> None:
    with line(door.url) as client:
        with contextlib.suppress(ConnectionError):
            client.send(request(CHAT, key=door.key, headers=CHUNKED) + body)
            client.socket.shutdown(socket.SHUT_WR)
        reply = client.reply()
        refused(reply, 400)
        assert client.is_closed()


def test_whoever_is_unknown_is_told_so_while_he_still_sends(door: Door) -> None:
    """The body is not read, and yet the answer arrives."""
    with line(door.url) as client:
        client.send(request(CHAT, key="sk-unknown", headers={"Content-Length": str(10_000_000)}))
        for _ in range(10):
            client.send(b" " * 1_000_000)
        assert client.reply().status == 401
    with line(door.url) as client:
        client.send(request(CHAT, key="sk-unknown", headers={"Content-Length": "100", "Expect": "100-continue"}))
        assert client.reply().status == 401


def test_a_client_that_waits_for_100_is_told_to_go_on(door: Door) -> None:
    headers = {"Content-Length": str(len(GOOD)), "Expect": "100-continue"}
    with line(door.url) as client:
        client.send(request(CHAT, key=door.rich_key, headers=headers))
        assert client.socket.recv(4096).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(GOOD)
        assert client.reply().status == 200


@pytest.mark.parametrize("is_stream", [False, True])
def test_http_1_0_is_answered_and_the_connection_closed(door: Door, is_stream: bool) -> None:
    body = json.dumps({**VALID[CHAT], "stream": is_stream}).encode()
    with line(door.url) as client:
        client.send(request(CHAT, body, key=door.rich_key, version="1.0"))
        head, _, said = client.rest().partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"200"
    assert b"chunked" not in head
    assert said.endswith(b"data: [DONE]\n\n") if is_stream else json.loads(said)


def test_requests_in_a_row_are_answered_on_one_connection(door: Door) -> None:
    with line(door.url) as client:
        for path in (CHAT, "/v1/embeddings", CHAT):
            client.send(request(path, json.dumps(VALID[path]).encode(), key=door.rich_key))
            assert client.reply().status == 200
        client.send(request("/v1/models", key=door.key, method="GET"))
        assert client.reply("GET").status == 200
        client.send(request(CHAT, b"{}", key=door.key))
        assert client.reply().status == 400
        client.send(request(CHAT, GOOD, key=door.rich_key))
        assert client.reply().status == 200


def test_requests_sent_without_waiting_are_answered_in_turn_or_not_at_all(door: Door) -> None:
    one = request(CHAT, GOOD, key=door.rich_key)
    for raw in (one * 3, request("/v1/models", key=door.key, method="GET") + one, one + b"\xff\xfe garbage\r\n\r\n"):
        with line(door.url) as client:
            client.send(raw)
            assert client.reply().status == 200
            client.socket.shutdown(socket.SHUT_WR)
            rest = client.rest()
        statuses = [int(found) for found in re.findall(rb"^HTTP/1.1 (\d+) ", rest, re.MULTILINE)]
        assert set(statuses) <= {200, 400}


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_client_that_leaves_before_it_has_said_all(door: Door, share: float, is_chunked: bool) -> None:
    headers = CHUNKED if is_chunked else {"Content-Length": str(len(GOOD))}
    raw = request(CHAT, key=door.key, headers=headers) + (chunked(GOOD) if is_chunked else GOOD)
    with line(door.url) as client:
        client.send(raw[: int(len(raw) * share)])
    with line(door.url) as client:  # one that still listens
        client.send(raw[: int(len(raw) * share)])
        client.socket.shutdown(socket.SHUT_WR)
        rest = client.rest()
        assert rest == b"" or b" 400 " in rest.split(b"\r\n")[0]


def test_a_client_that_has_said_all_and_closes_its_half(door: Door) -> None:
    """It may be taken for one that has left, but must not be half answered."""
    with line(door.url) as client:
        client.send(request(CHAT, GOOD, key=door.rich_key, headers={"Connection": "close"}))
        client.socket.shutdown(socket.SHUT_WR)
        rest = client.rest()
    assert rest == b"" or rest.endswith(b"}")


def test_a_slow_client_is_waited_for(door: Door) -> None:
    raw = request(CHAT, GOOD, key=door.rich_key)
    with line(door.url) as client:
        step = len(raw) // 12
        for at in range(0, len(raw), step):
            client.send(raw[at : at + step])
            time.sleep(0.03)
        assert client.reply().status == 200


# ---- what none of this may have done ----


def test_nothing_secret_and_no_stack_trace_is_told(door: Door) -> None:
    replies = [door.ask(path, b"{") for path in VALID]
    replies += [ask(door.url, request(CHAT, b"{}", key=f"{door.key[:-1]}_"))]
    for reply in replies:
        for secret in (door.key, door.rich_key, ROOT_KEY, "sk-upstream", "Traceback", "oneapi/"):
            assert secret.encode() not in reply.body


@pytest.mark.parametrize("suffix", ["9" * 30, "9" * 5000, "x", "-1", "1.5", "²", "\xff", "%00"])
def test_an_odd_channel_in_a_key_is_refused(door: Door, suffix: str) -> None:
    for key in (door.key, ROOT_KEY):
        reply = ask(door.url, request(CHAT, GOOD, key=f"{key}-{suffix}"))
        assert reply.status in ((403,) if key == door.key else (400, 403)), reply
        assert reply.error["type"] == "one_api_error"


@pytest.mark.parametrize(
    "key", ["", " ", "-", "sk-", "sk--", "Bearer", "\xff", "' OR 1=1 --", "x" * 10_000, "sk-" + "模"]
)
def test_an_odd_key_is_refused(door: Door, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}".encode()}
    reply = ask(door.url, request(CHAT, GOOD, headers=headers))
    assert reply.status == 401
    assert reply.error["type"] == "one_api_error"
