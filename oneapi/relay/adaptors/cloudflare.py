"""Cloudflare Workers AI, directly or through a Cloudflare AI Gateway.

Source: https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility/ and
/ai-gateway/providers/workersai/, the codes of /workers-ai/platform/errors/ and of
/ai-gateway/features/guardrails/set-up-guardrail/ (all read 2026-11-25), recorded and documented exchanges; spec
relay.md §8.15. What single models take is from /workers-ai/models/; that, and the codes 2003, 2009, 5006, 5021 and
those of all of Cloudflare's API, stand on no page that could be read again. Chat and embeddings are OpenAI's; all
else is a model that is run with an input of its own.

A gateway's base URL ends in /workers-ai and holds the account; without one the account is a field of the channel.

Not carried: in images quality, style, user and links, since Cloudflare makes bytes only (so they come as b64_json); in
text completions suffix, echo, best_of, n, log-probabilities, logit_bias, stop; in transcriptions the format srt.
Not offered here: speech, which each model has in a way of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Endpoint,
    Field,
    Flow,
    Headers,
    Json,
    Target,
    UpstreamRequest,
    WholeReply,
    bearer,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import (
    multipart,
    native_error,
    openai_audio,
    openai_chat,
    openai_chat_answer,
    openai_embeddings,
    openai_images,
    provider_error,
    rerank,
)
from oneapi.relay.protocols.function_tools import plain_text
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.openai_chat_parts import as_text, own
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import dumps, loads

# ---- errors ----

_MEANINGS: Mapping[int, Meaning] = {
    # of a gateway
    2003: native_error.RATE,
    2009: native_error.KEY,
    2016: native_error.FILTERED,
    2017: native_error.FILTERED,
    # of Workers AI
    3007: native_error.TIMEOUT,
    3008: native_error.TIMEOUT,
    3023: native_error.KEY,  # the account is blocked
    3036: native_error.NO_CREDIT,  # the day's free share is used up
    3040: native_error.RATE,  # no capacity
    3041: native_error.FORBIDDEN,
    3042: native_error.NO_MODEL,
    5004: native_error.INVALID,
    5005: native_error.INVALID,  # the model takes no LoRA
    5006: native_error.INVALID,
    5007: native_error.NO_MODEL,
    5016: native_error.FORBIDDEN,
    5018: native_error.FORBIDDEN,
    5021: native_error.TOO_LONG,
    # of all of Cloudflare's API
    7003: native_error.KEY,  # there is no such account
    9106: native_error.KEY,
    9109: native_error.KEY,
    10000: native_error.KEY,
}


def error_in(body: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in {errors: [{code, message}]}, or in a gateway's {error: [...]}; None where there is none."""
    for name in ("errors", "error"):
        told = body.get(name)
        first = told[0] if isinstance(told, list) and told else None
        if isinstance(first, dict) and isinstance(code := first.get("code"), int):
            message = str(first.get("message") or "")
            return native_error.refusal(code, message, _MEANINGS.get(code), status=status, headers=headers)
    return None


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


def _result(body: Json) -> Json:
    """What a model that was run gave. Raises UpstreamRejected for an error in its place, else UpstreamGarbled."""
    result = body.get("result")
    if isinstance(result, dict) and result:
        return result
    raise error_in(body) or UpstreamGarbled("The provider's answer has no result.")


# ---- chat ----


def schema_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """An answer to a JSON schema comes as an object; OpenAI's clients want its text. It is never streamed."""
    if b'"json_schema"' not in request.body or loads(request.body).get("stream"):
        return request
    reply = yield request
    assert reply is not None
    if reply.status != 200:
        return reply
    body = loads(reply.body)
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict) and isinstance(message.get("content"), dict | list):
            message["content"] = as_text(message["content"])
    return replace(reply, body=dumps(body))


# ---- text completions ----

_OWN = ("lora", "raw", "repetition_penalty")
_PLAIN = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)


def render_completion(request: ir.ChatRequest) -> Json:
    given = own(request.extra)
    prompt = "\n".join(plain_text(turn.parts) for turn in request.messages)
    body: Json = {"prompt": prompt, "stream": request.stream}
    body |= {name: given[name] for name in _OWN if name in given}
    return body | {name: value for name in _PLAIN if (value := getattr(request, name)) is not None}


