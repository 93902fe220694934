"""The request of Anthropic's messages, both ways.

Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-25), at API version 2023-06-01, the last that
takes temperature; spec relay.md §8.23. Where models differ, anthropic_models.py knows.

How `render_request` carries what has no field of its own:
- all system and developer messages, in order, in `system`; this protocol's own clients may place them between turns
- a JSON schema as the output format, or, where the model has none, as a tool that must be called, unwrapped on the way
  back (`JSON_TOOL`); `json_object` as a sentence of the system prompt
- effort words and budgets in each other's terms: 1024, 8192, 24576, 32768 tokens
- allowed tools by declaring only those

Not carried: n, seed, penalties, logit_bias, logprobs, names of speakers, metadata (save the user), audio; by model also
sampling, thinking and forced calls. `drops` says which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from oneapi.errors import InvalidRequest
from oneapi.relay import ir
from oneapi.relay.adaptor import Json
from oneapi.relay.protocols.anthropic_models import Claude, claude
from oneapi.relay.protocols.anthropic_parts import (
    ORIGIN,
    extra_of,
    marked,
    own,
    parse_block,
    render_part,
)
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
        "metadata",
        "name",
        "audio",
        "audio_output",
    }
)

JSON_TOOL = "answer_in_json"
_JSON_RULE = "Answer with one JSON object and nothing else: no other text, no Markdown."
_NATIVE_TOOL = re.compile(r".+_20\d{6}|mcp_toolset")
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
_LEAST_BUDGET = 1024
_PLACEHOLDER = "."  # the first turn must be the user's, and must say something

# ---- the upstream half ----


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool of another protocol that is not a function, and for documents not taken."""
    extra = own(request.extra)
    settings, _ = _settings(request)
    body: Json = {
        "model": request.model,
        "max_tokens": request.max_tokens or claude(request.model).max_output_tokens,
        "messages": _render_messages(request.messages),
    }
    if system := list(_render_system(request)):
        body["system"] = system[0]["text"] if len(system) == 1 and system[0].keys() == {"type", "text"} else system
    if stop := [text for text in request.stop if text.strip()]:
        body["stop_sequences"] = stop
    if request.user:
        body["metadata"] = {"user_id": request.user}
    if request.stream:
        body["stream"] = True
    output = {**settings.pop("output_config", {}), **extra.get("output_config", {})}
    rest = {name: value for name, value in extra.items() if name != "output_config"}
    return {**body, **settings, **({"output_config": output} if output else {}), **rest}


def drops(request: ir.ChatRequest) -> frozenset[str]:
    """What this model has no place for, or not together with the rest of the request."""
    return _settings(request)[1]


def _settings(request: ir.ChatRequest) -> tuple[Json, frozenset[str]]:
    """Fields that depend on the model and on one another, and the names of those that are lost."""
    model = claude(request.model)
    lost: set[str] = set()
    fields = _render_tools(request, model, lost)
    is_forced = fields.get("tool_choice", {}).get("type") in ("any", "tool")
    thinking, is_thinking = _render_thinking(request, model, is_forced, lost)
    fields |= _render_sampling(request, model, is_thinking, lost)
    output = thinking.pop("output_config", {})
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and model.takes_schema:
        output["format"] = {"type": "json_schema", "schema": strict_schema(wanted.schema or {"type": "object"})}
    return {**fields, **thinking, **({"output_config": output} if output else {})}, frozenset(lost)


def _render_sampling(request: ir.ChatRequest, model: Claude, is_thinking: bool, lost: set[str]) -> Json:
    wanted: Json = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    fields: Json = {}
    for name, value in wanted.items():
        if value is None:
            continue
        is_second = name == "top_p" and "temperature" in fields and model.takes_one_sampling
        if not model.takes_sampling or is_thinking or is_second:
            lost.add(name)
        else:
            fields[name] = value if name == "top_k" else min(max(value, 0), 1)
    return fields


# ---- thinking ----


