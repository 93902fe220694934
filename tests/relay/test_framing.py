"""Frames are the same however the network cut the bytes, and long ones cost no more than their length."""

from __future__ import annotations

import itertools
import json
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi.errors import UpstreamGarbled
from oneapi.relay import framing
from oneapi.relay.framing import FRAMINGS, NDJSON, SSE, AWSEventStream, Frame, JSONArray, Raw


def frames(make: Callable[[], Any], pieces: list[bytes]) -> list[Frame]:
    machine = make()
    return [frame for piece in pieces for frame in machine.feed(piece)] + machine.finish()


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def aws_message(payload: bytes, **headers: str) -> bytes:
    block = b""
    for name, value in headers.items():
        name = ":" + name.replace("_", "-")
        block += struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return message + struct.pack(">I", zlib.crc32(message))


places = st.lists(st.integers(0, 10_000), max_size=12)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


# ---- server-sent events ----


one_line = st.characters(codec="utf-8", exclude_characters="\r\n")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "message_start", "ping"]),
            st.lists(st.text(one_line, max_size=8), min_size=1, max_size=3),
            st.booleans(),
            line_ends,
        ),
        max_size=5,
    ),
    places,
)
def test_sse_events_are_the_same_for_every_cut(events: list[tuple[str, list[str], bool, bytes]], at: list[int]) -> None:
    body = b""
    expected = []
    for name, lines, has_blank, end in events:
        body += b"event: " + name.encode() + end if name else b""
        # A value that begins with a blank keeps it only behind another.
        texts = [line.lstrip(" ") for line in lines]
        body += b"".join(b"data:" + b" " * has_blank + text.encode() + end for text in texts) + end
        expected.append((name, "\n".join(texts).encode()))
    whole = frames(SSE, [body])
    assert [(frame.event, frame.data) for frame in whole] == expected
    assert frames(SSE, cut(body, at)) == whole
    assert frames(SSE, [body[n : n + 1] for n in range(len(body))]) == whole
    assert b"".join(frame.raw for frame in whole) == body


@settings(deadline=None)
@given(st.binary(max_size=60).map(lambda noise: noise.replace(b"\x00", b"\n").replace(b"\x01", b"\r")), places)
def test_sse_of_any_bytes_is_the_same_for_every_cut(body: bytes, at: list[int]) -> None:
    assert frames(SSE, cut(body, at)) == frames(SSE, [body])


@given(st.text("\r\n:da x", max_size=24), places)
def test_sse_line_ends_are_the_same_for_every_cut(body: str, at: list[int]) -> None:
    assert frames(SSE, cut(body.encode(), at)) == frames(SSE, [body.encode()])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: x\n\n", [("", b"x")]),
        (b"data:x\n\n", [("", b"x")]),
        (b"data:  x\n\n", [("", b" x")]),
        (b"data\n\n", [("", b"")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
        (b": comment\n\n", [("", b"")]),
        (b"id: 1\nretry: 3\ndata: x\n\n", [("", b"x")]),
        (b"\xef\xbb\xbfdata: x\n\n", [("", b"x")]),
        (b"data: x\r\n\r\ndata: y\r\r", [("", b"x"), ("", b"y")]),
        (b"data: x\n\r\ndata: y\r\n\n", [("", b"x"), ("", b"y")]),
        (b"\n\n\ndata: x\n\n\n\n", [("", b"x")]),
        (b"data: x", [("", b"x")]),
        (b"\n\n", []),
        (b"", []),
    ],
)
def test_sse_forms(body: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert [(frame.event, frame.data) for frame in frames(SSE, [body])] == expected


def test_an_sse_event_is_given_as_soon_as_it_is_whole() -> None:
    machine = SSE()
    assert machine.feed(b"data: x\n") == []
    assert [frame.data for frame in machine.feed(b"\ndata: y")] == [b"x"]
    assert [frame.data for frame in machine.feed(b"\n\n")] == [b"y"]


# ---- lines, arrays, Amazon's messages ----

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(values, max_size=5), st.booleans(), places)
def test_ndjson_lines_are_the_same_for_every_cut(items: list[Any], has_last_end: bool, at: list[int]) -> None:
    body = b"\n".join(json.dumps(item).encode() for item in items) + b"\n" * has_last_end
    whole = frames(NDJSON, [body])
    assert [json.loads(frame.data) for frame in whole] == items
    assert frames(NDJSON, cut(body, at)) == whole