def parse_completion(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without a result."""
    result = _result(body)
    choice = {"delta": {"content": as_text(result.get("response"))}, "finish_reason": "stop"}
    return openai_chat_answer.parse_response({"choices": [choice], "usage": result.get("usage")})


class CompletionParser(ShapedParser):
    """Events of a stream of {response}; [DONE] ends it."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        if not frame.data:
            return ()
        if frame.data[:6] == b"[DONE]":
            self.is_done = True
            return self.feed_chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        body = loads(frame.data)
        if (error := error_in(body)) is not None:
            raise error
        choice = {"index": 0, "delta": {"content": as_text(body.get("response"))}}
        return self.feed_chunk({"choices": [choice], "usage": body.get("usage")})


_COMPLETIONS = Codec(
    name="cloudflare_completions",
    render_request=render_completion,
    parse_response=parse_completion,
    stream_parser=CompletionParser,
    parse_error=parse_error,
    has_model=False,
    cannot_carry=frozenset({"logit_bias", "logprobs", "metadata", "n", "stop", "top_logprobs", "user"}),
)

# ---- images ----

_IMAGE_INPUTS = ("guidance", "height", "negative_prompt", "num_steps", "seed", "steps", "strength", "width")
_FORM_MODEL = "/flux-2"  # which takes a form and no JSON
_MOST_IMAGES = 10


def render_images(request: ir.ImageRequest) -> Json:
    """The input, with how many pictures are wanted: the flow calls once for each. Raises InvalidRequest for a size that
    is none."""
    if request.n is not None and not 1 <= request.n <= _MOST_IMAGES:
        raise InvalidRequest(f"The provider makes 1 to {_MOST_IMAGES} pictures.", param="n", code="n_not_within_range")
    body: Json = {"prompt": request.prompt}
    body |= {name: request.extra[name] for name in _IMAGE_INPUTS if name in request.extra}
    if (size := openai_images.pixels(request.size)) is not None:
        body |= dict(zip(("width", "height"), size, strict=True))
    return {"input": body, "n": request.n or 1}


def image_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """A call for each picture; some models answer with JSON, some with the picture itself."""
    asked = loads(request.body)
    once = (
        _as_form(request, asked["input"])
        if _FORM_MODEL in request.url
        else replace(request, body=dumps(asked["input"]))
    )
    pictures: list[str] = []
    for _ in range(asked["n"]):
        reply = yield once
        assert reply is not None
        if reply.status != 200:
            return reply
        if reply.headers.get("content-type", "").startswith("image/"):
            pictures.append(base64.b64encode(reply.body).decode())
        else:
            pictures.append(str(_result(loads(reply.body)).get("image") or ""))
    return WholeReply(200, {"content-type": "application/json"}, dumps({"images": pictures}))


def _as_form(request: UpstreamRequest, fields: Json) -> UpstreamRequest:
    kind, body = multipart.written({name: as_text(value) for name, value in fields.items()})
    return replace(request, headers={**request.headers, "content-type": kind}, body=body)


def parse_images(body: Json) -> ir.ImageResponse:
    """Of the flow's list. Raises UpstreamGarbled where a picture is missing."""
    pictures = body.get("images")
    if not isinstance(pictures, list) or not pictures or not all(pictures):
        raise UpstreamGarbled("The provider's answer has no images.")
    images = tuple(ir.MadeImage(data=str(picture)) for picture in pictures)
    return ir.ImageResponse(images=images, usage=openai_images.usage_of(None, len(images)))


_IMAGES = Codec(
    name="cloudflare_images",
    render_request=render_images,
    parse_response=parse_images,
    parse_error=parse_error,
    has_model=False,
)

# ---- transcription ----

_BYTES_MODELS = ("/whisper", "/whisper-tiny-en")  # which take the recording as it is; later ones take JSON
_FORMATS = ("json", "text", "verbose_json", "vtt")


def transcription_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """The client's form as the model's input, and the result in the format that the client wants.

    Raises InvalidRequest for a form without a file, or a format that cannot be made.
    """
    kind = request.headers.get("content-type", "")
    found = multipart.parts(request.body, kind)
    form = multipart.fields(request.body, found)
    wanted = form.get("response_format") or "json"
    if wanted not in _FORMATS:
        raise InvalidRequest(f"The provider cannot answer in the format {wanted!r}.", param="response_format")
    file = next((part for part in found if part.name == "file" and part.filename is not None), None)
    if file is None:
        raise InvalidRequest("Field 'file' is required.", param="file")
    recording = request.body[file.start : file.end]
    reply = yield _transcription(request, recording, form)
    assert reply is not None
    if reply.status != 200:
        return reply
    return _transcribed(_result(loads(reply.body)), wanted)


def _transcription(request: UpstreamRequest, recording: bytes, form: Mapping[str, str]) -> UpstreamRequest:
    if request.url.endswith(_BYTES_MODELS):
        kind, body = "application/octet-stream", recording
    else:
        given: Json = {"audio": base64.b64encode(recording).decode(), "task": "transcribe"}
        if language := form.get("language"):
            given["language"] = language
        if prompt := form.get("prompt"):
            given["initial_prompt"] = prompt
        kind, body = "application/json", dumps(given)
    return replace(request, headers={**request.headers, "content-type": kind}, body=body)


def _transcribed(result: Json, wanted: str) -> WholeReply:
    text = str(result.get("text") or "")
    if wanted in ("text", "vtt"):
        told = text + "\n" if wanted == "text" else str(result.get("vtt") or "")
        return WholeReply(200, {"content-type": "text/plain; charset=utf-8"}, told.encode("utf-8", "replace"))
    answer: Json = {"text": text}
    if wanted == "verbose_json":
        info = result.get("transcription_info")
        known = (
            {name: info[name] for name in ("language", "duration") if name in info} if isinstance(info, dict) else {}
        )
        lists = {name: result[name] for name in ("segments", "words") if isinstance(result.get(name), list)}
        answer = {"task": "transcribe", **known, "text": text, **lists}
    return WholeReply(200, {"content-type": "application/json"}, dumps(answer))


# ---- rerank ----


def render_rerank(request: ir.RerankRequest) -> Json:
    body: Json = {
        "query": request.query,
        "contexts": [{"text": rerank.document_text(document)} for document in request.documents],
    }
    return body if request.top_n is None else {**body, "top_k": request.top_n}


def parse_rerank(body: Json) -> ir.RerankResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without results."""
    rows = _result(body).get("response")
    rows = rows if isinstance(rows, list) else []
    results = [{"index": row.get("id"), "score": row.get("score")} if isinstance(row, dict) else row for row in rows]
    return rerank.parse_response({"results": results})


_RERANK = Codec(
    name="cloudflare_rerank",
    render_request=render_rerank,
    parse_response=parse_rerank,
    parse_error=parse_error,
    has_model=False,
)

# ---- where ----

_GATEWAY = "https://gateway.ai.cloudflare.com/"
_RUN = "/run/{model}"


def _prefix(base_url: str, fields: Mapping[str, str]) -> str:
    if base_url.startswith(_GATEWAY) or "/accounts/" in base_url:
        return base_url.removesuffix("/v1")
    return f"{base_url}/client/v4/accounts/{quote(fields.get('user_id', ''), safe='')}/ai"


def url(target: Target) -> str:
    """OpenAI's path, or that of the model; a gateway has no `run` before the model."""
    prefix = _prefix(target.base_url, target.fields)
    if target.path != _RUN:
        return prefix + target.path
    run = "" if prefix.startswith(_GATEWAY) else "/run"
    return f"{prefix}{run}/{quote(target.model, safe='@/:')}"


def models_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    """Raises InvalidRequest for a gateway, which has no such list."""
    prefix = _prefix(base_url, credentials.fields)
    if prefix.startswith(_GATEWAY):
        raise InvalidRequest("A Cloudflare AI Gateway does not list models.")
    return (bearer(UpstreamRequest(method="GET", url=f"{prefix}/models/search?per_page=1000"), credentials, now),)


def parse_models(replies: tuple[WholeReply, ...]) -> tuple[str, ...]:
    """Raises UpstreamRejected, or UpstreamGarbled where the answer lists nothing."""
    (reply,) = replies
    if reply.status != 200:
        raise parse_error(reply.status, reply.headers, reply.body)
    models: Any = loads(reply.body).get("result")
    if not isinstance(models, list):
        raise UpstreamGarbled("The provider's answer lists no models.")
    return tuple(str(model["name"]) for model in models if isinstance(model, dict) and model.get("name"))


ADAPTORS = (
    Adaptor(
        type=37,
        name="cloudflare",
        label="Cloudflare Workers AI",
        base_url="https://api.cloudflare.com",
        url=url,
        endpoints={
            "chat": Endpoint(
                path="/v1/chat/completions",
                codec=replace(openai_chat.CODEC, parse_error=parse_error),
                flow=schema_flow,
            ),
            "completions": Endpoint(path=_RUN, codec=_COMPLETIONS),
            "embeddings": Endpoint(
                path="/v1/embeddings", codec=replace(openai_embeddings.CODEC, parse_error=parse_error)
            ),
            "images": Endpoint(path=_RUN, codec=_IMAGES, flow=image_flow),
            "rerank": Endpoint(path=_RUN, codec=_RERANK),
            "transcription": Endpoint(
                path=_RUN, codec=replace(openai_audio.CODEC, parse_error=parse_error), flow=transcription_flow
            ),
        },
        accepts=frozenset({"image_urls", "images"}),
        fields=(Field(name="user_id", label="Account ID", hint="Not needed where the base URL is a gateway's."),),
        key_hint="API token with the permission Workers AI",
        owner="cloudflare",
        models=default_models(37),
        models_requests=models_requests,
        parse_models=parse_models,
        note="A gateway's base URL is https://gateway.ai.cloudflare.com/v1/ACCOUNT/GATEWAY/workers-ai.",
    ),
)