def _render_thinking(request: ir.ChatRequest, model: Claude, is_forced: bool, lost: set[str]) -> tuple[Json, bool]:
    """Its fields, and whether the model will think."""
    said = own(request.extra)
    if "thinking" in said or "output_config" in said:  # in this protocol's own words already
        thinking = said.get("thinking")
        return {}, isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
    wish = request.thinking
    if wish is None:
        return {}, False
    if wish.effort == "none":
        off = model.not_thinking()
        if off is None:
            lost.add("thinking")
            return {"output_config": {"effort": "low"}}, True
        return ({"thinking": off} if off else {}), False
    is_exact = wish.budget_tokens is not None
    if not model.can_think or (is_forced and not model.thinks_unasked):
        # A call that must be made leaves no room for thoughts.
        lost.add("thinking")
        return {}, False
    if model.takes_budget and (is_exact or not model.thinks_adaptively):
        budget = _budget(request, wish)
        if budget is None or _lacks_signatures(request.messages):
            lost.add("thinking")
            return {}, False
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}, True
    fields: Json = {}
    if not is_forced:
        fields["thinking"] = {"type": "adaptive"}
        if model.hides_thoughts:
            fields["thinking"]["display"] = "omitted" if wish.is_shown is False else "summarized"
    if effort := model.effort(wish.effort or _word(wish.budget_tokens)):
        fields["output_config"] = {"effort": effort}
    return fields, not is_forced


def _budget(request: ir.ChatRequest, wish: ir.Thinking) -> int | None:
    """Tokens to think with, less than the answer's maximum; None where that leaves too few."""
    most = request.max_tokens or claude(request.model).max_output_tokens
    wanted = wish.budget_tokens if wish.budget_tokens is not None else _BUDGETS.get(wish.effort, _BUDGETS["medium"])
    budget = min(max(wanted, _LEAST_BUDGET), most - 1)
    return budget if budget >= _LEAST_BUDGET else None


