"""Parts of a Gemini content, in requests and answers alike.

Source: https://ai.google.dev/api/caching#Part and https://ai.google.dev/gemini-api/docs/thought-signatures (read
2026-11-25), and recorded answers.

A thought signature on a thought or on a function call is that part's seal. One on a text or a picture, or on a text
that is empty, is told as a redacted `Reasoning` behind it, since these parts have no seal: so it survives dialects
that have a place for reasoning only. Such loose seals go back, in order, onto the last texts and pictures of the turn.

What no other protocol has (code that ran and its output, calls of Google's own tools) is a `Text` that people can
read, with the part itself in its `extra`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from oneapi.relay import ir
from oneapi.relay.adaptor import Json

ORIGIN = "gemini"


def own(extra: ir.Extra) -> Mapping[str, Any]:
    """What of an `extra` this protocol said itself."""
    if extra.get("origin") != ORIGIN:
        return {}
    return {name: value for name, value in extra.items() if name != "origin"}


def tagged(rest: Mapping[str, Any]) -> ir.Extra:
    return {"origin": ORIGIN, **rest} if rest else {}


@cache
def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def get(value: Mapping[str, Any], name: str) -> Any:
    """A field by its name in JSON or, as Google takes it too, in the form of its protocol buffers."""
    found = value.get(name)
    return value.get(_snake(name)) if found is None else found


def rest_of(value: Mapping[str, Any], known: Iterable[str]) -> Json:
    """The fields whose names, in either form, are not among those known."""
    names = {form for name in known for form in (name, _snake(name))}
    return {name: item for name, item in value.items() if name not in names}


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# ---- versions ----

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?(?=$|[-@.])")


def version_of(model: str) -> tuple[int, int] | None:
    """(3, 1) of gemini-3.1-pro-preview; aliases of the latest model are the latest. None for other names."""
    name = model.rpartition("/")[2]
    if (match := _VERSION.match(name)) is not None:
        return int(match[1]), int(match[2] or 0)
    if not name.startswith("gemini-"):
        return None
    return (3, 9) if name.endswith("-latest") else (1, 0)  # gemini-pro, gemini-pro-vision, gemini-exp-1206


# ---- media ----

_AUDIO_TYPE = {"pcm16": "audio/L16;rate=24000"}
_AUDIO_FORMAT = {"l16": "pcm16", "pcm": "pcm16", "mpeg": "mp3", "wave": "wav"}


def audio_type(form: str) -> str:
    return _AUDIO_TYPE.get(form, f"audio/{form or 'wav'}")


def audio_format(media_type: str) -> str:
    name = media_type.partition(";")[0].partition("/")[2].lower().removeprefix("x-")
    return _AUDIO_FORMAT.get(name, name)


def parse_media(part: Mapping[str, Any]) -> ir.Image | ir.Audio | ir.File | None:
    """The picture, sound or file of a part, None where it has none."""
    extra = tagged(rest_of(part, ("inlineData", "fileData", "thoughtSignature")))
    if isinstance(blob := get(part, "inlineData"), dict):
        media_type, data = str(get(blob, "mimeType") or ""), str(blob.get("data") or "")
        if media_type.startswith("image/"):
            return ir.Image(data=data, media_type=media_type, extra=extra)
        if media_type.startswith("audio/"):
            return ir.Audio(data=data, format=audio_format(media_type), extra=extra)
        return ir.File(data=data, media_type=media_type, name=str(get(blob, "displayName") or ""), extra=extra)
    if isinstance(where := get(part, "fileData"), dict):
        media_type, url = str(get(where, "mimeType") or ""), str(get(where, "fileUri") or "")
        if media_type.startswith("image/"):
            return ir.Image(url=url, media_type=media_type, extra=extra)
        return ir.File(url=url, media_type=media_type, name=str(get(where, "displayName") or ""), extra=extra)
    return None


def render_media(part: ir.Image | ir.Audio | ir.File) -> Json:
    """Inline bytes, or a reference to a file that Google can read."""
    match part:
        case ir.Audio():
            where: Json = {"inlineData": {"mimeType": audio_type(part.format), "data": part.data}}
        case ir.File(file_id=str(url)) | ir.Image(url=str(url)) if url:
            where = _file_data(url, part.media_type)
        case ir.File(url=str(url)) if url:
            where = _file_data(url, part.media_type)
        case ir.Image():
            where = {"inlineData": {"mimeType": part.media_type or "image/png", "data": part.data}}
        case ir.File():
            where = {"inlineData": {"mimeType": part.media_type or "application/pdf", "data": part.data}}
    return {**where, **own(part.extra)}


def _file_data(url: str, media_type: str) -> Json:
    return {"fileData": {"fileUri": url, **({"mimeType": media_type} if media_type else {})}}


# ---- whole parts ----

_TEXT_FIELDS = ("text", "thought", "thoughtSignature")


def seal_of(part: Mapping[str, Any]) -> ir.Seal | None:
    signature = get(part, "thoughtSignature")
    return ir.Seal(ORIGIN, signature) if isinstance(signature, str) and signature else None


def loose_seal(seal: ir.Seal) -> ir.Reasoning:
    """The seal of a part that has no place for one."""
    return ir.Reasoning("", seal, is_redacted=True)


def parse_part(part: Mapping[str, Any]) -> Iterator[ir.Part]:
    """A part as one or two of ours; none where it says nothing."""
    seal = seal_of(part)
    if isinstance(text := part.get("text"), str):
        if part.get("thought"):
            if text or seal:
                yield ir.Reasoning(text, seal)
            return
        if text:
            yield ir.Text(text, extra=tagged(rest_of(part, _TEXT_FIELDS)))
        if seal is not None:
            yield loose_seal(seal)
    elif isinstance(call := get(part, "functionCall"), dict):
        yield parse_call(call, seal)
    elif isinstance(result := get(part, "functionResponse"), dict):
        yield parse_result(result)
    elif (media := parse_media(part)) is not None:
        yield media
        if seal is not None:
            yield loose_seal(seal)
    elif rest_of(part, _TEXT_FIELDS):
        yield ir.Text(_readable(part), extra=tagged({"part": dict(part)}))
    elif seal is not None:
        yield loose_seal(seal)


def _readable(part: Mapping[str, Any]) -> str:
    """Code that the model had run, and what came out of it, as Markdown; nothing for what only Google understands."""
    if isinstance(code := get(part, "executableCode"), dict):
        return f"\n```{str(code.get('language') or '').lower()}\n{code.get('code') or ''}\n```\n"
    if isinstance(result := get(part, "codeExecutionResult"), dict) and result.get("output"):
        return f"\n```\n{result['output']}\n```\n"
    return ""


def parse_call(call: Mapping[str, Any], seal: ir.Seal | None) -> ir.ToolCall:
    args = call.get("args")
    return ir.ToolCall(
        id=str(call.get("id") or ""),
        name=str(call.get("name") or ""),
        arguments=dumps(args if isinstance(args, dict) else {}),
        seal=seal,
    )


def render_call(call: ir.ToolCall) -> Json:
    rendered: Json = {"name": call.name, "args": arguments_of(call)}
    part: Json = {"functionCall": {"id": call.id, **rendered} if call.id else rendered}
    if call.seal is not None and call.seal.origin == ORIGIN:
        part["thoughtSignature"] = call.seal.value
    return part


def arguments_of(call: ir.ToolCall) -> Json:
    """A call's arguments as an object; what is none is one argument called `input`."""
    try:
        value = json.loads(call.arguments) if call.arguments.strip() else {}
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) and call.kind == "function" else {"input": call.arguments}


