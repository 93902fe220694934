"""Language tokens of a request, for when the provider does not say, given a function that counts those of a text.

Two depths: `estimate_tokens` from the body's length alone, which is all that a hold needs, and `count_input`, which
reads the request in whatever dialect it came.

Source: spec relay.md §5, with these of its defects mended: tools, calls and schemas are counted, arrays of texts and of
token numbers as well, and nothing a client may put into a list makes it crash. An image's size is read from its data;
nothing is fetched, so one given by address counts as if it had 1024 by 1024 pixels.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import imagesize

from oneapi.relay.adaptor import Json
from oneapi.relay.head import Head

Count = Callable[[str], int]

# Tokens that chat formats add of themselves, per OpenAI's description of its chat format.
_REPLY_PRIMING = 3
_PER_MESSAGE = 3
_PER_NAME = 1
_PER_TOOL = 8  # measured by others for OpenAI's own rendering of a function

# Enough of an image's start to find its size behind embedded profiles and previews.
_IMAGE_START_CHARACTERS = 256 * 1024
_UNKNOWN_SIZE = (1024, 1024)


def estimate_tokens(size_bytes: int) -> int:
    """Tokens that a text of this length in UTF-8 hardly exceeds.

    9 for 20 bytes: above prose in every large script and above code, with either table (measured: English 0.30 tokens a
    byte, Chinese 0.36, Hindi 0.40, Arabic 0.42). Dense data such as base64 and rare scripts may exceed it.
    """
    return -(-size_bytes * 9 // 20)


def approximate_tokens(text: str) -> int:
    """Option ApproximateTokenEnabled: 0.38 for each byte of UTF-8, as One API reckons it."""
    return int(len(text.encode("utf-8", "surrogatepass")) * 0.38)


def count_input(head: Head, body: Callable[[], Json], count: Count, model: str = "") -> int:
    """Input tokens of a request; `body` gives its JSON, and is not called for a mode that comes as a form.

    `model` is the actual model where it differs from the requested one.
    """
    match head.mode:
        case "chat":
            return count_chat(body(), count, model or head.model)
        case "completions" | "images":
            return count_texts(body().get("prompt"), count)
        case "embeddings" | "moderations" | "speech":
            return count_texts(body().get("input"), count)
        case "edits":
            return count_texts([body().get("input"), body().get("instruction")], count)
        case "rerank":
            return count_texts([body().get("query"), body().get("documents")], count)
        case "image_edits" | "image_variations" | "transcription" | "translation" | "proxy":
            return 0


def count_texts(value: Any, count: Count) -> int:
    """Tokens of a text, of a list of tokens already made, of parts with a `text`, or of any list of these."""
    match value:
        case str():
            return count(value)
        case bool():
            return 0
        case int():
            return 1
        case list():
            return sum(count_texts(item, count) for item in value)
        case {"text": text}:
            return count_texts(text, count)
        case _:
            return 0


def count_chat(body: Json, count: Count, model: str) -> int:
    """Tokens of a conversation in any of the chat dialects; their texts lie in fields of different names."""
    conversation = _Conversation(count, model)
    per_message, per_name = (4, -1) if model == "gpt-3.5-turbo-0301" else (_PER_MESSAGE, _PER_NAME)
    tokens = _REPLY_PRIMING
    for message in _messages(body):
        tokens += per_message + conversation.tokens({**message, "name": None})
        if isinstance(role := message.get("role"), str):
            tokens += count(role)
        if isinstance(name := message.get("name"), str) and name:
            tokens += per_name + count(name)
    tokens += sum(_PER_TOOL + count(declaration) for declaration in _declarations(body))
    return tokens + sum(count(_compact(schema)) for schema in _answer_schemas(body))


def image_tokens(model: str, detail: str, size: tuple[int, int]) -> int:
    """Tokens that OpenAI's models with vision count for an image of (width, height); an unknown `detail` costs nothing.

    Source: spec relay.md §5.3.
    """
    base, per_tile = (2833, 5667) if model.startswith("gpt-4o-mini") else (85, 170)
    if detail == "low":
        return base
    if detail not in ("high", "auto", ""):
        return 0
    width, height = size
    if max(width, height) > 2048:
        ratio = 2048 / max(width, height)
        width, height = int(width * ratio), int(height * ratio)
    if min(width, height) > 768:
        ratio = 768 / min(width, height)
        width, height = int(width * ratio), int(height * ratio)
    return -(-width // 512) * -(-height // 512) * per_tile + base


# ---- reading whatever came ----

# Where texts lie in messages and their parts, in all dialects; what is under the others' names is an object whose
# JSON the model reads. Media other than images counts nothing: what it costs, only the provider knows.
_TEXTS = (
    "arguments",
    "content",
    "function",
    "function_call",
    "functionCall",
    "functionResponse",
    "name",
    "output",
    "parts",
    "reasoning_content",
    "refusal",
    "summary",
    "text",
    "thinking",
    "tool_calls",
)
_OBJECTS = ("args", "input", "response")
_IMAGES = ("image_url", "source", "inlineData", "inline_data")
_DEEPEST = 16  # parts lie in tool results in messages; what is nested deeper is nobody's format


class _Conversation:
    """Walks the values of messages; odd types count nothing."""

    def __init__(self, count: Count, model: str) -> None:
        self._count = count
        self._model = model

    def tokens(self, value: Any, depth: int = 0) -> int:
        if isinstance(value, str):
            return self._count(value)
        if depth > _DEEPEST:
            return 0
        if isinstance(value, list):
            return sum(self.tokens(item, depth + 1) for item in value)
        if not isinstance(value, dict):
            return 0
        tokens = sum(self.tokens(value[name], depth + 1) for name in _TEXTS if name in value)
        tokens += sum(self._object(value[name]) for name in _OBJECTS if name in value)
        return tokens + sum(self._image(value, value[name]) for name in _IMAGES if name in value)

    def _object(self, value: Any) -> int:
        return self._count(_compact(value)) if isinstance(value, dict) and value else 0

    def _image(self, part: Json, image: Any) -> int:
        """OpenAI's part has a URL, alone or in an object beside `detail`; Anthropic's and Gemini's hold base64 data."""
        fields = image if isinstance(image, dict) else {"url": image}
        media_type = fields.get("media_type") or fields.get("mimeType") or fields.get("mime_type") or "image/"
        if part.get("type") == "document" or not str(media_type).startswith("image/"):
            return 0
        detail = fields.get("detail") or part.get("detail") or ""
        return image_tokens(self._model, detail if isinstance(detail, str) else "odd", _size(fields))


