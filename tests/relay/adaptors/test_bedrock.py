"""Amazon Bedrock: signatures, names, credentials, Converse row by row, and what it was recorded to say.

Independent readings are botocore's: its signer, its event-stream parser, its description of the service.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.eventstream import EventStreamBuffer
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Credentials, Json, Rendering, Target, UpstreamRequest, WholeReply
from oneapi.relay.adaptors import bedrock
from oneapi.relay.convert import used_fields
from oneapi.relay.framing import AWSEventStream, Frame
from oneapi.relay.protocols import aws_signature, bedrock_converse, bedrock_invoke, bedrock_vectors, openai_chat
from oneapi.relay.protocols.anthropic_request import JSON_TOOL, parse_request
from oneapi.relay.protocols.bedrock_converse import drops, render_request
from oneapi.relay.protocols.bedrock_converse_answer import StreamParser, parse_response
from oneapi.relay.protocols.bedrock_error import parse_error
from oneapi.relay.routing import verdict
from tests.needs import lacking
from tests.relay.protocols import chat_values
from tests.relay.protocols.recordings import FOLDER

SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
RENDERING = Rendering(id="r", created_at=1, model="m")
NOVA, QWEN, LLAMA = "us.amazon.nova-pro-v1:0", "qwen.qwen3-32b-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0"
USER = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
AS_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


def valid(body: Json) -> Json:
    """The body, which Amazon's own description of Converse finds nothing wrong with."""
    report = ParamValidator().validate({"modelId": "m", **body}, SERVICE.operation_model("Converse").input_shape)
    assert not report.has_errors(), report.generate_report()
    return body


def rendered(model: str = NOVA, **fields: Any) -> Json:
    return valid(render_request(openai_chat.parse_request({"model": model, "messages": [USER], **fields})))


def lost(model: str = NOVA, **fields: Any) -> set[str]:
    request = openai_chat.parse_request({"model": model, "messages": [USER], **fields})
    return set(used_fields(request) & (bedrock_converse.CANNOT_CARRY | drops(request)))


# ---- signatures ----

VECTOR = "8754635146333a33ee90c594e527017ccb75a51c00676953840b07b034ec4877"
NOW = 1_700_000_000.0  # 20231114T221320Z


def test_the_vector_of_the_specification() -> None:
    request = UpstreamRequest(
        url="https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
        headers={"accept": "application/json", "content-type": "application/json"},
        body=b"{}",
    )
    signed = bedrock.sign(request, Credentials("AKIDEXAMPLE|SECRETKEY|us-east-1"), NOW)
    assert signed.headers["x-amz-date"] == "20231114T221320Z"
    assert signed.headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/bedrock/aws4_request, "
        f"SignedHeaders=accept;content-type;host;x-amz-date, Signature={VECTOR}"
    )


@given(
    model=st.text("abcZ019.:/~-_ é%", min_size=3, max_size=20).filter(lambda text: text.strip(".") != ""),
    query=st.dictionaries(st.text("abc-~", min_size=1), st.text("xy z/é", max_size=4), max_size=3),
    body=st.binary(max_size=40),
    token=st.sampled_from(["", "TOKEN/+="]),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
)
def test_botocore_signs_alike(model: str, query: dict[str, str], body: bytes, token: str, region: str) -> None:
    asked = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())
    url = f"https://bedrock-runtime.{region}.amazonaws.com/model/{quote(model, safe='')}/invoke" + (
        f"?{asked}" if asked else ""
    )
    headers = {"accept": "application/json", "content-type": "application/json"}
    ours = aws_signature.sign(
        UpstreamRequest(url=url, headers=headers, body=body),
        NOW,
        access_key="AK",
        secret_key="SK",
        session_token=token,
        region=region,
        service="bedrock",
    )
    theirs = AWSRequest("POST", url, headers=dict(headers), data=body)
    theirs.context["timestamp"] = "20231114T221320Z"
    signer = SigV4Auth(BotoCredentials("AK", "SK", token or None), "bedrock", region)
    signer._modify_request_before_signing(theirs)
    canonical = signer.canonical_request(theirs)
    signature = signer.signature(signer.string_to_sign(theirs, canonical), theirs)
    assert ours.headers["authorization"].endswith(f"Signature={signature}")
    assert ours.headers.get("x-amz-security-token", "") == token


# ---- credentials, names and addresses ----


def address(model: str, key: str = "AK|SK|eu-west-1", stream: bool = False, base_url: str = "", **fields: str) -> str:
    mode = "chat"
    endpoint = bedrock.endpoint_of(model, mode)  # type: ignore[arg-type]
    target = Target(
        base_url=base_url or bedrock.ADAPTORS[0].base_url,
        path=endpoint.stream_path if stream else endpoint.path,
        model=model,
        mode=mode,  # type: ignore[arg-type]
        stream=stream,
        fields=fields,
        client_path="/v1/chat/completions",
    )
    return bedrock.sign(UpstreamRequest(url=bedrock.url(target)), Credentials(key, fields), NOW).url


HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("claude-3-haiku-20240307", "anthropic.claude-3-haiku-20240307-v1%3A0/invoke"),
        ("claude-3-5-sonnet-latest", "anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke"),
        ("claude-instant-1.2", "anthropic.claude-instant-v1/invoke"),
        ("claude-2.1", "anthropic.claude-v2%3A1/invoke"),
        ("claude-sonnet-4-5", "eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"),
        ("claude-opus-4-1-20250805", "eu.anthropic.claude-opus-4-1-20250805-v1%3A0/invoke"),
        ("claude-opus-4-6", "eu.anthropic.claude-opus-4-6-v1/invoke"),
        ("claude-opus-4-8", "eu.anthropic.claude-opus-4-8/invoke"),
        ("us.anthropic.claude-opus-4-8", "us.anthropic.claude-opus-4-8/invoke"),
        ("llama3-8b-8192", "meta.llama3-8b-instruct-v1%3A0/invoke"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "us.meta.llama3-3-70b-instruct-v1%3A0/converse"),
        ("amazon.nova-pro-v1:0", "amazon.nova-pro-v1%3A0/converse"),
        (
            "arn:aws:bedrock:eu-west-1:1:application-inference-profile/x",
            "arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Aapplication-inference-profile%2Fx/converse",
        ),
    ],
)
def test_where_a_model_is_called(model: str, path: str) -> None:
    assert address(model) == HOST + path
    streamed = path.replace("/invoke", "/invoke-with-response-stream").replace("/converse", "/converse-stream")
    assert address(model, stream=True) == HOST + streamed


def test_the_region_and_the_profile() -> None:
    model = "claude-sonnet-4-5"
    rest = "anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"
    for region, prefix in (
        ("us-east-1", "us."),
        ("ca-central-1", "us."),
        ("us-gov-west-1", "us-gov."),
        ("ap-northeast-1", "global."),
        ("sa-east-1", "global."),
    ):
        assert (
            address(model, f"AK|SK|{region}") == f"https://bedrock-runtime.{region}.amazonaws.com/model/{prefix}{rest}"
        )
    assert "/model/apac.anthropic.claude-sonnet-4-2" in address("claude-sonnet-4-20250514", "AK|SK|ap-south-1")
    assert address(model, profile="jp") == f"{HOST}jp.{rest}"
    assert address(model, profile="none") == HOST + rest
    assert address(model, "k", region="eu-west-1") == f"{HOST}eu.{rest}"
    assert address(model, "k") == f"https://bedrock-runtime.us-east-1.amazonaws.com/model/us.{rest}"
    assert address(model, base_url="https://vpce.example") == f"https://vpce.example/model/eu.{rest}"


def signed(key: str = "", **fields: str) -> dict[str, str]:
    request = UpstreamRequest(url="https://h/model/m/invoke", headers={"Anthropic-Beta": "b", "user-agent": "u"})
    return dict(bedrock.sign(request, Credentials(key, fields), NOW).headers)


def test_credentials_come_from_the_fields_or_else_from_the_key() -> None:
    assert "Credential=A/20231114/eu-west-1/" in signed("x|y|z", ak="A", sk="S", region="eu-west-1")["authorization"]
    assert "Credential=A/20231114/us-west-2/" in signed("x|y|us-west-2", ak="A", sk="S")["authorization"]
    assert "Credential=AK/20231114/eu-west-3/" in signed("AK|SK|eu-west-3")["authorization"]
    with_token = signed("AK|SK|eu-west-3|TOKEN")
    assert with_token["x-amz-security-token"] == "TOKEN"
    assert "x-amz-security-token" in with_token["authorization"]
    assert signed(ak="A", sk="S", session_token="T")["x-amz-security-token"] == "T"
    assert signed("ABSKxyz") == {
        "user-agent": "u",
        "accept": "application/json",
        "authorization": "Bearer ABSKxyz",
    }
    assert signed("ABSKxyz|eu-west-1")["authorization"] == "Bearer ABSKxyz"


def test_signing_again_replaces_the_first_signature() -> None:
    request = UpstreamRequest(url="https://h/model/m/invoke", body=b"{}")
    once = bedrock.sign(request, Credentials("A|S|r|T"), NOW)
    assert bedrock.sign(once, Credentials("A|S|r|T"), NOW) == once


def test_modes_belong_to_models() -> None:
    assert bedrock.endpoint_of("amazon.titan-embed-text-v2:0", "embeddings").codec is bedrock_vectors.EMBEDDINGS
    assert bedrock.endpoint_of("cohere.rerank-v3-5:0", "rerank").codec is bedrock_vectors.RERANK
    with pytest.raises(InvalidRequest):
        bedrock.endpoint_of("amazon.nova-pro-v1:0", "embeddings")
    with pytest.raises(InvalidRequest):
        bedrock.endpoint_of("cohere.rerank-v3-5:0", "chat")


# ---- Claude and Llama by InvokeModel ----


def test_claudes_body_is_anthropics_without_model_and_stream() -> None:
    request = openai_chat.parse_request(
        {"model": "claude-3-haiku-20240307", "messages": [USER], "max_tokens": 5, "stream": True}
    )
    assert bedrock_invoke.render_claude(request) == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_a_llama_is_given_a_prompt() -> None:
    request = openai_chat.parse_request(
        {
            "model": "llama3-8b-8192",
            "messages": [{"role": "system", "content": "s"}, USER, {"role": "assistant", "content": "a"}, USER],
            "temperature": 1.5,
            "top_p": 0.5,
        }
    )
    assert bedrock_invoke.render_llama(request) == {
        "prompt": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\na<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "max_gen_len": 2048,
        "temperature": 1,
        "top_p": 0.5,
    }


# ---- Converse, row by row ----


