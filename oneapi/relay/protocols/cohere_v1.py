"""Chat as version 1 of Cohere's API had it, for the one thing that version 2 has not: a search of the web.

Source: recorded exchanges, spec relay.md §8.16, https://docs.cohere.com/changelog/2025-09-15-major-command-deprecations
(read 2026-11-25). One API's models whose name ends in -internet ask for the connector `web-search`. Cohere deprecated
connectors on 2025-09-15, and no longer serves the models of that time; where an account may still use them, this is the
way.

A stream is one JSON object per line. Not carried beyond what version 2 has no place for: tools and their choice (calls
and results of earlier turns go along as text), pictures, thinking, a response format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Json
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import cohere, openai_chat_answer
from oneapi.relay.protocols.cohere_error import error_in, parse_error
from oneapi.relay.protocols.function_tools import plain_text
from oneapi.relay.protocols.openai_shaped import ShapedParser
from oneapi.relay.protocols.provider_json import loads

SEARCHING = "-internet"

_ROLES = {"system": "SYSTEM", "user": "USER", "assistant": "CHATBOT", "tool": "USER"}

# ---- the request ----


def render_request(request: ir.ChatRequest) -> Json:
    """The last question is the message, all other turns are its history. Raises InvalidRequest where nobody asks."""
    turns = request.messages
    asked = next((at for at in reversed(range(len(turns))) if turns[at].role == "user"), None)
    if asked is None:
        raise InvalidRequest("The provider wants a message of the user's.", param="messages")
    return {
        "model": request.model.removesuffix(SEARCHING),
        "message": _text(turns[asked]),
        "chat_history": [
            {"role": _ROLES[turn.role], "message": _text(turn)} for at, turn in enumerate(turns) if at != asked
        ],
        "connectors": [{"id": "web-search"}],
        "stream": request.stream,
        **cohere.render_sampling(request),
    }


def _text(turn: ir.Message) -> str:
    pieces = [plain_text(turn.parts)]
    for part in turn.parts:
        match part:
            case ir.ToolCall():
                pieces.append(f"{part.name}({part.arguments})")
            case ir.ToolResult():
                pieces.append(plain_text(part.parts))
    return "\n".join(filter(None, pieces))


# ---- the answer ----


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without a text."""
    if not isinstance(body.get("text"), str):
        raise error_in(body) or UpstreamGarbled("The provider's answer has no text.")
    delta = {
        "content": body["text"],
        "annotations": [*_annotations(body.get("citations"), _by_id(body.get("documents")))],
    }
    choice = {"delta": delta, "finish_reason": cohere.finish_reason(body.get("finish_reason"))}
    return openai_chat_answer.parse_response(
        {"id": body.get("response_id"), "choices": [choice], "usage": cohere.usage(body.get("meta"))}
    )


class StreamParser(ShapedParser):
    """Events of a stream; the last tells the whole answer once more, of which the counts are read."""

    __slots__ = ("_documents", "_id")

    def __init__(self) -> None:
        super().__init__()
        self._documents: dict[str, Json] = {}
        self._id: Any = None

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        if not frame.data:
            return ()
        event = loads(frame.data)
        match event.get("event_type"):
            case "stream-start":
                self._id = event.get("generation_id")
                return self.feed_chunk(self._told({}))
            case "search-results":
                self._documents |= _by_id(event.get("documents"))
            case "text-generation":
                return self.feed_chunk(self._told({"content": event.get("text")}))
            case "citation-generation":
                return self.feed_chunk(
                    self._told({"annotations": [*_annotations(event.get("citations"), self._documents)]})
                )
            case "stream-end":
                self.is_done = True
                answer = event.get("response")
                answer = answer if isinstance(answer, dict) else {}
                reason = cohere.finish_reason(event.get("finish_reason"), event.get("error"))
                return self.feed_chunk({**self._told({}, reason), "usage": cohere.usage(answer.get("meta"))})
            case None if (error := error_in(event)) is not None:
                raise error
        return ()

    def _told(self, delta: Json, reason: str | None = None) -> Json:
        return {"id": self._id, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _by_id(documents: Any) -> dict[str, Json]:
    found = documents if isinstance(documents, list) else ()
    return {str(document.get("id")): document for document in found if isinstance(document, dict)}


def _annotations(citations: Any, documents: dict[str, Json]) -> Iterator[Json]:
    """Citations in version 1 name their documents; version 2's have them inside."""
    for citation in citations if isinstance(citations, list) else ():
        if not isinstance(citation, dict):
            continue
        names = citation.get("document_ids")
        named = [str(name) for name in names] if isinstance(names, list) else []
        sources = [{"id": name, "document": documents.get(name)} for name in named]
        yield from cohere.cited([{"start": citation.get("start"), "end": citation.get("end"), "sources": sources}])


CODEC = Codec(
    name="cohere_chat_v1",
    render_request=render_request,
    parse_response=parse_response,
    stream_parser=StreamParser,
    parse_error=parse_error,
    cannot_carry=cohere.NOT_CARRIED | {"images", "response_format", "thinking", "tool_choice", "tools"},
)
