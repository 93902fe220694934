"""/api/stat, and log rows as CSV."""

import csv
import io
from typing import Any

import pytest

from oneapi.services import exports
from tests.api.site import ADMIN, Site
from tests.api.test_logs_api import write

DAY = 86400
T = 20_000 * DAY


def used(site: Site, user_id: int, model: str, quota: int, at: int, **more: Any) -> None:
    write(site, user_id=user_id, username=f"u{user_id}", model_name=model, quota=quota, created_at=at, **more)


def test_statistics_are_by_whom_of_what_and_when(any_site: Site) -> None:
    used(any_site, 8, "a", 10, T, token_name="x", channel_id=3, prompt_tokens=1, completion_tokens=2)
    used(any_site, 8, "b", 20, T + DAY, token_name="y", channel_id=4)
    used(any_site, 9, "a", 40, T + DAY + 5, token_name="x", channel_id=3)
    used(any_site, 9, "a", 99, T + 5 * DAY)
    admin = any_site.user(ADMIN)
    period = f"start_timestamp={T}&end_timestamp={T + 2 * DAY}"

    def parts(by: str) -> dict[str, tuple[int, int]]:
        data = admin.call("GET", f"/api/stat/?by={by}&{period}")
        assert data["total"]["quota"] == 70
        assert {step: sums["quota"] for step, sums in data["by_step"].items()} == {str(T): 10, str(T + DAY): 60}
        return {part["name"]: (part["requests"], part["quota"]) for part in data[by]}

    assert parts("model") == {"a": (2, 50), "b": (1, 20)}
    assert parts("user") == {"u8": (2, 30), "u9": (1, 40)}
    assert parts("token") == {"x": (2, 50), "y": (1, 20)}
    assert parts("channel") == {"3": (2, 50), "4": (1, 20)}
    assert admin.call("GET", f"/api/stat/?{period}&step=hour")["steps"][:2] == [T, T + 3600]


def test_ones_own_statistics_are_nobody_elses(site: Site) -> None:
    user = site.user()
    used(site, user.id, "a", 10, T)
    used(site, user.id + 1, "a", 20, T)
    period = f"start_timestamp={T}&end_timestamp={T + 5}"
    assert user.call("GET", f"/api/stat/self?by=token&{period}")["total"]["quota"] == 10
    user.refused("GET", f"/api/stat/self?by=user&{period}")
    user.refused("GET", f"/api/stat/?{period}")


@pytest.mark.parametrize(
    "query",
    ["by=weather", "step=second", "start_timestamp=5&end_timestamp=4", "start_timestamp=1&end_timestamp=9999999999"],
)
def test_statistics_that_make_no_sense_are_refused(site: Site, query: str) -> None:
    site.user(ADMIN).refused("GET", f"/api/stat/?{query}&step=hour" if "step" not in query else f"/api/stat/?{query}")


def rows_of(response: Any) -> list[list[str]]:
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(response.data.decode("utf-8-sig"))))


def test_an_export_has_every_row_that_is_asked_for(any_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_PAGE", 2)
    for number in range(5):
        write(any_site, user_id=8, quota=number, model_name="a" if number else "b", content='say "hi",\nthere')
    names, *rows = rows_of(any_site.user(ADMIN).ask("GET", "/api/log/export?model_name=a"))
    quota, content = names.index("quota"), names.index("content")
    assert [row[quota] for row in rows] == ["4", "3", "2", "1"]
    assert rows[0][content] == 'say "hi",\nthere'
    assert rows[0][names.index("time")] == "1970-01-01 00:16:40"


def test_ones_own_export_has_ones_own_rows_and_no_channels(site: Site) -> None:
    user = site.user()
    write(site, user_id=user.id, token_name="mine", channel_id=7)
    write(site, user_id=user.id + 1, token_name="other")
    names, *rows = rows_of(user.ask("GET", "/api/log/self/export"))
    assert [row[names.index("token_name")] for row in rows] == ["mine"]
    assert not {"channel", "id"} & set(names)
    user.refused("GET", "/api/log/export")


def test_a_cell_is_never_a_formula(site: Site) -> None:
    write(site, user_id=1, token_name="=cmd|' /C calc'!A0", content="-1", quota=-5)
    names, row = rows_of(site.user(ADMIN).ask("GET", "/api/log/export"))
    assert row[names.index("token_name")] == "'=cmd|' /C calc'!A0"
    assert row[names.index("quota")] == "-5"