# ---- results of tools ----


def parse_result(result: Mapping[str, Any]) -> ir.ToolResult:
    response = result.get("response")
    pieces: list[ir.Text | ir.Image | ir.Audio | ir.File] = []
    is_error = False
    match response:
        case {"result": str(text), **more} if not more:
            pieces = [ir.Text(text)] if text else []
        case {"error": str(text), **more} if not more:
            is_error, pieces = True, [ir.Text(text)]
        case dict() if response:
            pieces = [ir.Text(dumps(response))]
    parts = result.get("parts")
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and (media := parse_media(part)) is not None:
            pieces.append(media)
    return ir.ToolResult(
        call_id=str(result.get("id") or ""),
        parts=tuple(pieces),
        name=str(result.get("name") or ""),
        is_error=is_error,
        extra=tagged(rest_of(result, ("id", "name", "response", "parts"))),
    )


def render_result(result: ir.ToolResult, name: str, *, with_media: bool) -> Json:
    """A function's response: the object that the tool gave, or its text as `result`, or as `error`."""
    text = "\n".join(piece.text for piece in result.parts if isinstance(piece, ir.Text))
    media = media_of(result) if with_media else []
    response = {"error": text} if result.is_error else _object(text) if text or not media else {}
    rendered: Json = {"name": name, "response": response}
    if result.call_id:
        rendered["id"] = result.call_id
    if media:
        rendered["parts"] = [render_media(piece) for piece in media]
    return {"functionResponse": {**rendered, **own(result.extra)}}


def media_of(result: ir.ToolResult) -> list[ir.Image | ir.Audio | ir.File]:
    return [piece for piece in result.parts if not isinstance(piece, ir.Text)]


def _object(text: str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"result": text}
