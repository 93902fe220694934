"""The request of Gemini's generateContent, both ways.

Source: https://ai.google.dev/api/generate-content, /gemini-api/docs/thinking, /gemini-api/docs/thought-signatures and
/gemini-api/docs/function-calling (read 2026-11-25); the fields are those of the google-genai SDK 3.6.

The model and whether to stream stand in the URL. `render_request` leaves them out; `parse_request` reads them as
`model` and `stream` where whoever took the URL apart has put them into the body.

Not carried by `render_request`: logit_bias, user, metadata, names of speakers, a wish for single calls, more than five
stop sequences, thinking for models that do not think (before 2.5), a tool's `strict`, an image's `detail`. Efforts are
levels for Gemini 3 and later, and budgets for 2.5; those cannot but think, and none is as little as they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from oneapi.errors import InvalidRequest
from oneapi.relay import ir
from oneapi.relay.adaptor import Json
from oneapi.relay.protocols.gemini_parts import (
    ORIGIN,
    get,
    media_of,
    own,
    parse_part,
    render_call,
    render_media,
    render_result,
    rest_of,
    tagged,
    version_of,
)
from oneapi.relay.protocols.gemini_schema import cleaned, of_google

CANNOT_CARRY = frozenset({"logit_bias", "user", "metadata", "name"})
_MAX_STOPS = 5

# A call that Gemini 3 did not make itself, or whose client lost the signature, is refused without this word in its
# place. Source: https://ai.google.dev/gemini-api/docs/thought-signatures#faqs.
_UNSIGNED = "skip_thought_signature_validator"


def drops(request: ir.ChatRequest) -> frozenset[str]:
    """What this request loses beyond CANNOT_CARRY."""
    lost = set()
    if request.may_call_in_parallel is False:
        lost.add("may_call_in_parallel")
    if len(request.stop) > _MAX_STOPS:
        lost.add("stop")
    if request.thinking is not None and request.thinking.effort != "none" and not _thinks(request.model):
        lost.add("thinking")
    return frozenset(lost)


# ---- the upstream half ----


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest for a tool that Gemini cannot be given."""
    rest = dict(own(request.extra))
    config = {**_config(request), **rest.pop("generationConfig", {})}
    system = [part for m in request.messages if m.role == "system" for part in _render_parts(m.parts)]
    contents = _Contents(request.model).rendered(m for m in request.messages if m.role != "system")
    if not contents:  # instructions alone are refused
        contents, system = [{"role": "user", "parts": system}], []
    body: Json = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    if tools := _render_tools(request):
        body["tools"] = tools
    if choice := _render_choice(request):
        body["toolConfig"] = {"functionCallingConfig": choice}
    if config:
        body["generationConfig"] = config
    return {**body, **rest}


# IR field → field of generationConfig, for values that are carried as they are
_SAMPLING: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "max_tokens": "maxOutputTokens",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}


def _config(request: ir.ChatRequest) -> Json:
    config: Json = {
        theirs: value for name, theirs in _SAMPLING.items() if (value := getattr(request, name)) is not None
    }
    if request.stop:
        config["stopSequences"] = list(request.stop[:_MAX_STOPS])
    if request.modalities:
        config["responseModalities"] = [modality.upper() for modality in request.modalities]
    if request.response_format is not None:
        config |= _render_format(request.response_format)
    if request.thinking is not None and (thinking := render_thinking(request.model, request.thinking)):
        config["thinkingConfig"] = thinking
    return config


def _render_format(wanted: ir.ResponseFormat) -> Json:
    if wanted.kind == "text":
        return {"responseMimeType": "text/plain"}
    form: Json = {"responseMimeType": "application/json"}
    if wanted.schema is not None:
        form["responseJsonSchema"] = cleaned(wanted.schema)
    return form


# ---- thinking ----

# Efforts as budgets, as in Google's own OpenAI-compatible API (https://ai.google.dev/gemini-api/docs/openai#thinking).
_BUDGETS: Mapping[str, int] = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768}
_LEVELS: Mapping[str, str] = {"none": "minimal", "xhigh": "high", "max": "high"}


def _thinks(model: str) -> bool:
    version = version_of(model)
    return version is None or version >= (2, 5)


def render_thinking(model: str, thinking: ir.Thinking) -> Json:
    """The thinkingConfig for this model; empty for one that does not think."""
    if not _thinks(model):
        return {}
    effort, budget = thinking.effort, thinking.budget_tokens
    config: Json = {}
    if version_of(model) == (2, 5):
        budget = _BUDGETS.get(effort) if budget is None else budget
        if budget is not None:
            config["thinkingBudget"] = _bounded(model, budget)
    elif effort or budget is not None:
        config["thinkingLevel"] = _level(model, effort or _effort_of(budget or 0))
    is_shown = effort != "none" and budget != 0 if thinking.is_shown is None else thinking.is_shown
    return {**config, "includeThoughts": is_shown}


