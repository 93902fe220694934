"""Alibaba's DashScope, by its own protocol (Bailian's OpenAI-compatible one is a row of openai_compatible.py).

Source: recorded exchanges, Alibaba's Python SDK 2.0.2 (fields and paths of every mode), spec relay.md §8.7, and of
https://www.alibabacloud.com/help/en/model-studio the pages qwen-api-via-dashscope and text-to-image-v2-api-reference
(in part; all read 2026-11-25). Of media embeddings and of pictures in one call there is no recording. Each chat model
is served by one of two endpoints, which its name tells: those that see or hear, and all Qwen since 3.5, by the one
for media.

Pictures are made by a task that is polled on the channel's own base URL, by newer models in one call. They come as
links; where base64 is asked for, the links are followed.

Not carried: quality, style and user of images. In embeddings only a data URL of a picture is taken for a picture, and
all else for text.
Not offered here: speech and transcription, which DashScope has in protocols of their own; embeddings by asynchronous
batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected, UpstreamUnreachable
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Edit,
    Endpoint,
    Field,
    Flow,
    Json,
    Mode,
    Pause,
    UpstreamRequest,
    WholeReply,
    bearer,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.protocols import dashscope, image_links, openai_embeddings, openai_images, rerank
from oneapi.relay.protocols.dashscope_error import error_in, output_of, parse_error
from oneapi.relay.protocols.openai_usage import parse_usage
from oneapi.relay.protocols.provider_json import dumps, loads

_SERVICES = "/api/v1/services"
_STREAMED = {"accept": "text/event-stream", "X-DashScope-SSE": "enable"}

# ---- chat ----

_CHAT = Endpoint(path=_SERVICES + "/aigc/text-generation/generation", codec=dashscope.TEXT, stream_headers=_STREAMED)
_MEDIA_CHAT = Endpoint(
    path=_SERVICES + "/aigc/multimodal-generation/generation", codec=dashscope.MEDIA, stream_headers=_STREAMED
)
_MEDIA_MODEL = re.compile(r"-(vl|audio|omni|ocr|asr|gui)\b|^qvq\b|^qwen-?(3\.[5-9]|[4-9])")

# ---- embeddings ----

_PICTURE = re.compile(r"data:image/")


def _texts(request: ir.EmbeddingRequest) -> list[str]:
    texts = [item for item in request.inputs if isinstance(item, str)]
    if len(texts) < len(request.inputs):
        raise InvalidRequest("The provider takes texts, not tokens.", param="input")
    return texts


def _embedding_parameters(request: ir.EmbeddingRequest) -> Json:
    parameters = {name: request.extra[name] for name in ("text_type", "instruct") if name in request.extra}
    return parameters if request.dimensions is None else {**parameters, "dimension": request.dimensions}


def render_embeddings(request: ir.EmbeddingRequest) -> Json:
    """Raises InvalidRequest for an input in tokens."""
    return {
        "model": request.model,
        "input": {"texts": _texts(request)},
        "parameters": _embedding_parameters(request),
    }


def render_media_embeddings(request: ir.EmbeddingRequest) -> Json:
    """Raises InvalidRequest for an input in tokens."""
    contents = [{"image" if _PICTURE.match(text) else "text": text} for text in _texts(request)]
    return {"model": request.model, "input": {"contents": contents}, "parameters": _embedding_parameters(request)}


def parse_embeddings(body: Json) -> ir.EmbeddingResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without vectors."""
    rows = output_of(body).get("embeddings")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UpstreamGarbled("The provider's answer has no embeddings.")
    ordered = sorted(rows, key=lambda row: _index(row.get("text_index", row.get("index"))))
    found = openai_embeddings.parse_response({"data": ordered})
    return replace(found, usage=parse_usage(body.get("usage")))


def _index(value: Any) -> int:
    return value if isinstance(value, int) else 0


_EMBEDDINGS = Codec(
    name="dashscope_embeddings",
    render_request=render_embeddings,
    parse_response=parse_embeddings,
    parse_error=parse_error,
)
_TEXT_EMBEDDINGS = Endpoint(path=_SERVICES + "/embeddings/text-embedding/text-embedding", codec=_EMBEDDINGS)
_MEDIA_EMBEDDINGS = Endpoint(
    path=_SERVICES + "/embeddings/multimodal-embedding/multimodal-embedding",
    codec=replace(_EMBEDDINGS, name="dashscope_media_embeddings", render_request=render_media_embeddings),
)
_MEDIA_EMBEDDING_MODEL = re.compile(r"multimodal|vision|-vl-")

# ---- images ----

