"""A site that looks used: channels in every state, users, tokens, codes, and a month of calls.

For pictures (tools/screenshots.py) and for whoever wants to see the panel with something in it.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.street.console import ROOT_KEY, Console, User
from tests.street.obliging import Obliging

PASSWORD = "rootpassword"
_USER_PASSWORD = "correct horse"
_DAYS, _HOUR, _DAY = 29, 3600, 86400

GPT, REASONING = ("gpt-4o", "gpt-4o-mini", "gpt-4.1"), ("o3", "o3-mini", "o4-mini")
CLAUDE = ("claude-sonnet-4-20250514", "claude-3-5-haiku-20241022")
GEMINI = ("gemini-2.5-pro", "gemini-2.5-flash")
CHINESE = ("deepseek-chat", "deepseek-reasoner", "qwen-max", "glm-4.6", "moonshot-v1-32k")
AWS = {"region": "us-east-1", "ak": "AKIAEXAMPLE", "sk": "a-secret-of-aws"}
VERTEX = {"region": "us-central1", "vertex_ai_project_id": "our-project", "vertex_ai_adc": "{}"}
# Name, type, models, what else is said of it, and what the table is to hold besides.
CHANNELS: tuple[tuple[str, int, tuple[str, ...], dict[str, Any], dict[str, Any]], ...] = (
    ("OpenAI", 1, GPT + REASONING, {"priority": 10, "weight": 3, "tag": "paid", "group": "default,vip"},
     {"response_time": 640, "balance": 118.42}),
    ("OpenAI, second account", 1, GPT, {"priority": 10, "weight": 1, "tag": "paid"},
     {"response_time": 1820, "balance": 7.05}),
    ("Azure East US 2", 3, GPT, {"priority": 5, "config": {"api_version": "2024-10-21"}, "group": "vip"},
     {"response_time": 930}),
    ("Anthropic", 14, CLAUDE, {"group": "default,vip,svip"}, {"response_time": 1240}),
    ("Claude through Bedrock, for when Anthropic's own is overloaded", 33, CLAUDE, {"config": AWS, "priority": -1},
     {"response_time": 2210}),
    ("Vertex AI", 42, GEMINI, {"config": VERTEX}, {"response_time": 5400}),
    ("Gemini", 24, GEMINI, {"group": "default,vip"}, {"response_time": 0, "status": 3,
     "status_reason": "HTTP 403: Your project has been denied access. Please contact support."}),
    ("DeepSeek 官方", 36, CHINESE[:2], {"tag": "国内"}, {"response_time": 710, "balance": 342.10}),
    ("通义千问", 17, CHINESE[2:3], {"tag": "国内"}, {"response_time": 880}),
    ("智谱", 16, CHINESE[3:4], {"tag": "国内"}, {"response_time": 3900, "status": 3,
     "status_reason": "HTTP 429: insufficient balance"}),
    ("Moonshot", 25, CHINESE[4:], {"tag": "国内", "group": "default,svip"}, {"response_time": 1050}),
    ("Ollama in the cellar", 30, ("llama3.3:70b", "qwen3:32b"), {}, {"status": 2}),
)  # fmt: skip
RESTS = (
    (1, "o3-mini", "HTTP 429: Rate limit reached for o3-mini in organization org-1 on tokens per min", 3, 95),
    (5, CLAUDE[0], "no answer within 10 s", 2, 30),
    (5, CLAUDE[1], "HTTP 503: overloaded_error", 5, 290),
)
# Name, display name, e-mail, group, balance.
USERS = (
    ("ada", "Ada Lovelace", "ada@example.com", "vip", 12_345_678),
    ("xiaoming", "小明", "xiaoming@example.cn", "default", 830_000),
    ("a-rather-long-user-name", "Bert", "somebody.with.a.very.long.name@mail.example.com", "svip", 48_000_000),
    ("spammer", "spammer", "", "default", 5_000),
)
TOKEN_STATES: dict[str, dict[str, int]] = {
    "Only small models": {"status": 4, "remain_quota": 0},
    "An old script": {"status": 2},
    "Demo of last year": {"status": 3},
}
OPTIONS = {
    "EmailVerificationEnabled": "true", "GitHubClientId": "Iv1.0123456789abcdef", "GitHubOAuthEnabled": "true",
    "WeChatServerAddress": "https://wechat.example.com", "WeChatAuthEnabled": "true", "QuotaForInviter": "500000",
    "OidcClientId": "one-api", "OidcAuthorizationEndpoint": "https://id.example.com/authorize",
    "OidcTokenEndpoint": "https://id.example.com/token", "OidcUserinfoEndpoint": "https://id.example.com/me",
    "OidcEnabled": "true", "QuotaForInvitee": "250000", "TopUpLink": "https://shop.example.com/codes",
}  # fmt: skip


@contextmanager
def furnish(console: Console) -> Iterator[tuple[str, str]]:
    """Furnishes the site, and gives the name and the password of one who uses it."""
    with Obliging() as provider:
        for number, (name, type_, models, said, _) in enumerate(CHANNELS):
            console.channel(provider.url, name=name, type=type_, models=",".join(models), key=f"sk-{number}", **said)
        for name, value in OPTIONS.items():
            console.option(name, value)
        users = [user(console, *said) for said in USERS]
        keys = tokens(console, users)
        console.call("POST", "/api/redemption/", {"name": "Spring 2026", "quota": 500_000, "count": 5})
        codes = console.call("POST", "/api/redemption/", {"name": "双十一活动", "quota": 5_000_000, "count": 3})
        console.call("POST", "/api/user/topup", {"key": codes[0]}, session=users[0].session)
        console.wait_until_known("gpt-4o")
        with sqlite3.connect(console.gateway.folder / "one-api.db", timeout=10) as books:
            usage(books, users)
        calls(console, keys)
        with sqlite3.connect(console.gateway.folder / "one-api.db", timeout=10) as books:
            states(books, users)
            sums(books)
        yield users[0].username, _USER_PASSWORD


def user(console: Console, username: str, display_name: str, email: str, group: str, quota: int) -> User:
    made = console.user(quota=quota)
    said = {"username": username, "display_name": display_name, "email": email, "group": group}
    console.call("PUT", "/api/user/", {"id": made.id, **said})
    return User(made.id, username, made.session)


def tokens(console: Console, users: list[User]) -> list[str]:
    """Tokens of root's in every state, and one of each user's: keys that can be used."""
    month = int(time.time()) + 30 * _DAY
    made = [
        {"name": "Editor on my laptop", "remain_quota": 2_500_000, "expired_time": month},
        {"name": "NextChat 手机", "unlimited_quota": True, "expired_time": -1},
        {"name": "CI", "remain_quota": 10_000_000, "expired_time": month, "subnet": "10.0.0.0/8,2001:db8::/32"},
        {"name": "Only small models", "remain_quota": 500_000, "expired_time": -1, "models": "gpt-4o-mini,o3-mini"},
        {"name": "An old script", "remain_quota": 500_000, "expired_time": -1},
        {"name": "Demo of last year", "remain_quota": 500_000, "expired_time": -1},
    ]
    keys = [f"sk-{console.call('POST', '/api/token/', fields)['key']}" for fields in made]
    return keys[:2] + [console.token(user, name="default") for user in users[:3]]


def calls(console: Console, keys: list[str]) -> None:
    """Real calls, whose rows have receipts; the last one is of a model that nobody has."""
    dice = random.Random(1)
    for number in range(16):
        model = dice.choice((*GPT, *CLAUDE, *CHINESE[:2]))
        key = dice.choice(keys)
        body = {"model": model if number < 15 else "gpt-9", "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"Authorization": f"Bearer {key if number != 14 else ROOT_KEY}"}
        requests.post(f"{console.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def states(books: sqlite3.Connection, users: list[User]) -> None:
    """What comes about in weeks."""
    now = int(time.time())
    for number, (*_, held) in enumerate(CHANNELS, start=1):
        row = {"test_time": now - number * 1300 if held.get("response_time") is not None else 0, **held}
        if "balance" in held:
            row["balance_updated_time"] = now - 5 * _HOUR
        if held.get("status"):
            row["status_time"] = now - number * 2 * _HOUR
        _update(books, "channels", number, row)
    rests = [(*rest[:4], now - 60, now + rest[4]) for rest in RESTS]
    columns = "channel_id, model, reason, failures, changed_at, until, state"
    books.executemany(f"INSERT INTO channel_health ({columns}) VALUES (?, ?, ?, ?, ?, ?, 'open')", rests)
    _update(books, "users", users[0].id, {"github_id": "ada-l", "inviter_id": 1})
    _update(books, "users", users[3].id, {"status": 2})
    books.execute("UPDATE users SET created_time = ? - id * ?", (now, 5 * _DAY))
    for name, row in TOKEN_STATES.items():
        (token_id,) = books.execute("SELECT id FROM tokens WHERE name = ?", (name,)).fetchone()
        _update(books, "tokens", token_id, {**row, **({"expired_time": now - _DAY} if row["status"] == 3 else {})})
    books.execute("UPDATE tokens SET created_time = created_time - id * ?", (4 * _DAY,))
    _update(books, "redemptions", 2, {"status": 2})
    _update(books, "redemptions", 3, {"expired_time": now + 60 * _DAY})


def usage(books: sqlite3.Connection, users: list[User]) -> None:
    """A month of calls, with evenings, week-ends and a bad day."""
    dice = random.Random(3)
    now = int(time.time())
    owned = books.execute("SELECT id, user_id, name FROM tokens").fetchall()
    names = {1: "root", **{user.id: user.username for user in users[:3]}}
    people = [(user, names[user], token, name) for token, user, name in owned if user in names]
    offers = [(number, model) for number, (_, _, models, *_) in enumerate(CHANNELS[:-1], start=1) for model in models]
    rows = []
    while len(rows) < 4000:
        moment = now - 600 - int(dice.random() ** 1.2 * _DAYS * _DAY)
        hour, day = (moment // _HOUR) % 24, moment // _DAY
        if dice.random() > (1.0 if 8 <= hour <= 16 else 0.35) * (0.5 if day % 7 in (2, 3) else 1):
            continue
        channel, model = dice.choice(offers)
        is_failed = dice.random() < (0.25 if now // _DAY - day == 6 else 0.02)
        input_tokens = int(dice.lognormvariate(6.5, 1.2))
        output_tokens = 0 if is_failed else int(dice.lognormvariate(5.5, 1))
        quota = 0 if is_failed else int((input_tokens + 4 * output_tokens) * (0.075 if "mini" in model else 1.25))
        first = int(dice.lognormvariate(6.4, 0.4))
        rows.append((*dice.choice(people), moment, 6 if is_failed else 2, model, quota,
                     input_tokens, output_tokens, channel, f"made-{len(rows)}", first + output_tokens * 9, first,
                     int(dice.random() < 0.6), "HTTP 500: the provider failed" if is_failed else ""))  # fmt: skip
    rows.sort(key=lambda row: row[4])
    books.executemany(
        "INSERT INTO logs (user_id, username, token_id, token_name, created_at, type, model_name, quota, prompt_tokens,"
        " completion_tokens, channel_id, request_id, elapsed_time, first_token_ms, is_stream, content)"
        f" VALUES ({', '.join('?' * 16)})",
        rows,
    )


def sums(books: sqlite3.Connection) -> None:
    """What has been used is what the logs say; and real calls take their time."""
    books.execute("UPDATE logs SET elapsed_time = 700 + id * 137 % 5000, first_token_ms = 300 + id * 31 % 900"
                  " WHERE receipt IS NOT NULL AND type = 2")  # fmt: skip
    for table, column in (("users", "user_id"), ("tokens", "token_id"), ("channels", "channel_id")):
        spent = f"SELECT coalesce(sum(quota), 0) FROM logs WHERE type = 2 AND {column} = {table}.id"
        books.execute(f"UPDATE {table} SET used_quota = ({spent})")
    made = "SELECT count(*) FROM logs WHERE type IN (2, 6) AND user_id = users.id"
    books.execute(f"UPDATE users SET request_count = ({made})")


def _update(books: sqlite3.Connection, table: str, id_: int, row: dict[str, Any]) -> None:
    marks = ", ".join(f'"{column}" = ?' for column in row)
    books.execute(f"UPDATE {table} SET {marks} WHERE id = ?", (*row.values(), id_))