@given(st.lists(values, max_size=5), st.sampled_from([b"", b" ", b"\r\n"]), places)
def test_array_elements_are_the_same_for_every_cut(items: list[Any], blank: bytes, at: list[int]) -> None:
    inner = (b"," + blank).join(json.dumps(item, ensure_ascii=False).encode() + blank for item in items)
    body = blank + b"[" + blank + inner + b"]" + blank
    whole = frames(JSONArray, [body])
    assert [json.loads(frame.data) for frame in whole] == items
    assert frames(JSONArray, cut(body, at)) == whole


def test_an_array_element_is_given_as_soon_as_it_is_whole() -> None:
    machine = JSONArray()
    assert [frame.data for frame in machine.feed(b'[{"a":"]},\\"{"}')] == [b'{"a":"]},\\"{"}']
    assert [frame.data for frame in machine.feed(b'\n,\r\n{"b":[1]}')] == [b'{"b":[1]}']
    assert machine.feed(b"]") == machine.finish() == []


def test_json_values_without_an_array_are_elements() -> None:
    assert [frame.data for frame in frames(JSONArray, [b'{"error":{"code":400}}'])] == [b'{"error":{"code":400}}']


@given(st.lists(st.binary(max_size=20), max_size=4), places)
def test_amazon_messages_are_the_same_for_every_cut(payloads: list[bytes], at: list[int]) -> None:
    body = b"".join(aws_message(payload, event_type="chunk", message_type="event") for payload in payloads)
    whole = frames(AWSEventStream, [body])
    assert [(frame.event, frame.data) for frame in whole] == [("chunk", payload) for payload in payloads]
    assert frames(AWSEventStream, cut(body, at)) == whole
    assert b"".join(frame.raw for frame in whole) == body


def test_amazons_frame_of_the_specification() -> None:
    frame = bytes.fromhex(
        "0000006b0000004b6ace012d0b3a6576656e742d747970650700056368756e6b0d3a636f6e74656e742d747970650700106170706c"
        "69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b226279746573223a226533303d227d3651dbfe"
    )
    (found,) = AWSEventStream().feed(frame)
    assert (found.event, found.data) == ("chunk", b'{"bytes":"e30="}')
    assert found.headers[":content-type"] == "application/json"


@pytest.mark.parametrize("place", [0, 9, 14, 20, -1])
def test_a_damaged_amazon_message_is_garbled(place: int) -> None:
    message = bytearray(aws_message(b"hello", event_type="chunk"))
    message[place] ^= 0xFF
    with pytest.raises(UpstreamGarbled):
        frames(AWSEventStream, [bytes(message)])


def test_an_exceptions_name_is_its_event() -> None:
    (found,) = frames(AWSEventStream, [aws_message(b"{}", exception_type="throttlingException")])
    assert found.event == "throttlingException"


@pytest.mark.parametrize(
    ("make", "body"),
    [
        (JSONArray, b'[{"a":1'),
        (JSONArray, b'["abc'),
        (JSONArray, b"[1,2"),
        (AWSEventStream, aws_message(b"hello")[:-1]),
    ],
)
def test_an_end_inside_a_frame_is_garbled(make: Any, body: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        frames(make, [body])


def test_raw_bytes_pass_as_they_come() -> None:
    assert [frame.raw for frame in frames(Raw, [b"a", b"bc"])] == [b"a", b"bc"]


def test_every_framing_has_its_name() -> None:
    assert sorted(FRAMINGS) == ["aws", "json_array", "ndjson", "raw", "sse"]


# ---- size ----

_MEGABYTES = b"x" * 10_000_000


@pytest.mark.parametrize(
    ("make", "body"),
    [
        pytest.param(SSE, b"data: " + _MEGABYTES + b"\n\n", id="sse"),
        pytest.param(NDJSON, b'"' + _MEGABYTES + b'"\n', id="ndjson"),
        pytest.param(JSONArray, b'["' + _MEGABYTES + b'"]', id="array"),
        pytest.param(AWSEventStream, aws_message(_MEGABYTES), id="aws"),
    ],
)
def test_a_long_frame_in_small_reads_costs_no_more_than_its_length(make: Any, body: bytes) -> None:
    started = time.process_time()
    assert len(frames(make, [body[at : at + 16_384] for at in range(0, len(body), 16_384)])) == 1
    # Copying or searching all that waits at every read would take many times as long.
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("make", [SSE, NDJSON, JSONArray])
def test_what_is_larger_than_any_frame_is_garbled(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_FRAME_BYTES", 100)
    machine = make()
    machine.feed(b'["' + b"x" * 50)
    with pytest.raises(UpstreamGarbled):
        machine.feed(b"x" * 60)
