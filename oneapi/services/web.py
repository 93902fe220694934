"""Short calls to other people's services: providers of identity, Turnstile, Message Pusher.

One session for all of them: no environment, no cookies, no redirects (D-55: where an operator's address points today is
where the call goes), a short wait and a small answer. Proxies are HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import gevent
import requests

from oneapi.config import Config
from oneapi.relay.upstream import proxy_of_deployment

TIMEOUT_S = 5.0
_LARGEST_BYTES = 1024 * 1024


class WebError(Exception):
    """No answer, or none that can be used. The message names the host and nothing secret."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """`body` is the decoded JSON, None where the answer is none."""

    status: int
    body: Any

    @property
    def object(self) -> Mapping[str, Any]:
        """The body where it is a JSON object; an empty one otherwise."""
        return self.body if isinstance(self.body, dict) else {}


class Web:
    """One per worker."""

    def __init__(self, config: Config, *, timeout_s: float = TIMEOUT_S) -> None:
        self._config = replace(config, relay_proxy="")  # that one is for providers of models
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> WebAnswer:
        """The answer, whatever its status. Raises WebError."""
        try:
            proxy = proxy_of_deployment(self._config, url)
            with (
                gevent.Timeout(self._timeout_s, WebError(f"{_host(url)} did not answer in time.")),
                self._session.request(
                    method,
                    url,
                    headers={"Accept": "application/json", **(headers or {})},
                    json=json,
                    data=form,
                    auth=auth,
                    timeout=self._timeout_s,
                    proxies={"http": proxy, "https": proxy} if proxy else {},
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                return WebAnswer(response.status_code, _decoded(response))
        except (requests.RequestException, ValueError) as error:  # ValueError: an address that is none
            raise WebError(f"{_host(url)} cannot be reached ({type(error).__name__}).") from error

    def close(self) -> None:
        self._session.close()


def _decoded(response: requests.Response) -> Any:
    read = response.raw.read(_LARGEST_BYTES + 1, decode_content=True)
    if len(read) > _LARGEST_BYTES:
        raise WebError(f"{_host(response.url)} answers with more than a megabyte.")
    response._content = read  # so that its own decoder finds the text's encoding
    try:
        return response.json()
    except requests.JSONDecodeError:
        return None


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or "The service"
