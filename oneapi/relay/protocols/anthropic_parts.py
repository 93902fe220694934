"""Content blocks of Anthropic's messages and the parts they are, in requests and answers alike.

Blocks that only this protocol has (searches it ran itself, references, containers…) are a `Text` without text whose
`extra` holds the block as it came; other protocols show nothing of it. A seal of another protocol goes to a client of
this one as a signature `seal/<protocol>/<value>`, or, of a tool call, at the end of its id, and comes back from there.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from oneapi.errors import InvalidRequest
from oneapi.relay import ir
from oneapi.relay.adaptor import Json

ORIGIN = "anthropic"

_SEAL = "seal/"
_CALL_SEAL = "__seal_"
_MARK = "cache_control"
_FORBIDDEN_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")


def own(extra: ir.Extra) -> Mapping[str, Any]:
    """What of an `extra` this protocol said itself."""
    if extra.get("origin") != ORIGIN:
        return {}
    return {name: value for name, value in extra.items() if name != "origin"}


def extra_of(value: Mapping[str, Any], known: Iterable[str]) -> ir.Extra:
    """The fields that this protocol has and the intermediate representation has not."""
    rest = {name: item for name, item in value.items() if name not in known}
    return {"origin": ORIGIN, **rest} if rest else {}


def raw_block(block: Json) -> ir.Text:
    """A block that only this protocol has."""
    return ir.Text("", extra={"origin": ORIGIN, "block": block})


# ---- pictures and documents ----

# The first characters of a picture's base64, by which Anthropic and Bedrock check what they are told it is.
_MAGIC = (("/9j/", "image/jpeg"), ("iVBORw0KGgo", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))
_PDF_MAGIC = "JVBERi"


def picture_type(data: str, said: str) -> str:
    """The media type of a picture: by its bytes where they tell, else as it was said to be."""
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    return "image/jpeg" if said == "image/jpg" else said or "image/png"


def document_type(file: ir.File) -> str:
    """The media type of a document: as said, by its bytes, or by its name."""
    if file.media_type and file.media_type != "application/octet-stream":
        return file.media_type.partition(";")[0].strip().lower()
    if file.data.startswith(_PDF_MAGIC) or not file.name or file.name.lower().endswith(".pdf"):
        return "application/pdf"
    return "text/plain"


def decoded_text(data: str) -> str:
    """The text that this base64 holds. Raises InvalidRequest where it holds none."""
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest("A text document is not UTF-8 in base64.", param="messages") from error


def _render_image(image: ir.Image) -> Json:
    if image.url:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    media_type = picture_type(image.data, image.media_type)
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": image.data}}


def _render_file(file: ir.File) -> Json:
    if file.file_id:
        source: Json = {"type": "file", "file_id": file.file_id}
    elif file.url:
        source = {"type": "url", "url": file.url}
    else:
        media_type = document_type(file)
        if media_type.startswith("image/"):
            return _render_image(ir.Image(data=file.data, media_type=media_type))
        if media_type.startswith("text/") or media_type in ("application/json", "application/xml"):
            source = {"type": "text", "media_type": "text/plain", "data": decoded_text(file.data)}
        elif media_type == "application/pdf":
            source = {"type": "base64", "media_type": media_type, "data": file.data}
        else:
            raise InvalidRequest(
                f"The provider takes documents that are PDF or text, not {media_type}.", param="messages"
            )
    return {"type": "document", "source": source, **({"title": file.name} if file.name else {})}


def _parse_image(block: Json) -> ir.Part:
    extra = extra_of(block, ("type", "source"))
    match block.get("source"):
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return ir.Image(data=data, media_type=media_type, extra=extra)
        case {"type": "url", "url": str(url)}:
            return ir.Image(url=url, extra=extra)
    return raw_block(block)


def _parse_document(block: Json) -> ir.Part:
    name = str(block.get("title") or "")
    extra = extra_of(block, ("type", "source", "title"))
    match block.get("source"):
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return ir.File(data=data, media_type=media_type, name=name, extra=extra)
        case {"type": "text", "data": str(text)}:
            data = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
            return ir.File(data=data, media_type="text/plain", name=name, extra=extra)
        case {"type": "url", "url": str(url)}:
            return ir.File(url=url, name=name, extra=extra)
        case {"type": "file", "file_id": str(file_id)}:
            return ir.File(file_id=file_id, name=name, extra=extra)
    return raw_block(block)


# ---- thoughts ----


def parse_signature(value: Any) -> ir.Seal | None:
    """The seal that a signature is; None for an empty one."""
    if not isinstance(value, str) or not value:
        return None
    if value.startswith(_SEAL):
        origin, _, inner = value.removeprefix(_SEAL).partition("/")
        return ir.Seal(origin, inner)
    return ir.Seal(ORIGIN, value)


def render_signature(seal: ir.Seal | None) -> str:
    if seal is None:
        return ""
    return seal.value if seal.origin == ORIGIN else f"{_SEAL}{seal.origin}/{seal.value}"


def render_thought(part: ir.Reasoning) -> Json:
    signature = render_signature(part.seal)
    if part.is_redacted:
        return {"type": "redacted_thinking", "data": signature}
    return {"type": "thinking", "thinking": part.text, "signature": signature}


# ---- tool calls ----


def _parse_call_id(value: Any) -> tuple[str, ir.Seal | None]:
    call_id, mark, sealed = str(value or "").partition(_CALL_SEAL)
    origin, _, inner = sealed.partition("_")
    if not mark or not origin or not inner:
        return str(value or ""), None
    try:
        return call_id, ir.Seal(origin, base64.urlsafe_b64decode(inner + "=" * (-len(inner) % 4)).decode())
    except (binascii.Error, UnicodeDecodeError):
        return str(value), None


def render_call_id(call: ir.ToolCall, call_id: str) -> str:
    """An id this protocol allows, which carries the call's seal where it has one."""
    call_id = clean_id(call_id)
    if call.seal is None or "_" in call.seal.origin:
        return call_id
    inner = base64.urlsafe_b64encode(call.seal.value.encode()).decode().rstrip("=")
    return f"{call_id}{_CALL_SEAL}{call.seal.origin}_{inner}"


