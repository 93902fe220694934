"""DeepL: the last message is the text, and the model's name tells the language to translate it into.

Source: recorded exchanges, and spec relay.md §4.7, §8.18; the SDK deepl 1.32.0 for what they do not show: the list of
languages, the newer fields (read 2026-11-25). All that follows the first hyphen of the model is the language:
deepl-pt-BR. Keys that end in :fx are of the free plan, which has a host of its own; of DeepL's two hosts the key's is
taken. What is billed are the bytes of the text, as One API bills them; DeepL itself bills characters.

Read beyond OpenAI's fields: `source_lang`, `context`, `formality`, `glossary_id` and the others of `_OWN`.
Not carried: all messages but the last, and all else that a chat may ask for.
Not offered: streams (they are told from the whole answer), documents, other modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oneapi.errors import InvalidRequest, UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Endpoint,
    Flow,
    Headers,
    Json,
    UpstreamRequest,
    WholeReply,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.protocols import native_error, provider_error
from oneapi.relay.protocols.function_tools import plain_text
from oneapi.relay.protocols.native_error import Meaning
from oneapi.relay.protocols.openai_chat_parts import own
from oneapi.relay.protocols.provider_json import dumps, loads

# ---- errors ----

_CODE = "deepl_error"
_MEANINGS: Mapping[int, Meaning] = {
    403: native_error.KEY,
    429: native_error.RATE,
    456: native_error.NO_CREDIT,  # the plan's characters are used up
    529: native_error.RATE,
}


def parse_error(status: int, headers: Headers, body: bytes) -> UpstreamRejected:
    """The refusal an answer with this status is: {message}, or nothing at all."""
    found = provider_error.parse_error(status, headers, body)
    return native_error.refusal(_CODE, found.message, _MEANINGS.get(status), status=status, headers=headers)


# ---- translation ----

_DEFAULT_LANGUAGE = "ZH"
_OWN = (
    "context",
    "custom_instructions",
    "formality",
    "glossary_id",
    "ignore_tags",
    "model_type",
    "non_splitting_tags",
    "outline_detection",
    "preserve_formatting",
    "source_lang",
    "split_sentences",
    "splitting_tags",
    "style_id",
    "tag_handling",
    "tag_handling_version",
    "translation_memory_id",
    "translation_memory_threshold",
)


def render_request(request: ir.ChatRequest) -> Json:
    """Raises InvalidRequest where the last message has no text."""
    text = plain_text(request.messages[-1].parts) if request.messages else ""
    if not text:
        raise InvalidRequest("The last message must have a text to translate.", param="messages")
    given = own(request.extra)
    language = request.model.partition("-")[2] or _DEFAULT_LANGUAGE
    return {"text": [text], "target_lang": language, **{name: given[name] for name in _OWN if name in given}}


_BYTES = "source_bytes"  # our own field in the reply, which itself does not tell how long the text was


def flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """One call, whose answer is completed by the length of what was asked."""
    reply = yield request
    assert reply is not None
    if reply.status != 200:
        return reply
    texts = loads(request.body)["text"]
    length = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return replace(
        reply, headers={"content-type": "application/json"}, body=dumps({**loads(reply.body), _BYTES: length})
    )


def parse_response(body: Json) -> ir.ChatResponse:
    """Raises UpstreamRejected for an error inside a 200, UpstreamGarbled for an answer without a translation."""
    rows = body.get("translations")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        if isinstance(message := body.get("message"), str) and message:
            raise native_error.refusal(_CODE, message, None)
        raise UpstreamGarbled("The provider's answer has no translation.")
    text = "\n".join(str(row.get("text") or "") for row in rows)
    length = body.get(_BYTES)
    usage = ir.Usage(input_tokens=length, raw={_BYTES: length}) if isinstance(length, int) and length > 0 else None
    return ir.ChatResponse(choices=(ir.Choice(parts=(ir.Text(text),), finish_reason="stop"),), usage=usage)


_CHAT = Codec(
    name="deepl",
    render_request=render_request,
    parse_response=parse_response,
    parse_error=parse_error,
    has_model=False,
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

# ---- the account ----

_FREE, _PAID = "https://api-free.deepl.com/", "https://api.deepl.com/"


def sign(request: UpstreamRequest, credentials: Credentials, now: float) -> UpstreamRequest:
    """The key in DeepL's own scheme, at the host of its plan."""
    url = request.url
    if url.startswith((_FREE, _PAID)):
        path = url.removeprefix(_FREE).removeprefix(_PAID)
        url = (_FREE if credentials.key.endswith(":fx") else _PAID) + path
    return replace(request, url=url, headers={**request.headers, "Authorization": f"DeepL-Auth-Key {credentials.key}"})


def _get(path: str, base_url: str, credentials: Credentials, now: float) -> UpstreamRequest:
    return sign(UpstreamRequest(method="GET", url=base_url + path), credentials, now)


def balance_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    return (_get("/v2/usage", base_url, credentials, now),)


def parse_balance(replies: tuple[WholeReply, ...]) -> float:
    """Characters left. Raises UpstreamRejected, or UpstreamGarbled where the answer does not tell."""
    (reply,) = replies
    if reply.status != 200:
        raise parse_error(reply.status, reply.headers, reply.body)
    usage = loads(reply.body)
    limit, used = usage.get("character_limit"), usage.get("character_count")
    if not isinstance(limit, int) or not isinstance(used, int):
        raise UpstreamGarbled("The provider does not tell how many characters are left.")
    return float(limit - used)


def models_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    return (_get("/v2/languages?type=target", base_url, credentials, now),)


def parse_models(replies: tuple[WholeReply, ...]) -> tuple[str, ...]:
    """A model for each language. Raises UpstreamRejected, or UpstreamGarbled where the answer lists nothing."""
    (reply,) = replies
    if reply.status != 200:
        raise parse_error(reply.status, reply.headers, reply.body)
    languages = loads(b'{"all":%b}' % reply.body)["all"]
    if not isinstance(languages, list):
        raise UpstreamGarbled("The provider's answer lists no languages.")
    return tuple(f"deepl-{row['language']}" for row in languages if isinstance(row, dict) and row.get("language"))


ADAPTORS = (
    Adaptor(
        type=38,
        name="deepl",
        label="DeepL",
        base_url="https://api-free.deepl.com",
        endpoints={"chat": Endpoint(path="/v2/translate", codec=_CHAT, flow=flow)},
        sign=sign,
        accepts=frozenset({"image_urls"}),  # of which nothing is sent: so none is fetched for nothing
        has_stream_options=False,
        key_hint="API key; those of the free plan end in :fx",
        owner="deepl",
        models=default_models(38),
        balance_requests=balance_requests,
        parse_balance=parse_balance,
        balance_unit="characters",
        models_requests=models_requests,
        parse_models=parse_models,
    ),
)
