"""The request of OpenAI's chat completions, both ways.

Source: https://platform.openai.com/docs/api-reference/chat/create (read 2026-11-25).

Not carried by `render_request`, for the services that copy this protocol refuse them or have no place: top_k, seals
of other protocols, errors as such of tool results. Pictures in a tool's result follow in a message of the user's.
Read beyond OpenAI's own fields: `thinking` (Anthropic's shape, also DeepSeek's and Zhipu's), `reasoning` (OpenRouter),
`enable_thinking` (Qwen), `document_url` and `video_url` parts. Fields that are not known travel in `extra`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from oneapi.errors import InvalidRequest
from oneapi.relay import ir
from oneapi.relay.adaptor import Json
from oneapi.relay.protocols.openai_chat_parts import (
    ORIGIN,
    data_url,
    extra_of,
    own,
    parse_call,
    parse_image,
    parse_reasoning,
    render_call,
    render_image,
    render_reasoning,
    split_data_url,
    thinking_text,
)

CANNOT_CARRY = frozenset({"top_k"})

# ---- reading single fields ----


def _wrong(path: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"Field '{path}' must be {wanted}.", param=path)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (_is_number, "a number"),
    "top_p": (_is_number, "a number"),
    "top_k": (_is_integer, "an integer"),
    "n": (_is_integer, "an integer"),
    "seed": (_is_integer, "an integer"),
    "presence_penalty": (_is_number, "a number"),
    "frequency_penalty": (_is_number, "a number"),
    "logit_bias": (_is_object, "an object"),
    "logprobs": (_is_bool, "true or false"),
    "top_logprobs": (_is_integer, "an integer"),
    "metadata": (_is_object, "an object"),
}
_READ = frozenset(_FIELDS) | {
    "model",
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "response_format",
    "reasoning_effort",
    "user",
    "modalities",
    "stream",
    "stream_options",
}
# Other ways to say how much to think; they are understood, and rendered as they came.
_THINKING = ("thinking", "reasoning", "enable_thinking")


def _optional(body: Mapping[str, Any], name: str, is_right: Callable[[Any], bool], wanted: str) -> Any:
    value = body.get(name)
    if value is not None and not is_right(value):
        raise _wrong(name, wanted)
    return value


def _objects(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, list):
        raise _wrong(path, "a list")
    for at, item in enumerate(value):
        if not isinstance(item, dict):
            raise _wrong(f"{path}[{at}]", "an object")
        yield f"{path}[{at}]", item


def _texts(value: Any, path: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if value is None:
        return ()
    raise _wrong(path, "a text or a list of texts")


def _text(value: Mapping[str, Any], name: str, path: str) -> str:
    found = value.get(name)
    if not isinstance(found, str):
        raise _wrong(f"{path}.{name}", "a text")
    return found


def _maybe_text(value: Mapping[str, Any], name: str, path: str) -> str:
    """The text, "" where there is none."""
    return "" if value.get(name) is None else _text(value, name, path)


# ---- the client half ----


def parse_request(body: Json) -> ir.ChatRequest:
    """Raises InvalidRequest naming the field that is wrong, or that no other protocol could take."""
    plain = {name: _optional(body, name, *rule) for name, rule in _FIELDS.items()}
    extra = dict(extra_of(body, _READ))
    options = _optional(body, "stream_options", _is_object, "an object") or {}
    if options.keys() - {"include_usage"}:
        extra["stream_options"] = options
    limit = _optional(body, "max_completion_tokens", _is_integer, "an integer")
    if limit is None:
        limit = _optional(body, "max_tokens", _is_integer, "an integer")
    elif body.get("max_tokens") is not None:
        extra["max_tokens"] = body["max_tokens"]
    response_format = _parse_response_format(body.get("response_format"))
    if response_format is None and body.get("response_format") is not None:
        extra["response_format"] = body["response_format"]
    effort = _optional(body, "reasoning_effort", _is_text, "a text")
    if effort and any(name in body for name in _THINKING):
        extra["reasoning_effort"] = effort
    return ir.ChatRequest(
        model=_optional(body, "model", _is_text, "a text") or "",
        messages=_parse_messages(body.get("messages")),
        tools=(*_parse_tools(body.get("tools")), *_parse_functions(body.get("functions"))),
        tool_choice=_parse_tool_choice(body.get("tool_choice"), body.get("function_call")),
        may_call_in_parallel=_optional(body, "parallel_tool_calls", _is_bool, "true or false"),
        max_tokens=limit,
        stop=_texts(body.get("stop"), "stop"),
        response_format=response_format,
        thinking=_parse_thinking(body, effort),
        user=_optional(body, "user", _is_text, "a text") or "",
        modalities=_texts(body.get("modalities"), "modalities"),
        stream=bool(_optional(body, "stream", _is_bool, "true or false")),
        wants_usage=bool(options.get("include_usage")),
        extra={"origin": ORIGIN, **extra} if extra else {},
        **plain,
    )


def _parse_thinking(body: Json, effort: str | None) -> ir.Thinking | None:
    if effort:
        return ir.Thinking(effort)
    match body.get("thinking"):
        case {"type": "disabled"}:
            return ir.Thinking("none")
        case {"budget_tokens": int(budget)}:
            return ir.Thinking(budget_tokens=budget, is_shown=True)
        case {"type": "enabled"}:
            return ir.Thinking(is_shown=True)
    match body.get("reasoning"):
        case {"enabled": False}:
            return ir.Thinking("none")
        case dict(wish):
            word, most = wish.get("effort"), wish.get("max_tokens")
            return ir.Thinking(
                word if isinstance(word, str) else "",
                most if _is_integer(most) else None,
                False if wish.get("exclude") else None,
            )
    match body.get("enable_thinking"):
        case True:
            return ir.Thinking(is_shown=True)
        case False:
            return ir.Thinking("none")
    return None


def _parse_response_format(value: Any) -> ir.ResponseFormat | None:
    match value:
        case {"type": "text"}:
            return ir.ResponseFormat("text")
        case {"type": "json_object"}:
            return ir.ResponseFormat("json_object")
        case {"type": "json_schema", "json_schema": dict(given)}:
            return _parse_json_schema(given, "response_format.json_schema")
        case {"type": "json_schema"}:
            raise _wrong("response_format.json_schema", "an object")
        case None | {"type": str()}:  # others say what only some providers know
            return None
    raise _wrong("response_format", "an object with a type")


def _parse_json_schema(given: Mapping[str, Any], path: str) -> ir.ResponseFormat:
    schema, strict = given.get("schema"), given.get("strict")
    if schema is not None and not isinstance(schema, dict):
        raise _wrong(f"{path}.schema", "an object")
    if strict is not None and not isinstance(strict, bool):
        raise _wrong(f"{path}.strict", "true or false")
    return ir.ResponseFormat(
        "json_schema",
        name=_maybe_text(given, "name", path),
        schema=schema,
        is_strict=strict,
        description=_maybe_text(given, "description", path),
    )


# ---- tools ----

_FUNCTION_FIELDS = ("name", "description", "parameters", "strict")
_FUNCTIONS_FORM = "functions"  # how a tool of the old field `functions` is known in its `extra`


def _parse_tools(value: Any) -> Iterator[ir.Tool]:
    for path, tool in _objects([] if value is None else value, "tools"):
        kind = tool.get("type") or ("function" if "function" in tool else None)
        if not isinstance(kind, str):
            raise _wrong(f"{path}.type", "a text")
        inner = tool.get(kind)
        if kind == "function":
            if not isinstance(inner, dict):
                raise _wrong(f"{path}.function", "an object")
            yield _parse_function(inner, f"{path}.function", extra_of(tool, ("type", "function")))
        else:
            inner = inner if isinstance(inner, dict) else {}
            name, description = inner.get("name"), inner.get("description")
            yield ir.Tool(str(name or kind), str(description or ""), kind=kind, extra=dict(tool))


def _parse_functions(value: Any) -> Iterator[ir.Tool]:
    for path, function in _objects([] if value is None else value, "functions"):
        yield _parse_function(function, path, {"origin": ORIGIN, "form": _FUNCTIONS_FORM})


def _parse_function(function: Mapping[str, Any], path: str, extra: ir.Extra) -> ir.Tool:
    schema, strict = function.get("parameters"), function.get("strict")
    if schema is not None and not isinstance(schema, dict):
        raise _wrong(f"{path}.parameters", "an object")
    rest = extra_of(function, _FUNCTION_FIELDS)
    if rest:
        extra = {**extra, "origin": ORIGIN, "function": own(rest)}
    return ir.Tool(
        name=_text(function, "name", path),
        description=_maybe_text(function, "description", path),
        schema=schema,
        is_strict=strict if isinstance(strict, bool) else None,
        extra=extra,
    )


def _parse_tool_choice(choice: Any, function_call: Any) -> ir.ToolChoice | None:
    if choice is None:
        if isinstance(function_call, dict):
            return ir.ToolChoice("function", _text(function_call, "name", "function_call"))
        choice = function_call
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ir.ToolChoice(choice)
        case "any":  # Mistral's word
            return ir.ToolChoice("required")
        case {"type": "function", "function": {"name": str(name)}} | {"type": "custom", "custom": {"name": str(name)}}:
            return ir.ToolChoice("function", name)
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)}}:
            return ir.ToolChoice(mode, allowed=tuple(_tool_name(tool) for tool in tools))
    raise InvalidRequest("Field 'tool_choice' has a form that cannot be converted.", param="tool_choice")


def _tool_name(tool: Any) -> str:
    match tool:
        case {"function": {"name": str(name)}} | {"custom": {"name": str(name)}}:
            return name
    raise _wrong("tool_choice.allowed_tools.tools", "a list of tools with names")


# ---- messages ----

_ROLES: Mapping[str, ir.Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_MESSAGE_FIELDS = ("role", "content", "name")
_RESULT_FIELDS = (*_MESSAGE_FIELDS, "tool_call_id")
_ANSWER_FIELDS = (
    *_MESSAGE_FIELDS,
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "refusal",
    "tool_calls",
    "function_call",
    "audio",
    "images",
)
_CALL_FORM = "function_call"  # how a call of the old field is known in its `extra`


def _parse_messages(value: Any) -> tuple[ir.Message, ...]:
    messages: list[ir.Message] = []
    last_call = ""  # of the old field: it has no id, so its result is known by what went before
    for at, (path, message) in enumerate(_objects(value, "messages")):
        word = message.get("role")
        role = _ROLES.get(word) if isinstance(word, str) else None
        if role is None:
            raise _wrong(f"{path}.role", f"one of {', '.join(_ROLES)}")
        if message.get("function_call"):
            last_call = f"call_{at}"
        extra: dict[str, Any] = {} if word == role else {"role": word}
        if role == "tool":
            parts: tuple[ir.Part, ...] = (
                ir.ToolResult(
                    _maybe_text(message, "tool_call_id", path) or last_call,
                    tuple(_parse_content(message.get("content"), f"{path}.content")),  # type: ignore[arg-type]
                    name=_maybe_text(message, "name", path),
                ),
            )
            extra |= extra_of(message, _RESULT_FIELDS)
            messages.append(ir.Message(role, parts, extra=extra))
            continue
        if role == "assistant":
            parts = tuple(_parse_answer(message, path, last_call))
            extra |= extra_of(message, _ANSWER_FIELDS)
        else:
            parts = tuple(_parse_content(message.get("content"), f"{path}.content"))
            extra |= extra_of(message, _MESSAGE_FIELDS)
        messages.append(ir.Message(role, parts, name=_maybe_text(message, "name", path), extra=extra))
    return tuple(messages)


def _parse_answer(message: Mapping[str, Any], path: str, last_call: str) -> Iterator[ir.Part]:
    yield from parse_reasoning(message)
    yield from _parse_content(message.get("content"), f"{path}.content")
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        yield ir.Refusal(refusal)
    if isinstance(audio := message.get("audio"), dict):
        yield ir.Audio(id=str(audio.get("id") or ""), transcript=str(audio.get("transcript") or ""))
    calls = message.get("tool_calls")
    for where, call in _objects([] if calls is None else calls, f"{path}.tool_calls"):
        inner = call.get("custom") or call.get("function")
        if not isinstance(inner, dict):
            raise _wrong(f"{where}.function", "an object")
        _text(inner, "name", f"{where}.function")
        yield parse_call(call)
    if isinstance(old := message.get("function_call"), dict):
        yield ir.ToolCall(
            last_call,
            _text(old, "name", f"{path}.function_call"),
            str(old.get("arguments") or ""),
            extra={"origin": ORIGIN, "form": _CALL_FORM},
        )


def _parse_content(content: Any, path: str) -> Iterator[ir.Part]:
    if content is None or content == "":
        return
    if isinstance(content, str):
        yield ir.Text(content)
        return
    for where, part in _objects(content, path):
        yield _parse_part(part, where)


def _parse_part(part: Mapping[str, Any], path: str) -> ir.Part:
    kind = part.get("type")
    inner = part.get(kind) if isinstance(kind, str) else None
    extra = extra_of(part, ("type", str(kind)))
    match kind:
        case "text" | "input_text":
            return ir.Text(_text(part, "text", path), extra=extra_of(part, ("type", "text")))
        case "refusal":
            return ir.Refusal(_text(part, "refusal", path))
        case "thinking":
            return ir.Reasoning(thinking_text(part))
        case "image_url":
            where = {"url": inner} if isinstance(inner, str) else inner
            if not isinstance(where, dict):
                raise _wrong(f"{path}.image_url", "an object with a url")
            return parse_image(_text(where, "url", f"{path}.image_url"), str(where.get("detail") or ""), extra)
        case "input_audio":
            if not isinstance(inner, dict):
                raise _wrong(f"{path}.input_audio", "an object")
            return ir.Audio(
                data=_text(inner, "data", f"{path}.input_audio"), format=str(inner.get("format") or ""), extra=extra
            )
        case "file":
            if not isinstance(inner, dict):
                raise _wrong(f"{path}.file", "an object")
            return _parse_file(inner, path, extra)
        case "document_url" | "video_url":
            url = inner.get("url") if isinstance(inner, dict) else inner
            if not isinstance(url, str):
                raise _wrong(f"{path}.{kind}", "a URL")
            return ir.File(url=url, extra={"origin": ORIGIN, **part})
    raise InvalidRequest(f"A message part of type {kind!r} cannot be converted.", param=f"{path}.type")


def _parse_file(inner: Mapping[str, Any], path: str, extra: ir.Extra) -> ir.File:
    data, name = inner.get("file_data"), str(inner.get("filename") or "")
    if not isinstance(data, str) or not data:
        return ir.File(file_id=_text(inner, "file_id", f"{path}.file"), name=name, extra=extra)
    if (inline := split_data_url(data)) is not None:
        return ir.File(data=inline[1], media_type=inline[0], name=name, extra=extra)
    if data.startswith(("http://", "https://")):
        return ir.File(url=data, name=name, extra=extra)
    return ir.File(data=data, name=name, extra=extra)


# ---- the upstream half ----


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool of another protocol that is not a function."""
    extra = own(request.extra)
    body: Json = {"model": request.model, "messages": list(_render_messages(request.messages))}
    for name in _FIELDS:
        value = getattr(request, name)
        if value is not None and name not in CANNOT_CARRY:
            body[name] = dict(value) if isinstance(value, Mapping) else value
    if request.max_tokens is not None:
        body["max_completion_tokens" if "max_tokens" in extra else "max_tokens"] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.user:
        body["user"] = request.user
    if request.modalities:
        body["modalities"] = list(request.modalities)
    body |= _render_tools(request)
    if request.response_format is not None:
        body["response_format"] = _render_response_format(request.response_format)
    if request.thinking is not None and not any(name in extra for name in _THINKING):
        effort = request.thinking.effort or _effort(request.thinking.budget_tokens)
        if effort:
            body["reasoning_effort"] = effort
    if request.stream:
        body["stream"] = True
    if request.wants_usage:
        body["stream_options"] = {"include_usage": True}
    return {**body, **extra}