def _bounded(model: str, budget: int) -> int:
    """The budget within the model's range; -1 leaves it to the model, 0 switches off where that is possible."""
    if "pro" in model:
        least, most = 128, 32768
    elif "lite" in model:
        least, most = 512 if budget else 0, 24576
    else:
        least, most = 0, 24576
    return budget if budget < 0 else min(max(budget, least), most)


def _effort_of(budget: int) -> str:
    if budget < 0:
        return "high"  # as much as it likes: what models do by themselves
    return next((effort for effort in ("none", "low", "medium") if budget <= _BUDGETS[effort]), "high")


def _level(model: str, effort: str) -> str:
    """The nearest level that the model has. Source: the table of levels in Google Cloud's page on thinking."""
    level = _LEVELS.get(effort, effort)
    if "image" in model:
        return "minimal" if level in ("minimal", "low") else "high"
    version = version_of(model) or (0, 0)
    if level == "minimal" and not ("flash" in model and (3, 0) <= version <= (3, 6)):
        return "low"
    if level == "medium" and version == (3, 0) and "pro" in model:
        return "high"
    return level


# ---- contents ----


class _Contents:
    """Turns as Gemini wants them: the calls of one turn together, all their results together in the next."""

    def __init__(self, model: str) -> None:
        version = version_of(model)
        self._wants_signatures = self._takes_media = version is not None and version >= (3, 0)
        self._names: dict[str, str] = {}  # call id → name of the function
        self._contents: list[Json] = []

    def rendered(self, messages: Iterable[ir.Message]) -> list[Json]:
        last = ""
        pictures: list[Json] = []  # of tool results, for models that take none there
        for message in messages:
            if message.role == "tool":
                self._add("user", [*self._results(message)], is_more=last == "tool")
                pictures += self._pictures(message)
            else:
                self._add("user", pictures)
                pictures = []
                self._remember(message)
                role = "model" if message.role == "assistant" else "user"
                self._add(role, _render_parts(message.parts), is_more=role == "model" and last == "assistant")
            last = message.role
        self._add("user", pictures)
        if self._wants_signatures:
            self._sign()
        return self._contents

    def _add(self, role: str, parts: list[Json], *, is_more: bool = False) -> None:
        if is_more and parts and self._contents and self._contents[-1]["role"] == role:
            self._contents[-1]["parts"] += parts
        elif parts:
            self._contents.append({"role": role, "parts": parts})

    def _remember(self, message: ir.Message) -> None:
        self._names.update((part.id, part.name) for part in message.parts if isinstance(part, ir.ToolCall))

    def _results(self, message: ir.Message) -> Iterator[Json]:
        for part in message.parts:
            if isinstance(part, ir.ToolResult):
                name = part.name or self._names.get(part.call_id) or part.call_id
                yield render_result(part, name, with_media=self._takes_media)

    def _pictures(self, message: ir.Message) -> list[Json]:
        if self._takes_media:
            return []
        results = (part for part in message.parts if isinstance(part, ir.ToolResult))
        return [render_media(piece) for result in results for piece in media_of(result)]

    def _sign(self) -> None:
        """Every step of the current turn needs a signature on its first call."""
        for content in reversed(self._contents):
            parts = content["parts"]
            if content["role"] == "user" and not any("functionResponse" in part for part in parts):
                return
            first = next((part for part in parts if "functionCall" in part), None)
            if first is not None:
                first.setdefault("thoughtSignature", _UNSIGNED)


def _render_parts(parts: Iterable[ir.Part]) -> list[Json]:
    rendered: list[Json] = []
    signable: list[Json] = []  # texts and pictures without a signature
    waiting: list[str] = []  # signatures that came before what they belong to
    for part in parts:
        match part:
            case ir.Reasoning(seal=seal) if seal is not None and seal.origin != ORIGIN:
                continue  # another protocol's thought is of no use here
            case ir.Reasoning(is_redacted=True, seal=ir.Seal(value=signature)):
                if signable and signable[-1] is rendered[-1] and "thoughtSignature" not in signable[-1]:
                    signable.pop()["thoughtSignature"] = signature
                else:
                    waiting.append(signature)
                continue
            case ir.Reasoning():
                thought: Json = {"text": part.text, "thought": True}
                if part.seal is not None:
                    thought["thoughtSignature"] = part.seal.value
                rendered.append(thought)
                continue
            case ir.Text() if (whole := own(part.extra).get("part")) is not None:
                rendered.append(dict(whole))
                continue
            case ir.Text() | ir.Refusal():
                extra = own(part.extra) if isinstance(part, ir.Text) else {}
                made: Json = {"text": part.text, **extra}
            case ir.ToolCall():
                rendered.append(render_call(part))
                continue
            case ir.Audio(data=""):
                made = {"text": part.transcript}  # sound that OpenAI keeps under an id
            case ir.Image() | ir.Audio() | ir.File():
                made = render_media(part)
            case _:
                continue
        rendered.append(made)
        signable.append(made)
    for made, signature in zip(signable[-len(waiting) :] if waiting else (), waiting, strict=False):
        made["thoughtSignature"] = signature
    rendered += [{"text": "", "thoughtSignature": signature} for signature in waiting[len(signable) :]]
    return rendered


