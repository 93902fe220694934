"""Bedrock's Converse: one format for all its chat models. This file has the request.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
/latest/userguide/conversation-inference-supported-models-features.html (read 2026-11-25), botocore's description of
the service, and recorded calls.

How it carries what has no field of its own:
- a schema for the answer by the output format, or, where the model has none, by a tool that must be called (Nova) or in
  words of the system prompt; `json_object` in words
- how much to think, and top_k, in the model's own request fields, for the models that are known to have them
- `tool_choice` none by not declaring the tools, unless the conversation has used some already
- cache marks of Anthropic's kind as cache points

Not carried: n, seed, penalties, logit_bias, logprobs, user, names of speakers, calls one at a time; by model also
thinking and top_k. `drops` says which.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oneapi.errors import InvalidRequest
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Json
from oneapi.relay.protocols.anthropic_parts import arguments_object, clean_id, document_type, picture_type
from oneapi.relay.protocols.anthropic_request import JSON_TOOL
from oneapi.relay.protocols.bedrock_converse_answer import ORIGIN, StreamParser, parse_response
from oneapi.relay.protocols.bedrock_error import parse_error
from oneapi.relay.protocols.strict_schema import strict_schema

CANNOT_CARRY = frozenset(
    {
        "n",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "user",
        "name",
        "audio_output",
        "may_call_in_parallel",
    }
)

_PLACEHOLDER = "."  # the first turn must be the user's, and must say something
_JSON_RULE = "Answer with one JSON object and nothing else: no other text, no Markdown."
_SCHEMA_RULE = "The object must fit this JSON schema: "
_MAX_ID = 64  # characters
_HAS_NO_SCHEMA = re.compile(
    r"(?:amazon|meta|ai21|cohere|writer|stability)\.|deepseek\.r1|mistral\.mistral-(?:7b|large-240)"
)
_NOVA = re.compile(r"amazon\.nova-")
_TOP_K: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"mistral\.|qwen\.|openai\.gpt-oss|anthropic\."), "top_k"),
    (re.compile(r"cohere\.command"), "k"),
)
_EFFORTS = {"minimal": "low", "xhigh": "high", "max": "high"}

# ---- the whole ----


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool that is not a function, and for documents not taken."""
    body: Json = {"messages": _render_messages(request.messages)}
    if system := list(_render_system(request)):
        body["system"] = system
    most: Json = {
        "maxTokens": request.max_tokens or None,
        "temperature": None if request.temperature is None else min(max(request.temperature, 0), 1),
        "topP": request.top_p,
        "stopSequences": list(request.stop) or None,
    }
    if limits := {name: value for name, value in most.items() if value is not None}:
        body["inferenceConfig"] = limits
    body |= _settings(request)[0]
    if request.metadata:
        body["requestMetadata"] = {str(name): str(value) for name, value in request.metadata.items()}
    return body


def drops(request: ir.ChatRequest) -> frozenset[str]:
    """What this model has no place for."""
    return _settings(request)[1]


def _settings(request: ir.ChatRequest) -> tuple[Json, frozenset[str]]:
    """Fields that depend on the model, and the names of those that are lost."""
    lost: set[str] = set()
    fields: Json = {}
    if tools := _render_tools(request, lost):
        fields["toolConfig"] = tools
    if own := {**_render_top_k(request, lost), **_render_thinking(request, lost)}:
        fields["additionalModelRequestFields"] = own
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and not _HAS_NO_SCHEMA.search(request.model):
        schema = json.dumps(strict_schema(wanted.schema or {"type": "object"}), ensure_ascii=False)
        given: Json = {"schema": schema, "name": wanted.name or "answer"}
        if wanted.description:
            given["description"] = wanted.description
        fields["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": given}}}
    return fields, frozenset(lost)


def _render_top_k(request: ir.ChatRequest, lost: set[str]) -> Json:
    if request.top_k is None:
        return {}
    if _NOVA.search(request.model):
        return {"inferenceConfig": {"topK": request.top_k}}
    for model, name in _TOP_K:
        if model.search(request.model):
            return {name: request.top_k}
    lost.add("top_k")
    return {}


def _render_thinking(request: ir.ChatRequest, lost: set[str]) -> Json:
    """Nova 2 and gpt-oss take an effort; the others think as they will."""
    wish = request.thinking
    if wish is None:
        return {}
    effort = _EFFORTS.get(wish.effort, wish.effort) or "medium"
    if "nova-2" in request.model:
        if effort == "none":
            return {"reasoningConfig": {"type": "disabled"}}
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    if "gpt-oss" in request.model and effort != "none":
        return {"reasoning_effort": effort}
    lost.add("thinking")
    return {}


def _render_system(request: ir.ChatRequest) -> Iterator[Json]:
    for message in request.messages:
        if message.role == "system":
            yield from _blocks(message)
    wanted = request.response_format
    if wanted is None or wanted.kind == "text":
        return
    if wanted.kind == "json_object":
        yield {"text": _JSON_RULE}
    elif _HAS_NO_SCHEMA.search(request.model) and not _NOVA.search(request.model):
        yield {"text": f"{_JSON_RULE} {_SCHEMA_RULE}{json.dumps(wanted.schema or {}, ensure_ascii=False)}"}


# ---- tools ----


