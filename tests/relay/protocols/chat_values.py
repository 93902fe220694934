"""Hypothesis strategies for conversations: what OpenAI's chat protocol carries of the intermediate representation."""

from __future__ import annotations

from hypothesis import strategies as st

from oneapi.relay import ir

texts = st.text(min_size=1, max_size=12)
names = st.text("abcXYZ019_-", min_size=1, max_size=8)
base64_texts = st.sampled_from(["AAAA", "aGVsbG8=", "iVBORw0KGgo="])
schemas = st.sampled_from([{"type": "object", "properties": {}}, {"type": "object", "required": ["city"]}])
arguments = st.sampled_from(["{}", '{"city":"Köln"}', '{"a": 1.50, "b": [null]}', ""])

text_parts = st.builds(ir.Text, texts)
image_parts = st.one_of(
    st.builds(ir.Image, url=st.just("https://example.com/cat.png"), detail=st.sampled_from(["", "low", "high"])),
    st.builds(ir.Image, data=base64_texts, media_type=st.sampled_from(["image/png", "image/jpeg"])),
)
audio_parts = st.builds(ir.Audio, data=base64_texts, format=st.sampled_from(["wav", "mp3"]))
file_parts = st.one_of(
    st.builds(ir.File, file_id=names),
    st.builds(ir.File, data=base64_texts, media_type=st.just("application/pdf"), name=names),
)
calls = st.builds(
    ir.ToolCall,
    id=names,
    name=names,
    arguments=arguments,
    kind=st.sampled_from(["function", "custom"]),
    seal=st.none() | st.builds(ir.Seal, st.just("gemini"), texts),
)
thoughts = st.builds(ir.Reasoning, texts)
sealed_thoughts = st.one_of(
    st.builds(ir.Reasoning, texts, st.builds(ir.Seal, st.just("anthropic"), texts)),
    st.builds(ir.Reasoning, st.just(""), st.builds(ir.Seal, st.just("anthropic"), texts), st.just(True)),
)
_OPENROUTERS_SEAL = '{"index": 0, "signature": "s", "type": "reasoning.text"}'
openrouters_thought = ir.Reasoning("hm", ir.Seal("openai_chat", _OPENROUTERS_SEAL))


system_messages = st.builds(
    ir.Message, st.just("system"), st.tuples(text_parts), extra=st.sampled_from([{}, {"role": "developer"}])
)
user_messages = st.builds(
    ir.Message,
    st.just("user"),
    st.lists(st.one_of(text_parts, image_parts, audio_parts, file_parts), min_size=1, max_size=3).map(tuple),
    name=st.just("") | names,
)
tool_messages = st.builds(
    ir.Message, st.just("tool"), st.tuples(st.builds(ir.ToolResult, names, st.tuples(text_parts)))
)


@st.composite
def assistant_messages(draw: st.DrawFn) -> ir.Message:
    parts: list[ir.Part] = [
        *draw(st.lists(thoughts, max_size=1)),
        *draw(st.lists(text_parts, max_size=1)),
        *draw(st.lists(st.builds(ir.Refusal, texts), max_size=1)),
        *draw(st.lists(calls, max_size=2)),
    ]
    return ir.Message("assistant", tuple(parts))


@st.composite
def requests(draw: st.DrawFn) -> ir.ChatRequest:
    tool = st.builds(ir.Tool, names, st.just("") | texts, st.none() | schemas, st.none() | st.booleans())
    tools = draw(st.lists(tool, max_size=3, unique_by=lambda tool: tool.name))
    modes = [ir.ToolChoice("auto"), ir.ToolChoice("none"), ir.ToolChoice("required")]
    if tools:
        modes += [ir.ToolChoice("function", tools[0].name), ir.ToolChoice("auto", allowed=(tools[0].name,))]
    number = st.none() | st.floats(0, 2, allow_nan=False).map(lambda value: round(value, 3))
    message = st.one_of(system_messages, user_messages, assistant_messages(), tool_messages)
    return ir.ChatRequest(
        model=draw(names),
        messages=tuple(draw(st.lists(message, min_size=1, max_size=5))),
        tools=tuple(tools),
        tool_choice=draw(st.none() | st.sampled_from(modes)),
        may_call_in_parallel=draw(st.none() | st.booleans()),
        max_tokens=draw(st.none() | st.integers(0, 10**6)),
        temperature=draw(number),
        top_p=draw(number),
        stop=tuple(draw(st.lists(texts, max_size=3))),
        n=draw(st.none() | st.integers(1, 4)),
        seed=draw(st.none() | st.integers(-(2**63), 2**63)),
        presence_penalty=draw(number),
        frequency_penalty=draw(number),
        logit_bias=draw(st.none() | st.just({"50256": -100})),
        logprobs=draw(st.none() | st.booleans()),
        top_logprobs=draw(st.none() | st.integers(0, 20)),
        response_format=draw(
            st.none()
            | st.sampled_from([ir.ResponseFormat("text"), ir.ResponseFormat("json_object")])
            | st.builds(ir.ResponseFormat, st.just("json_schema"), names, schemas, st.none() | st.booleans())
        ),
        thinking=draw(st.none() | st.builds(ir.Thinking, st.sampled_from(["none", "low", "high"]))),
        user=draw(st.just("") | names),
        metadata=draw(st.none() | st.just({"order": "7"})),
        modalities=draw(st.sampled_from([(), ("text",), ("text", "audio")])),
        stream=draw(st.booleans()),
        wants_usage=draw(st.booleans()),
        extra=draw(st.sampled_from([{}, {"origin": "openai_chat", "service_tier": "flex", "web_search_options": {}}])),
    )


@st.composite
def choices(draw: st.DrawFn) -> ir.Choice:
    spoken = draw(st.lists(st.builds(ir.Text, texts, st.sampled_from([(), ({"type": "url_citation"},)])), max_size=1))
    made = draw(st.lists(calls, max_size=3, unique_by=lambda call: call.id))
    parts: list[ir.Part] = [
        *draw(st.lists(thoughts, max_size=1) | st.lists(sealed_thoughts, max_size=2) | st.just([openrouters_thought])),
        *spoken,
        *draw(st.lists(st.builds(ir.Refusal, texts), max_size=1)),
        *draw(st.lists(st.builds(ir.Audio, data=base64_texts, id=names, transcript=texts), max_size=1)),
        *draw(st.lists(st.builds(ir.Image, data=base64_texts, media_type=st.just("image/png")), max_size=2)),
        *made,
    ]
    reasons: list[ir.FinishReason] = ["tool_calls", "length"] if made else ["stop", "length", "content_filter"]
    logprobs = {"content": [{"token": "a", "logprob": -0.5}]} if spoken and draw(st.booleans()) else None
    return ir.Choice(parts=tuple(parts), finish_reason=draw(st.sampled_from(reasons)), logprobs=logprobs)


usages = st.builds(
    ir.Usage,
    input_tokens=st.integers(1, 10**6),
    output_tokens=st.integers(0, 10**6),
    cached_tokens=st.none() | st.integers(0, 100),
    reasoning_tokens=st.none() | st.integers(0, 100),
    audio_output_tokens=st.none() | st.integers(0, 100),
)
responses = st.builds(
    ir.ChatResponse,
    id=names,
    model=names,
    created_at=st.integers(1, 2**31),
    choices=st.lists(choices(), min_size=1, max_size=2).map(tuple),
    usage=st.none() | usages,
    extra=st.sampled_from([{}, {"origin": "openai_chat", "service_tier": "default"}]),
)
