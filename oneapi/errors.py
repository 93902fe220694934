"""The errors this program raises, and what each means to a client.

    GatewayError 500 server_error
    ├── InvalidRequest 400              ├── NotFound 404
    │   └── TooLarge 413, TooSlow 408   ├── RateLimited 429
    ├── Unauthenticated 401             ├── NotImplementedHere 501
    ├── Forbidden 403                   ├── NoChannel 503
    │   └── InsufficientQuota 403       └── Unavailable 503 (our database is away, or we are draining)
    └── UpstreamError 502
        ├── UpstreamUnreachable 504     no connection, or silence beyond a limit
        ├── UpstreamGarbled 502         an answer that cannot be understood
        └── UpstreamRejected            the provider's own refusal, with its status; 502 where it is about our key

Raised where the matter is known, caught once per door, which makes the envelope of its API. Messages are for the
reader: what happened, to which thing, what to do. They hold no key and nobody else's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from greenlet import GreenletExit


class GatewayError(Exception):
    """Anything that ends a call with an error the client is told about.

    `type` and `code` are the tree's names, for logs and dialects other than OpenAI's; `code` may be set per raise
    where One API has a code of its own (spec relay.md §1.11).
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "server_error"
    # One API answers token and distribution errors without `param` and `code` (spec relay.md §1.10).
    is_bare: ClassVar[bool] = False

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def client_status(self) -> int:
        """The HTTP status the client is given."""
        return self.status


class InvalidRequest(GatewayError):
    """The client's request cannot be served as it stands; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_text_request"


class TooLarge(InvalidRequest):
    status = 413
    default_code = "request_too_large"


class TooSlow(InvalidRequest):
    """The request's body did not arrive in time."""

    status = 408
    default_code = "request_timeout"


class Unauthenticated(GatewayError):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"
    is_bare = True


class Forbidden(GatewayError):
    status = 403
    type = "permission_error"
    default_code = "forbidden"
    is_bare = True


class InsufficientQuota(Forbidden):
    """The user's balance, or the token's, does not cover what the request may cost."""

    type = "insufficient_quota"
    default_code = "insufficient_user_quota"
    is_bare = False


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class RateLimited(GatewayError):
    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class NotImplementedHere(GatewayError):
    status = 501
    type = "invalid_request_error"
    default_code = "api_not_implemented"


class NoChannel(GatewayError):
    """No enabled channel serves the model for the caller's group."""

    status = 503
    type = "service_unavailable"
    default_code = "no_available_channel"
    is_bare = True


class Unavailable(GatewayError):
    """This node cannot take the request now: the database is away, or the node is stopping."""

    status = 503
    type = "service_unavailable"
    default_code = "service_unavailable"

    def __init__(self, message: str, *, retry_after_s: float = 5, code: str | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s, code=code)


class UpstreamError(GatewayError):
    """The provider failed. `upstream_status` is its HTTP status, 0 where none came."""

    status = 502
    type = "upstream_error"
    default_code = "do_request_failed"
    upstream_status: int = 0


class UpstreamUnreachable(UpstreamError):
    """No connection, or silence beyond a limit. `phase`: connect, first_byte or idle."""

    status = 504

    def __init__(self, message: str, *, phase: str = "connect", code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.phase = phase


class UpstreamGarbled(UpstreamError):
    """The provider's answer is cut, or is not what its protocol says."""

    default_code = "bad_response"


class UpstreamRejected(UpstreamError):
    """The provider answered with an error of its own, by status, or inside a 200 or a stream.

    Its words are kept: `message`, `provider_type`, `provider_code` (any JSON value), `param`. `is_credential` says
    that it is our key or account which was refused; then the client is told 502, never the provider's 401, 402 or 403.
    """

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int,
        provider_type: str = "",
        provider_code: Any = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        is_credential: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code="bad_response_status_code", param=param, retry_after_s=retry_after_s)
        self.upstream_status = upstream_status
        self.provider_type = provider_type
        self.provider_code = provider_code
        self.is_credential = upstream_status in (401, 402, 403) if is_credential is None else is_credential
        self.headers = dict(headers or {})

    @property
    def client_status(self) -> int:
        if self.is_credential:
            return 502
        return self.upstream_status if 400 <= self.upstream_status <= 599 else 502


class CallEnded(GreenletExit):
    """Thrown into the greenlet that serves a call, wherever it waits. Not an error: nothing that catches Exception,
    and no server's log, takes it for one."""


class ClientGone(CallEnded):
    """The client hung up."""


class Draining(CallEnded):
    """This worker stops, and the grace period is over: say so to the client and settle."""
