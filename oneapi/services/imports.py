"""The commands `oneapi import-models` and `oneapi import-prices`: what providers offer and public lists price, shown
beside what is here, and taken over with --apply.

Both may run while the program serves: on the same machine, with the same environment or .env. Running workers learn of
a change within a second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import requests
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from oneapi.columns import short, to_json
from oneapi.config import Config
from oneapi.data import load_prices
from oneapi.database import open_databases
from oneapi.errors import GatewayError
from oneapi.options import Options
from oneapi.relay.exchange import Channel
from oneapi.relay.pricelist import PriceList
from oneapi.relay.upstream import Upstream, proxy_of_deployment
from oneapi.services import channels, offers, prices, publicprices, settings
from oneapi.services.audit import Actor
from oneapi.services.channels import ChannelFields
from oneapi.services.offers import fits
from oneapi.services.prices import Cell, Comparison, Difference
from oneapi.services.publicprices import Format, PublicList
from oneapi.services.refusal import Refusal
from oneapi.services.roles import ROOT

_STATUS = "exit status: 0 done, 1 it cannot be done, 2 wrong usage"
_ONLY_HELP = "only models that this pattern matches, such as 'gpt-5*'; may be given several times"
_JSON_HELP = "print one JSON object in place of the table"
_LARGEST_BYTES = 64 * 1024 * 1024
_FETCH_S = 30.0
_SHOWN = 20


class _Impossible(Exception):
    """It cannot be done; the message says why."""


def import_models_command(config: Config, arguments: Sequence[str]) -> int:
    """`oneapi import-models`: a channel's models beside those its provider lists."""
    parser = _parser(
        "import-models",
        "Asks a channel's provider which models it has, with the channel's key, and shows which of them the channel "
        "lacks (+) and which of the channel's the provider has not (-). With --apply the channel's list is changed.",
    )
    parser.add_argument("channel", metavar="CHANNEL_ID", type=int)
    parser.add_argument("--only", metavar="PATTERN", action="append", default=[], help=_ONLY_HELP)
    parser.add_argument("--add-only", action="store_true", help="take no model away")
    parser.add_argument("--apply", action="store_true", help="change the channel")
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    given = parser.parse_args(arguments)
    return _run(config, lambda engine: _import_models(engine, config, given))


def import_prices_command(config: Config, arguments: Sequence[str]) -> int:
    """`oneapi import-prices`: a price list beside the prices in force."""
    parser = _parser(
        "import-prices",
        "Compares a price list with the prices in force and shows what differs: the two ratios, and in US dollars the "
        "prices of a million cached, written, reasoning, audio and image tokens and of what is sold by the unit. With "
        "--apply the list's prices are saved in the options ModelRatio, CompletionRatio and ExtModelPrice; what looks "
        "like a mistake only with --force.",
    )
    parser.add_argument("source", metavar="FILE_OR_URL", help="- reads standard input")
    parser.add_argument("--format", choices=get_args(Format), help="default: told from its shape")
    parser.add_argument(
        "--provider",
        metavar="NAME",
        default="",
        help="only this provider's models, by their names without it: with google, google/gemini-2.5-pro is the price "
        "of gemini-2.5-pro",
    )
    parser.add_argument("--only", metavar="PATTERN", action="append", default=[], help=_ONLY_HELP)
    parser.add_argument("--all", action="store_true", help="also models that no channel has")
    parser.add_argument("--apply", action="store_true", help="save the prices")
    parser.add_argument("--force", action="store_true", help="with --apply: also prices that look like mistakes")
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    given = parser.parse_args(arguments)
    return _run(config, lambda engine: _import_prices(engine, config, given))


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"oneapi {command}", description=description, epilog=_STATUS, allow_abbrev=False
    )


def _run(config: Config, work: Callable[[Engine], None]) -> int:
    databases = open_databases(config)
    try:
        path = databases.main.url.database
        if config.is_sqlite and not (path and Path(path).exists()):
            raise _Impossible(f"There is no database {path}.")
        work(databases.main)
    except (_Impossible, Refusal) as error:
        print(error, file=sys.stderr)
        return 1
    except GatewayError as error:
        print(error.message, file=sys.stderr)
        return 1
    except SQLAlchemyError as error:
        print(f"The database cannot be used: {getattr(error, 'orig', None) or error}", file=sys.stderr)
        return 1
    finally:
        databases.dispose()
    return 0


def _actor(command: str) -> Actor:
    return Actor(user_id=0, username=f"oneapi {command}", role=ROOT)


def _options(engine: Engine) -> Options:
    with engine.connect() as connection:
        return Options.from_rows(settings.rows(connection))


# ---- models ----


def _import_models(engine: Engine, config: Config, given: argparse.Namespace) -> None:
    channel = channels.relayed(engine, channels.get(engine, given.channel))
    offered = offers.models(Upstream(config), channel, now=time.time())
    added, gone = offers.difference(channel, offered, given.only)
    removed = [] if given.add_only else gone
    price_list = PriceList.of(load_prices(), _options(engine))
    costs = {model: _cost(price_list, model, channel) for model in added}
    if is_applied := given.apply and bool(added or removed):
        _save_models(engine, channel, added, removed)
    if given.json:
        print(to_json({"offered": offered, "added": added, "removed": removed, "applied": is_applied}))
        return
    print(
        f"Channel {channel.id} ({channel.name}, {channel.adaptor.label}) lists {len(channel.models)} models, "
        f"its provider {len(offered)}."
    )
    width = max(map(len, (*added, *removed)), default=0)
    for model in added:
        print(f"+ {model:<{width}}  {costs[model]}")
    for model in removed:
        print(f"- {model}")
    print(_outcome(given.apply, len(added) + len(removed), f"{len(added)} models added, {len(removed)} taken away"))