def test_system_texts_limits_and_metadata() -> None:
    marked = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = rendered(
        messages=[
            {"role": "system", "content": "a"},
            {"role": "developer", "content": [marked]},
            USER,
            {"role": "user", "content": "you"},
        ],
        max_tokens=5,
        temperature=1.5,
        top_p=0.5,
        stop="x",
        metadata={"order": "7"},
    )
    assert body == {
        "system": [{"text": "a"}, {"text": "b"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [{"role": "user", "content": [{"text": "hi"}, {"text": "you"}]}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 1, "topP": 0.5, "stopSequences": ["x"]},
        "requestMetadata": {"order": "7"},
    }
    assert rendered() == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def test_pictures_documents_and_sound() -> None:
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,/9j/4AAQ"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"filename": "a_b.c.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        {"type": "file", "file": {"file_data": "data:text/csv;base64,YSxi"}},
        {"type": "file", "file": {"file_data": "data:video/mp4;base64,AAAA"}},
    ]
    (turn,) = rendered(messages=[{"role": "user", "content": content}])["messages"]
    assert turn["content"] == [
        {"image": {"format": "jpeg", "source": {"bytes": "/9j/4AAQ"}}},
        {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}},
        {"document": {"format": "pdf", "name": "a b c", "source": {"bytes": "JVBE"}}},
        {"document": {"format": "csv", "name": "document", "source": {"bytes": "YSxi"}}},
        {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
    ]
    for file in ({"file_id": "f"}, {"file_data": "data:application/zip;base64,AA=="}):
        with pytest.raises(InvalidRequest):
            rendered(messages=[{"role": "user", "content": [{"type": "file", "file": file}]}])


def test_calls_and_their_results() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    long_id = "functions.weather:" + "0" * 80
    calls = [
        {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": arguments}}
        for call_id, arguments in (("a", '{"city":"Köln"}'), (long_id, ""))
    ]
    body = rendered(
        messages=[
            USER,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "a", "content": ""},
            {"role": "tool", "tool_call_id": long_id, "content": [{"type": "text", "text": "r"}, picture]},
            {"role": "user", "content": "and?"},
        ],
    )
    _, answer, results = body["messages"]
    assert answer["content"][0] == {"toolUse": {"toolUseId": "a", "name": "weather", "input": {"city": "Köln"}}}
    other = answer["content"][1]["toolUse"]["toolUseId"]
    assert len(other) == 64
    assert results["content"] == [
        {"toolResult": {"toolUseId": "a", "content": [{"text": "."}]}},
        {
            "toolResult": {
                "toolUseId": other,
                "content": [{"text": "r"}, {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}],
            }
        },
        {"text": "and?"},
    ]
    # Bedrock refuses calls of tools that are not declared.
    assert body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "weather"


def test_a_failed_result_says_so() -> None:
    result = ir.ToolResult("a", (ir.Text("no"),), is_error=True)
    messages = (ir.Message("assistant", (ir.ToolCall("a", "f", "{}"),)), ir.Message("tool", (result,)))
    body = valid(render_request(ir.ChatRequest(model=NOVA, messages=messages)))
    assert body["messages"][0] == {"role": "user", "content": [{"text": "."}]}
    assert body["messages"][2]["content"][0]["toolResult"]["status"] == "error"


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "weather"}}, {"tool": {"name": "weather"}}),
    ],
)
def test_tool_choice(choice: Any, wanted: Json) -> None:
    assert rendered(tools=[WEATHER], tool_choice=choice)["toolConfig"] == {
        "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {}}}}}],
        "toolChoice": wanted,
    }


def test_no_tools_when_none_may_be_called() -> None:
    assert "toolConfig" not in rendered(tools=[WEATHER], tool_choice="none")
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "1"}]
    assert "toolChoice" not in rendered(messages=history, tools=[WEATHER], tool_choice="none")["toolConfig"]
    assert lost(messages=history, tools=[WEATHER], tool_choice="none") == {"tool_choice"}
    with pytest.raises(InvalidRequest):
        rendered(tools=[{"type": "web_search_preview"}])