def _word(budget_tokens: int | None) -> str:
    """The effort nearest to a budget; "" where there is none."""
    if budget_tokens is None:
        return ""
    return next((word for word in ("low", "medium", "high") if budget_tokens <= _BUDGETS[word] * 4 // 3), "xhigh")


def _lacks_signatures(messages: tuple[ir.Message, ...]) -> bool:
    """Whether a turn that goes on with tool results has lost its thoughts.

    Models with a budget refuse to think on then; clients of OpenAI's protocol that do not send `reasoning_details`
    back come to this.
    """
    for message in reversed(messages):
        if message.role == "user":
            return False
        if message.role == "assistant" and any(isinstance(part, ir.ToolCall) for part in message.parts):
            return not any(
                isinstance(part, ir.Reasoning) and part.seal is not None and part.seal.origin == ORIGIN
                for part in message.parts
            )
    return False


# ---- tools ----


def _render_tools(request: ir.ChatRequest, model: Claude, lost: set[str]) -> Json:
    choice = request.tool_choice
    allowed = choice.allowed if choice is not None else ()
    tools = [_render_tool(tool, model) for tool in request.tools if not allowed or tool.name in allowed]
    picked = _render_choice(choice) if tools else None
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and not model.takes_schema:
        schema = {"type": "object", **(wanted.schema or {})}
        words = wanted.description or "Gives the answer. Call this when no other tool is needed."
        tools.append({"name": JSON_TOOL, "description": words, "input_schema": schema})
        if picked is None or picked["type"] in ("auto", "none"):
            picked = {"type": "any"} if len(tools) > 1 else {"type": "tool", "name": JSON_TOOL}
    if not tools:
        return {}
    if picked is not None and picked["type"] in ("any", "tool") and not model.may_be_forced:
        lost.add("tool_choice")
        picked = {"type": "auto"}
    if request.may_call_in_parallel is False and (picked is None or picked["type"] != "none"):
        picked = {**(picked or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tools": tools, **({"tool_choice": picked} if picked else {})}


def _render_choice(choice: ir.ToolChoice | None) -> Json | None:
    if choice is None:
        return None
    if choice.mode == "function":
        return {"type": "tool", "name": choice.name}
    return {"type": {"auto": "auto", "none": "none", "required": "any"}[choice.mode]}


def _render_tool(tool: ir.Tool, model: Claude) -> Json:
    if tool.kind != "function":
        if not _NATIVE_TOOL.fullmatch(tool.kind):
            raise InvalidRequest(f"The provider cannot run the built-in tool {tool.kind!r}.", param="tools")
        return {name: value for name, value in tool.extra.items() if name != "origin"}
    is_strict = tool.is_strict is True and model.takes_schema
    schema: Json = {"type": "object", **(tool.schema or {"properties": {}})}
    rendered: Json = {"name": tool.name, "input_schema": strict_schema(schema) if is_strict else schema}
    if tool.description:
        rendered["description"] = tool.description
    if is_strict:
        rendered["strict"] = True
    return marked(rendered, tool.extra)


# ---- messages ----


def _render_system(request: ir.ChatRequest) -> Iterator[Json]:
    for message in request.messages:
        if message.role == "system" and not _is_in_place(message):
            yield from _blocks(message)
    if request.response_format is not None and request.response_format.kind == "json_object":
        yield {"type": "text", "text": _JSON_RULE}


def _is_in_place(message: ir.Message) -> bool:
    """A system message between turns, which later models take from this protocol's own clients."""
    return bool(own(message.extra).get("in_place"))


def _render_messages(messages: Iterable[ir.Message]) -> list[Json]:
    """Turns by role, adjacent ones merged; results of tools go before all else in theirs."""
    turns: list[tuple[str, list[Json]]] = []
    for message in messages:
        if message.role == "system" and not _is_in_place(message):
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
        turns.insert(0, ("user", [{"type": "text", "text": _PLACEHOLDER}]))
    return [{"role": role, "content": _results_first(blocks)} for role, blocks in turns]


def _results_first(blocks: list[Json]) -> list[Json]:
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _blocks(message: ir.Message) -> list[Json]:
    blocks = [block for part in _with_thoughts_joined(message.parts) if (block := render_part(part)) is not None]
    mark = message.extra.get("cache_control")
    if mark is not None and blocks:  # of an OpenAI message as a whole
        blocks[-1] = {**blocks[-1], "cache_control": mark}
    return blocks


def _with_thoughts_joined(parts: tuple[ir.Part, ...]) -> list[ir.Part]:
    """A thought's text and its signature in one part: clients of OpenAI's streams get them, and return them, apart."""
    sealed = [
        at for at, part in enumerate(parts) if isinstance(part, ir.Reasoning) and part.seal and not part.is_redacted
    ]
    loose = [at for at, part in enumerate(parts) if isinstance(part, ir.Reasoning) and part.seal is None]
    if len(sealed) != 1 or len(loose) != 1:
        return list(parts)
    text, thought = parts[loose[0]], parts[sealed[0]]
    assert isinstance(text, ir.Reasoning) and isinstance(thought, ir.Reasoning)
    if thought.text:
        return list(parts)
    joined = replace(thought, text=text.text)
    return [joined if at == sealed[0] else part for at, part in enumerate(parts) if at != loose[0]]


# ---- the client half ----

_READ = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "max_tokens",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "stream",
    "metadata",
    "output_config",
    "output_format",
)


def parse_request(body: Json) -> ir.ChatRequest:
    """Raises InvalidRequest naming the field that is wrong."""
    extra = dict(extra_of(body, _READ))
    output = body.get("output_config")
    output = output if isinstance(output, dict) else {}
    if rest := {name: value for name, value in output.items() if name != "format"}:
        extra |= {"origin": ORIGIN, "output_config": rest}
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    choice = body.get("tool_choice")
    choice = choice if isinstance(choice, dict) else {}
    return ir.ChatRequest(
        model=_text(body, "model"),
        messages=(*_parse_system(body.get("system")), *_parse_messages(body.get("messages"))),
        tools=tuple(_parse_tool(tool, at) for at, tool in enumerate(_list(body, "tools"))),
        tool_choice=_parse_choice(choice),
        may_call_in_parallel=False if choice.get("disable_parallel_tool_use") is True else None,
        max_tokens=_number(body, "max_tokens", int),
        temperature=_number(body, "temperature", int | float),
        top_p=_number(body, "top_p", int | float),
        top_k=_number(body, "top_k", int),
        stop=tuple(str(text) for text in _list(body, "stop_sequences")),
        response_format=_parse_format(output.get("format") or body.get("output_format")),
        thinking=_parse_thinking(body.get("thinking"), output.get("effort")),
        user=str(metadata.get("user_id") or ""),
        stream=body.get("stream") is True,
        wants_usage=body.get("stream") is True,
        extra=extra,
    )


def _wrong(name: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"Field '{name}' must be {wanted}.", param=name)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, "a text")
    return value


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(name, "a list")
    return value


def _number(body: Mapping[str, Any], name: str, kind: Any) -> Any:
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
        raise _wrong(name, "an integer" if kind is int else "a number")
    return value


def _parse_system(value: Any) -> Iterator[ir.Message]:
    if value:
        yield ir.Message("system", tuple(_parse_content(value, "system")))


def _parse_content(value: Any, path: str) -> Iterator[ir.Part]:
    if isinstance(value, str):
        yield ir.Text(value)
    elif isinstance(value, list):
        for block in value:
            yield parse_block(block)
    elif value is not None:
        raise _wrong(path, "a text or a list of blocks")


def _parse_messages(value: Any) -> Iterator[ir.Message]:
    if not isinstance(value, list):
        raise _wrong("messages", "a list")
    for at, message in enumerate(value):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            raise _wrong(f"messages[{at}].role", "user or assistant")
        parts = tuple(_parse_content(message.get("content"), f"messages[{at}].content"))
        if role == "system":
            yield ir.Message("system", parts, extra={"origin": ORIGIN, "in_place": True})
            continue
        results = tuple(part for part in parts if isinstance(part, ir.ToolResult))
        if results:
            yield ir.Message("tool", results)
            parts = tuple(part for part in parts if not isinstance(part, ir.ToolResult))
        if parts or not results:
            yield ir.Message(role, parts)


def _parse_tool(tool: Any, at: int) -> ir.Tool:
    if not isinstance(tool, dict):
        raise _wrong(f"tools[{at}]", "an object")
    kind = tool.get("type")
    if kind not in (None, "custom"):
        return ir.Tool(str(tool.get("name") or kind), kind=str(kind), extra={"origin": ORIGIN, **tool})
    schema, strict = tool.get("input_schema"), tool.get("strict")
    if not isinstance(tool.get("name"), str):
        raise _wrong(f"tools[{at}].name", "a text")
    return ir.Tool(
        name=tool["name"],
        description=str(tool.get("description") or ""),
        schema=schema if isinstance(schema, dict) else None,
        is_strict=strict if isinstance(strict, bool) else None,
        extra=extra_of(tool, ("name", "description", "input_schema", "strict")),
    )


def _parse_choice(choice: Mapping[str, Any]) -> ir.ToolChoice | None:
    match choice.get("type"):
        case "auto":
            return ir.ToolChoice("auto")
        case "any":
            return ir.ToolChoice("required")
        case "none":
            return ir.ToolChoice("none")
        case "tool":
            return ir.ToolChoice("function", str(choice.get("name") or ""))
        case None:
            return None
    raise _wrong("tool_choice.type", "auto, any, tool or none")


def _parse_format(value: Any) -> ir.ResponseFormat | None:
    match value:
        case {"type": "json_schema", "schema": dict(schema)}:
            return ir.ResponseFormat("json_schema", schema=schema, is_strict=True)
    return None


def _parse_thinking(value: Any, effort: Any) -> ir.Thinking | None:
    word = effort if isinstance(effort, str) else ""
    match value:
        case {"type": "disabled" | "between_tools"}:
            return ir.Thinking("none")
        case {"type": "enabled", "budget_tokens": int(budget)}:
            return ir.Thinking(budget_tokens=budget, is_shown=value.get("display") != "omitted")
        case {"type": "adaptive" | "enabled"}:
            return ir.Thinking(word, is_shown=value.get("display") != "omitted")
    return ir.Thinking(word) if word else None