def _size(fields: Json) -> tuple[int, int]:
    data, url = fields.get("data"), fields.get("url")
    if not isinstance(data, str):
        if not isinstance(url, str) or not url.startswith("data:"):
            return _UNKNOWN_SIZE
        data = url.partition(",")[2]
    start = data[:_IMAGE_START_CHARACTERS]
    try:
        size = imagesize.get(io.BytesIO(base64.b64decode(start[: len(start) // 4 * 4])))
    except ValueError:
        return _UNKNOWN_SIZE
    width, height = size
    return (int(width), int(height)) if width > 0 and height > 0 else _UNKNOWN_SIZE


def _messages(body: Json) -> Iterator[Json]:
    """All that is said, as messages: system prompts that stand apart first."""
    for name in ("system", "instructions", "systemInstruction", "system_instruction"):
        if value := body.get(name):
            yield {"role": "system", "content": value}
    for name in ("messages", "input", "contents"):
        value = body.get(name)
        if isinstance(value, str):
            yield {"role": "user", "content": value}
        elif isinstance(value, list):
            yield from (item if isinstance(item, dict) else {"content": item} for item in value)


def _declarations(body: Json) -> Iterator[str]:
    """Name, description and parameters of each tool, run together."""
    for tool in [*_list(body, "tools"), *_list(body, "functions")]:
        if not isinstance(tool, dict):
            continue
        inner = tool.get("function")
        declared = inner if isinstance(inner, dict) else tool
        for one in _list(tool, "functionDeclarations") or [declared]:
            if isinstance(one, dict):
                yield "".join(
                    value if isinstance(value, str) else _compact(value)
                    for name in ("name", "description", "parameters", "input_schema", "parametersJsonSchema")
                    if (value := one.get(name))
                )


def _answer_schemas(body: Json) -> Iterator[Any]:
    """The schemas an answer must fit, which the model reads, too."""
    for path in (
        ("response_format", "json_schema", "schema"),
        ("text", "format", "schema"),
        ("output_format", "schema"),
        ("generationConfig", "responseSchema"),
        ("generationConfig", "responseJsonSchema"),
    ):
        value: Any = body
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value:
            yield value


def _list(holder: Json, name: str) -> list[Any]:
    value = holder.get(name)
    return value if isinstance(value, list) else []


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