def _effort(budget_tokens: int | None) -> str:
    """The word for a budget; the reverse of the usual 1024, 8192 and 24576 (spec relay.md §8.23)."""
    if budget_tokens is None:
        return ""
    if budget_tokens <= 2048:
        return "low"
    return "medium" if budget_tokens <= 16384 else "high"


def _render_response_format(wanted: ir.ResponseFormat) -> Json:
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    given: Json = {"name": wanted.name or "answer", "schema": wanted.schema or {}}
    if wanted.is_strict is not None:
        given["strict"] = wanted.is_strict
    if wanted.description:
        given["description"] = wanted.description
    return {"type": "json_schema", "json_schema": given}


def _render_tools(request: ir.ChatRequest) -> Json:
    fields: Json = {}
    old = [tool for tool in request.tools if own(tool.extra).get("form") == _FUNCTIONS_FORM]
    if old:
        fields["functions"] = [_render_function(tool) for tool in old]
    if new := [_render_tool(tool) for tool in request.tools if tool not in old]:
        fields["tools"] = new
    if request.may_call_in_parallel is not None:
        fields["parallel_tool_calls"] = request.may_call_in_parallel
    choice = request.tool_choice
    if choice is None:
        return fields
    if old and not new:
        fields["function_call"] = {"name": choice.name} if choice.mode == "function" else choice.mode
        return fields
    custom = {tool.name for tool in request.tools if tool.kind == "custom"}

    def named(name: str) -> Json:
        kind = "custom" if name in custom else "function"
        return {"type": kind, kind: {"name": name}}

    if choice.mode == "function":
        fields["tool_choice"] = named(choice.name)
    elif choice.allowed:
        allowed = {"mode": choice.mode, "tools": [named(name) for name in choice.allowed]}
        fields["tool_choice"] = {"type": "allowed_tools", "allowed_tools": allowed}
    else:
        fields["tool_choice"] = choice.mode
    return fields


