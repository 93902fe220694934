"""The providers that speak OpenAI's protocol: 33 of One API's channel types, a row each.

Source: spec relay.md §7 and §8.1 (numbers, base URLs, paths, headers), spec management.md §9.2 (balances), and the
providers' own pages where a row says so. What follows the table is what single rows need.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from oneapi.errors import UpstreamGarbled
from oneapi.relay import ir
from oneapi.relay.adaptor import (
    Adaptor,
    Codec,
    Credentials,
    Edit,
    Endpoint,
    Field,
    Flow,
    FramingName,
    Headers,
    Json,
    Mode,
    Target,
    UpstreamRequest,
    WholeReply,
    bearer,
    header_key,
)
from oneapi.relay.adaptors import default_models
from oneapi.relay.edits import rename
from oneapi.relay.framing import Frame
from oneapi.relay.protocols import (
    compatible_error,
    hyperbolic,
    minimax,
    mistral,
    openai_audio,
    openai_chat,
    openai_chat_answer,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_moderations,
    provider_error,
    rerank,
    spark_error,
)
from oneapi.relay.protocols.provider_json import loads

# ---- endpoints ----

FlowOf = Callable[[UpstreamRequest, Credentials, float], Flow]

# Mode → path under the version segment, codec, framing.
_MODES: Mapping[Mode, tuple[str, Codec, FramingName]] = {
    "chat": ("/chat/completions", openai_chat.CODEC, "sse"),
    "completions": ("/completions", openai_completions.CODEC, "sse"),
    "edits": ("/edits", openai_completions.EDITS, "sse"),
    "embeddings": ("/embeddings", openai_embeddings.CODEC, "sse"),
    "moderations": ("/moderations", openai_moderations.CODEC, "sse"),
    "images": ("/images/generations", openai_images.CODEC, "sse"),
    "image_edits": ("/images/edits", openai_images.EDITS, "sse"),
    "image_variations": ("/images/variations", openai_images.EDITS, "sse"),
    "speech": ("/audio/speech", openai_audio.SPEECH, "raw"),
    "transcription": ("/audio/transcriptions", openai_audio.CODEC, "sse"),
    "translation": ("/audio/translations", openai_audio.CODEC, "sse"),
    "rerank": ("/rerank", rerank.CODEC, "sse"),
}
_OPENAI: tuple[Mode, ...] = tuple(mode for mode in _MODES if mode != "rerank")
_ALL: tuple[Mode, ...] = tuple(_MODES)


def endpoints(
    prefix: str,
    modes: Iterable[Mode],
    paths: Mapping[Mode, str],
    codecs: Mapping[Mode, Codec],
    flows: Mapping[Mode, FlowOf],
    parse_error: compatible_error.ParseError | None,
) -> dict[Mode, Endpoint]:
    """OpenAI's paths under `prefix`; `paths` are the whole paths of modes that have one of their own."""
    made: dict[Mode, Endpoint] = {}
    for mode in modes:
        path, codec, framing = _MODES[mode]
        codec = codecs.get(mode, codec)
        if parse_error is not None:
            codec = replace(codec, parse_error=parse_error)
        made[mode] = Endpoint(path=paths.get(mode, prefix + path), codec=codec, framing=framing, flow=flows.get(mode))
    return made


def by_client(target: Target) -> str:
    """Base URL and path, with the client's query where it asked for that very path."""
    url = target.base_url + target.path
    if target.client_query and target.client_path.endswith(target.path.removeprefix("/v1")):
        url += "?" + target.client_query
    return url


# ---- OpenAI ----

_REASONING_MODEL = re.compile(r"^(?:o[1-9]|gpt-[5-9]|codex)")
_CLOUDFLARE = "https://gateway.ai.cloudflare.com"


def openai_edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    """o-series and gpt-5 refuse `max_tokens` (spec relay.md §8.1); old image models have limits."""
    if mode == "chat" and _REASONING_MODEL.match(model):
        return (rename("max_tokens", "max_completion_tokens"),)
    return openai_images.checked(model) if mode == "images" else ()


def image_edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    """Known limits of image models, on servers whose models only their operator knows."""
    return openai_images.checked(model) if mode == "images" else ()


def openai_url(target: Target) -> str:
    """A Cloudflare gateway's base URL ends where OpenAI's has /v1."""
    if target.base_url.startswith(_CLOUDFLARE):
        return by_client(replace(target, path=target.path.removeprefix("/v1")))
    return by_client(target)


# ---- Azure ----
# Source: https://learn.microsoft.com/azure/ai-foundry/openai/reference (read 2026-11-25).