# ---- tools ----

# Other protocols' names of what Google runs itself, by how their kind begins.
_BUILT_IN: Mapping[str, str] = {
    "web_search": "googleSearch",
    "google_search": "googleSearch",
    "code_interpreter": "codeExecution",
    "code_execution": "codeExecution",
    "web_fetch": "urlContext",
    "url_context": "urlContext",
}


def _render_tools(request: ir.ChatRequest) -> list[Json]:
    tools: list[Json] = []
    functions: list[Json] = []
    choice = request.tool_choice
    # Names may be allowed in mode ANY only; where the model may also call nothing, the others are not shown to it.
    shown = choice.allowed if choice is not None and choice.mode == "auto" else ()
    for tool in request.tools:
        if tool.kind != "function":
            tools.append(_render_built_in(tool))
        elif not shown or tool.name in shown:
            functions.append(_render_function(tool))
    return [*tools, {"functionDeclarations": functions}] if functions else tools


def _render_built_in(tool: ir.Tool) -> Json:
    if declared := own(tool.extra):
        return dict(declared)
    name = next((name for kind, name in _BUILT_IN.items() if tool.kind.startswith(kind)), None)
    if name is None:
        raise InvalidRequest(f"Gemini cannot be given a tool of type {tool.kind!r}.", param="tools")
    return {name: {}}


def _render_function(tool: ir.Tool) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parametersJsonSchema"] = cleaned({"type": "object", **tool.schema})
    return {**function, **own(tool.extra)}


def _render_choice(request: ir.ChatRequest) -> Json:
    choice = request.tool_choice
    if choice is None or not any(tool.kind == "function" for tool in request.tools):
        return {}
    match choice.mode:
        case "none":
            return {"mode": "NONE"}
        case "function":
            return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
        case "required" if choice.allowed:
            return {"mode": "ANY", "allowedFunctionNames": list(choice.allowed)}
        case "required":
            return {"mode": "ANY"}
        case "auto":
            return {"mode": "AUTO"}


# ---- the client half ----