_POLL_S = 2.0
_MOST_POLLS = 150
_RENAMED = {"ali-stable-diffusion-v1.5": "stable-diffusion-v1.5", "ali-stable-diffusion-xl": "stable-diffusion-xl"}
_IMAGE_PARAMETERS = ("prompt_extend", "ref_mode", "ref_strength", "seed", "steps", "scale", "watermark")
_AT_ONCE_MODEL = re.compile(r"^(qwen-image|z-image|wan2\.([6-9]|\d\d)|wan[3-9])")


def _image_parameters(request: ir.ImageRequest) -> Json:
    parameters: Json = {name: request.extra[name] for name in _IMAGE_PARAMETERS if name in request.extra}
    if request.size and request.size != "auto":
        parameters["size"] = request.size.replace("x", "*")
    if request.n is not None:
        parameters["n"] = request.n
    return parameters


def render_images(request: ir.ImageRequest) -> Json:
    """The client's wish for a form stands in the body as far as the flow."""
    prompt: Json = {"prompt": request.prompt}
    if "negative_prompt" in request.extra:
        prompt["negative_prompt"] = request.extra["negative_prompt"]
    model = _RENAMED.get(request.model, request.model)
    body = {"model": model, "input": prompt, "parameters": _image_parameters(request)}
    return {**body, "response_format": request.response_format}


def render_images_at_once(request: ir.ImageRequest) -> Json:
    """The same for models that are asked as if in a chat."""
    parameters = _image_parameters(request)
    if "negative_prompt" in request.extra:
        parameters["negative_prompt"] = request.extra["negative_prompt"]
    messages = [{"role": "user", "content": [{"text": request.prompt}]}]
    body = {"model": request.model, "input": {"messages": messages}, "parameters": parameters}
    return {**body, "response_format": request.response_format}


def image_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """Starts the task, polls it, and follows the links where base64 is wanted."""
    request, wants_bytes = image_links.wish(request)
    reply = yield request
    assert reply is not None
    body, task_id = _task(reply)
    if not task_id:
        return reply
    poll = UpstreamRequest(
        method="GET",
        url=f"{request.url.partition('/api/v1/')[0]}/api/v1/tasks/{task_id}",
        headers={name: value for name, value in request.headers.items() if name.lower() == "authorization"},
    )
    for _ in range(_MOST_POLLS):
        reply = yield poll
        assert reply is not None
        body, task_id = _task(reply)
        if not task_id or body["output"].get("task_status") not in ("PENDING", "RUNNING", "SUSPENDED"):
            break
        yield Pause(_POLL_S)
    else:
        raise UpstreamUnreachable("The provider did not finish the images in time.", phase="first_byte")
    return (yield from _with_bytes(reply)) if wants_bytes else reply


def image_at_once_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """One call, and the links followed where base64 is wanted."""
    request, wants_bytes = image_links.wish(request)
    if not wants_bytes:
        return request
    reply = yield request
    assert reply is not None
    return (yield from _with_bytes(reply))


def _task(reply: WholeReply) -> tuple[Json, str]:
    """The body of a reply about a task, and the task's id; "" for a reply that is about none."""
    body = loads(reply.body) if reply.status == 200 else {}
    output = body.get("output")
    return body, str(output.get("task_id") or "") if isinstance(output, dict) else ""


def _with_bytes(reply: WholeReply) -> Flow:
    if reply.status != 200:
        return reply
    body = loads(reply.body)
    images = parse_images(body).images
    found = yield from image_links.fetched([image.url for image in images])
    rows = [
        {"b64_json": data, "actual_prompt": image.revised_prompt} for data, image in zip(found, images, strict=True)
    ]
    return replace(reply, body=dumps({**body, "output": {"task_status": "SUCCEEDED", "results": rows}}))


def parse_images(body: Json) -> ir.ImageResponse:
    """Raises UpstreamRejected for a task that failed, UpstreamGarbled for an answer without images."""
    output = output_of(body)
    status = output.get("task_status", "SUCCEEDED")
    rows = output.get("results")
    if status != "SUCCEEDED":
        raise error_in(output) or UpstreamRejected(
            f"The provider ended the task as {status}.", upstream_status=500, provider_code=str(status)
        )
    if not isinstance(rows, list):
        rows = [*_pictures(output)]
    made = [row for row in rows if isinstance(row, dict)]
    images = tuple(
        ir.MadeImage(
            url=str(row.get("url") or ""),
            data=str(row.get("b64_json") or ""),
            revised_prompt=str(row.get("actual_prompt") or ""),
        )
        for row in made
        if row.get("url") or row.get("b64_json")
    )
    if not images:  # of a task for several pictures each may fail alone; here all did
        refused = next((error for row in made if (error := error_in(row)) is not None), None)
        raise refused or UpstreamGarbled("The provider's answer has no images.")
    return ir.ImageResponse(images=images, usage=openai_images.usage_of(body.get("usage"), len(images)))