def test_allowed_tools_are_the_only_ones_declared() -> None:
    other = {"type": "function", "function": {"name": "other", "description": "d", "strict": True}}
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "other"}}]}
    config = rendered(tools=[WEATHER, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    (tool,) = config["toolConfig"]["tools"]
    assert (tool["toolSpec"]["name"], tool["toolSpec"]["description"], tool["toolSpec"]["strict"]) == (
        "other",
        "d",
        True,
    )


def test_a_schema_by_format_by_tool_or_in_words() -> None:
    given = rendered(QWEN, response_format=AS_SCHEMA)["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert given["name"] == "n"
    assert json.loads(given["schema"]) == {**SCHEMA, "additionalProperties": False}
    forced = rendered(NOVA, response_format=AS_SCHEMA)["toolConfig"]
    assert forced["toolChoice"] == {"tool": {"name": JSON_TOOL}}
    assert rendered(NOVA, response_format=AS_SCHEMA, tools=[WEATHER])["toolConfig"]["toolChoice"] == {"any": {}}
    (told,) = rendered(LLAMA, response_format=AS_SCHEMA)["system"]
    assert json.dumps(SCHEMA) in told["text"]
    assert "JSON" in rendered(NOVA, response_format={"type": "json_object"})["system"][0]["text"]


@pytest.mark.parametrize(
    ("model", "fields", "own"),
    [
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
        (
            "us.amazon.nova-2-lite-v1:0",
            {"reasoning_effort": "low"},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
        ),
        ("us.amazon.nova-2-lite-v1:0", {"reasoning_effort": "none"}, {"reasoningConfig": {"type": "disabled"}}),
        (NOVA, {"top_k": 5}, {"inferenceConfig": {"topK": 5}}),
        ("mistral.magistral-small-2509", {"top_k": 5}, {"top_k": 5}),
        ("cohere.command-r-v1:0", {"top_k": 5}, {"k": 5}),
    ],
)
def test_fields_of_the_models_own(model: str, fields: Json, own: Json) -> None:
    assert rendered(model, **fields)["additionalModelRequestFields"] == own
    assert lost(model, **fields) == set()


def test_what_has_no_place_is_declared() -> None:
    assert lost(LLAMA, reasoning_effort="low", top_k=5, seed=1, user="u", parallel_tool_calls=False) == {
        "thinking",
        "top_k",
        "seed",
        "user",
        "may_call_in_parallel",
    }


def test_thoughts_go_back_with_their_signatures_to_bedrock_alone() -> None:
    parts = (
        ir.Reasoning("hm", ir.Seal("bedrock", "sig")),
        ir.Reasoning("", ir.Seal("bedrock", "c2VjcmV0"), True),
        ir.Reasoning("no", ir.Seal("anthropic", "sig")),
        ir.Text("a"),
    )
    answer = ir.ChatResponse(choices=(ir.Choice(parts=parts, finish_reason="stop"),))
    message = openai_chat.render_response(answer, RENDERING)["choices"][0]["message"]
    assert rendered(messages=[USER, message])["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
        {"text": "a"},
    ]


@given(chat_values.requests())
def test_law_any_openai_request_is_valid_for_converse(request: ir.ChatRequest) -> None:
    def without_ids(message: ir.Message) -> ir.Message:
        parts = tuple(part for part in message.parts if not (isinstance(part, ir.File) and part.file_id))
        parts = tuple(
            replace(part, url="", data="iVBORw0KGgo=") if isinstance(part, ir.Image) else part for part in parts
        )
        return replace(message, parts=parts)

    body = valid(render_request(replace(request, model=NOVA, messages=tuple(map(without_ids, request.messages)))))
    roles = [turn["role"] for turn in body["messages"]]
    assert roles[0] == "user"
    assert all(one != other for one, other in pairwise(roles))


# ---- recordings ----


@dataclass(frozen=True)
class Recorded:
    name: str
    model: str
    operation: str
    request: Any
    status: int
    headers: dict[str, str]
    body: bytes

    def frames(self, cut: Callable[[bytes], list[bytes]] = lambda body: [body]) -> list[Frame]:
        framing = AWSEventStream()
        frames = [frame for piece in cut(self.body) for frame in framing.feed(piece)]
        return frames + framing.finish()


def _recorded() -> Iterator[Recorded]:
    for path in sorted([*FOLDER.glob("bedrock/*.json"), *FOLDER.glob("documented/bedrock/*.json")]):
        data = json.loads(path.read_text("utf-8"))
        response = data["response"]
        body = response["body"]
        url = data["request"]["url"]
        yield Recorded(
            name=str(path.relative_to(FOLDER).with_suffix("")),
            model=url.partition("/model/")[2].rpartition("/")[0].replace("%3A", ":"),
            operation=url.rpartition("/")[2],
            request=data["request"]["body"],
            status=response["status"],
            headers=response["headers"],
            body=base64.b64decode(body) if response["body_encoding"] == "base64" else body.encode(),
        )


ALL = tuple(_recorded())


def of(*wanted: str, operation: str, ok: bool = True) -> list[Any]:
    return [
        pytest.param(found, id=found.name)
        for found in ALL
        if found.operation == operation
        and found.name.rpartition("/")[2].startswith(wanted)
        and (found.status == 200 and "exception" not in found.name) is ok
    ]


CONVERSE = of("converse", operation="converse")
CONVERSE_STREAMS = of("converse", operation="converse-stream")
CLAUDE = of("invoke-anthropic", operation="invoke")
CLAUDE_STREAMS = of("invoke-anthropic", operation="invoke-with-response-stream")
LLAMAS = of("invoke-meta", operation="invoke")
LLAMA_STREAMS = of("invoke-meta", operation="invoke-with-response-stream")


def test_recordings_are_there() -> None:
    if not FOLDER.is_dir():
        lacking(f"no recordings in {FOLDER}: set ONEAPI_FIXTURES to their folder")
    counts = [len(found) for found in (CONVERSE, CONVERSE_STREAMS, CLAUDE, CLAUDE_STREAMS, LLAMAS, LLAMA_STREAMS)]
    assert counts == [16, 9, 10, 3, 2, 1]


def ours(response: ir.ChatResponse) -> Json:
    (choice,) = response.choices
    assert response.usage is not None
    parts = choice.parts
    return {
        "text": "".join(part.text for part in parts if isinstance(part, ir.Text)),
        "thoughts": "".join(part.text for part in parts if isinstance(part, ir.Reasoning)),
        "signatures": [part.seal.value for part in parts if isinstance(part, ir.Reasoning) and part.seal],
        "calls": [(part.id, part.name, json.loads(part.arguments)) for part in parts if isinstance(part, ir.ToolCall)],
        "citations": [
            note["url_citation"]["content"] for part in parts if isinstance(part, ir.Text) for note in part.annotations
        ],
        "usage": (
            response.usage.input_tokens,
            response.usage.output_tokens,
            response.usage.cached_tokens or 0,
            response.usage.cache_write_tokens or 0,
        ),
        "reason": choice.finish_reason,
    }


_REASON = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
}


def _usage(block: Json) -> tuple[int, int, int, int]:
    cached, written = block.get("cacheReadInputTokens", 0), block.get("cacheWriteInputTokens", 0)
    return block["inputTokens"] + cached + written, block["outputTokens"], cached, written


def botos(found: Recorded) -> Json:
    """What botocore reads of a whole answer."""
    shape = SERVICE.operation_model("Converse").output_shape
    reply = {"status_code": found.status, "headers": found.headers, "body": found.body}
    answer = create_parser("rest-json").parse(reply, shape)
    blocks = answer["output"]["message"]["content"]
    texts = [block["text"] for block in blocks if "text" in block]
    cited = [block["citationsContent"] for block in blocks if "citationsContent" in block]
    thoughts = [block["reasoningContent"]["reasoningText"] for block in blocks if "reasoningContent" in block]
    calls = [block["toolUse"] for block in blocks if "toolUse" in block]
    return {
        "text": "".join(texts + [piece["text"] for block in cited for piece in block["content"]]),
        "thoughts": "".join(thought["text"] for thought in thoughts),
        "signatures": [thought["signature"] for thought in thoughts if "signature" in thought],
        "calls": [(call["toolUseId"], call["name"], call["input"]) for call in calls],
        "citations": [
            "".join(piece["text"] for piece in citation["sourceContent"])
            for block in cited
            for citation in block["citations"]
        ],
        "usage": _usage(answer["usage"]),
        "reason": _REASON[answer["stopReason"]],
    }


def botos_stream(found: Recorded) -> Json:
    """What the events say that botocore cuts the stream into."""
    buffer = EventStreamBuffer()
    buffer.add_data(found.body)
    said: Json = {"text": "", "thoughts": "", "signatures": [], "calls": [], "citations": []}
    calls: dict[int, list[str]] = {}
    for message in buffer:
        event = json.loads(message.payload)
        start = event.get("start", {}).get("toolUse")
        delta = event.get("delta", {})
        if start:
            calls[event["contentBlockIndex"]] = [start["toolUseId"], start["name"], ""]
        said["text"] += delta.get("text", "")
        thought = delta.get("reasoningContent", {})
        said["thoughts"] += thought.get("text", "")
        said["signatures"] += [thought["signature"]] if "signature" in thought else []
        if "toolUse" in delta:
            calls[event["contentBlockIndex"]][2] += delta["toolUse"]["input"]
        if "stopReason" in event:
            said["reason"] = _REASON[event["stopReason"]]
        if "usage" in event:
            said["usage"] = _usage(event["usage"])
    said["calls"] = [(call_id, name, json.loads(given or "{}")) for call_id, name, given in calls.values()]
    return said


def parsed(parser: Any, frames: list[Frame]) -> list[ir.Event]:
    events = [event for frame in frames for event in parser.feed(frame)]
    return [*events, *parser.finish()]


@pytest.mark.parametrize("found", CONVERSE)
def test_reads_a_whole_answer_as_botocore_does(found: Recorded) -> None:
    assert ours(parse_response(json.loads(found.body))) == botos(found)


@pytest.mark.parametrize("found", CONVERSE_STREAMS)
def test_reads_a_stream_as_botocore_does(found: Recorded) -> None:
    assert ours(ir.collect(parsed(StreamParser(), found.frames()))) == botos_stream(found)


@pytest.mark.parametrize("found", CONVERSE_STREAMS + CLAUDE_STREAMS + LLAMA_STREAMS)
def test_cuts_change_nothing(found: Recorded) -> None:
    make: Callable[[], Any] = StreamParser
    if found.operation != "converse-stream":
        make = bedrock_invoke.ClaudeParser if "anthropic" in found.name else bedrock_invoke.LlamaParser
    chance = random.Random(found.name)

    def at_random(body: bytes) -> list[bytes]:
        places = sorted({0, len(body), *(chance.randrange(len(body)) for _ in range(40))})
        return [body[start:end] for start, end in pairwise(places)]

    whole = parsed(make(), found.frames())
    for cut in (lambda body: [body[at : at + 1] for at in range(len(body))], at_random, at_random):
        assert parsed(make(), found.frames(cut)) == whole
    assert ir.collect(whole).usage is not None
    assert [event for event in whole if isinstance(event, ir.Finish)]


@pytest.mark.parametrize("found", CLAUDE)
def test_reads_claude_as_its_body_says(found: Recorded) -> None:
    body = json.loads(found.body)
    said = ours(bedrock_invoke.CLAUDE.parse_response(body))  # type: ignore[misc]
    usage = body["usage"]
    cached, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    assert said["text"] == "".join(block["text"] for block in body["content"] if block["type"] == "text")
    assert said["calls"] == [(b["id"], b["name"], b["input"]) for b in body["content"] if b["type"] == "tool_use"]
    assert said["usage"] == (usage["input_tokens"] + cached + written, usage["output_tokens"], cached, written)
    assert said["reason"] == _REASON[body["stop_reason"]]


@pytest.mark.parametrize("found", CLAUDE_STREAMS)
def test_reads_claudes_stream_as_its_chunks_say(found: Recorded) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(found.body)
    events = [json.loads(base64.b64decode(json.loads(message.payload)["bytes"])) for message in buffer]
    said = ours(ir.collect(parsed(bedrock_invoke.ClaudeParser(), found.frames())))
    assert said["text"] == "".join(event.get("delta", {}).get("text", "") for event in events)
    metrics = events[-1]["amazon-bedrock-invocationMetrics"]
    assert said["usage"][:2] == (metrics["inputTokenCount"], metrics["outputTokenCount"])


@pytest.mark.parametrize("found", LLAMAS)
def test_reads_a_llama(found: Recorded) -> None:
    body = json.loads(found.body)
    said = ours(bedrock_invoke.parse_llama(body))
    assert (said["text"], said["usage"][:2]) == (
        body["generation"],
        (body["prompt_token_count"], body["generation_token_count"]),
    )
    assert said["reason"] == body["stop_reason"]


@pytest.mark.parametrize("found", LLAMA_STREAMS)
def test_reads_a_llamas_stream(found: Recorded) -> None:
    said = ours(ir.collect(parsed(bedrock_invoke.LlamaParser(), found.frames())))
    assert said["text"].startswith('\n\nThe phrase "lorem ipsum"')
    assert (said["usage"][:2], said["reason"]) == ((10, 60), "length")


def _from_converse(body: Json) -> ir.ChatRequest:
    """An independent reading of a recorded Converse request, as what an OpenAI client would have said."""
    messages: list[Json] = [{"role": "system", "content": block["text"]} for block in body.get("system") or ()]
    for turn in body["messages"]:
        content, calls = [], []
        for block in turn["content"]:
            if "text" in block:
                content.append({"type": "text", "text": block["text"]})
            elif "image" in block:
                url = f"data:image/{block['image']['format']};base64,{block['image']['source']['bytes']}"
                content.append({"type": "image_url", "image_url": {"url": url}})
            elif "toolUse" in block:
                use = block["toolUse"]
                function = {"name": use["name"], "arguments": json.dumps(use["input"])}
                calls.append({"id": use["toolUseId"], "type": "function", "function": function})
            elif "toolResult" in block:
                result = block["toolResult"]
                texts = [{"type": "text", "text": piece["text"]} for piece in result["content"]]
                messages.append({"role": "tool", "tool_call_id": result["toolUseId"], "content": texts})
        if content or calls:
            messages.append({"role": turn["role"], "content": content, **({"tool_calls": calls} if calls else {})})
    tools = [
        {"type": "function", "function": {"name": spec["name"], "parameters": spec["inputSchema"]["json"]}}
        | ({} if "description" not in spec else {"function": {
            "name": spec["name"], "description": spec["description"], "parameters": spec["inputSchema"]["json"]}})
        for tool in body.get("toolConfig", {}).get("tools", ())
        if (spec := tool.get("toolSpec"))
    ]  # fmt: skip
    limits = body.get("inferenceConfig", {})
    fields = {
        "max_tokens": limits.get("maxTokens"),
        "temperature": limits.get("temperature"),
        "top_p": limits.get("topP"),
        "stop": limits.get("stopSequences") or None,
        "tools": tools or None,
        "tool_choice": "auto" if body.get("toolConfig", {}).get("toolChoice") == {"auto": {}} else None,
    }
    return openai_chat.parse_request(
        {"model": NOVA, "messages": messages, **{name: value for name, value in fields.items() if value is not None}}
    )


# Blocks that OpenAI's clients have no words for, or whose content differs by a name.
_OTHER_BLOCKS = ("cachePoint", "guardContent", "document", "reasoningContent", "video", "s3Location")
_PLAIN = [
    pytest.param(found, id=found.name)
    for found in ALL
    if found.operation.startswith("converse")
    and found.name.startswith("bedrock/")
    and not any(word in json.dumps(found.request) for word in _OTHER_BLOCKS)
]


@pytest.mark.parametrize("found", _PLAIN)
def test_an_equivalent_openai_request_becomes_the_recorded_one(found: Recorded) -> None:
    body = valid(render_request(_from_converse(found.request)))
    given = {name: value for name, value in deepcopy(found.request).items() if value}
    for name in ("outputConfig", "guardrailConfig", "additionalModelRequestFields"):  # tested by themselves
        given.pop(name, None)
    if limits := given.get("inferenceConfig"):
        given["inferenceConfig"] = {name: value for name, value in limits.items() if value != []}
    for turn in given["messages"]:
        for block in turn["content"]:
            if block.get("toolResult", {}).get("status") == "success":  # as where nothing is said
                del block["toolResult"]["status"]
    assert body == given


# ---- errors ----


def frames_of(name: str) -> list[Frame]:
    for found in ALL:
        if found.name == name:
            return found.frames()
    lacking(f"no recordings in {FOLDER}: set ONEAPI_FIXTURES to their folder")


_VERDICTS = {
    "converse-error-400": (404, None, "cool_model"),
    "converse-error-403": (401, "UnrecognizedClientException", "disable"),
    "converse-error-404": (404, "ResourceNotFoundException", "cool_model"),
    "invoke-anthropic-error-400": (400, None, "none"),
    "invoke-anthropic-error-403": (403, "AccessDeniedException", "cool_model"),
    "invoke-meta-error-403": (401, "ExpiredTokenException", "disable"),
    "converse-error-429": (429, "ThrottlingException", "cool"),
    "converse-error-503": (503, "ServiceUnavailableException", "count"),
    "converse-error-context-length": (400, "context_length_exceeded", "none"),
}


@pytest.mark.parametrize("found", [pytest.param(found, id=found.name) for found in ALL if found.status != 200])
def test_an_error_is_told_with_its_own_words(found: Recorded) -> None:
    error = parse_error(found.status, found.headers, found.body)
    assert error.message == json.loads(found.body)["message"]
    status, code, blame = _VERDICTS[found.name.rpartition("/")[2]]
    assert (error.upstream_status, verdict(error).blame) == (status, blame)
    if code is not None:
        assert error.provider_code == code


@pytest.mark.parametrize(
    ("name", "make", "status", "message"),
    [
        ("converse", StreamParser, 429, "Too many tokens, please wait before trying again."),
        ("invoke", bedrock_invoke.LlamaParser, 500, "The model returned an error."),
    ],
)
def test_an_exception_in_the_middle_of_a_stream(name: str, make: Any, status: int, message: str) -> None:
    frames = frames_of(f"documented/bedrock/{name}-stream-exception")
    with pytest.raises(UpstreamRejected) as raised:
        list(make().feed(frames[-1]))
    assert (raised.value.upstream_status, raised.value.message) == (status, message)


@pytest.mark.parametrize(
    ("name", "status", "blame"),
    [
        ("throttlingException", 429, "cool"),
        ("validationException", 400, "none"),
        ("internalServerException", 500, "count"),
        ("modelStreamErrorException", 500, "count"),
        ("modelTimeoutException", 408, "count"),
        ("serviceUnavailableException", 503, "count"),
    ],
)
def test_each_exception_has_the_status_it_would_have_had(name: str, status: int, blame: str) -> None:
    frame = Frame(b"", b'{"message":"m"}', name, {":message-type": "exception", ":exception-type": name})
    for parser in (StreamParser(), bedrock_invoke.ClaudeParser(), bedrock_invoke.LlamaParser()):
        with pytest.raises(UpstreamRejected) as raised:
            list(parser.feed(frame))
        assert (raised.value.upstream_status, verdict(raised.value).blame) == (status, blame)
    broken = Frame(b"", b"", "", {":message-type": "error", ":error-code": "InternalError", ":error-message": "oh"})
    with pytest.raises(UpstreamGarbled, match="oh"):
        list(StreamParser().feed(broken))


@pytest.mark.parametrize(
    ("message", "status", "blame"),
    [
        ("Authentication failed: Please make sure your API Key is valid.", 401, "disable"),
        ("Model access is denied due to INVALID_PAYMENT_INSTRUMENT: add a payment method.", 402, "disable"),
        ("You don't have access to the model with the specified model ID.", 403, "cool_model"),
    ],
)
def test_what_is_about_the_account_is_known_by_its_first_words(message: str, status: int, blame: str) -> None:
    headers = {"x-amzn-errortype": "AccessDeniedException:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    error = parse_error(403, headers, json.dumps({"Message": message}).encode())
    assert (error.upstream_status, error.message, verdict(error).blame) == (status, message, blame)
    assert error.client_status == 502


# ---- embeddings and reranking ----


def embed(model: str, *inputs: Any, **fields: Any) -> Json:
    return bedrock_vectors.render_embeddings(ir.EmbeddingRequest(model=model, inputs=inputs, **fields))


def test_embeddings_are_a_call_for_each_text_or_for_many() -> None:
    assert embed("amazon.titan-embed-text-v2:0", "a", "b", dimensions=256) == {
        "each": [{"inputText": "a", "dimensions": 256}, {"inputText": "b", "dimensions": 256}]
    }
    many = embed("cohere.embed-english-v3", *map(str, range(100)))["each"]
    assert [len(body["texts"]) for body in many] == [96, 4]
    assert many[0]["input_type"] == "search_document"
    query = embed("cohere.embed-v4:0", "a", dimensions=512, extra={"input_type": "search_query"})["each"]
    assert query == [{"input_type": "search_query", "texts": ["a"], "output_dimension": 512}]
    with pytest.raises(InvalidRequest):
        embed("amazon.titan-embed-text-v2:0", (1, 2))


def found_named(name: str) -> Recorded:
    for found in ALL:
        if found.name == name:
            return found
    lacking(f"no recordings in {FOLDER}: set ONEAPI_FIXTURES to their folder")


def test_the_recorded_embedding() -> None:
    found = found_named("bedrock/embed")
    asked = embed(found.model, "Test Nova dimensions", dimensions=256, extra={"embeddingPurpose": "GENERIC_RETRIEVAL"})
    assert asked == {"each": [found.request]}
    flow = bedrock.embed_each(
        UpstreamRequest(url="https://h/model/m/invoke", body=json.dumps(asked).encode()), Credentials("A|S|r"), NOW
    )
    sent = next(flow)
    assert isinstance(sent, UpstreamRequest) and json.loads(sent.body) == found.request
    with pytest.raises(StopIteration) as stop:
        flow.send(WholeReply(200, found.headers, found.body))
    response = bedrock_vectors.parse_embeddings(json.loads(stop.value.value.body))
    assert response.vectors == (tuple(json.loads(found.body)["embeddings"][0]["embedding"]),)
    assert response.usage is not None and response.usage.input_tokens == 18


def test_a_flow_ends_with_the_first_refusal_and_adds_up_what_answers() -> None:
    body = json.dumps(embed("amazon.titan-embed-text-v2:0", "a", "b")).encode()
    start = UpstreamRequest(url="https://h/model/m/invoke", body=body)

    def answer(*replies: WholeReply) -> WholeReply:
        flow = bedrock.embed_each(start, Credentials("A|S|r"), NOW)
        next(flow)
        with pytest.raises(StopIteration) as stop:
            for reply in replies:
                flow.send(reply)
        return stop.value.value  # type: ignore[no-any-return]

    titan = [WholeReply(200, {}, b'{"embedding":[%d],"inputTextTokenCount":3}' % number) for number in (1, 2)]
    whole = bedrock_vectors.parse_embeddings(json.loads(answer(*titan).body))
    assert (whole.vectors, whole.usage and whole.usage.input_tokens) == (((1.0,), (2.0,)), 6)
    refused = WholeReply(429, {}, b"{}")
    assert answer(titan[0], refused) == refused


@pytest.mark.parametrize(
    ("body", "vectors"),
    [
        ({"embeddings": [[1, 2]]}, ((1.0, 2.0),)),
        ({"embeddings": {"float": [[1]]}}, ((1.0,),)),
        ({"embedding": [3]}, ((3.0,),)),
    ],
)
def test_vectors_of_each_shape(body: Json, vectors: Any) -> None:
    assert bedrock_vectors.parse_embeddings(body) == ir.EmbeddingResponse(vectors=vectors)


@pytest.mark.parametrize("body", [{}, {"embeddings": 3}, {"embeddings": [["x"]]}, {"answers": [{}]}])
def test_an_answer_without_vectors_is_garbled(body: Json) -> None:
    with pytest.raises(UpstreamGarbled):
        bedrock_vectors.parse_embeddings(body)


def test_the_recorded_reranking() -> None:
    found = found_named("bedrock/rerank")
    request = ir.RerankRequest(
        model=found.model, query=found.request["query"], documents=tuple(found.request["documents"]), top_n=3
    )
    assert bedrock_vectors.render_rerank(request) == found.request
    response = bedrock_vectors.RERANK.parse_response(json.loads(found.body))  # type: ignore[misc]
    assert [ranked.index for ranked in response.results] == [2, 0, 4]
    amazon = bedrock_vectors.render_rerank(
        ir.RerankRequest(model="amazon.rerank-v1:0", query="q", documents=({"text": "d"},))
    )
    assert amazon == {"query": "q", "documents": ["d"]}


# ---- the list of models ----


def test_the_list_of_models() -> None:
    requests = bedrock.models_requests(bedrock.ADAPTORS[0].base_url, Credentials("A|S|eu-west-1"), NOW)
    assert [request.url for request in requests] == [
        "https://bedrock.eu-west-1.amazonaws.com/foundation-models",
        "https://bedrock.eu-west-1.amazonaws.com/inference-profiles?maxResults=1000",
    ]
    models = {
        "modelSummaries": [
            {"modelId": "amazon.nova-pro-v1:0", "inferenceTypesSupported": ["ON_DEMAND"]},
            {"modelId": "anthropic.claude-opus-4-8", "inferenceTypesSupported": ["INFERENCE_PROFILE"]},
        ]
    }
    profiles = {"inferenceProfileSummaries": [{"inferenceProfileId": "eu.anthropic.claude-opus-4-8"}]}
    replies = tuple(WholeReply(200, {}, json.dumps(body).encode()) for body in (models, profiles))
    assert bedrock.parse_models(replies) == ("amazon.nova-pro-v1:0", "eu.anthropic.claude-opus-4-8")
    with pytest.raises(UpstreamRejected):
        bedrock.parse_models((WholeReply(403, {}, b"{}"), replies[1]))


# ---- laws ----


def test_the_answer_in_a_forced_tool_is_unwrapped() -> None:
    use = {"toolUse": {"toolUseId": "a", "name": JSON_TOOL, "input": {"n": 3}}}
    response = parse_response({"output": {"message": {"content": [use]}}, "stopReason": "tool_use"})
    assert response.choices == (ir.Choice(parts=(ir.Text('{"n":3}'),), finish_reason="stop"),)


def test_a_picture_that_was_made() -> None:
    image = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    response = parse_response({"output": {"message": {"content": [image]}}, "stopReason": "end_turn"})
    assert response.choices[0].parts == (ir.Image(data="AAAA", media_type="image/png"),)


def test_an_anthropic_client_reaches_claude_with_all_it_said() -> None:
    body = {
        "model": "claude-opus-4-8",
        "max_tokens": 9,
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "max"},
        "anthropic_beta": ["x"],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
            {"role": "system", "content": [{"type": "text", "text": "s"}]},
        ],
    }
    rest = {name: value for name, value in body.items() if name != "model"}
    assert bedrock_invoke.render_claude(parse_request(body)) == {"anthropic_version": "bedrock-2023-05-31", **rest}


_SCRAPS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["start", "delta", "toolUse", "input", "text", "reasoningContent", "citation", "image", "usage"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "x"]
)


