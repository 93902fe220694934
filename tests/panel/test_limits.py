"""Limits in forms, without a browser: what is typed is what holds, and what is told of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert

from oneapi.limits import Limits
from oneapi.models import Hold, Log, Token, User
from tests.api.conftest import site, site_on
from tests.api.site import ADMIN, ROOT, Site
from tests.panel.test_nouns import NOW, page, post

__all__ = ["site", "site_on"]

COUNTS = {"requests_per_minute": 60, "tokens_per_minute": 5000, "concurrency": 4}


def test_a_token_has_the_limits_that_were_typed_and_an_untouched_budget_stays(site: Site) -> None:
    mine = site.logged_in()
    form = {"name": "a", "quota": "1", **COUNTS, "budget_quota": "5", "budget_period": "week"}
    assert post(mine, "/admin/token/save", form)["success"] is True
    (row,) = site.rows(Token, Token.user_id == mine.id)
    assert json.loads(row.limits) == {**COUNTS, "budget": {"period": "week", "quota": 2_500_000}}
    listed = page(mine, "/admin/token/")
    for told in ("Requests a minute: 60", "Tokens a minute: 5,000", "Calls at once: 4", "$5.00 a week"):
        assert told in listed
    # A budget whose digits do not all stand in the box.
    site.set_options(QuotaPerUnit="700000")
    site.change(Token, row.id, limits='{"budget":{"period":"day","quota":333333}}')
    html = page(mine, f"/admin/token/edit/{row.id}")
    shown = html.split('name="budget_quota" type="text" value="')[1].split('"')[0]
    kept = {"id": row.id, "name": "a", "quota": "1", "budget_quota": shown, "budget_period": "month"}
    assert post(mine, "/admin/token/save", kept)["success"] is True
    assert json.loads(site.row(Token, row.id).limits) == {"budget": {"period": "month", "quota": 333_333}}
    assert post(mine, "/admin/token/save", {"id": row.id, "name": "a", "quota": "1"})["success"] is True
    assert site.row(Token, row.id).limits is None


@pytest.mark.parametrize(("change", "field"), [({"budget_quota": "much"}, "budget_quota"), ({"concurrency": -1}, None)])
def test_limits_that_make_no_sense_are_refused(site: Site, change: dict[str, Any], field: str | None) -> None:
    mine = site.logged_in()
    answer = post(mine, "/admin/token/save", {"name": "a", "quota": "1", **change})
    assert (answer["success"], answer["field"]) == (False, field)
    assert site.rows(Token, Token.user_id == mine.id) == []


def test_a_token_tells_what_it_uses_of_its_limits(site: Site) -> None:
    mine = site.logged_in()
    with site.engine.begin() as connection:
        token = {"user_id": mine.id, "name": "a", "key": "k" * 48, "status": 1, "used_quota": 900_000}
        limits = '{"concurrency":3,"budget":{"period":"day","quota":1000000}}'
        token_id = connection.execute(insert(Token).values(**token, limits=limits)).inserted_primary_key[0]
        hold = {"user_id": mine.id, "token_id": token_id, "user_quota": 250_000, "token_quota": 250_000}
        connection.execute(insert(Hold).values(request_id="r", worker="w", created_at=NOW, expires_at=NOW, **hold))
    html = page(mine, f"/admin/token/edit/{token_id}")
    assert "<dd data-running>1 / 3</dd>" in html
    assert "<dd data-spent>$0.500000 / $2.00</dd>" in html  # what it had used before today is not today's


def test_a_users_limits_are_an_administrators_to_set(site: Site) -> None:
    user = site.user()
    administrator = site.logged_in(ADMIN)
    form = {"id": user.id, "username": site.row(User, user.id).username}
    assert post(administrator, "/admin/user/save", {**form, "concurrency": 2})["success"] is True
    assert site.row(User, user.id).limits == '{"concurrency":2}'
    assert 'name="concurrency" type="number" value="2"' in page(administrator, f"/admin/user/edit/{user.id}")
    assert post(administrator, "/admin/user/save", {**form, "budget_quota": "1"})["success"] is False
    assert post(administrator, "/admin/user/save", form)["success"] is True
    assert site.row(User, user.id).limits is None


def test_a_user_reads_which_limits_he_has(site: Site) -> None:
    site.set_options(ExtGroupLimits='{"vip":{"concurrency":9,"requests_per_minute":7}}')
    assert "Calls at once" not in page(site.logged_in(), "/admin/account/")
    told = page(site.logged_in(group="vip", limits='{"concurrency":2}'), "/admin/account/")
    assert "Calls at once: 2" in told
    assert "Requests a minute: 7" in told


def test_a_groups_limits_are_saved_told_and_go_with_it(site: Site) -> None:
    root = site.logged_in(ROOT)
    assert post(root, "/admin/group/save", {"name": "gold", "ratio": "0.5"})["success"] is True
    assert post(root, "/admin/group/limits", {"name": "gold", **COUNTS})["success"] is True
    assert post(root, "/admin/group/limits", {"name": "vip", "concurrency": 9})["success"] is True
    held = site.program.snapshots.options.ext_group_limits
    assert held == {"gold": Limits(**COUNTS), "vip": Limits(concurrency=9)}
    assert "Calls at once: 4" in page(root, "/admin/group/")
    member = site.user(group="vip")
    assert "Calls at once: 9" in page(root, f"/admin/user/edit/{member.id}")
    assert post(root, "/admin/group/limits", {"name": "gold", "concurrency": -1})["success"] is False
    assert post(root, "/admin/group/remove", {"name": "gold"})["success"] is True
    assert post(root, "/admin/group/limits", {"name": "vip"})["success"] is True
    assert site.program.snapshots.options.ext_group_limits == {}
    assert any("ExtGroupLimits" in row.content for row in site.rows(Log, Log.type == 3))


def test_a_change_of_groups_rests_on_what_is_stored_not_on_what_the_worker_last_saw(site: Site) -> None:
    root = site.logged_in(ROOT)
    seen = site.program.snapshots.options
    site.set_options(GroupRatio='{"default":1,"elsewhere":2}', ExtGroupLimits='{"elsewhere":{"concurrency":1}}')
    site.program.snapshots.options = seen
    assert post(root, "/admin/group/save", {"name": "gold", "ratio": "0.5"})["success"] is True
    assert post(root, "/admin/group/limits", {"name": "gold", "concurrency": 2})["success"] is True
    held = site.program.snapshots.options
    assert dict(held.group_ratio) == {"default": 1, "elsewhere": 2, "gold": Decimal("0.5")}
    assert held.ext_group_limits == {"elsewhere": Limits(concurrency=1), "gold": Limits(concurrency=2)}
