"""The system: what rests and why, which jobs run where, and what an operator should see to."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import request
from flask_babel import gettext, lazy_gettext
from sqlalchemy import func, select

from oneapi import __version__
from oneapi.admin.view import ADMIN, SECTION_SITE, PanelView, engine, expose, now, options, program
from oneapi.i18n.panel import language
from oneapi.models import Channel, ChannelHealth, Hold, Lease, OutboxEntry
from oneapi.relay import adaptors
from oneapi.services.channels import AUTO_DISABLED


@dataclass(frozen=True, slots=True)
class Finding:
    """Something an operator should see to; `level`: danger, warning or info."""

    level: str
    text: str


class SystemView(PanelView):
    role = ADMIN
    icon, section = "heartbeat", SECTION_SITE

    @expose("/")
    def index(self) -> Any:
        channel = (Channel.id, Channel.name, Channel.type)
        with engine().connect() as connection:
            resting = connection.execute(
                select(ChannelHealth, *(column.label(f"channel_{column.key}") for column in channel[1:]))
                .outerjoin(Channel, Channel.id == ChannelHealth.channel_id)
                .order_by(ChannelHealth.until.desc())
                .limit(200)
            ).all()
            disabled = connection.execute(
                select(*channel, Channel.status_reason, Channel.status_time)
                .where(Channel.status == AUTO_DISABLED)
                .order_by(Channel.status_time.desc())
                .limit(200)
            ).all()
            counts = {
                row.status: row.count
                for row in connection.execute(
                    select(Channel.status, func.count().label("count")).group_by(Channel.status)
                )
            }
            leases = connection.execute(select(Lease).order_by(Lease.name)).all()
            holds = connection.execute(
                select(func.count().label("count"), func.sum(Hold.user_quota).label("quota")).where(
                    Hold.released_at.is_(None)
                )
            ).one()
            waiting = connection.execute(select(func.count()).select_from(OutboxEntry)).scalar_one()
        return self.render(
            "panel/system.html",
            now=now(),
            resting=resting,
            disabled=disabled,
            counts=counts,
            leases=leases,
            holds=holds,
            waiting=waiting,
            adaptors=adaptors.load(),
            findings=self._findings(),
            examined=self._examined() if "examined" in request.args else None,
            facts=self._facts(),
        )

    def _examined(self) -> list[dict[str, str]]:
        """What `oneapi doctor` finds on this machine; what is wrong comes first."""
        from oneapi.services import doctor  # here, since few look, and seldom

        found = sorted(doctor.examine(program().config), key=lambda finding: finding.level == "ok")
        return [finding.as_json(language()) for finding in found]

    def _facts(self) -> list[tuple[str, str]]:
        config, databases = program().config, program().databases
        return [
            (gettext("Version"), __version__),
            (gettext("Python"), f"{platform.python_version()} ({sys.platform})"),
            (gettext("Database"), databases.main.dialect.name),
            (gettext("Log database"), databases.logs.dialect.name if databases.is_split else gettext("the same")),
            (gettext("Redis"), gettext("connected") if config.redis_conn_string else gettext("not configured")),
            (gettext("Node"), gettext("master") if config.is_master else gettext("slave")),
            (gettext("Workers on this node"), str(config.web_concurrency)),
        ]

    def _findings(self) -> list[Finding]:
        settings, directory = options(), program().snapshots.directory
        found = [Finding("warning", warning) for warning in settings.warnings]
        served = {channel.type for channel in directory.channels()}
        for adaptor in adaptors.load().values():
            if adaptor.type in served and adaptor.retired:
                found.append(Finding("danger", f"{adaptor.label}: {adaptor.retired}"))
        if unreadable := directory.unreadable:
            text = gettext("%(count)s channels are left out, because their keys cannot be read", count=len(unreadable))
            found.append(Finding("danger", f"{text}: {', '.join(f'#{one}' for one in sorted(unreadable)[:20])}"))
        if unpriced := self._unpriced():
            found.append(
                Finding("warning", gettext("These models have no price of their own: %(models)s", models=unpriced))
            )
        if not settings.log_consume_enabled:
            found.append(Finding("info", gettext("Requests are not logged: bills cannot be proved.")))
        if "localhost" in settings.server_address:
            found.append(
                Finding("info", gettext("The server's address is not set: links in mails will not lead here."))
            )
        return found

    def _unpriced(self) -> str:
        """Models that are served at the default price, a few of them by name."""
        prices = program().snapshots.price_list
        names = set()
        for channel in program().snapshots.directory.channels():
            for model in channel.models:
                price = prices.price(channel.model_mapping.get(model) or model, channel.type)
                if price is None or price.is_default:
                    names.add(model)
        shown = sorted(names)[:20]
        return ", ".join(shown) + (" …" if len(names) > len(shown) else "")


VIEWS = (partial(SystemView, name=lazy_gettext("System"), endpoint="system"),)