def _save_models(engine: Engine, channel: Channel, added: Iterable[str], removed: Iterable[str]) -> None:
    doomed = set(removed)
    models = [*(model for model in channel.models if model not in doomed), *added]
    if not models:
        raise _Impossible(f"Nothing was changed: channel {channel.id} would have no model left.")
    fields = ChannelFields(id=channel.id, models=",".join(models))
    channels.update_one(engine, _actor("import-models"), fields, now=int(time.time()))


def _cost(price_list: PriceList, model: str, channel: Channel) -> str:
    price = price_list.price(model, channel.type)
    if price is None:
        return "no price: it is refused until it has one"
    dollars = f"${short(price.input * 2)} in, ${short(price.output * 2)} out a million tokens"
    return f"no price: it costs the default, {dollars}" if price.is_default else dollars


# ---- prices ----


def _import_prices(engine: Engine, config: Config, given: argparse.Namespace) -> None:
    try:
        listed = publicprices.parse_list(_read(config, given.source), format=given.format, provider=given.provider)
    except ValueError as error:
        raise _Impossible(str(error)) from None
    options, builtin = _options(engine), load_prices()
    found = prices.compare(
        engine, listed, options, builtin, fits=lambda model: fits(model, given.only), is_for_all=given.all
    )
    taken = [difference.model for difference in found.differences if given.force or not difference.doubts]
    if given.apply and taken:
        accepted = {model: found.compared[model] for model in taken}
        prices.save(engine, _actor("import-prices"), accepted, builtin, now=int(time.time()))
    if given.json:
        print(_as_json(listed, found, taken if given.apply else []))
        return
    of_whom = "" if given.all else " that your channels have"
    print(
        f"The list ({listed.format}) has prices of {len(listed.prices)} models; of {len(found.compared)}{of_whom} "
        f"they were compared, and {len(found.differences)} differ."
    )
    for line in _table(found.differences):
        print(line)
    _tell("Not in the list", found.unlisted)
    _tell("Without any price", found.unpriced)
    _tell("Not usable", [f"{model} ({why})" for model, why in found.unusable.items()])
    _tell("Prices of theirs that are not taken over", found.not_taken)
    print(_outcome(given.apply, len(taken), f"prices of {len(taken)} models saved"))
    if doubtful := len(found.differences) - len(taken):
        print(f"{doubtful} of the differences look like mistakes and are left out; --force takes them, too.")


def _read(config: Config, source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    if source.startswith(("http://", "https://")):
        return _fetched(config, source)
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise _Impossible(f"{source} cannot be read: {error.strerror}.") from None


def _fetched(config: Config, url: str) -> bytes:
    proxy = proxy_of_deployment(config, url)
    try:
        with requests.Session() as session:
            session.trust_env = False
            proxies = {"http": proxy, "https": proxy} if proxy else {}
            with session.get(url, timeout=_FETCH_S, stream=True, proxies=proxies) as response:
                response.raise_for_status()
                body: bytes = response.raw.read(_LARGEST_BYTES + 1, decode_content=True)
    except (requests.RequestException, OSError) as error:
        raise _Impossible(f"{url} cannot be fetched: {error}") from None
    if len(body) > _LARGEST_BYTES:
        raise _Impossible(f"{url} is larger than {_LARGEST_BYTES // 1024 // 1024} MiB.")
    return body


# ---- printing ----


def _table(found: Sequence[Difference]) -> Iterable[str]:
    """Model, column, price now, price in the list, remark; a line for each column that differs."""
    rows = [
        (
            difference.model if at == 0 else "",
            column,
            short(cell.old),
            short(cell.new),
            _remark(difference) if at == 0 else "",
        )
        for difference in found
        for at, (column, cell) in enumerate(difference.cells.items())
    ]
    if not rows:
        return ()
    rows = [("MODEL", "PRICE", "NOW", "LIST", ""), *rows]
    model, column, old, new = (max(len(row[at]) for row in rows) for at in range(4))
    return (
        f"{row[0]:<{model}}  {row[1]:<{column}}  {row[2]:>{old}}  {row[3]:>{new}}  {row[4]}".rstrip() for row in rows
    )


def _remark(difference: Difference) -> str:
    doubts = "".join(f"! {doubt} " for doubt in difference.doubts)
    return f"{'has no price yet ' if difference.is_new else ''}{doubts}".rstrip()


def _tell(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        print(f"{what}: {', '.join(names[:_SHOWN])}{more}.")


def _outcome(is_applied: bool, count: int, what: str) -> str:
    if not count:
        return "There is nothing to change."
    return f"Done: {what}." if is_applied else f"Nothing was changed yet; --apply does it: {what}."


def _as_json(listed: PublicList, found: Comparison, applied: Sequence[str]) -> str:
    def both(cell: Cell) -> dict[str, Any]:
        return {"old": cell.old, "new": cell.new}

    rows = [
        {
            "model": difference.model,
            "is_new": difference.is_new,
            "doubts": difference.doubts,
            "prices": {column: both(cell) for column, cell in difference.cells.items()},
        }
        for difference in found.differences
    ]
    return to_json(
        {
            "format": listed.format,
            "differences": rows,
            "applied": applied,
            "unlisted": found.unlisted,
            "unpriced": found.unpriced,
            "unusable": found.unusable,
            "not_taken": found.not_taken,
        }
    )