def _render_function(tool: ir.Tool) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = tool.schema
    if tool.is_strict is not None:
        function["strict"] = tool.is_strict
    return {**function, **own(tool.extra).get("function", {})}


def _render_tool(tool: ir.Tool) -> Json:
    if tool.kind == "function":
        rest = {name: value for name, value in own(tool.extra).items() if name != "function"}
        return {"type": "function", "function": _render_function(tool), **rest}
    if isinstance(tool.extra.get(tool.kind), dict):  # this protocol keeps a declaration under its type's name
        return dict(tool.extra)
    if tool.kind == "custom":
        custom: Json = {"name": tool.name, "description": tool.description, "format": tool.extra.get("format")}
        return {"type": "custom", "custom": {name: value for name, value in custom.items() if value}}
    raise InvalidRequest(f"The provider cannot run the built-in tool {tool.kind!r}.", param="tools")


def _render_messages(messages: Iterable[ir.Message]) -> Iterator[Json]:
    pictures: list[Json] = []  # of tool results: they may not stand between the results of one turn
    for message in messages:
        if message.role != "tool" and pictures:
            yield {"role": "user", "content": pictures}
            pictures = []
        rendered = {"role": message.extra.get("role") or message.role}
        extra = {name: value for name, value in own(message.extra).items() if name != "role"}
        if message.role == "tool":
            for part in message.parts:
                if isinstance(part, ir.ToolResult):
                    yield {**rendered, **_render_result(part, rendered["role"] == "function"), **extra}
                    pictures += [_render_part(piece) for piece in part.parts if not isinstance(piece, ir.Text)]
        elif message.role == "assistant":
            yield {**rendered, **_render_answer(message), **extra}
        else:
            content = _render_content(message.parts, joined_by="\n\n" if message.role == "system" else None)
            named = {"name": message.name} if message.name else {}
            yield {**rendered, "content": content, **named, **extra}
    if pictures:
        yield {"role": "user", "content": pictures}