_AZURE_DEFAULT_VERSION = "2024-10-21"
_AZURE_DOTS_KEPT: frozenset[Mode] = frozenset(
    {"images", "image_edits", "image_variations", "speech", "transcription", "translation"}
)


def azure_url(target: Target) -> str:
    """A deployment's path with the API version; under a base URL that ends in /openai/v1 the plain path."""
    path = target.path.removeprefix("/v1")
    if target.base_url.endswith("/openai/v1"):
        return target.base_url + path
    asked = parse_qs(target.client_query).get("api-version", [""])[0]
    version = asked or target.fields.get("api_version") or _AZURE_DEFAULT_VERSION
    deployment = target.model if target.mode in _AZURE_DOTS_KEPT else target.model.replace(".", "")
    root = "" if target.base_url.startswith(_CLOUDFLARE) else "/openai/deployments"
    return f"{target.base_url}{root}/{quote(deployment, safe='')}{path}?{urlencode({'api-version': version})}"


def azure_may_ask_usage(fields: Mapping[str, str]) -> bool:
    """`stream_options` is known since 2024-09-01-preview."""
    return (fields.get("api_version") or _AZURE_DEFAULT_VERSION)[:10] >= "2024-09-01"


# ---- Mistral ----


def mistral_edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    return mistral.EMBEDDINGS if mode == "embeddings" else ()


# ---- MiniMax ----

_TAKES_SCHEMAS = re.compile(r"^MiniMax-M\d")


def minimax_edits(model: str, mode: Mode) -> tuple[Edit, ...]:
    return (minimax.schemas_as_text,) if mode == "chat" and not _TAKES_SCHEMAS.match(model) else ()


# ---- DeepSeek ----
# Source: https://api-docs.deepseek.com/guides/chat_prefix_completion (a copy of it, read 2026-11-25) and recorded
# exchanges: what is in beta is served under a path of its own.


