"""What a provider offers an account: the models it lists, asked with the channel's key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from oneapi.errors import InvalidRequest, UpstreamGarbled
from oneapi.relay.adaptor import Adaptor, Credentials, Target, UpstreamRequest, WholeReply
from oneapi.relay.exchange import Channel
from oneapi.relay.protocols.provider_error import parse_error
from oneapi.relay.protocols.provider_json import loads
from oneapi.relay.upstream import Upstream

_TIMEOUT_S = 20.0
_CHAT = "/chat/completions"


def may_list(adaptor: Adaptor) -> bool:
    """Whether providers of this type tell which models they have."""
    return adaptor.models_requests is not None or _openai_path(adaptor) != ""


def models(upstream: Upstream, channel: Channel, *, now: float) -> list[str]:
    """Ids in alphabetical order. Raises GatewayError: the provider's refusal, or that it has no such list."""
    adaptor = channel.adaptor
    credentials = Credentials(channel.key, channel.fields, upstream.token(channel))
    if adaptor.models_requests is not None and adaptor.parse_models is not None:
        requests = adaptor.models_requests(channel.base_url, credentials, now)
        replies = tuple(upstream.send_whole(request, channel, _TIMEOUT_S) for request in requests)
        return sorted(set(adaptor.parse_models(replies)))
    path = _openai_path(adaptor)
    if not path:
        raise InvalidRequest(f"Channels of type {adaptor.label} cannot be asked for their models.")
    target = Target(
        base_url=channel.base_url,
        path=path,
        model="",
        mode="chat",
        stream=False,
        fields=channel.fields,
        client_path="/v1/models",
    )
    request = UpstreamRequest(method="GET", url=adaptor.url(target), headers=adaptor.headers)
    return _openai_ids(upstream.send_whole(adaptor.sign(request, credentials, now), channel, _TIMEOUT_S))


def difference(channel: Channel, offered: Iterable[str], patterns: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The models that the channel lacks, and those of its own that the provider has not, in alphabetical order.

    A model that the channel asks for by another name is there as long as that name is. With `patterns` only what one of
    them matches is looked at.
    """
    has = set(offered)
    asked_for = {channel.model_mapping.get(model, model) for model in channel.models}
    lacking = has - asked_for - set(channel.models)
    gone = {model for model in channel.models if channel.model_mapping.get(model, model) not in has}
    matched = [{model for model in names if fits(model, patterns)} for names in (lacking, gone)]
    return sorted(matched[0]), sorted(matched[1])


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern of the shell matches the name; without patterns, any name does."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _openai_path(adaptor: Adaptor) -> str:
    """Where a provider of OpenAI's protocol lists its models: beside its chat. "" where it does not."""
    chat = adaptor.endpoints.get("chat")
    if chat is None or not chat.path.endswith(_CHAT) or "{model}" in chat.path:
        return ""
    return chat.path.removesuffix(_CHAT) + "/models"


def _openai_ids(reply: WholeReply) -> list[str]:
    if reply.status != 200:
        raise parse_error(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)
    body = loads(reply.body)
    rows = body.get("data") if isinstance(body, dict) else body
    if not isinstance(rows, list):
        raise UpstreamGarbled("The provider's list of models has no rows.")
    return sorted({str(row["id"]) for row in rows if isinstance(row, dict) and row.get("id")})