def _render_result(result: ir.ToolResult, is_old: bool) -> Json:
    texts = tuple(piece for piece in result.parts if isinstance(piece, ir.Text))
    rendered: Json = {"content": _render_content(texts, joined_by="\n")}
    if not is_old:
        rendered["tool_call_id"] = result.call_id
    if result.name:
        rendered["name"] = result.name
    return rendered


def _render_answer(message: ir.Message) -> Json:
    parts = message.parts
    spoken = tuple(part for part in parts if isinstance(part, ir.Text))
    calls = [part for part in parts if isinstance(part, ir.ToolCall)]
    thoughts = (part for part in parts if isinstance(part, ir.Reasoning) and _may_go_back(part))
    old = [call for call in calls if own(call.extra).get("form") == _CALL_FORM]
    rendered: Json = {"content": _render_content(spoken, joined_by="") or (None if calls else "")}
    if message.name:
        rendered["name"] = message.name
    rendered |= render_reasoning(thoughts)
    if refusal := "".join(part.text for part in parts if isinstance(part, ir.Refusal)):
        rendered["refusal"] = refusal
    for part in parts:
        if isinstance(part, ir.Audio):
            rendered["audio"] = {"id": part.id}
    if pictures := [render_image(part) for part in parts if isinstance(part, ir.Image)]:
        rendered["images"] = pictures
    if new := [render_call(call, call.id) for call in calls if call not in old]:
        rendered["tool_calls"] = new
    if old:
        rendered["function_call"] = {"name": old[0].name, "arguments": old[0].arguments}
    return rendered


