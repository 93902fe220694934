"""Replicate: a job is made, and its answer streamed from a place of its own, or asked for until it is there.

Source: recorded exchanges, and spec relay.md §8.20; for what they do not show, the SDK replicate 1.0.7 (paths,
lookups) and https://replicate.com/docs/reference/error-codes (E1000, E1001, E4875; the rest of that page and the
models' pages, where the names of inputs are from, could not be read; all 2026-11-25). A model is owner/name, or
owner/name:version; one that Replicate runs under its version only is looked up when the first try answers 404.

Each model names its inputs as it likes: `_CHATS` and `_PICTURES` say how families of them do; what else a model takes
stands in the field `input`, in images also by itself. A conversation of several turns becomes one prompt that names who
speaks.

Not carried in chat: tools, sound, documents, response_format, log-probabilities, logit_bias, n, user, metadata, names
of speakers, thoughts of earlier turns, and what a family has no input for. In images: style, user. A stream tells no
counts, so its tokens are counted here.
Not offered here: speech, video, embeddings, whose inputs differ from model to model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected, UpstreamUnreachable
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Endpoint,
    Flow,
    Headers,
    Json,
    Pause,
    Target,
    UpstreamRequest,
    WholeReply,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import (
    image_links,
    native_error,
    openai_chat_answer,
    openai_images,
    provider_error,
)
from oneapi.relay.protocols.function_tools import plain_text
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.openai_chat_parts import as_text, data_url, own, split_data_url
from oneapi.relay.protocols.provider_json import dumps, loads

# ---- errors ----

_MEANINGS: Mapping[int, Meaning] = {
    401: native_error.KEY,
    402: native_error.NO_CREDIT,
    403: native_error.FORBIDDEN,
    404: native_error.NO_MODEL,
    429: native_error.RATE,
}
_RESETS = re.compile(r"resets in ~?(\d+)s")
_FLAGGED = re.compile(r"\bE005\b|NSFW|flagged as sensitive", re.IGNORECASE)
_NUMBER = re.compile(r"\b(E\d{3,4})\b")


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is: {title, detail}."""
    try:
        told = loads(body)
    except UpstreamGarbled:
        told = {}
    detail = told.get("detail")
    if not isinstance(detail, str) or not detail:
        return provider_error.parse_error(status, headers, body)
    if (resets := _RESETS.search(detail)) is not None:
        headers = {**headers, "retry-after": resets[1]}
    code = str(told.get("title") or "replicate_error")
    return native_error.refusal(code, detail.strip(), _MEANINGS.get(status), status=status, headers=headers)


def _failure(job: Json) -> UpstreamRejected:
    """Why a job has no answer."""
    message = as_text(job.get("error")) or f"The provider ended the job as {job.get('status')}."
    number = _NUMBER.search(message)
    meaning = native_error.FILTERED if _FLAGGED.search(message) else native_error.BROKEN
    return native_error.refusal(number[1] if number else str(job.get("status")), message, meaning)


# ---- jobs ----

_POLL_S = 2.0
_MOST_POLLS = 300
_RUNNING = ("starting", "processing", "queued")
_JSON = {"content-type": "application/json"}

Jobs = Generator[UpstreamRequest | Pause, WholeReply | None, WholeReply]


def _made(request: UpstreamRequest) -> Jobs:
    """The reply to making a job; a model that is not found by its name alone is tried by its latest version."""
    reply = yield request
    assert reply is not None
    root, found, name = request.url.removesuffix("/predictions").partition("/models/")
    if reply.status != 404 or not found:
        return reply
    looked_up = yield replace(request, method="GET", url=f"{root}/models/{name}", body=b"")
    assert looked_up is not None
    latest = loads(looked_up.body).get("latest_version") if looked_up.status == 200 else None
    if not isinstance(latest, dict) or not latest.get("id"):
        return reply
    body = {**loads(request.body), "version": latest["id"]}
    made = yield replace(request, url=f"{root}/predictions", body=dumps(body))
    assert made is not None
    return made


def _finished(request: UpstreamRequest, made: WholeReply) -> Jobs:
    """The reply that tells a job's end. Raises UpstreamUnreachable where it does not come in time."""
    root = _root(request.url)
    job = loads(made.body)
    if job.get("status") not in _RUNNING:
        return made
    id = quote(str(job.get("id")), safe="", errors="replace")
    ask = replace(request, method="GET", url=f"{root}/predictions/{id}", body=b"")
    for _ in range(_MOST_POLLS):
        reply = yield ask
        assert reply is not None
        if reply.status != 200 or loads(reply.body).get("status") not in _RUNNING:
            return reply
        yield Pause(_POLL_S)
    yield replace(ask, method="POST", url=ask.url + "/cancel")
    raise UpstreamUnreachable("The provider did not finish the job in time.", phase="first_byte")


