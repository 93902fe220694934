"""Looking prices up, and the lists themselves: One API's but for its errors, each entry with source and date."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import oneapi.data
from oneapi.columns import Columns, parse_columns, parse_number, parse_price_table, render_price_table
from oneapi.data import load_prices, price_option_texts
from oneapi.options import Options
from oneapi.relay import adaptors
from oneapi.relay.pricelist import BuiltinPrices, CompletionRule, Price, PriceList, Ratios, as_option

DATA = Path(oneapi.data.__file__).parent
ONE_API = json.loads(
    (Path(__file__).parents[1] / "data" / "one_api_prices.json").read_text(), parse_float=Decimal, parse_int=Decimal
)
MENDED = {*ONE_API["thousand_times_too_low"], *ONE_API["thousand_times_too_high"], *ONE_API["negative"]}


def priced(
    model: str,
    channel_type: int | None = None,
    *,
    builtin: BuiltinPrices | None = None,
    ratios: Ratios | None = None,
    completions: Ratios | None = None,
    default: Decimal | None = Decimal(30),
    columns: dict[str, Columns] | None = None,
) -> Price | None:
    prices = PriceList(
        builtin or load_prices(),
        model_ratios=ratios or {},
        completion_ratios=completions or {},
        group_ratios={},
        default_ratio=default,
        columns=columns,
    )
    return prices.price(model, channel_type)


def found(model: str, channel_type: int | None = None, **settings: Any) -> Price:
    price = priced(model, channel_type, **settings)
    assert price is not None
    return price


# ---- the lists ----


@pytest.mark.parametrize("name", ["model_ratios.json", "model_prices.json", "image_ratios.json"])
def test_every_entry_has_a_source_and_a_date(name: str) -> None:
    for block in json.loads((DATA / name).read_text())["blocks"]:
        assert block["source"].startswith("https://")
        assert len(block["date"].split("-")) == 3
        assert block["entries"]


def test_the_completion_ratios_have_a_source_and_a_date() -> None:
    listed = json.loads((DATA / "completion_ratios.json").read_text())
    assert listed["source"].startswith("https://")
    assert listed["date"]


def test_ratios_are_one_apis_but_for_its_errors() -> None:
    builtin = load_prices().model_ratios
    differing = {name for name, ratio in ONE_API["ratios"].items() if builtin.get(name) != ratio}
    assert differing == MENDED
    assert len(ONE_API["ratios"]) == 566


def test_its_errors_are_mended() -> None:
    builtin = load_prices().model_ratios
    for name in ONE_API["thousand_times_too_low"]:
        assert builtin[name] == ONE_API["ratios"][name] * 1000
    for name in ONE_API["thousand_times_too_high"]:
        assert builtin[name] == ONE_API["ratios"][name] / 1000
    assert "openrouter/auto" not in builtin


def test_prices_in_cny_are_reckoned_at_71() -> None:
    builtin = load_prices().model_ratios
    for name, cny in ONE_API["cny_per_1000_tokens"].items():
        assert builtin[name] == cny * 71 * (1000 if name in MENDED else 1)


def test_every_built_in_price_is_a_price() -> None:
    builtin = load_prices()
    for name in builtin.model_ratios:
        model, _, channel_type = name.removesuffix(")").partition("(")
        price = found(model, int(channel_type) if channel_type else None)
        assert 0 <= price.input < 1000
        assert 0 <= price.output < 1000
        assert not price.is_default
        for longer in (tier for _, tier in price.above):
            assert longer.input > price.input


def test_every_default_model_has_a_price_or_it_is_said_why_not() -> None:
    left_out = {*json.loads((DATA / "model_ratios.json").read_text())["left_out"]}
    for group in json.loads((DATA / "model_prices.json").read_text())["left_out"]:
        assert group["reason"].endswith(".")
        left_out.update(group["models"])
    unpriced = {
        model
        for channel_type, adaptor in adaptors.load().items()
        for model in adaptor.models
        if found(model, channel_type).is_default
    }
    assert unpriced == left_out


def test_no_model_is_listed_twice() -> None:
    for name in ("model_ratios.json", "model_prices.json"):
        blocks = json.loads((DATA / name).read_text())["blocks"]
        names = [model for block in blocks for model in block["entries"]]
        assert len(names) == len(set(names))


def test_columns_of_one_apis_models_are_multiples_of_their_ratio() -> None:
    for name, columns in load_prices().columns.items():
        if name in ONE_API["ratios"]:
            assert columns.input == 1
            assert columns.output is None


@pytest.mark.parametrize(
    ("model", "usd_input", "usd_cached", "usd_output"),
    [
        ("gpt-4.1", "2", "0.5", "8"),
        ("gpt-5", "1.25", "0.125", "10"),
        ("o3", "2", "0.5", "8"),
        ("o4-mini", "1.1", "0.275", "4.4"),
        ("claude-opus-4-1-20250805", "15", "1.5", "75"),
        ("claude-sonnet-4-5-20250929", "3", "0.3", "15"),
        ("gemini-2.5-flash", "0.3", "0.03", "2.5"),
        ("grok-4", "3", "0.75", "15"),
        ("deepseek-v3.2", "0.28", None, "0.42"),
        ("gpt-4o", "5", "2.5", "20"),
        ("claude-haiku-5-5", "0.1", "0.01", "0.5"),
        ("ernie-4.0-8k", "4.26", None, "12.78"),
        ("doubao-seed-1-6-251015", "0.1136", None, "1.136"),
        ("claude-3-5-sonnet-20241022", "3", "0.3", "15"),
    ],
)
def test_known_prices(model: str, usd_input: str, usd_cached: str | None, usd_output: str) -> None:
    price = found(model)
    assert price.input * 2 == Decimal(usd_input)
    assert price.output * 2 == Decimal(usd_output)
    assert price.cached == (None if usd_cached is None else Decimal(usd_cached) / 2)


# ---- looking up ----

LISTED = BuiltinPrices(
    model_ratios={"m": Decimal(1), "m(33)": Decimal(2), "other": Decimal(3)}, completion_ratios={"m(33)": Decimal(4)}
)


@pytest.mark.parametrize(
    ("ratios", "channel_type", "expected"),
    [
        ({}, 1, 1),
        ({}, 33, 2),
        ({"m": Decimal(7)}, 1, 7),
        ({"m": Decimal(7)}, 33, 2),
        ({"m(33)": Decimal(8)}, 33, 8),
        ({"m(33)": Decimal(8)}, 1, 1),
        ({"m(33)": Decimal(8)}, None, 1),
        ({"m": Decimal(0)}, 1, 0),
        ({"other": Decimal(9)}, 1, 1),
    ],
)
def test_configured_goes_before_built_in_and_channel_type_before_all(
    ratios: Ratios, channel_type: int | None, expected: int
) -> None:
    assert found("m", channel_type, builtin=LISTED, ratios=ratios).input == expected


def test_a_model_without_a_price_costs_the_default_and_says_so() -> None:
    assert found("no-such-model") == Price(input=Decimal(30), is_default=True)


def test_a_model_without_a_price_is_refused_where_there_is_no_default() -> None:
    assert priced("no-such-model", default=None) is None
    assert priced("gpt-4o", default=None) is not None


def test_openrouters_choice_has_no_price_of_its_own() -> None:
    assert found("openrouter/auto").is_default


@pytest.mark.parametrize(
    ("model", "same_input", "completion"),
    [
        ("qwen-max-internet", "qwen-max", 1),
        ("command-r-internet", "command-r", 1),
        ("gpt-4o-internet", None, 4),
    ],
)
def test_models_that_search_the_web(model: str, same_input: str | None, completion: int) -> None:
    expected = Decimal(30) if same_input is None else found(same_input).input
    assert found(model).input == expected
    assert found(model).completion == completion


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("whisper-1", "0"),
        ("deepseek-chat", "2"),
        ("gpt-3.5-turbo", "3"),
        ("gpt-3.5-turbo-0125", "3"),
        ("gpt-3.5-turbo-1106", "2"),
        ("gpt-3.5-turbo-16k", "4/3"),
        ("gpt-4o-2024-05-13", "3"),
        ("gpt-4o-mini", "4"),
        ("gpt-4o-2024-08-06", "4"),
        ("gpt-4-turbo-2024-04-09", "3"),
        ("gpt-4-1106-preview", "3"),
        ("gpt-4-32k", "2"),
        ("o1-mini", "4"),
        ("o3-mini", "1"),
        ("chatgpt-4o-latest", "3"),
        ("claude-3-opus-20240229", "5"),
        ("claude-2.1", "3"),
        ("mistral-large-latest", "3"),
        ("gemini-1.5-pro", "3"),
        ("deepseek-ai/anything", "2"),
        ("deepseek-reasoner", "2.19/0.55"),
        ("llama2-70b-4096", "1.25"),
        ("llama3-70b-8192", "0.79/0.59"),
        ("command-r-plus", "5"),
        ("command-r-internet", "1"),
        ("openai/gpt-4o", "1"),
        ("qwen-max", "1"),
    ],
)
def test_completion_ratios_follow_the_rules_in_order(model: str, expected: str) -> None:
    assert found(model).completion == parse_number(expected)


@pytest.mark.parametrize(
    ("completions", "channel_type", "expected"),
    [
        ({}, 33, 4),
        ({}, 1, 6),
        ({"m": Decimal(5)}, 1, 5),
        ({"m": Decimal(5)}, 33, 4),
        ({"m(33)": Decimal(3)}, 33, 3),
    ],
)
def test_completion_ratios_are_looked_up_like_ratios(completions: Ratios, channel_type: int, expected: int) -> None:
    rules = (CompletionRule(prefix="m", ratio=Decimal(6)),)
    builtin = BuiltinPrices(
        model_ratios=LISTED.model_ratios, completion_ratios=LISTED.completion_ratios, completion_rules=rules
    )
    assert found("m", channel_type, builtin=builtin, completions=completions).completion == expected


def test_a_surcharge_applies_to_all_of_a_models_prices() -> None:
    plain, dearer = found("gemini-2.5-pro"), found("gemini-2.5-pro", ratios={"gemini-2.5-pro": Decimal("1.25")})
    assert plain.cached is not None
    assert (dearer.input, dearer.cached, dearer.output) == (plain.input * 2, plain.cached * 2, plain.output * 2)
    assert dearer.at(300_000).output == plain.at(300_000).output * 2
    searching = found("claude-sonnet-4-5", ratios={"claude-sonnet-4-5": Decimal(3)})
    assert searching.per_unit == {"searches": Decimal("0.02")}


def test_a_configured_completion_ratio_applies_to_long_prompts_in_proportion() -> None:
    price = found("gemini-2.5-pro", completions={"gemini-2.5-pro": Decimal(16)})
    assert price.completion == 16
    assert price.at(300_000).completion == 12


def test_a_model_made_free_is_free_in_all_its_columns() -> None:
    price = found("claude-sonnet-4-5", ratios={"claude-sonnet-4-5": Decimal(0)})
    assert {price.input, price.output, price.cached, price.cache_write} == {0}
    assert price.per_unit == {"searches": 0}


def test_an_operators_own_columns_need_no_ratio() -> None:
    columns = {"new-model": parse_columns({"input": Decimal(2), "output": Decimal(9), "cached": Decimal("0.5")})}
    price = found("new-model", default=None, columns=columns)
    assert (price.input, price.output, price.cached) == (Decimal(1), Decimal("4.5"), Decimal("0.25"))


def test_an_operators_columns_go_before_what_is_built_in() -> None:
    columns = {"gemini-2.5-pro": parse_columns({"input": 4, "output": 8, "per_unit": {"searches": Decimal("0.02")}})}
    price = found("gemini-2.5-pro", columns=columns)
    assert (price.input, price.output, price.cached, price.above) == (2, 4, None, ())
    assert price.per_unit == {"searches": Decimal("0.02")}


def test_what_costs_by_the_unit_alone_keeps_its_price_whatever_is_built_in() -> None:
    columns = {"gpt-4o": parse_columns({"input": 0, "per_unit": {"images": Decimal("0.04")}})}
    price = found("gpt-4o", columns=columns)
    assert (price.input, price.per_unit) == (0, {"images": Decimal("0.04")})


def test_an_operators_ratios_go_before_his_columns_which_follow_in_proportion() -> None:
    columns = {"new-model": parse_columns({"input": 2, "output": 9, "cached": 1, "per_unit": {"searches": 3}})}
    price = found("new-model", columns=columns, ratios={"new-model": Decimal(3)}, completions={"new-model": Decimal(2)})
    assert (price.input, price.output, price.cached, price.per_unit) == (3, 6, Decimal("1.5"), {"searches": 9})


def test_an_operators_columns_without_output_follow_the_completion_rules() -> None:
    columns = {"gpt-4o-new": parse_columns({"input": 2})}
    assert found("gpt-4o-new", columns=columns).completion == 4


def test_the_options_make_the_list() -> None:
    rows = {
        "ModelRatio": '{"new-model": 3}',
        "CompletionRatio": '{"new-model": 2}',
        "ExtModelPrice": '{"new-model": {"input": 2, "cached": 0.5}, "other": {"input": 4, "output": 6}}',
    }
    prices = PriceList.of(load_prices(), Options.from_rows(rows))
    price = prices.price("new-model")
    assert price is not None
    assert (price.input, price.completion, price.cached) == (3, 2, Decimal("0.75"))
    assert prices.price("other") == Price(input=Decimal(2), completion=Decimal("1.5"))


def test_a_group_without_a_ratio_pays_the_plain_price() -> None:
    prices = PriceList(
        LISTED, model_ratios={}, completion_ratios={}, group_ratios={"vip": Decimal("0.8")}, default_ratio=None
    )
    assert prices.group_ratio("vip") == Decimal("0.8")
    assert prices.group_ratio("unheard of") == 1


# ---- reading ----


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), (Decimal("0.10"), "0.1"), ("0.25", "0.25"), ("4/3", "1.333333333333333333333333333")],
)
def test_numbers_are_the_digits_that_stand_there(value: object, expected: str) -> None:
    assert parse_number(value) == Decimal(expected)


@pytest.mark.parametrize("value", [-1, Decimal("NaN"), Decimal("Infinity"), 1.5, True, None, [], "-1"])
def test_what_is_no_price_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        parse_number(value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "no price for input"),
        ({"input": 1, "ouput": 2}, "no column ouput"),
        ({"input": 0, "output": 2}, "free input"),
        ({"input": "x"}, "must be a number"),
        ({"input": "1/0"}, "must be a number"),
        ([], "must be an object"),
        ({"input": Decimal("1e19")}, "out of all proportion"),
        ({"input": 1, "per_unit": []}, "object of prices in per_unit"),
        ({"input": 1, "above": {}}, "list in above"),
        ({"input": 1, "above": [3]}, "list of objects in above"),
        ({"input": 1, "above": [{"input": 3}]}, "must be a number"),
    ],
)
def test_columns_that_make_no_sense_are_refused(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_columns(entry)


def test_a_price_table_is_written_as_it_is_read() -> None:
    table = parse_price_table(
        '{"b": {"input": 0.10, "output": 0.3, "cached": 1e-9, "per_unit": {"calls": 12345678901234567890e-19}},'
        ' "a": {"input": 1, "above": [{"input_tokens": 200000, "input": 2}]}}'
    )
    text = render_price_table(table)
    assert parse_price_table(text) == table
    assert text.splitlines()[1:-1] == [
        '  "a": {"input": 1, "above": [{"input_tokens": 200000, "input": 2}]},',
        '  "b": {"input": 0.1, "output": 0.3, "cached": 0.000000001, "per_unit": {"calls": 1.234567890123456789}}',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be a JSON object of models"),
        ('{"m": {"output": 1}}', "has an entry for m that has no price for input"),
        ('{"m": {"input": NaN}}', "has an entry for m that must be a number"),
    ],
)
def test_a_price_table_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_price_table(text)


def test_the_settings_page_shows_the_built_in_tables() -> None:
    texts = price_option_texts()
    shown = json.loads(texts["ModelRatio"])
    assert shown["gpt-4o"] == 2.5
    assert shown["gpt-4"] == 15
    assert shown["ERNIE-4.0-8K"] == 8.52
    assert shown["llama3-70b-8192(33)"] == 1.325
    assert json.loads(texts["CompletionRatio"])["deepseek-reasoner"] == 3.981818181818182


def test_a_table_as_text_is_sorted_and_reads_as_numbers() -> None:
    assert as_option({"b": Decimal("1.50"), "a": Decimal(2)}) == '{\n  "a": 2,\n  "b": 1.5\n}'
