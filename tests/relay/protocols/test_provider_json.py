"""JSON of providers is read as the standard library reads it, only faster."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import UpstreamGarbled
from oneapi.relay.protocols.provider_json import dumps, loads

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4), st.booleans())
def test_values_are_those_of_the_standard_library(value: dict[str, object], is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    assert repr(loads(text)) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":123456789012345678901234567890,"b":-0.0,"c":1E5,"d":1.10000000000000000001}',
        '{"a":1e400}',
        '{"a":"\\ud800"}',
        '{"a":1,"a":2}',
        '\t{"a" : [ ] }\r\n',
    ],
)
def test_odd_values_are_those_of_the_standard_library(text: str) -> None:
    assert repr(loads(text)) == repr(loads(text.encode())) == repr(json.loads(text))


def test_what_is_no_json_by_the_letter_is_read_as_well() -> None:
    assert math.isnan(loads(b'{"a":NaN}')["a"])
    assert loads(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize("data", [b"", b"[1]", b'"x"', b"1", b'{"a":', b'{"a":"\xff"}', b"[" * 100_000, "{'a':1}"])
def test_all_else_is_garbled(data: bytes | str) -> None:
    with pytest.raises(UpstreamGarbled):
        loads(data)


def test_lone_surrogates_go_out_as_escapes() -> None:
    assert dumps({"a": "\ud800", "b": "é"}) == b'{"a":"\\ud800","b":"\\u00e9"}'