def _render_tools(request: ir.ChatRequest, lost: set[str]) -> Json:
    choice = request.tool_choice
    used = _called(request.messages)
    allowed = choice.allowed if choice is not None else ()
    tools = [_render_tool(tool) for tool in request.tools if not allowed or tool.name in allowed]
    picked = _render_choice(choice) if tools else None
    if choice is not None and choice.mode == "none" and tools:
        if not used:
            tools = []  # what is not declared cannot be called
        else:
            lost.add("tool_choice")
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and _NOVA.search(request.model):
        words = wanted.description or "Gives the answer. Call this when no other tool is needed."
        tools.append(_spec(JSON_TOOL, words, wanted.schema))
        picked = {"any": {}} if len(tools) > 1 else {"tool": {"name": JSON_TOOL}}
    if not tools and used:
        # A conversation with calls in it is refused without the tools they were calls of.
        tools = [_spec(name, name, None) for name in used]
    config: Json = {"tools": tools, **({"toolChoice": picked} if picked else {})}
    return config if tools else {}


def _called(messages: Iterable[ir.Message]) -> tuple[str, ...]:
    """Names of the tools that the conversation has called, or has results of."""
    names = [part.name for message in messages for part in message.parts if isinstance(part, ir.ToolCall)]
    return tuple(dict.fromkeys(names))


def _render_choice(choice: ir.ToolChoice | None) -> Json | None:
    if choice is None or choice.mode == "none":
        return None
    if choice.mode == "function":
        return {"tool": {"name": choice.name}}
    return {"any": {}} if choice.mode == "required" else {"auto": {}}


def _render_tool(tool: ir.Tool) -> Json:
    if tool.kind != "function":
        raise InvalidRequest(f"The provider cannot run the built-in tool {tool.kind!r}.", param="tools")
    return _spec(tool.name, tool.description, tool.schema, is_strict=tool.is_strict is True)


def _spec(name: str, description: str, schema: Mapping[str, Any] | None, *, is_strict: bool = False) -> Json:
    spec: Json = {"name": name, "inputSchema": {"json": {"type": "object", **(schema or {"properties": {}})}}}
    if description:
        spec["description"] = description
    if is_strict:
        spec["strict"] = True
    return {"toolSpec": spec}


# ---- messages ----


def _render_messages(messages: Iterable[ir.Message]) -> list[Json]:
    """Turns by role, adjacent ones merged; results of tools go before all else in theirs."""
    turns: list[tuple[str, list[Json]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "user" if message.role == "tool" else message.role
        blocks = _blocks(message)
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns or turns[0][0] != "user":
        turns.insert(0, ("user", [{"text": _PLACEHOLDER}]))
    return [
        {"role": role, "content": sorted(blocks, key=lambda block: "toolResult" not in block)} for role, blocks in turns
    ]


def _blocks(message: ir.Message) -> list[Json]:
    blocks: list[Json] = []
    for part in message.parts:
        block = _render_part(part)
        if block is None:
            continue
        blocks.append(block)
        mark = part.extra.get("cache_control") if isinstance(part, ir.Text | ir.Image | ir.File) else None
        if mark is not None:
            life = {"ttl": "1h"} if isinstance(mark, dict) and mark.get("ttl") == "1h" else {}
            blocks.append({"cachePoint": {"type": "default", **life}})
    return blocks


def _render_part(part: ir.Part) -> Json | None:
    """The block for a part; None for one that has no place, or says nothing. Blank texts are refused."""
    match part:
        case ir.Text() | ir.Refusal():
            return {"text": part.text} if part.text.strip() else None
        case ir.Image():
            kind = picture_type(part.data, part.media_type).removeprefix("image/")
            return {"image": {"format": kind, "source": {"bytes": part.data}}}
        case ir.Audio():
            if not part.data:  # of an earlier answer: its words
                return {"text": part.transcript} if part.transcript.strip() else None
            return {"audio": {"format": part.format, "source": {"bytes": part.data}}}
        case ir.File():
            return _render_file(part)
        case ir.Reasoning():
            if part.seal is None or part.seal.origin != ORIGIN:
                return None
            if part.is_redacted:
                return {"reasoningContent": {"redactedContent": part.seal.value}}
            return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.seal.value}}}
        case ir.ToolCall():
            given = arguments_object(part.arguments)
            return {"toolUse": {"toolUseId": _call_id(part.id), "name": part.name, "input": given}}
        case ir.ToolResult():
            pieces = [block for piece in part.parts if (block := _render_part(piece)) is not None]
            result: Json = {"toolUseId": _call_id(part.call_id), "content": pieces or [{"text": _PLACEHOLDER}]}
            if part.is_error:
                result["status"] = "error"
            return {"toolResult": result}


def _call_id(call_id: str) -> str:
    """Ids have at most 64 characters here; a longer one is told by its digest, the same for call and result."""
    known = clean_id(call_id)
    return known if len(known) <= _MAX_ID else hashlib.sha256(known.encode()).hexdigest()


_FORMATS: Mapping[str, str] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_NOT_IN_NAME = re.compile(r"[^\w\s()\[\]-]|_")


def _render_file(file: ir.File) -> Json:
    if not file.data:
        raise InvalidRequest("The provider takes a document's content, not a file's id.", param="messages")
    media_type = document_type(file)
    family, _, kind = media_type.partition("/")
    if family == "image":
        return {"image": {"format": picture_type(file.data, media_type).removeprefix("image/"), "source": _bytes(file)}}
    if family == "video":
        return {"video": {"format": kind, "source": _bytes(file)}}
    form = _FORMATS.get(media_type) or ("txt" if family == "text" or kind in ("json", "xml") else None)
    if form is None:
        raise InvalidRequest(f"The provider takes no documents of type {media_type}.", param="messages")
    stem = file.name.rpartition(".")[0] or file.name
    name = " ".join(_NOT_IN_NAME.sub(" ", stem).split()) or "document"
    return {"document": {"format": form, "name": name, "source": _bytes(file)}}


def _bytes(file: ir.File) -> Json:
    return {"bytes": file.data}


CODEC = Codec(
    name="bedrock_converse",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    cannot_carry=CANNOT_CARRY,
    drops=drops,
)