def deepseek_flow(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """An answer whose beginning is given, and tools that are held to their schemas, are asked for in the beta."""
    yield from ()  # it makes no calls of its own
    if (b'"prefix"' in request.body or b'"strict"' in request.body) and _wants_beta(loads(request.body)):
        return replace(request, url=request.url.replace("/v1/chat/completions", "/beta/chat/completions"))
    return request


def _wants_beta(body: Json) -> bool:
    messages, tools = body.get("messages"), body.get("tools")
    last = messages[-1] if isinstance(messages, list) and messages else None
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    is_strict = any(isinstance(function, dict) and function.get("strict") for function in functions)
    return is_strict or (isinstance(last, dict) and bool(last.get("prefix")))


# ---- iFlytek Spark ----
# Source: https://www.xfyun.cn/doc/spark/X1http.html (read 2026-11-25): models of the X series have paths of their own.

_SPARK_PATHS: Mapping[str, str] = {"x1": "/v2", "spark-x": "/x2"}


class SparkWatcher(openai_chat.Watcher):
    """OpenAI's, with Spark's errors."""

    __slots__ = ()

    def feed(self, frame: Frame) -> int:
        spark_error.raise_error(frame.data)
        return super().feed(frame)


class SparkParser(openai_chat_answer.StreamParser):
    """OpenAI's, with Spark's errors."""

    __slots__ = ()

    def feed(self, frame: Frame) -> Iterable[ir.Event]:
        spark_error.raise_error(frame.data)
        return super().feed(frame)


def spark_parse_response(body: Json) -> ir.ChatResponse:
    if (refusal := spark_error.error_in(body)) is not None:
        raise refusal
    return openai_chat_answer.parse_response(body)


def spark_read_usage(body: bytes, headers: Headers) -> ir.Usage | None:
    spark_error.raise_error(body)
    return openai_chat.read_usage(body, headers)


def spark_url(target: Target) -> str:
    path = _SPARK_PATHS.get(target.model)
    return by_client(target if path is None else replace(target, path=path + target.path.removeprefix("/v1")))


SPARK_CHAT = replace(
    openai_chat.CODEC,
    watcher=SparkWatcher,
    stream_parser=SparkParser,
    parse_response=spark_parse_response,
    read_usage=spark_read_usage,
    parse_error=spark_error.parse_error,
)

# ---- balances ----

Requests = Callable[[str, Credentials, float], tuple[UpstreamRequest, ...]]
Balance = Callable[[tuple[WholeReply, ...]], float]


def _get(url: str, credentials: Credentials, now: float) -> UpstreamRequest:
    return bearer(UpstreamRequest(method="GET", url=url), credentials, now)


def _balance_at(path: str) -> Requests:
    """One GET; a path without a host is the channel's own."""

    def requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
        return (_get(path if path.startswith("https://") else base_url + path, credentials, now),)

    return requests


def _amount(reply: WholeReply, *path: str) -> float:
    """The number at a path of a reply's JSON. Raises UpstreamRejected, or UpstreamGarbled where there is none."""
    value: Any = _json(reply)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UpstreamGarbled(f"The provider's balance has no number at {'.'.join(path)}.") from error


def _json(reply: WholeReply) -> Json:
    if reply.status != 200:
        raise provider_error.parse_error(reply.status, reply.headers, reply.body)
    return loads(reply.body)


def _balance_from(*path: str) -> Balance:
    return lambda replies: _amount(replies[0], *path)


def openai_balance_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    """The subscription, this month's usage, and that of 100 days, which counts where no payment method is known."""
    today = datetime.fromtimestamp(now, UTC).date()
    usage = f"{base_url}/v1/dashboard/billing/usage?start_date=%s&end_date={today.isoformat()}"
    return (
        _get(f"{base_url}/v1/dashboard/billing/subscription", credentials, now),
        _get(usage % today.replace(day=1).isoformat(), credentials, now),
        _get(usage % (today - timedelta(days=100)).isoformat(), credentials, now),
    )


def openai_balance(replies: tuple[WholeReply, ...]) -> float:
    subscription, month, hundred_days = replies
    has_payment_method = _json(subscription).get("has_payment_method")
    used = _amount(month if has_payment_method else hundred_days, "total_usage")
    return _amount(subscription, "hard_limit_usd") - used / 100


def openai_sb_balance_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    key = urlencode({"api_key": credentials.key})
    return (_get(f"https://api.openai-sb.com/sb-api/user/status?{key}", credentials, now),)


def openai_sb_balance(replies: tuple[WholeReply, ...]) -> float:
    answer = _json(replies[0])
    if not answer.get("data"):
        raise UpstreamGarbled(f"The provider gives no balance: {answer.get('msg') or 'no reason given'}.")
    return _amount(replies[0], "data", "credit")


def ai_proxy_balance_requests(base_url: str, credentials: Credentials, now: float) -> tuple[UpstreamRequest, ...]:
    request = UpstreamRequest(method="GET", url="https://aiproxy.io/api/report/getUserOverview")
    return (header_key("Api-Key")(request, credentials, now),)


def ai_proxy_balance(replies: tuple[WholeReply, ...]) -> float:
    answer = _json(replies[0])
    if not answer.get("success"):
        raise UpstreamGarbled(f"The provider gives no balance: {answer.get('message') or 'no reason given'}.")
    return _amount(replies[0], "data", "totalPoints")


def openrouter_balance(replies: tuple[WholeReply, ...]) -> float:
    return _amount(replies[0], "data", "total_credits") - _amount(replies[0], "data", "total_usage")


def deepseek_balance(replies: tuple[WholeReply, ...]) -> float:
    """The entry in CNY, else that in USD."""
    try:
        by_currency = {entry["currency"]: entry["total_balance"] for entry in _json(replies[0])["balance_infos"]}
        return float(by_currency["CNY"] if "CNY" in by_currency else by_currency["USD"])
    except (KeyError, TypeError, ValueError) as error:
        raise UpstreamGarbled("The provider gives no balance in CNY or USD.") from error


def siliconflow_balance(replies: tuple[WholeReply, ...]) -> float:
    answer = _json(replies[0])
    if answer.get("code") != 20000:
        raise UpstreamGarbled(f"The provider gives no balance: {answer.get('message') or 'no reason given'}.")
    return _amount(replies[0], "data", "totalBalance")


# ---- the table ----


def row(
    type: int,
    name: str,
    label: str,
    base_url: str = "",
    *,
    modes: Iterable[Mode] = _OPENAI,
    prefix: str = "/v1",
    paths: Mapping[Mode, str] | None = None,
    codecs: Mapping[Mode, Codec] | None = None,
    flows: Mapping[Mode, FlowOf] | None = None,
    parse_error: compatible_error.ParseError | None = None,
    owner: str = "openai",
    **rest: Any,
) -> Adaptor:
    """An adaptor for OpenAI's protocol. `paths` are whole paths of modes whose path is not OpenAI's, `codecs` and
    `flows` those of modes that are not quite OpenAI's, and `parse_error` reads the errors of all modes."""
    declared = {
        "url": by_client,
        "edits": image_edits,
        "accepts": frozenset({"image_urls", "images", "audio", "files"}),
        "key_hint": "API key",
        "models": default_models(type),
        **rest,
    }
    return Adaptor(
        type=type,
        name=name,
        label=label,
        base_url=base_url,
        endpoints=endpoints(prefix, modes, paths or {}, codecs or {}, flows or {}, parse_error),
        owner=owner,
        **declared,
    )


def reseller(type: int, name: str, label: str, base_url: str, **rest: Any) -> Adaptor:
    """A service that sells OpenAI's models through OpenAI's API."""
    return row(type, name, label, base_url, modes=_ALL, edits=openai_edits, is_listed=False, **rest)


ADAPTORS = (
    row(
        1,
        "openai",
        "OpenAI",
        "https://api.openai.com",
        url=openai_url,
        edits=openai_edits,
        balance_requests=openai_balance_requests,
        parse_balance=openai_balance,
        balance_unit="USD",
    ),
    reseller(2, "api2d", "API2D", "https://oa.api2d.net"),
    row(
        3,
        "azure",
        "Azure OpenAI",
        modes=(mode for mode in _OPENAI if mode != "image_variations"),
        url=azure_url,
        sign=header_key("api-key"),
        edits=openai_edits,
        may_ask_usage=azure_may_ask_usage,
        fields=(
            Field(
                name="api_version",
                label="API version",
                hint="Not used where the base URL ends in /openai/v1.",
                default=_AZURE_DEFAULT_VERSION,
            ),
        ),
        legacy_field="api_version",
        owner="azure",
        is_listed=False,
        note="The base URL is the resource's: https://NAME.openai.azure.com. A model is a deployment's name.",
    ),
    reseller(
        4,
        "closeai",
        "CloseAI",
        "https://api.closeai-proxy.xyz",
        balance_requests=_balance_at("/dashboard/billing/credit_grants"),
        parse_balance=_balance_from("total_available"),
        balance_unit="CNY",
    ),
    reseller(
        5,
        "openai_sb",
        "OpenAI-SB",
        "https://api.openai-sb.com",
        balance_requests=openai_sb_balance_requests,
        parse_balance=openai_sb_balance,
        balance_unit="CNY/10000",
    ),
    reseller(6, "openai_max", "OpenAI Max", "https://api.openaimax.com"),
    reseller(7, "ohmygpt", "OhMyGPT", "https://api.ohmygpt.com"),
    row(
        8,
        "custom",
        "Custom",
        modes=_ALL,
        flows={"images": hyperbolic.image_flow},
        is_listed=False,
        balance_requests=openai_balance_requests,
        parse_balance=openai_balance,
        balance_unit="USD",
        note="The base URL ends before /v1. Where it ends in another version, choose OpenAI compatible.",
    ),
    reseller(9, "ails", "AI.LS", "https://api.caipacity.com"),
    reseller(
        10,
        "ai_proxy",
        "AI Proxy",
        "https://api.aiproxy.io",
        balance_requests=ai_proxy_balance_requests,
        parse_balance=ai_proxy_balance,
    ),
    reseller(
        12,
        "api2gpt",
        "API2GPT",
        "https://api.api2gpt.com",
        balance_requests=_balance_at("https://api.api2gpt.com/dashboard/billing/credit_grants"),
        parse_balance=_balance_from("total_remaining"),
        balance_unit="CNY",
    ),
    reseller(
        13,
        "aigc2d",
        "AIGC2D",
        "https://api.aigc2d.com",
        balance_requests=_balance_at("https://api.aigc2d.com/dashboard/billing/credit_grants"),
        parse_balance=_balance_from("total_available"),
    ),
    row(19, "ai360", "360 Zhinao", "https://ai.360.cn", owner="360"),
    row(
        20,
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api",
        modes=_ALL,
        parse_error=compatible_error.OPENROUTER,
        headers={"HTTP-Referer": "https://github.com/songquanpeng/one-api", "X-Title": "One API"},
        owner="openrouter",
        is_listed=False,
        balance_requests=_balance_at("https://openrouter.ai/api/v1/credits"),
        parse_balance=openrouter_balance,
        balance_unit="USD",
    ),
    row(
        22,
        "fastgpt",
        "FastGPT knowledge base",
        "https://fastgpt.run/api/openapi",
        is_listed=False,
        key_hint="APIKey-AppId, for instance fastgpt-…-64f6…",
    ),
    row(
        25,
        "moonshot",
        "Moonshot AI",
        "https://api.moonshot.cn",
        parse_error=compatible_error.MOONSHOT,
        owner="moonshot",
    ),
    row(26, "baichuan", "Baichuan", "https://api.baichuan-ai.com", owner="baichuan"),
    row(
        27,
        "minimax",
        "MiniMax",
        "https://api.minimax.chat",
        modes=("chat", "embeddings", "speech"),
        paths={"chat": "/v1/text/chatcompletion_v2", "speech": "/v1/t2a_v2"},
        codecs={"chat": minimax.CHAT, "embeddings": minimax.EMBEDDINGS},
        flows={"speech": minimax.speech_flow},
        edits=minimax_edits,
        has_stream_options=False,  # usage comes unasked with the last chunk
        owner="minimax",
    ),
    row(
        28,
        "mistral",
        "Mistral AI",
        "https://api.mistral.ai",
        codecs={"chat": mistral.CHAT},
        flows={"speech": mistral.speech_flow},
        edits=mistral_edits,
        parse_error=compatible_error.MISTRAL,
        has_stream_options=False,
        owner="mistralai",
    ),
    row(29, "groq", "Groq", "https://api.groq.com/openai", owner="groq"),
    row(31, "lingyiwanwu", "01.AI LingYiWanWu", "https://api.lingyiwanwu.com", owner="lingyiwanwu"),
    row(32, "stepfun", "StepFun", "https://api.stepfun.com", owner="stepfun"),
    row(
        36,
        "deepseek",
        "DeepSeek",
        "https://api.deepseek.com",
        # Text completions (prefix and suffix) are its beta, under a path of their own.
        paths={"completions": "/beta/completions"},
        flows={"chat": deepseek_flow},
        parse_error=compatible_error.DEEPSEEK,
        owner="deepseek",
        balance_requests=_balance_at("https://api.deepseek.com/user/balance"),
        parse_balance=deepseek_balance,
        balance_unit="CNY",
    ),
    row(
        39,
        "together",
        "together.ai",
        "https://api.together.xyz",
        modes=_ALL,
        parse_error=compatible_error.TOGETHER,
        owner="together.ai",
    ),
    row(
        40,
        "doubao",
        "ByteDance Volcengine Ark (Doubao)",
        "https://ark.cn-beijing.volces.com",
        modes=("chat", "embeddings", "images"),
        prefix="/api/v3",
        parse_error=compatible_error.DOUBAO,
        owner="doubao",
    ),
    row(
        41,
        "novita",
        "Novita",
        "https://api.novita.ai/v3/openai",
        modes=("chat", "completions", "embeddings"),
        prefix="",
        parse_error=compatible_error.novita,
        owner="novita",
    ),
    row(
        44,
        "siliconflow",
        "SiliconFlow",
        "https://api.siliconflow.cn",
        modes=_ALL,
        parse_error=compatible_error.SILICONFLOW,
        owner="siliconflow",
        balance_requests=_balance_at("https://api.siliconflow.cn/v1/user/info"),
        parse_balance=siliconflow_balance,
        balance_unit="CNY",
    ),
    row(45, "xai", "xAI", "https://api.x.ai", parse_error=compatible_error.XAI, owner="xai"),
    row(
        47,
        "baidu_v2",
        "Baidu Qianfan V2 (OpenAI-compatible)",
        "https://qianfan.baidubce.com",
        modes=("chat", "embeddings", "rerank"),
        prefix="/v2",
        paths={"rerank": "/v2/rerankers"},
        owner="baiduv2",
    ),
    row(
        48,
        "xunfei_v2",
        "iFlytek Spark V2 (HTTP, OpenAI-compatible)",
        "https://spark-api-open.xf-yun.com",
        url=spark_url,
        codecs={"chat": SPARK_CHAT},
        has_stream_options=False,  # usage comes unasked with the last chunk
        owner="xunfeiv2",
    ),
    row(
        49,
        "ali_bailian",
        "Ali Bailian (OpenAI-compatible)",
        "https://dashscope.aliyuncs.com",
        modes=("chat", "completions", "embeddings"),
        prefix="/compatible-mode/v1",
        owner="alibailian",
        is_listed=False,
    ),
    row(
        50,
        "openai_compatible",
        "OpenAI compatible (full base URL)",
        modes=_ALL,
        flows={"images": hyperbolic.image_flow},
        prefix="",
        is_listed=False,
        note="The base URL includes the version, for instance https://host/v1.",
    ),
    row(
        51,
        "gemini_openai",
        "Google Gemini (OpenAI-compatible)",
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        prefix="",
        owner="geminiv2",
        is_listed=False,
    ),
)