def clean_id(call_id: str) -> str:
    """Other providers' ids have dots and colons, which Anthropic refuses."""
    return _FORBIDDEN_IN_ID.sub("_", call_id) or "call"


def parse_call(block: Json) -> ir.ToolCall:
    call_id, seal = _parse_call_id(block.get("id"))
    return ir.ToolCall(
        call_id,
        str(block.get("name") or ""),
        arguments_text(block.get("input")),
        seal=seal,
        extra=extra_of(block, ("type", "id", "name", "input")),
    )


def arguments_text(value: Any) -> str:
    """Arguments as the JSON text they are elsewhere."""
    return json.dumps({} if value is None else value, ensure_ascii=False, separators=(",", ":"))


def arguments_object(text: str) -> Json:
    """Arguments as the object this protocol wants; what is none stands in its field `input`."""
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return {"input": text}
    return value if isinstance(value, dict) else {"input": value}


def render_result(result: ir.ToolResult) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": clean_id(result.call_id)}
    pieces = [rendered for part in result.parts if (rendered := render_part(part)) is not None]
    if len(pieces) == 1 and pieces[0].keys() == {"type", "text"}:
        block["content"] = pieces[0]["text"]
    elif pieces:
        block["content"] = pieces
    if result.is_error:
        block["is_error"] = True
    return marked(block, result.extra)


def _parse_result(block: Json) -> ir.ToolResult:
    content = block.get("content")
    pieces = [ir.Text(content)] if isinstance(content, str) else [parse_block(item) for item in content or ()]
    return ir.ToolResult(
        _parse_call_id(block.get("tool_use_id"))[0],
        tuple(piece for piece in pieces if isinstance(piece, ir.Text | ir.Image | ir.File)),
        is_error=block.get("is_error") is True,
        extra=extra_of(block, ("type", "tool_use_id", "content", "is_error")),
    )


# ---- any block ----


def parse_block(block: Any) -> ir.Part:
    """The part that a block of a request is. Raises InvalidRequest for what is no block."""
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        raise InvalidRequest("A content block must be an object with a type.", param="messages")
    match block["type"]:
        case "text" if isinstance(block.get("text"), str):
            return ir.Text(block["text"], extra=extra_of(block, ("type", "text")))
        case "image":
            return _parse_image(block)
        case "document":
            return _parse_document(block)
        case "tool_use":
            return parse_call(block)
        case "tool_result":
            return _parse_result(block)
        case "thinking":
            return ir.Reasoning(str(block.get("thinking") or ""), parse_signature(block.get("signature")))
        case "redacted_thinking":
            return ir.Reasoning("", parse_signature(block.get("data")), is_redacted=True)
    return raw_block(block)


def render_part(part: ir.Part) -> Json | None:
    """The block for a part of a request; None for one that has no place, or says nothing.

    Anthropic refuses texts that are empty or blank.
    """
    match part:
        case ir.Text():
            if (block := own(part.extra).get("block")) is not None:
                return dict(block)
            return marked({"type": "text", "text": part.text}, part.extra) if part.text.strip() else None
        case ir.Image():
            return marked(_render_image(part), part.extra)
        case ir.File():
            return marked(_render_file(part), part.extra)
        case ir.Refusal():
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case ir.Audio():  # of an earlier answer: its words
            return {"type": "text", "text": part.transcript} if part.transcript.strip() else None
        case ir.Reasoning():
            is_own = part.seal is not None and part.seal.origin == ORIGIN
            return render_thought(part) if is_own else None
        case ir.ToolCall():
            block = {"type": "tool_use", "id": clean_id(part.id), "name": part.name}
            return marked({**block, "input": arguments_object(part.arguments)}, part.extra)
        case ir.ToolResult():
            return render_result(part)


def marked(block: Json, extra: ir.Extra) -> Json:
    """The block with its own further fields. Clients of other protocols may say cache_control, too."""
    if _MARK in extra and extra.get("origin") != ORIGIN:
        return {**block, _MARK: extra[_MARK]}
    return {**block, **own(extra)}