_READ = ("model", "stream", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
_CONFIG_READ = (
    *_SAMPLING.values(),
    "stopSequences",
    "responseModalities",
    "responseMimeType",
    "responseJsonSchema",
    "responseSchema",
    "thinkingConfig",
)


def _wrong(path: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"Field '{path}' must be {wanted}.", param=path)


def _objects(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list; a single one is taken for a list of one, as Google takes it."""
    if value is None:
        return
    for at, item in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(item, dict):
            raise _wrong(f"{path}[{at}]", "an object")
        yield f"{path}[{at}]", item


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = get(body, name)
    if value is not None and not isinstance(value, dict):
        raise _wrong(name, "an object")
    return value or {}


def parse_request(body: Json) -> ir.ChatRequest:
    """Raises InvalidRequest naming the field that is wrong."""
    config = _object(body, "generationConfig")
    extra = rest_of(body, _READ)
    if rest := rest_of(config, _CONFIG_READ):
        extra["generationConfig"] = rest
    system = get(body, "systemInstruction")
    instructions = _parse_contents({"parts": [{"text": system}]} if isinstance(system, str) else system, "system")
    messages = (
        *(replace(message, role="system") for message in instructions),
        *_parse_contents(body.get("contents"), "contents"),
    )
    return ir.ChatRequest(
        model=str(body.get("model") or "").removeprefix("models/"),
        messages=messages,
        tools=tuple(_parse_tools(body.get("tools"))),
        tool_choice=_parse_choice(_object(body, "toolConfig")),
        stop=_texts(config, "stopSequences"),
        modalities=tuple(name.lower() for name in _texts(config, "responseModalities")),
        response_format=_parse_format(config),
        thinking=_parse_thinking(_object(config, "thinkingConfig")),
        stream=bool(body.get("stream")),
        wants_usage=True,
        extra=tagged(extra),
        **{name: _number(config, theirs) for name, theirs in _SAMPLING.items()},
    )


def _number(config: Mapping[str, Any], name: str) -> Any:
    value = get(config, name)
    if value is not None and not isinstance(value, int | float):
        raise _wrong(f"generationConfig.{name}", "a number" if name != "responseLogprobs" else "true or false")
    return int(value) if name == "topK" and value is not None else value


def _texts(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = get(config, name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(f"generationConfig.{name}", "a list of texts")
    return tuple(value)


def _parse_format(config: Mapping[str, Any]) -> ir.ResponseFormat | None:
    given = get(config, "responseJsonSchema")
    google = get(config, "responseSchema")
    schema = given if isinstance(given, dict) else of_google(google) if isinstance(google, dict) else None
    if schema is not None:
        return ir.ResponseFormat("json_schema", schema=schema)
    match get(config, "responseMimeType"):
        case "application/json":
            return ir.ResponseFormat("json_object")
        case "text/plain":
            return ir.ResponseFormat("text")
    return None


def _parse_thinking(config: Mapping[str, Any]) -> ir.Thinking | None:
    if not config:
        return None
    level, budget = get(config, "thinkingLevel"), get(config, "thinkingBudget")
    shown = get(config, "includeThoughts")
    return ir.Thinking(
        level.lower() if isinstance(level, str) else "",
        budget if isinstance(budget, int) else None,
        shown if isinstance(shown, bool) else None,
    )


def _parse_contents(value: Any, path: str) -> tuple[ir.Message, ...]:
    messages: list[ir.Message] = []
    for where, content in _objects(value, path):
        role = content.get("role") or "user"
        if role not in ("user", "model", "function", "system"):
            raise _wrong(f"{where}.role", "user or model")
        parts = [piece for _, part in _objects(content.get("parts"), f"{where}.parts") for piece in parse_part(part)]
        results = tuple(part for part in parts if isinstance(part, ir.ToolResult))
        others = tuple(part for part in parts if not isinstance(part, ir.ToolResult))
        if results:
            messages.append(ir.Message("tool", results))
        if others or not results:
            messages.append(ir.Message("assistant" if role == "model" else "user", others))
    return _with_ids(messages)


def _with_ids(messages: list[ir.Message]) -> tuple[ir.Message, ...]:
    """Calls and results without ids belong together by name and order; other protocols need the ids."""
    open_calls: list[tuple[str, str]] = []  # (name, id)
    numbered: list[ir.Message] = []
    for at, message in enumerate(messages):
        parts: list[ir.Part] = []
        for place, part in enumerate(message.parts):
            if isinstance(part, ir.ToolCall):
                part = part if part.id else replace(part, id=f"call_{at}_{place}")
                open_calls.append((part.name, part.id))
            elif isinstance(part, ir.ToolResult) and not part.call_id:
                found = next((call for call in open_calls if call[0] == part.name), None)
                if found is not None:
                    open_calls.remove(found)
                    part = replace(part, call_id=found[1])
            parts.append(part)
        numbered.append(replace(message, parts=tuple(parts)))
    return tuple(numbered)


_FUNCTION_READ = ("name", "description", "parameters", "parametersJsonSchema")


def _parse_tools(value: Any) -> Iterator[ir.Tool]:
    for path, tool in _objects(value, "tools"):
        for where, function in _objects(get(tool, "functionDeclarations"), f"{path}.functionDeclarations"):
            name = function.get("name")
            if not isinstance(name, str):
                raise _wrong(f"{where}.name", "a text")
            given, google = get(function, "parametersJsonSchema"), function.get("parameters")
            yield ir.Tool(
                name=name,
                description=str(function.get("description") or ""),
                schema=given if isinstance(given, dict) else of_google(google) if isinstance(google, dict) else None,
                extra=tagged(rest_of(function, _FUNCTION_READ)),
            )
        for kind, declared in rest_of(tool, ("functionDeclarations",)).items():
            yield ir.Tool(name=kind, kind=kind, extra=tagged({kind: declared}))


def _parse_choice(config: Mapping[str, Any]) -> ir.ToolChoice | None:
    calling = _object(config, "functionCallingConfig")
    names = get(calling, "allowedFunctionNames")
    allowed = tuple(str(name) for name in names) if isinstance(names, list) else ()
    match calling.get("mode"):
        case "ANY" if len(allowed) == 1:
            return ir.ToolChoice("function", allowed[0])
        case "ANY":
            return ir.ToolChoice("required", allowed=allowed)
        case "NONE":
            return ir.ToolChoice("none")
        case "AUTO" | "VALIDATED":
            return ir.ToolChoice("auto", allowed=allowed)
    return None
