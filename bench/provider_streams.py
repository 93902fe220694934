"""Streams as the providers send them, for measuring: a beginning, any number of pieces, and an end.

In shape they are those of recorded answers, and of the providers' documentation where none was recorded: ids, names of
fields, their order, the blanks between them and the padding are what a parser has to wade through, and so are kept.
"""

import base64
import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from oneapi.relay.adaptor import Endpoint, Mode
from oneapi.relay.adaptors import load

Frames = tuple[bytes, ...]

# What models say, a few tokens at a time, with what JSON must escape and what is longer in UTF-8 than it looks.
_PIECES = re.findall(
    r"\s*\S+",
    'The quick brown fox jumps over the lazy dog.\n\n1. **"Hello"** is a greeting, said the parser; 你好，世界。 '
    "A naïve café ☕ has `x = {}` at the end.",
)


def pieces(count: int) -> tuple[str, ...]:
    return tuple(_PIECES[number % len(_PIECES)] for number in range(count))


@dataclass(frozen=True)
class Sample:
    """A provider's streams; `piece` writes the frame that says a piece."""

    name: str
    adaptor: str
    model: str
    begin: Frames
    piece: Callable[[str], bytes]
    end: Frames
    mode: Mode = "chat"

    @property
    def endpoint(self) -> Endpoint:
        found = next(adaptor for adaptor in load().values() if adaptor.name == self.adaptor)
        return found.endpoint(self.model, self.mode)

    def frames(self, count: int) -> Frames:
        """A stream of so many pieces."""
        return (*self.begin, *map(self.piece, pieces(count)), *self.end)


def reads(frames: Iterable[bytes]) -> Frames:
    """The frames as a socket gives them: mostly one by one, now and then two at once, or one in two halves."""
    chance = random.Random(1)
    cut: list[bytes] = []
    waiting = b""
    for frame in frames:
        waiting += frame
        drawn = chance.random()
        if drawn < 0.05:
            continue  # comes with the next
        if drawn < 0.08:
            half = len(waiting) // 2
            cut += (waiting[:half], waiting[half:])
        else:
            cut.append(waiting)
        waiting = b""
    return (*cut, waiting) if waiting else tuple(cut)


# ---- ways to write ----


def _json(value: Any, *, has_blanks: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=None if has_blanks else (",", ":")).encode()


def _data(value: Any) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _event(value: dict[str, Any]) -> bytes:
    """An event whose type is its name as well."""
    return b"event: " + value["type"].encode() + b"\n" + _data(value)


def _line(value: Any) -> bytes:
    return _json(value) + b"\n"


