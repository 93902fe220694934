"""AI Proxy's knowledge library: questions to documents that its owner has put there.

Source: spec relay.md §8.14; the service publishes no documentation any more. The last message is the question; the
documents that the answer rests on follow it as a numbered list of links, as One API shows them, and are its
annotations.

Not carried: all messages but the last, and all else that a chat may ask for. The service tells no usage: both sides are
counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Adaptor, Codec, Edit, Endpoint, Field, Headers, Json, Mode
from oneapi.relay.adaptors import default_models
from oneapi.relay.edits import setting
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import native_error, provider_error
from oneapi.relay.protocols.function_tools import plain_text
from oneapi.relay.protocols.provider_json import loads

# ---- errors ----


def error_in(body: Json, status: int = 500, headers: Headers | None = None) -> UpstreamRejected | None:
    """The refusal in {errCode, message}; None where the code is 0 or there is none."""
    code = body.get("errCode")
    if not isinstance(code, int) or code == 0:
        return None
    known = code if 400 <= code <= 599 else status
    return native_error.refusal(code, str(body.get("message") or ""), None, status=known, headers=headers)


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is."""
    try:
        error = error_in(loads(body), status, headers)
    except UpstreamGarbled:
        error = None
    return error or provider_error.parse_error(status, headers, body)


# ---- the request ----


def render_request(request: ir.ChatRequest) -> Json:
    """The library's id is the channel's: see `with_library`. Raises InvalidRequest where nothing is asked."""
    query = plain_text(request.messages[-1].parts) if request.messages else ""
    if not query:
        raise InvalidRequest("The last message must have a text to ask.", param="messages")
    return {"model": request.model, "query": query, "stream": request.stream}


def with_library(fields: Mapping[str, str], model: str, mode: Mode) -> tuple[Edit, ...]:
    return (setting("libraryId", fields.get("library_id", "")),)


# ---- the answer ----

_HEADING = "\n\n参考文档：\n"


def _links(documents: Any) -> tuple[str, tuple[ir.Extra, ...]]:
    """The documents as a numbered list under a heading, and as annotations in OpenAI's shape."""
    known = [item for item in documents if isinstance(item, dict)] if isinstance(documents, list) else []
    pairs = [(str(item.get("title") or ""), str(item.get("url") or "")) for item in known]
    if not pairs:
        return "", ()
    lines = [f"{number}. [{title}]({url})\n" for number, (title, url) in enumerate(pairs, 1)]
    notes = tuple({"type": "url_citation", "url_citation": {"title": title, "url": url}} for title, url in pairs)
    return _HEADING + "".join(lines), notes


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without one."""
    if (error := error_in(body)) is not None:
        raise error
    answer = body.get("answer")
    if not isinstance(answer, str):
        raise UpstreamGarbled("The provider's answer has no text.")
    more, notes = _links(body.get("documents"))
    text = ir.Text(answer + more, notes)
    return ir.ChatResponse(choices=(ir.Choice(parts=(text,), finish_reason="stop"),))


class StreamParser:
    """Events whose data is {content, finish, model, documents}; the documents may come with any of them."""

    __slots__ = ("_documents", "_has_begun", "_has_finished", "is_done")

    def __init__(self) -> None:
        self._documents: Any = None
        self._has_begun = False
        self._has_finished = False
        self.is_done = False

    def feed(self, frame: Frame) -> Iterator[ir.Event]:
        data = frame.data.strip()
        if not data:
            return
        if data[:6] == b"[DONE]":
            self._has_finished = self.is_done = True
            return
        body = loads(data)
        if (error := error_in(body)) is not None:
            raise error
        if not self._has_begun:
            self._has_begun = True
            yield ir.Begin(model=str(body.get("model") or ""))
            yield ir.Open(0, ir.Text(""))
        self._documents = body.get("documents") or self._documents
        self._has_finished = self._has_finished or body.get("finish") is True
        if isinstance(text := body.get("content"), str) and text:
            yield ir.Delta(0, text)

    def finish(self) -> Iterable[ir.Event]:
        """Raises UpstreamGarbled for a stream that ended before it was finished."""
        if not self._has_begun or not self._has_finished:
            raise UpstreamGarbled("The provider's stream ended before the answer was complete.")
        more, notes = _links(self._documents)
        if more:
            yield ir.Delta(0, more)
            yield ir.Amend(0, ir.Text("", notes))
        yield ir.Close(0)
        yield ir.Finish("stop")


_CHAT = Codec(
    name="aiproxy_library",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    cannot_carry=frozenset(
        {
            "audio",
            "audio_output",
            "files",
            "frequency_penalty",
            "images",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "may_call_in_parallel",
            "metadata",
            "n",
            "name",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "temperature",
            "thinking",
            "tool_choice",
            "tools",
            "top_k",
            "top_logprobs",
            "top_p",
            "user",
        }
    ),
)

ADAPTORS = (
    Adaptor(
        type=21,
        name="ai_proxy_library",
        label="AI Proxy knowledge library",
        base_url="https://api.aiproxy.io",
        endpoints={"chat": Endpoint(path="/api/library/ask", codec=_CHAT)},
        field_edits=with_library,
        accepts=frozenset({"image_urls"}),  # of which nothing is sent: so none is fetched for nothing
        has_stream_options=False,
        fields=(Field(name="library_id", label="Library ID", is_required=True),),
        legacy_field="library_id",
        key_hint="API key",
        owner="aiproxy",
        models=default_models(21),
        is_listed=False,
    ),
)
