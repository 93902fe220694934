"""OpenAI's images: generations, edits and variations.

Source: https://platform.openai.com/docs/api-reference/images (read 2026-11-25); limits from spec relay.md §4.5. Edits
and variations are forms (edits may be JSON) and go verbatim only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import CONTENT, LAST, NOTHING, Codec, Edit, Headers, Json, Mode, Rendering
from oneapi.relay.framing import Frame
from oneapi.relay.head import Head
from oneapi.relay.protocols import client_json, multipart
from oneapi.relay.protocols.openai_error import render_error
from oneapi.relay.protocols.openai_usage import parse_usage
from oneapi.relay.protocols.provider_error import error_in, parse_error
from oneapi.relay.protocols.provider_json import loads

DEFAULT_MODEL = "dall-e-2"
DEFAULT_SIZE = "1024x1024"
_MAX_N = 10
_CODE = "invalid_image_request"


class _Request(msgspec.Struct, gc=False):
    model: str | None = None
    prompt: str | None = None
    n: int | None = None
    size: str | None = None
    quality: str | None = None
    stream: bool | None = None


_REQUEST = msgspec.json.Decoder(_Request)


def head(body: bytes, content_type: str = "application/json", mode: Mode = "images") -> Head:
    """The head of a request in JSON or as a form, for all three modes. Raises InvalidRequest."""
    if content_type.lower().startswith("multipart/"):
        request, input_bytes = _of_form(body, content_type)
    else:
        request = client_json.read(body, _REQUEST, code=_CODE)
        input_bytes = len(request.prompt or "")
    if not request.prompt and mode != "image_variations":
        raise InvalidRequest("Field 'prompt' is required.", param="prompt", code="prompt_missing")
    client_json.check_range("n", request.n, 1, _MAX_N, code="n_not_within_range")
    return Head(
        mode=mode,
        model=request.model or DEFAULT_MODEL,
        names_model=bool(request.model),
        stream=bool(request.stream),
        input_bytes=input_bytes,
        image_size=request.size or DEFAULT_SIZE,
        image_quality=request.quality or "",
        image_count=request.n or 1,
    )


def _of_form(body: bytes, content_type: str) -> tuple[_Request, int]:
    form = multipart.fields(body, multipart.parts(body, content_type))
    try:
        n = int(form["n"]) if form.get("n") else None
    except ValueError as error:
        raise InvalidRequest("Field 'n' must be an integer.", param="n", code=_CODE) from error
    request = _Request(
        model=form.get("model"),
        prompt=form.get("prompt"),
        n=n,
        size=form.get("size"),
        quality=form.get("quality"),
        stream=form.get("stream", "").lower() in ("true", "1"),
    )
    return request, len(request.prompt or "")


# ---- what single models allow ----


@dataclass(frozen=True, slots=True)
class Limits:
    """`sizes` empty: any."""

    sizes: frozenset[str]
    max_n: int
    max_prompt_bytes: int


_WANX_SIZES = frozenset({"1024x1024", "720x1280", "1280x720"})
_DIFFUSION_SIZES = frozenset({"512x1024", "1024x768", "1024x1024", "576x1024", "1024x576"})
LIMITS: Mapping[str, Limits] = {
    "ali-stable-diffusion-v1.5": Limits(_DIFFUSION_SIZES, 4, 4000),
    "ali-stable-diffusion-xl": Limits(_DIFFUSION_SIZES, 4, 4000),
    "cogview-3": Limits(frozenset(), 1, 833),
    "dall-e-2": Limits(frozenset({"256x256", "512x512", "1024x1024"}), 10, 1000),
    "dall-e-3": Limits(frozenset({"1024x1024", "1024x1792", "1792x1024"}), 1, 4000),
    "step-1x-medium": Limits(
        frozenset({"256x256", "512x512", "768x768", "1024x1024", "1280x800", "800x1280"}), 1, 4000
    ),
    "wanx-v1": Limits(_WANX_SIZES, 4, 4000),
}


def check(model: str, *, prompt: str, size: str, n: int) -> None:
    """Raises InvalidRequest for what the actual model is known to refuse."""
    limits = LIMITS.get(model)
    if limits is None:
        return
    if limits.sizes and size not in limits.sizes:
        raise InvalidRequest(
            f"{model} makes images of {', '.join(sorted(limits.sizes))}, not of {size}.",
            param="size",
            code="size_not_supported",
        )
    if len(prompt.encode("utf-8", "replace")) > limits.max_prompt_bytes:
        raise InvalidRequest(
            f"{model} takes a prompt of at most {limits.max_prompt_bytes} bytes.",
            param="prompt",
            code="prompt_too_long",
        )
    if not 1 <= n <= limits.max_n:
        raise InvalidRequest(
            f"{model} makes between 1 and {limits.max_n} images at once.", param="n", code="n_not_within_range"
        )


def checked(model: str) -> tuple[Edit, ...]:
    """For an adaptor's edits in mode images: refuses what the actual model is known to refuse, and changes nothing."""
    if model not in LIMITS:
        return ()

    def edit(body: Json) -> Json:
        check(model, prompt=body.get("prompt") or "", size=body.get("size") or DEFAULT_SIZE, n=body.get("n") or 1)
        return body

    return (edit,)