def _may_go_back(part: ir.Reasoning) -> bool:
    """A thought sealed by another protocol is of no use to this one, and its text alone may be refused."""
    return part.seal is None or part.seal.origin == ORIGIN


def _render_content(parts: tuple[ir.Part, ...], joined_by: str | None) -> Any:
    """A text where it can be one: many services take lists from users only."""
    plain = [part.text for part in parts if isinstance(part, ir.Text) and not own(part.extra)]
    if len(plain) == len(parts) and (len(plain) < 2 or joined_by is not None):
        return (joined_by or "").join(plain)
    return [_render_part(part) for part in parts]


def _render_part(part: ir.Part) -> Json:
    match part:
        case ir.Text():
            return {"type": "text", "text": part.text, **own(part.extra)}
        case ir.Image():
            return render_image(part)
        case ir.Audio():
            return {
                "type": "input_audio",
                "input_audio": {"data": part.data, "format": part.format},
                **own(part.extra),
            }
        case ir.File():
            return _render_file(part)
        case ir.Refusal():
            return {"type": "refusal", "refusal": part.text}
    raise InvalidRequest("A part of this message has no place in the provider's protocol.", param="messages")


def _render_file(file: ir.File) -> Json:
    extra = own(file.extra)
    if extra.get("type") in ("document_url", "video_url"):
        return dict(extra)
    inner: Json = {"filename": file.name} if file.name else {}
    if file.file_id:
        inner["file_id"] = file.file_id
    else:
        inner["file_data"] = file.url or (data_url(file.media_type, file.data) if file.media_type else file.data)
    return {"type": "file", "file": inner, **extra}