def _root(url: str) -> str:
    """The API's address up to its version."""
    return url[: url.rindex("/models/") if "/models/" in url else url.rindex("/predictions")]


def _output(job: Json) -> Any:
    """What a job gave. Raises UpstreamRejected where it failed."""
    if job.get("status") != "succeeded":
        raise _failure(job)
    return job.get("output")


# ---- chat: the request ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chat:
    """How a family of models names what it takes; "" for what it does not take."""

    names: re.Pattern[str]
    system: str = "system_prompt"
    max_tokens: str = "max_tokens"
    stop: str = ""
    image: str = ""  # one picture
    images: str = ""  # a list of them
    effort: str = ""
    budget: str = ""
    plain: tuple[str, ...] = ("temperature", "top_p")


_LLAMAS = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")
_CHATS = (
    _Chat(
        names=re.compile(r"^openai/"),
        max_tokens="max_completion_tokens",
        images="image_input",
        effort="reasoning_effort",
        plain=("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    ),
    _Chat(
        names=re.compile(r"^google/gemini"),
        system="system_instruction",
        max_tokens="max_output_tokens",
        images="images",
        budget="thinking_budget",
    ),
    _Chat(names=re.compile(r"^anthropic/"), image="image", budget="thinking_budget_tokens", plain=()),
    _Chat(names=re.compile(r""), stop="stop_sequences", image="image", plain=_LLAMAS),
)


def _family(model: str) -> _Chat:
    return next(family for family in _CHATS if family.names.search(model))


def render_request(request: ir.ChatRequest) -> Json:
    family = _family(request.model)
    given: Json = {name: getattr(request, name) for name in family.plain}
    turns = request.messages
    if family.system:
        given[family.system] = "\n\n".join(plain_text(turn.parts) for turn in turns if turn.role == "system")
        turns = tuple(turn for turn in turns if turn.role != "system")
    given["prompt"] = _prompt(turns)
    given[family.max_tokens] = request.max_tokens
    given[family.stop] = ",".join(request.stop)
    pictures = [*_pictures(turns)]
    given[family.images] = pictures
    given[family.image] = pictures[-1] if pictures else None
    if (wish := request.thinking) is not None:
        given[family.effort] = wish.effort
        given[family.budget] = wish.budget_tokens
        if wish.budget_tokens and family.budget == "thinking_budget_tokens":
            given["extended_thinking"] = True
    given |= _own_input(own(request.extra))
    said = {name: value for name, value in given.items() if name and value not in (None, "", [])}
    return {"input": said, **_version(request.model), **({"stream": True} if request.stream else {})}


def _own_input(extra: Mapping[str, Any]) -> Json:
    """What the client says in Replicate's own names."""
    given = extra.get("input")
    return given if isinstance(given, dict) else {}


def _version(model: str) -> Json:
    _, _, version = model.partition(":")
    return {"version": version} if version else {}


def _prompt(turns: tuple[ir.Message, ...]) -> str:
    """The question as it is; a conversation as lines that name who speaks, up to the model's next."""
    if len(turns) == 1 and turns[0].role == "user":
        return _said(turns[0])
    return "\n".join([*(f"{turn.role}: {_said(turn)}" for turn in turns), "assistant:"])


def _said(turn: ir.Message) -> str:
    results = (plain_text(part.parts) for part in turn.parts if isinstance(part, ir.ToolResult))
    return "\n".join(filter(None, (plain_text(turn.parts), *results)))


def _pictures(turns: tuple[ir.Message, ...]) -> Iterator[str]:
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, ir.Image):
                yield part.url or data_url(part.media_type or "image/png", part.data)


def _drops(request: ir.ChatRequest) -> frozenset[str]:
    family = _family(request.model)
    lost = {name for name in _LLAMAS if name not in family.plain}
    if not family.stop:
        lost.add("stop")
    wish = request.thinking
    if wish is not None and not (family.effort and wish.effort) and not (family.budget and wish.budget_tokens):
        lost.add("thinking")
    if not family.images and len([*_pictures(request.messages)]) > 1:
        lost.add("images")
    return frozenset(lost)


# ---- chat: the answer ----


def chat_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """The stream as soon as there is one; the finished job where none was asked for, or the model cannot stream."""
    is_stream = bool(loads(request.body).get("stream"))
    made = yield from _made(request if is_stream else request.with_headers(prefer="wait"))
    if made.status not in (200, 201, 202):
        return made
    urls = loads(made.body).get("urls")
    place = urls.get("stream") if isinstance(urls, dict) and is_stream else None
    if (isinstance(place, str) and place.startswith("https://")) or (
        isinstance(place, str) and place.startswith("http://")
    ):
        # without our key, as the place is another host's and its name is secret enough
        return UpstreamRequest(method="GET", url=place, headers={"accept": "text/event-stream"})
    return replace((yield from _finished(request, made)), headers=_JSON)


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for a job that failed."""
    output = _output(body)
    pieces = output if isinstance(output, list) else [output]
    choice = {"delta": {"content": "".join(as_text(piece) for piece in pieces)}, "finish_reason": "stop"}
    metrics = body.get("metrics")
    counts = metrics if isinstance(metrics, dict) else {}
    usage = {"prompt_tokens": counts.get("input_token_count"), "completion_tokens": counts.get("output_token_count")}
    return openai_chat_answer.parse_response({"id": body.get("id"), "choices": [choice], "usage": usage})


class StreamParser:
    """Events named output, whose data is text as it is; done is the last."""

    __slots__ = ("_has_begun", "is_done")

    def __init__(self) -> None:
        self._has_begun = False
        self.is_done = False

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        match frame.event:
            case "error":
                raise _failure({"error": _detail(frame.data), "status": "failed"})
            case "done":
                reason = loads(frame.data or b"{}").get("reason")
                if reason:
                    raise _failure({"status": reason})
                self.is_done = True
            case "output":
                if not self._has_begun:
                    yield from self._begin()
                if text := frame.data.decode("utf-8", "replace"):
                    yield ir.Delta(0, text)

    def _begin(self) -> Iterator[ir.Event]:
        self._has_begun = True
        yield ir.Begin()
        yield ir.Open(0, ir.Text(""))

    def finish(self) -> Iterable[ir.Event]:
        if not self.is_done:
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        if not self._has_begun:
            yield from self._begin()
        yield ir.Close(0)
        yield ir.Finish("stop")


def _detail(data: bytes) -> str:
    """The words of an event of the kind error: JSON with a detail, or text."""
    try:
        return as_text(loads(data).get("detail"))
    except UpstreamGarbled:
        return data.decode("utf-8", "replace")


_CHAT = Codec(
    name="replicate_chat",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    has_model=False,
    cannot_carry=frozenset(
        {
            "audio",
            "audio_output",
            "files",
            "logit_bias",
            "logprobs",
            "may_call_in_parallel",
            "metadata",
            "n",
            "name",
            "response_format",
            "tool_choice",
            "tools",
            "top_logprobs",
            "user",
        }
    ),
    drops=_drops,
)

# ---- images ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pictures:
    """How a family of models takes size and number; what has no input for a number is asked several times."""

    names: re.Pattern[str]
    size: str = "ratio"  # ratio, pixels (width and height) or text (1024x1024)
    count: str = ""
    most: int = 1  # pictures that one job makes
    has_format: bool = False  # whether PNG may be asked for


_PICTURES = (
    _Pictures(names=re.compile(r"flux-(schnell|dev)"), count="num_outputs", most=4, has_format=True),
    _Pictures(names=re.compile(r"flux|stable-diffusion-3|/imagen|/qwen-image"), has_format=True),
    _Pictures(names=re.compile(r"^recraft-ai/|^openai/dall-e"), size="text"),
    _Pictures(names=re.compile(r"^openai/gpt-image"), count="number_of_images", most=10),
    _Pictures(
        names=re.compile(r"stable-diffusion|sdxl|playground|kandinsky|pixart|dreamshaper"),
        size="pixels",
        count="num_outputs",
        most=4,
    ),
    _Pictures(names=re.compile(r"")),
)
_RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
_MOST_IMAGES = 10
_OPENAIS = ("input", "stream", "partial_images", "moderation")  # fields that are no model's input here


def render_images(request: ir.ImageRequest) -> Json:
    """The input of a job, with how many jobs it takes. Raises InvalidRequest for a size that is none."""
    wanted = request.n or 1
    if not 1 <= wanted <= _MOST_IMAGES:
        raise InvalidRequest(f"At most {_MOST_IMAGES} pictures can be made.", param="n", code="n_not_within_range")
    family = next(family for family in _PICTURES if family.names.search(request.model))
    given: Json = {"prompt": request.prompt}
    if request.quality and request.model.startswith("openai/"):
        given["quality"] = request.quality
    if family.has_format:
        given["output_format"] = "png"
    if (size := openai_images.pixels(request.size)) is not None:
        given |= _size(*size, family.size)
    counts = [min(family.most, wanted - made) for made in range(0, wanted, family.most)]
    jobs = [{**given, family.count: count} if family.count and count > 1 else given for count in counts]
    more = {name: value for name, value in request.extra.items() if name not in _OPENAIS} | _own_input(request.extra)
    return {
        "jobs": [{"input": {**job, **more}, **_version(request.model)} for job in jobs],
        "response_format": request.response_format,
    }


def _size(width: int, height: int, way: str) -> Json:
    if way == "text":
        return {"size": f"{width}x{height}"}
    if way == "pixels":
        return {"width": width, "height": height}
    return {"aspect_ratio": nearest_ratio(width, height)}


def nearest_ratio(width: int, height: int) -> str:
    """The ratio among those that models take that is nearest to a size."""

    def distance(ratio: str) -> float:
        across, _, down = ratio.partition(":")
        return abs(math.log(width / height) - math.log(int(across) / int(down)))

    return min(_RATIOS, key=distance)


def image_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """All jobs are made, then each is waited for; links are followed where base64 is wanted."""
    request, wants_bytes = image_links.wish(request)
    jobs = loads(request.body)["jobs"]
    if len(jobs) == 1:
        request = request.with_headers(prefer="wait")
    made: list[WholeReply] = []
    for job in jobs:
        reply = yield from _made(replace(request, body=dumps(job)))
        if reply.status not in (200, 201, 202):
            return reply
        made.append(reply)
    found: list[str] = []
    for reply in made:
        last = yield from _finished(request, reply)
        if last.status not in (200, 201, 202):
            return last
        found += _links(_output(loads(last.body)))
    if not wants_bytes:
        return WholeReply(200, _JSON, dumps({"links": found}))
    remote = [link for link in found if not link.startswith("data:")]
    data = dict(zip(remote, (yield from image_links.fetched(remote)), strict=True))
    return WholeReply(200, _JSON, dumps({"links": found, "data": data}))


def _links(output: Any) -> list[str]:
    """Links of an output that is one, a list of them, or an object with some."""
    if isinstance(output, str):
        return [output] if output.startswith(("https://", "http://", "data:")) else []
    items = output.values() if isinstance(output, dict) else output
    return [link for item in items for link in _links(item)] if isinstance(output, dict | list) else []


def parse_images(body: Json) -> ir.ImageResponse:
    """Of the flow's links and what is behind them. Raises UpstreamGarbled where there are none."""
    links, data = body.get("links"), body.get("data")
    if not isinstance(links, list) or not links:
        raise UpstreamGarbled("The provider's answer has no images.")
    images = tuple(_image(str(link), data if isinstance(data, dict) else {}) for link in links)
    return ir.ImageResponse(images=images, usage=openai_images.usage_of(None, len(images)))


def _image(link: str, data: Mapping[str, Any]) -> ir.MadeImage:
    inline = split_data_url(link)
    if inline is not None:
        return ir.MadeImage(data=inline[1])
    return ir.MadeImage(data=str(data[link])) if link in data else ir.MadeImage(url=link)


_IMAGES = Codec(
    name="replicate_images",
    render_request=render_images,
    parse_response=parse_images,
    parse_error=parse_error,
    has_model=False,
)

# ---- where ----


def url(target: Target) -> str:
    """Where a job is made: at its model, or, for a version of one, where all are."""
    base = target.base_url.removesuffix("/models")
    root = base if base.endswith("/v1") else base + "/v1"
    name, _, version = target.model.partition(":")
    return f"{root}/predictions" if version else f"{root}/models/{quote(name, safe='/')}/predictions"


_CHAT_ENDPOINT = Endpoint(path="", codec=_CHAT, flow=chat_flow)
ADAPTORS = (
    Adaptor(
        type=46,
        name="replicate",
        label="Replicate",
        base_url="https://api.replicate.com/v1/models/",
        url=url,
        endpoints={
            "chat": _CHAT_ENDPOINT,
            "completions": _CHAT_ENDPOINT,
            "images": Endpoint(path="", codec=_IMAGES, flow=image_flow),
        },
        accepts=frozenset({"image_urls", "images"}),
        key_hint="r8_…",
        owner="replicate",
        models=default_models(46),
    ),
)
