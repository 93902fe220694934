"""/api/user and /api/topup: one's own account, and administrators' work on others'.

Source: spec management.md §4.4, §4.5, §6.2, §6.3.
"""

from __future__ import annotations

import msgspec

from oneapi.api import objects
from oneapi.api.asked import Asked, path_id, program, total_of
from oneapi.api.codes import check_human
from oneapi.api.routing import ADMIN, COMMON, Answer, Route
from oneapi.options import Options
from oneapi.services import accounts, codes, groups, recovery, redemptions, registration, sessions, statistics, users
from oneapi.services.codes import VERIFY_EMAIL
from oneapi.services.forms import Int64
from oneapi.services.refusal import Refusal
from oneapi.services.registration import Registration
from oneapi.services.users import OwnFields, UserFields


class _Login(msgspec.Struct, frozen=True):
    username: str = ""
    password: str = ""


class _Code(msgspec.Struct, frozen=True):
    key: str = ""


class _Action(msgspec.Struct, frozen=True):
    username: str = ""
    action: str = ""


class _TopUp(msgspec.Struct, frozen=True):
    user_id: Int64 = 0
    quota: Int64 = 0
    remark: str = ""


# ---- coming and going ----


def register(asked: Asked) -> None:
    check_human(asked, "register")
    form = asked.body(Registration)
    proof = None
    if _asks_for_code(asked.options):
        if not form.email or not form.verification_code:
            raise Refusal("email_and_code_required")
        proof = codes.check(
            asked.engine, asked.secret, VERIFY_EMAIL, form.email.strip(), form.verification_code, now=asked.now
        )
    registration.register(asked.engine, asked.options, form, proof=proof, now=asked.now)


def login(asked: Asked) -> object:
    form = asked.body(_Login)
    account = accounts.log_in(
        asked.engine, asked.options, form.username, form.password, address=asked.address, now=asked.now
    )
    sessions.begin(account)
    return objects.logged_in(account)


def logout(asked: Asked) -> None:
    sessions.end()


def _asks_for_code(options: Options) -> bool:
    """Whether an address must be proved: where nobody may register, that is said first."""
    is_open = options.register_enabled and options.password_register_enabled
    return is_open and options.email_verification_enabled


# ---- oneself ----


def own(asked: Asked) -> object:
    return objects.user(users.get(asked.engine, asked.actor, asked.account.id))


def update_own(asked: Asked) -> None:
    fields = asked.body(OwnFields)
    account = users.update_own(asked.engine, asked.actor, fields, now=asked.now)
    if fields.password:
        recovery.tell_changed(program().notifier, asked.options, asked.actor)
    # A new password ends all sessions; the one that set it goes on.
    if sessions.is_of(account):
        sessions.begin(account)


def remove_own(asked: Asked) -> None:
    users.remove_own(asked.engine, asked.actor, now=asked.now)


def new_access_token(asked: Asked) -> object:
    return accounts.rotate_access_token(asked.engine, asked.actor, now=asked.now)


def aff_code(asked: Asked) -> object:
    return registration.aff_code(asked.engine, asked.account.id)


def redeem(asked: Asked) -> object:
    return redemptions.redeem(asked.engine, asked.actor, asked.body(_Code).key, now=asked.now)


def available_models(asked: Asked) -> object:
    return groups.available_models(asked.engine, asked.account.group)


def dashboard(asked: Asked) -> object:
    return [
        {
            "Day": row.day,
            "ModelName": row.model_name,
            "RequestCount": row.requests,
            "Quota": row.quota,
            "PromptTokens": row.prompt_tokens,
            "CompletionTokens": row.completion_tokens,
        }
        for row in statistics.dashboard(asked.log_engine, asked.account.id, now=asked.now)
    ]


# ---- others ----


def listing(asked: Asked) -> object:
    found = users.list_page(asked.engine, asked.page(), asked.text("order"))
    return Answer([objects.user(row) for row in found.rows], beside=total_of(found))


def search(asked: Asked) -> object:
    return [objects.user(row) for row in users.search(asked.engine, asked.text("keyword"))]


def one(asked: Asked, id: str) -> object:
    return objects.user(users.get(asked.engine, asked.actor, path_id(id)))


def create(asked: Asked) -> object:
    form = asked.body(Registration)
    return objects.user(registration.create(asked.engine, asked.options, asked.actor, form, now=asked.now))


def update(asked: Asked) -> None:
    users.update_one(asked.engine, asked.actor, asked.body(UserFields), now=asked.now)


def manage(asked: Asked) -> object:
    form = asked.body(_Action)
    row = users.manage(asked.engine, asked.actor, form.username, form.action, now=asked.now)
    return objects.sparse_user(role=row.role or 0, status=row.status or 0)


def remove(asked: Asked, id: str) -> None:
    users.remove(asked.engine, asked.actor, path_id(id), now=asked.now)


def top_up(asked: Asked) -> None:
    form = asked.body(_TopUp)
    users.top_up(asked.engine, asked.actor, form.user_id, form.quota, form.remark, now=asked.now)


ROUTES = (
    Route("POST", "/api/user/register", None, register, is_critical=True),
    Route("POST", "/api/user/login", None, login, is_critical=True),
    Route("GET", "/api/user/logout", None, logout),
    Route("POST", "/api/user/logout", None, logout),
    Route("GET", "/api/user/dashboard", COMMON, dashboard),
    Route("GET", "/api/user/self", COMMON, own),
    Route("PUT", "/api/user/self", COMMON, update_own),
    Route("DELETE", "/api/user/self", COMMON, remove_own),
    Route("GET", "/api/user/token", COMMON, new_access_token),
    Route("POST", "/api/user/token", COMMON, new_access_token),
    Route("GET", "/api/user/aff", COMMON, aff_code),
    Route("POST", "/api/user/topup", COMMON, redeem),
    Route("GET", "/api/user/available_models", COMMON, available_models),
    Route("GET", "/api/user/", ADMIN, listing),
    Route("GET", "/api/user/search", ADMIN, search),
    Route("GET", "/api/user/<id>", ADMIN, one),
    Route("POST", "/api/user/", ADMIN, create),
    Route("PUT", "/api/user/", ADMIN, update),
    Route("POST", "/api/user/manage", ADMIN, manage),
    Route("DELETE", "/api/user/<id>", ADMIN, remove),
    Route("POST", "/api/topup", ADMIN, top_up),
)