def _pictures(output: Json) -> list[Json]:
    """The pictures of an answer that is shaped as a chat's."""
    return [
        {"url": part.url}
        for choice in dashscope.parse_response({"output": output}).choices
        for part in choice.parts
        if isinstance(part, ir.Image)
    ]


_IMAGES = Codec(
    name="dashscope_images", render_request=render_images, parse_response=parse_images, parse_error=parse_error
)
_IMAGE_TASK = Endpoint(
    path=_SERVICES + "/aigc/text2image/image-synthesis",
    codec=_IMAGES,
    flow=image_flow,
    headers={"X-DashScope-Async": "enable"},
)
_IMAGE_AT_ONCE = Endpoint(
    path=_MEDIA_CHAT.path,
    codec=replace(_IMAGES, name="dashscope_images_at_once", render_request=render_images_at_once),
    flow=image_at_once_flow,
)


def edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    """Known limits of old image models."""
    return (_checked(model),) if mode == "images" and model in openai_images.LIMITS else ()


def _checked(model: str) -> Edit:
    def edit(body: Json) -> Json:
        wanted = body["parameters"]
        size = str(wanted.get("size") or openai_images.DEFAULT_SIZE).replace("*", "x")
        openai_images.check(model, prompt=body["input"]["prompt"], size=size, n=wanted.get("n") or 1)
        return body

    return edit


# ---- rerank ----


def render_rerank(request: ir.RerankRequest) -> Json:
    parameters: Json = {"instruct": request.extra["instruct"]} if "instruct" in request.extra else {}
    if request.top_n is not None:
        parameters["top_n"] = request.top_n
    if request.returns_documents is not None:
        parameters["return_documents"] = request.returns_documents
    documents = [document if isinstance(document, str) else dict(document) for document in request.documents]
    return {
        "model": request.model,
        "input": {"query": request.query, "documents": documents},
        "parameters": parameters,
    }


def parse_rerank(body: Json) -> ir.RerankResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without results."""
    flat = {**output_of(body), "usage": body.get("usage"), "id": body.get("request_id")}
    return rerank.parse_response(flat)


_RERANK = Endpoint(
    path=_SERVICES + "/rerank/text-rerank/text-rerank",
    codec=Codec(
        name="dashscope_rerank", render_request=render_rerank, parse_response=parse_rerank, parse_error=parse_error
    ),
)

# ---- the declaration ----

_ENDPOINTS: Mapping[Mode, Endpoint] = {
    "chat": _CHAT,
    "embeddings": _TEXT_EMBEDDINGS,
    "images": _IMAGE_TASK,
    "rerank": _RERANK,
}
# Mode → the models that are served elsewhere, and where.
_ELSEWHERE: Mapping[Mode, tuple[re.Pattern[str], Endpoint]] = {
    "chat": (_MEDIA_MODEL, _MEDIA_CHAT),
    "embeddings": (_MEDIA_EMBEDDING_MODEL, _MEDIA_EMBEDDINGS),
    "images": (_AT_ONCE_MODEL, _IMAGE_AT_ONCE),
}


def endpoint_of(model: str, mode: Mode) -> Endpoint:
    if mode in _ELSEWHERE:
        names, endpoint = _ELSEWHERE[mode]
        if names.search(model):
            return endpoint
    return _ENDPOINTS[mode]


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """The key as Bearer, and the plugin that the channel names."""
    signed = bearer(request, credentials, now)
    plugin = credentials.fields.get("plugin")
    return replace(signed, headers={**signed.headers, "X-DashScope-Plugin": plugin}) if plugin else signed


ADAPTORS = (
    Adaptor(
        type=17,
        name="ali",
        label="Ali Tongyi Qianwen (DashScope native)",
        base_url="https://dashscope.aliyuncs.com",
        endpoints=_ENDPOINTS,
        endpoint_of=endpoint_of,
        sign=sign,
        edits=edits,
        accepts=frozenset({"image_urls", "images", "audio"}),
        has_stream_options=False,  # usage comes unasked
        fields=(Field(name="plugin", label="Plugin", hint="Sent as X-DashScope-Plugin."),),
        legacy_field="plugin",
        key_hint="sk-…",
        owner="ali",
        models=default_models(17),
        note="Outside of China the base URL is https://dashscope-intl.aliyuncs.com.",
    ),
)
