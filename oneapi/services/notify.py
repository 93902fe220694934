"""Telling people: letters leave in greenlets of their own, behind a bounded queue, so that no request waits for a mail
server, and nothing is lost in silence: what cannot be queued or delivered is an error in the log.

Root is told through Message Pusher where its address is set, by mail otherwise or when the pusher fails; mail goes to
the address of the first enabled root account, as it is at that moment. Source: spec management.md §9.6.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import gevent
from gevent.event import AsyncResult
from sqlalchemy import Engine, select

from oneapi.i18n.letters import Letter
from oneapi.i18n.messages import Language
from oneapi.models import User
from oneapi.options import Options
from oneapi.services import mail
from oneapi.services.accounts import ENABLED
from oneapi.services.mail import MailFailed
from oneapi.services.roles import ROOT
from oneapi.services.web import Web, WebError

QUEUE_LIMIT = 1000
_AT_ONCE = 4
_TRIES = 3
_RETRY_S = 30.0
_FAREWELL_S = 2.0  # the master kills a worker that takes long to stop
_UNSAID: Language = "zh"  # of somebody who never chose one; One API writes to everybody in Chinese

log = logging.getLogger(__name__)

Write = Callable[[Language], Letter]


@dataclass(slots=True)
class Delivery:
    """One thing to be told. `what` names it in the log, without addresses or secrets."""

    what: str
    deliver: Callable[[], None]
    tries_left: int
    result: AsyncResult[None] = field(default_factory=AsyncResult)

    def wait(self, seconds: float) -> None:
        """Returns when it is done, or still under way after so long. Raises MailFailed where it was not taken."""
        try:
            self.result.get(timeout=seconds)
        except gevent.Timeout:
            return


class Notifier:
    """One per worker. Greenlets come into being with work and end with it."""

    def __init__(
        self,
        engine: Engine,
        options: Callable[[], Options],
        web: Web,
        *,
        skip_verify: bool = False,
        retry_s: float = _RETRY_S,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self._engine = engine
        self._options = options
        self._web = web
        self._skip_verify = skip_verify
        self._retry_s = retry_s
        self._limit = limit
        self._queue: deque[Delivery] = deque()
        self._carriers: set[gevent.Greenlet[[], None]] = set()
        self._retries: dict[gevent.Greenlet[[Delivery], None], Delivery] = {}

    # ---- what is told to whom ----

    def mail(self, to: str, letter: Letter, *, tries: int = _TRIES) -> Delivery:
        """A letter to addresses separated by semicolons."""
        return self.post(f"a letter ({letter.subject!r})", lambda: self._mail(to, letter), tries)

    def mail_user(self, user_id: int, write: Write) -> Delivery:
        """A letter to an account's address, in its language; nothing where it has no address."""

        def deliver() -> None:
            with self._engine.connect() as connection:
                row = connection.execute(select(User.email, User.language).where(User.id == user_id)).first()
            if row is not None and row.email:
                self._mail(row.email, write(language_of(row.language)))

        return self.post(f"a letter to user {user_id}", deliver)

    def tell_root(self, what: str, write: Write) -> Delivery:
        """Something an operator should know. `write` is called in a greenlet of its own and may ask the database."""

        def deliver() -> None:
            with self._engine.connect() as connection:
                roots = select(User.email, User.language).where(User.role == ROOT, User.status == ENABLED)
                root = connection.execute(roots.order_by(User.id).limit(1)).first()
            letter = write(language_of(root.language if root else None))
            if self._options().message_pusher_address:
                try:
                    return self._push(letter)
                except WebError as error:
                    log.warning("Message Pusher failed, mail is tried: %s", error)
            if root is None or not root.email:
                log.warning("Nobody was told, for root has no e-mail address: %s", letter.subject)
                return
            self._mail(root.email, letter)

        return self.post(what, deliver)

    def post(self, what: str, deliver: Callable[[], None], tries: int = _TRIES) -> Delivery:
        """Has `deliver` called in a greenlet of its own, again where it raises. `what` names it in the log."""
        delivery = Delivery(what, deliver, tries)
        self._enqueue(delivery)
        return delivery

    def stop(self) -> None:
        """Gives what is queued a few seconds, and says what is left."""
        until_s = time.monotonic() + _FAREWELL_S
        while self._carriers and time.monotonic() < until_s:
            gevent.sleep(0.02)
        gevent.killall([*self._carriers, *self._retries])
        for left in (*self._queue, *self._retries.values()):
            log.error("%s was not delivered: this worker stopped.", left.what)
        self._queue.clear()
        self._retries.clear()

    # ---- carrying ----

    def _enqueue(self, delivery: Delivery) -> None:
        if len(self._queue) >= self._limit:
            log.error("%s was not delivered: %d others are waiting.", delivery.what, self._limit)
            delivery.result.set_exception(MailFailed("Too much is waiting to be sent."))
            return
        self._queue.append(delivery)
        if len(self._carriers) < _AT_ONCE:
            carrier = gevent.spawn(self._carry)
            self._carriers.add(carrier)
            carrier.link(self._carriers.discard)

    def _carry(self) -> None:
        while self._queue:
            delivery = self._queue.popleft()
            delivery.tries_left -= 1
            try:
                delivery.deliver()
            except gevent.GreenletExit:
                log.error("%s was not delivered: this worker stopped.", delivery.what)
                raise
            except Exception as error:
                self._failed(delivery, error)
            else:
                delivery.result.set(None)

    def _failed(self, delivery: Delivery, error: Exception) -> None:
        if delivery.tries_left > 0:
            log.warning("%s is tried again in %g s: %s", delivery.what, self._retry_s, error)
            retry = gevent.spawn_later(self._retry_s, self._enqueue, delivery)
            self._retries[retry] = delivery
            retry.link(lambda done: self._retries.pop(done, None))
            return
        # A fault of our own comes with its traceback.
        log.error("%s was not delivered: %s", delivery.what, error, exc_info=not isinstance(error, MailFailed))
        delivery.result.set_exception(error if isinstance(error, MailFailed) else MailFailed(str(error)))

    def _mail(self, to: str, letter: Letter) -> None:
        mail.send(self._options(), mail.receivers(to), letter, skip_verify=self._skip_verify)

    def _push(self, letter: Letter) -> None:
        """Source: Message Pusher's API, as One API uses it."""
        options = self._options()
        text = letter.as_text(options.system_name)
        answer = self._web.ask(
            "POST",
            options.message_pusher_address,
            json={
                "title": letter.subject,
                "description": text,
                "content": text,
                "url": "",
                "channel": "",
                "token": options.message_pusher_token,
            },
        )
        if answer.object.get("success") is not True:
            raise WebError(str(answer.object.get("message") or f"status {answer.status}"))


def language_of(stored: str | None) -> Language:
    """The language of column `users.language`."""
    if not stored:
        return _UNSAID
    return "zh" if stored.lower().startswith("zh") else "en"
