"""A response is its stream, collected."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi.relay import ir
from tests.relay.protocols import chat_values

PARTS = (
    ir.Text("a", ({"type": "url_citation"},)),
    ir.Reasoning("b", ir.Seal("anthropic", "s")),
    ir.Refusal("c"),
    ir.ToolCall("id", "name", "{}"),
    ir.Audio(data="AAAA", id="x", transcript="t"),
    ir.Image(data="AAAA", media_type="image/png"),
    ir.File(data="AAAA", name="n"),
)


@settings(deadline=None, max_examples=50)
@given(chat_values.responses)
def test_a_response_replayed_and_collected_is_the_same(response: ir.ChatResponse) -> None:
    assert ir.collect(ir.replay(response)) == response


@settings(deadline=None, max_examples=50)
@given(chat_values.responses, st.data())
def test_deltas_may_be_cut_anywhere(response: ir.ChatResponse, data: st.DataObject) -> None:
    events: list[ir.Event] = []
    for event in ir.replay(response):
        if isinstance(event, ir.Delta):
            at = data.draw(st.integers(0, len(event.text)))
            events += [ir.Delta(event.index, piece, event.choice) for piece in (event.text[:at], event.text[at:])]
        else:
            events.append(event)
    assert ir.collect(events) == response


def test_a_part_is_its_opening_grown_by_its_content() -> None:
    for part in PARTS:
        assert ir.content(part)
        assert ir.content(ir.emptied(part)) == ""
        assert ir.grown(ir.emptied(part), ir.content(part)) == part


def test_what_is_learnt_late_replaces_all_but_the_text() -> None:
    events = [
        ir.Begin("id"),
        ir.Open(0, ir.Reasoning("")),
        ir.Delta(0, "hm"),
        ir.Amend(0, ir.Reasoning("", ir.Seal("anthropic", "s"))),
        ir.Close(0),
        ir.Finish("stop"),
    ]
    assert ir.collect(events).choices[0].parts == (ir.Reasoning("hm", ir.Seal("anthropic", "s")),)


def test_the_last_usage_counts_and_a_total_is_the_sum() -> None:
    response = ir.collect([ir.Begin(), ir.Usage(input_tokens=1), ir.Usage(input_tokens=2, output_tokens=3)])
    assert response.usage is not None
    assert response.usage.total_tokens == 5


def test_parts_and_choices_stand_in_their_order() -> None:
    events = [ir.Begin(), ir.Open(1, ir.Text("b")), ir.Open(0, ir.Text("a")), ir.Open(0, ir.Text("c"), 1)]
    assert [choice.parts for choice in ir.collect(events).choices] == [(ir.Text("a"), ir.Text("b")), (ir.Text("c"),)]


def test_logprobs_of_pieces_add_up() -> None:
    one, two = {"content": [{"token": "a"}]}, {"content": [{"token": "b"}]}
    events = [ir.Begin(), ir.Open(0, ir.Text("")), ir.Delta(0, "a", logprobs=one), ir.Finish("stop", logprobs=two)]
    assert ir.collect(events).choices[0].logprobs == {"content": [{"token": "a"}, {"token": "b"}]}