def _aws(event: str, value: Any) -> bytes:
    head = b""
    for name, word in ((":event-type", event), (":content-type", "application/json"), (":message-type", "event")):
        head += struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(word)) + word.encode()
    body = _json({**value, "p": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM"})
    prelude = struct.pack(">II", len(head) + len(body) + 16, len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + body
    return message + struct.pack(">I", zlib.crc32(message))


def _aws_chunk(value: dict[str, Any]) -> bytes:
    return _aws("chunk", {"bytes": base64.b64encode(_json(value)).decode()})


_DONE = b"data: [DONE]\n\n"

# ---- OpenAI, and those that look like it ----


def _chunk(model: str, more: dict[str, Any], delta: dict[str, Any], reason: str | None = None, **last: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    told = {"id": "chatcmpl-BpJBM4XqgLRpLxmTeun39ESCNhQwb", "object": "chat.completion.chunk", "created": 1751568164}
    return _data({**told, "model": model, **more, "choices": [choice], **last})


def _alike(
    name: str,
    adaptor: str,
    model: str,
    more: dict[str, Any],
    delta: Callable[[str], dict[str, Any]] = lambda text: {"content": text},
    opening: dict[str, Any] | None = None,
) -> Sample:
    usage = {"prompt_tokens": 9, "completion_tokens": 300, "total_tokens": 309}
    return Sample(
        name,
        adaptor,
        model,
        (_chunk(model, more, {"role": "assistant", "content": "", **(opening or {})}),),
        lambda text: _chunk(model, more, delta(text)),
        (_chunk(model, more, {}, "stop", usage=usage), _DONE),
    )


def _arguments(text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


_CALL: dict[str, Any] = {"id": "call_DdmO9pD3xa9XTPNJ32zg2hcA", "function": {"name": "weather", "arguments": ""}}
_CALLED = {"tool_calls": [{"index": 0, "type": "function", **_CALL}]}


def _thinking(text: str) -> dict[str, Any]:
    return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}


def _completion(text: str, reason: str | None = None) -> bytes:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
    told = {"id": "cmpl-BpJBM4XqgLRpLxmTeun39ESCNhQwb", "object": "text_completion", "created": 1751568164}
    return _data({**told, "choices": [choice], "model": "gpt-3.5-turbo-instruct"})


_OPENAI = {"service_tier": "default", "system_fingerprint": "fp_07871e2ad8", "usage": None}
_MINIMAX = {"input_sensitive": False, "output_sensitive": False, "output_sensitive_type": 0}
_SPARK = {"code": 0, "message": "Success", "sid": "cha000b000c@dx1905cf38fc8b86d552"}
_MISTRAL = {"p": "abcdefghijklmno"}

# ---- Anthropic, Amazon, Google ----


def _claude(
    write: Callable[[dict[str, Any]], bytes], block: dict[str, Any], kind: str, field: str
) -> tuple[Frames, Callable[[str], bytes], Frames]:
    """Beginning, piece and end of a message that is one block; how a piece of it is called, and where its text is."""
    usage = {"input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    message = {"id": "msg_01A", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return (
        (
            write({"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}}),
            write({"type": "content_block_start", "index": 0, "content_block": block}),
            write({"type": "ping"}),
        ),
        lambda text: write({"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: text}}),
        (
            write({"type": "content_block_stop", "index": 0}),
            write({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 300}}),
            write({"type": "message_stop"}),
        ),
    )


_TEXT_BLOCK = {"type": "text", "text": ""}, "text_delta", "text"
_THINKING_BLOCK = {"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"
_TOOL_BLOCK = {"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {}}, "input_json_delta", "partial_json"


def _llama(text: str, reason: str | None = None) -> bytes:
    counts = {"prompt_token_count": None, "generation_token_count": 7, "stop_reason": reason}
    return _aws_chunk({"generation": text, **counts})


def _converse(name: str, delta: Callable[[str], dict[str, Any]], start: dict[str, Any] | None = None) -> Sample:
    opening = _aws("contentBlockStart", {"contentBlockIndex": 0, "start": start}) if start else b""
    usage = {"inputTokens": 9, "outputTokens": 300, "totalTokens": 309}
    return Sample(
        name,
        "bedrock",
        "amazon.nova-lite-v1:0",
        (_aws("messageStart", {"role": "assistant"}) + opening,),
        lambda text: _aws("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta(text)}),
        (
            _aws("contentBlockStop", {"contentBlockIndex": 0}),
            _aws("messageStop", {"stopReason": "end_turn"}),
            _aws("metadata", {"usage": usage, "metrics": {"latencyMs": 900}}),
        ),
    )


def _gemini(name: str, adaptor: str = "gemini", part: dict[str, Any] | None = None, **more: Any) -> Sample:
    def frame(text: str, reason: str = "") -> bytes:
        content = {"parts": [{"text": text, **(part or {})}], "role": "model"}
        candidate = {"content": content, **({"finishReason": reason} if reason else {}), "index": 0}
        usage = {"promptTokenCount": 18, "candidatesTokenCount": 79, "totalTokenCount": 132}
        usage |= {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 18}], "thoughtsTokenCount": 35, **more}
        told = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}
        return b"data: " + _json({**told, "responseId": "ru1garvBEoOiqtsP2fznmQw"}, has_blanks=True) + b"\r\n\r\n"

    return Sample(name, adaptor, "gemini-2.5-flash", (), frame, (frame("", "STOP"),))


# ---- the others ----


def _ollama(field: str) -> Callable[..., bytes]:
    def line(text: str, **more: Any) -> bytes:
        told = {"model": "gemma3:1b", "created_at": "2025-05-19T09:26:59.705542Z"}
        message = {"role": "assistant", "content": "", field: text}
        return _line({**told, "message": message, "done": False, **more})

    return line


_OLLAMA_END = _ollama("content")("", done=True, done_reason="stop", prompt_eval_count=12, eval_count=300)


def _cohere(name: str, kind: str, message: Callable[[str], dict[str, Any]], opening: dict[str, Any]) -> Sample:
    usage = {"tokens": {"input_tokens": 9, "output_tokens": 300}}
    return Sample(
        name,
        "cohere",
        "command-a-03-2025",
        (
            _event({"id": "m-1", "type": "message-start", "delta": {"message": {"role": "assistant"}}}),
            _event({"type": f"{kind}-start", "index": 0, "delta": {"message": opening}}),
        ),
        lambda text: _event({"type": f"{kind}-delta", "index": 0, "delta": {"message": message(text)}}),
        (
            _event({"type": f"{kind}-end", "index": 0}),
            _event({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
        ),
    )


def _cohere_v1(kind: str, is_finished: bool = False, **more: Any) -> bytes:
    return _line({"is_finished": is_finished, "event_type": kind, **more})


def _coze(event: str, value: dict[str, Any]) -> bytes:
    return b"event:" + event.encode() + b"\ndata:" + _json(value) + b"\n\n"


_COZE_BEGIN = (_coze("conversation.chat.created", {"id": "7401", "status": "created"}),)
_COZE_END = (
    _coze("conversation.chat.completed", {"id": "7401", "status": "completed", "usage": {"output_count": 300}}),
    b'event:done\ndata:"[DONE]"\n\n',
)


def _coze_piece(field: str) -> Callable[[str], bytes]:
    message = {
        "id": "7401913177192169487",
        "conversation_id": "7401913177192169488",
        "bot_id": "7379462189365198898",
        "role": "assistant",
        "type": "answer",
        "content": "",
        "content_type": "text",
        "chat_id": "7401913177192169489",
    }
    return lambda text: _coze("conversation.message.delta", {**message, field: text})


def _dashscope(name: str, model: str, said: Callable[[str], dict[str, Any]]) -> Sample:
    def event(message: dict[str, Any], reason: str = "null") -> bytes:
        usage = {"total_tokens": 26, "input_tokens": 22, "output_tokens": 4}
        usage |= {"prompt_tokens_details": {"cached_tokens": 0}}
        choice = {"message": {**message, "role": "assistant"}, "finish_reason": reason}
        body = {"output": {"choices": [choice]}, "usage": usage, "request_id": "8dd5ae2d-8aa2-9dc9-b1b7-8d1ba0de5e0c"}
        return b"id:7\nevent:result\n:HTTP_STATUS/200\ndata:" + _json(body) + b"\n\n"

    return Sample(name, "ali", model, (), lambda text: event(said(text)), (event({"content": ""}, "stop"),))


def _tencent(name: str, said: Callable[[str], dict[str, Any]]) -> Sample:
    def event(delta: dict[str, Any], reason: str = "") -> bytes:
        choice = {"Index": 0, "Delta": {"Role": "assistant", **delta}, "FinishReason": reason}
        usage = {"PromptTokens": 3, "CompletionTokens": 7, "TotalTokens": 10}
        note = "以上内容为AI生成，不代表开发者立场，请勿删除或修改本标记"
        return _data({"Note": note, "Choices": [choice], "Created": 1716192001, "Id": "7b6f9c2e", "Usage": usage})

    return Sample(name, "tencent", "hunyuan-t1", (), lambda text: event(said(text)), (event({"Content": ""}, "stop"),))


def _xunfei(name: str, field: str) -> Sample:
    def line(text: str, status: int = 1) -> bytes:
        header = {"code": 0, "message": "Success", "sid": "cht000cb087@dx18793cd421fb894542", "status": status}
        said = {field: text, "role": "assistant", "index": 0}
        usage = {"question_tokens": 4, "prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
        last = {"usage": {"text": usage}} if status == 2 else {}
        choices = {"status": status, "seq": 7, "text": [said]}
        return _line({"header": header, "payload": {"choices": choices, **last}})

    return Sample(name, "xunfei", "Spark-Max", (line("", 0),), line, (line("", 2),))


def _baidu(text: str, is_end: bool = False) -> bytes:
    told = {"id": "as-bcmt5ct4iy", "object": "chat.completion", "created": 1680167072, "sentence_id": 3}
    flags = {"is_end": is_end, "is_truncated": False, "result": text, "need_clear_history": False}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return _data({**told, **flags, "finish_reason": "normal", "usage": usage})


def _plain(head: bytes, colon: str) -> Callable[[str], bytes]:
    """Events whose data is text as it is."""
    return lambda text: head + "".join(f"data{colon}{line}\n" for line in text.split("\n")).encode() + b"\n"


_V3_END = (
    b'event:finish\nid:83138\ndata:\nmeta:{"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
)
_replicate = _plain(b"event: output\nid: 1690212292:0\n", ": ")
_REPLICATE_END = (b"event: done\nid: 1690212292:9\ndata: {}\n\n",)


def _library(text: str, finish: bool = False) -> bytes:
    return _data({"content": text, "finish": finish, "model": "gpt-4o", "documents": []})


# ---- what is measured: text, thoughts, and arguments of a tool's call; the first of each passes as it comes ----

VERBATIM = _alike("OpenAI", "openai", "gpt-4o", _OPENAI)
TEXTS = (
    VERBATIM,
    _alike("Zhipu", "zhipu", "glm-4-plus", {}),
    _alike("MiniMax", "minimax", "MiniMax-Text-01", _MINIMAX),
    _alike("Xunfei, version 2", "xunfei_v2", "generalv3.5", _SPARK),
    Sample("Anthropic", "anthropic", "claude-sonnet-4-5", *_claude(_event, *_TEXT_BLOCK)),
    Sample("Bedrock, Claude", "bedrock", "anthropic.claude-3-haiku-v1:0", *_claude(_aws_chunk, *_TEXT_BLOCK)),
    Sample("Bedrock, Llama", "bedrock", "meta.llama3-8b-instruct-v1:0", (_llama(""),), _llama, (_llama("", "stop"),)),
    _converse("Bedrock, Converse", lambda text: {"text": text}),
    _gemini("Gemini"),
    _gemini("Vertex AI, Gemini", "vertexai", trafficType="ON_DEMAND"),
    Sample("Vertex AI, Claude", "vertexai", "claude-sonnet-4-5", *_claude(_event, *_TEXT_BLOCK)),
    Sample("Ollama", "ollama", "gemma3:1b", (), _ollama("content"), (_OLLAMA_END,)),
    _cohere("Cohere", "content", lambda text: {"content": {"text": text}}, {"content": {"type": "text", "text": ""}}),
    Sample(
        "Cohere, version 1",
        "cohere",
        "command-r-internet",
        (_cohere_v1("stream-start", generation_id="g-1"),),
        lambda text: _cohere_v1("text-generation", text=text),
        (_cohere_v1("stream-end", True, finish_reason="COMPLETE", response={"response_id": "r-1"}),),
    ),
    Sample("Coze", "coze", "bot-7379462189365198898", _COZE_BEGIN, _coze_piece("content"), _COZE_END),
    _dashscope("DashScope, text", "qwen-plus", lambda text: {"content": text}),
    _dashscope("DashScope, media", "qwen-vl-plus", lambda text: {"content": [{"text": text}]}),
    _tencent("Tencent", lambda text: {"Content": text}),
    _xunfei("Xunfei", "content"),
    Sample("Baidu", "baidu", "ERNIE-4.0-8K", (), _baidu, (_baidu("", True),)),
    Sample("Zhipu, version 3", "zhipu", "chatglm_turbo", (), _plain(b"event:add\nid:83138\n", ":"), (_V3_END,)),
    Sample("AI Proxy library", "ai_proxy_library", "library-1", (), _library, (_library("", True),)),
    Sample("Replicate", "replicate", "meta/meta-llama-3-8b-instruct", (), _replicate, _REPLICATE_END),
    _alike("Mistral", "mistral", "mistral-large-latest", _MISTRAL),
)
THOUGHTS = (
    _alike("DeepSeek", "deepseek", "deepseek-reasoner", _OPENAI, lambda text: {"reasoning_content": text}),
    Sample("Anthropic", "anthropic", "claude-sonnet-4-5", *_claude(_event, *_THINKING_BLOCK)),
    _converse("Bedrock, Converse", lambda text: {"reasoningContent": {"text": text}}),
    _gemini("Gemini", part={"thought": True}),
    Sample("Ollama", "ollama", "gemma3:1b", (), _ollama("thinking"), (_OLLAMA_END,)),
    _cohere(
        "Cohere",
        "content",
        lambda text: {"content": {"thinking": text}},
        {"content": {"type": "thinking", "thinking": ""}},
    ),
    Sample("Coze", "coze", "bot-7379462189365198898", _COZE_BEGIN, _coze_piece("reasoning_content"), _COZE_END),
    _dashscope("DashScope, text", "qwen-plus", lambda text: {"content": "", "reasoning_content": text}),
    _tencent("Tencent", lambda text: {"Content": "", "ReasoningContent": text}),
    _xunfei("Xunfei", "reasoning_content"),
    _alike("Mistral", "mistral", "magistral-medium-latest", _MISTRAL, _thinking),
)
ARGUMENTS = (
    _alike("OpenAI", "openai", "gpt-4o", _OPENAI, _arguments, _CALLED),
    Sample("Anthropic", "anthropic", "claude-sonnet-4-5", *_claude(_event, *_TOOL_BLOCK)),
    _converse(
        "Bedrock, Converse",
        lambda text: {"toolUse": {"input": text}},
        {"toolUse": {"toolUseId": "tooluse_lAG", "name": "weather"}},
    ),
    _cohere(
        "Cohere",
        "tool-call",
        lambda text: {"tool_calls": {"function": {"arguments": text}}},
        {"tool_calls": _CALL},
    ),
    _dashscope("DashScope, text", "qwen-plus", lambda text: {"content": "", **_arguments(text)}),
    _tencent(
        "Tencent",
        lambda text: {"Content": "", "ToolCalls": [{"Index": 0, "Id": "c", "Function": {"Arguments": text}}]},
    ),
    _alike("Mistral", "mistral", "mistral-large-latest", _MISTRAL, _arguments, _CALLED),
)
COMPLETIONS = (
    Sample(
        "OpenAI", "openai", "gpt-3.5-turbo-instruct", (), _completion, (_completion("", "stop"), _DONE), "completions"
    ),
    Sample(
        "Cloudflare",
        "cloudflare",
        "@cf/meta/llama-2-7b-chat-int8",
        (),
        lambda text: _data({"response": text, "p": "abcdefghijklmnopqrs"}),
        (_data({"response": "", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}), _DONE),
        "completions",
    ),
    Sample("Replicate", "replicate", "meta/meta-llama-3-8b-instruct", (), _replicate, _REPLICATE_END, "completions"),
)
# Those of which the whole program is measured.
THROUGH_THE_GATEWAY = tuple(
    sample for sample in TEXTS if sample.name in ("OpenAI", "Ollama", "Anthropic", "Gemini", "DashScope, text")
)