# ---- the client half, for providers with formats of their own ----


def pixels(size: str) -> tuple[int, int] | None:
    """Width and height of "1024x1024"; None where they are left to the model. Raises InvalidRequest."""
    if not size or size == "auto":
        return None
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InvalidRequest("Field 'size' must be like 1024x1024.", param="size", code="size_not_supported")
    return int(width), int(height)


_TEXTS = ("model", "prompt", "size", "quality", "style", "response_format", "user")


def parse_request(body: Json) -> ir.ImageRequest:
    """Raises InvalidRequest for a field of a wrong type."""
    for name in _TEXTS:
        if not isinstance(body.get(name, ""), str | None):
            raise InvalidRequest(f"Field '{name}' must be a text.", param=name, code=_CODE)
    texts = {name: body.get(name) or "" for name in _TEXTS}
    extra = {name: value for name, value in body.items() if name not in _TEXTS and name != "n"}
    return ir.ImageRequest(**texts, n=body.get("n"), extra=extra)


def render_response(response: ir.ImageResponse, rendering: Rendering) -> Json:
    rows = []
    for image in response.images:
        row = {"url": image.url, "b64_json": image.data, "revised_prompt": image.revised_prompt}
        rows.append({name: value for name, value in row.items() if value})
    body: Json = {"created": response.created_at or rendering.created_at, "data": rows}
    if (usage := response.usage) is not None and usage.total_tokens:
        body["usage"] = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        }
    return body


# ---- the upstream half ----


def render_request(request: ir.ImageRequest) -> Json:
    body: Json = {**request.extra, **{name: value for name in _TEXTS if (value := getattr(request, name))}}
    if request.n is not None:
        body["n"] = request.n
    return body


def parse_response(body: Json) -> ir.ImageResponse:
    """Raises UpstreamGarbled for an answer without images."""
    rows = body.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UpstreamGarbled("The provider's answer has no images.")
    created = body.get("created")
    return ir.ImageResponse(
        created_at=created if isinstance(created, int) else 0,
        images=tuple(
            ir.MadeImage(
                url=row.get("url") or "", data=row.get("b64_json") or "", revised_prompt=row.get("revised_prompt") or ""
            )
            for row in rows
        ),
        usage=usage_of(body.get("usage"), len(rows)),
    )


def usage_of(block: Any, images: int) -> ir.Usage:
    """Tokens where the provider counts them (gpt-image), and always the number of images that came."""
    usage = parse_usage(block) or ir.Usage()
    return replace(usage, units={"images": images})


class _Answer(msgspec.Struct, gc=False):
    data: list[msgspec.Raw] | None = None
    usage: dict[str, Any] | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without images."""
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, RecursionError):
        answer = _Answer()
    if answer.data is None:
        if (refusal := error_in(loads(body))) is not None:
            raise refusal
        raise UpstreamGarbled("The provider's answer has no images.")
    return usage_of(answer.usage, len(answer.data))


class Watcher:
    """Sees the finished images of a stream and their usage; each `completed` event is one image with its own."""

    __slots__ = ("has_finished", "usage")

    def __init__(self) -> None:
        self.usage: ir.Usage | None = None
        self.has_finished = False

    def feed(self, frame: Frame) -> int:
        data = frame.data
        if not data:
            return NOTHING
        if data[:6] == b"[DONE]":
            return LAST
        event = loads(data)
        kind = event.get("type") or frame.event
        if (event.get("error") or kind == "error") and (error := error_in(event)) is not None:
            raise error
        if not str(kind).endswith(".completed"):
            return CONTENT
        self.has_finished = True
        made = usage_of(event.get("usage"), 1)
        self.usage = made if self.usage is None else _sum(self.usage, made)
        return CONTENT

    def take_text(self) -> str:
        return ""  # pictures are not counted as text


def _sum(one: ir.Usage, other: ir.Usage) -> ir.Usage:
    def both(name: str) -> int | None:
        counts = [count for usage in (one, other) if (count := getattr(usage, name)) is not None]
        return sum(counts) if counts else None

    return ir.Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cached_tokens=both("cached_tokens"),
        image_input_tokens=both("image_input_tokens"),
        image_output_tokens=both("image_output_tokens"),
        units={"images": one.units["images"] + other.units["images"]},
        raw=other.raw,
    )


CODEC = Codec(
    name="openai_images",
    render_request=render_request,
    parse_response=parse_response,
    parse_error=parse_error,
    watcher=Watcher,
    read_usage=read_usage,
    parse_request=parse_request,
    render_response=render_response,
    render_error=render_error,
)
EDITS = Codec(
    name="openai_image_edits",
    parse_error=parse_error,
    watcher=Watcher,
    read_usage=read_usage,
    render_error=render_error,
)
