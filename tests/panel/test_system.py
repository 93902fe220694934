"""The system page's look over the deployment, which is doctor's."""

from __future__ import annotations

import html

from sqlalchemy import insert

from oneapi.config import Config
from oneapi.jobs import jobs_of
from oneapi.models import Lease, Option
from tests.api.conftest import site, site_on
from tests.api.site import ADMIN, COMMON, Caller, Site

__all__ = ["site", "site_on"]


def looked_over(caller: Caller, language: str = "en") -> str:
    response = caller.ask("GET", "/admin/system/?examined=1", **{"Accept-Language": language})
    assert response.status_code == 200
    return html.unescape(response.get_data(as_text=True))


def test_the_deployment_is_looked_over_when_an_administrator_asks(site: Site) -> None:
    with site.engine.begin() as connection:
        connection.execute(insert(Option).values(key="GroupRatio", value="{"))
    admin = site.logged_in(ADMIN)
    assert "All option values" not in admin.ask("GET", "/admin/system/").get_data(as_text=True)
    page = looked_over(admin)
    assert "Option GroupRatio" in page
    assert "Save it again on the settings pages." in page
    assert page.index("Option GroupRatio") < page.index("SQLite")


def test_findings_are_told_in_the_readers_language(site: Site) -> None:
    page = looked_over(site.logged_in(ADMIN), "zh-CN")
    assert "所有设置项均可读取。" in page
    assert "All option values" not in page


def test_nobody_else_may_look(site: Site) -> None:
    assert site.logged_in(COMMON).ask("GET", "/admin/system/?examined=1").status_code == 403


def test_every_job_is_named_in_words_and_its_next_run_told(site: Site) -> None:
    config = Config(channel_test_frequency=5, channel_update_frequency=5)
    jobs = jobs_of(config, site.program.rounds)
    with site.engine.begin() as connection:
        leases = [{"name": job.lease, "holder": "made-up:1:2", "expires_at": 4_000_000_000} for job in jobs]
        connection.execute(insert(Lease), leases)
    page = site.logged_in(ADMIN).ask("GET", "/admin/system/", **{"Accept-Language": "zh-CN"}).get_data(as_text=True)
    assert [job.name for job in jobs if f">{job.name}<" in page] == []
    assert page.count("2096-10-02 07:06 UTC") == len(jobs)