@given(
    st.lists(
        st.tuples(
            _NAMES,
            st.dictionaries(
                st.sampled_from(["start", "delta", "contentBlockIndex", "stopReason", "usage", "trace"]), _SCRAPS
            ),
        ),
        max_size=6,
    )
)
def test_any_nonsense_is_a_clean_error_or_an_answer(events: list[tuple[str, Json]]) -> None:
    parser = StreamParser()
    try:
        for name, event in events:
            list(parser.feed(Frame(b"", json.dumps(event).encode(), name)))
        list(parser.finish())
    except (UpstreamGarbled, UpstreamRejected):
        pass


@given(
    st.dictionaries(st.sampled_from(["output", "stopReason", "usage", "trace"]), _SCRAPS),
    st.lists(st.dictionaries(st.sampled_from(["text", "toolUse", "reasoningContent", "citationsContent"]), _SCRAPS)),
)
def test_any_nonsense_as_a_whole_answer_is_a_clean_error_or_an_answer(body: Json, content: list[Json]) -> None:
    for value in (body, {**body, "output": {"message": {"content": content}}}):
        with suppress(UpstreamGarbled):
            parse_response(value)


@given(st.binary(max_size=60), st.sampled_from([bedrock_invoke.ClaudeParser, bedrock_invoke.LlamaParser]))
def test_any_bytes_in_a_chunk_are_a_clean_error(data: bytes, make: Any) -> None:
    with pytest.raises((UpstreamGarbled, UpstreamRejected)):
        parser = make()
        payload = json.dumps({"bytes": base64.b64encode(data).decode()}).encode()
        list(parser.feed(Frame(b"", payload, "chunk")))
        list(parser.finish())
