"""The table of what is proven for each channel type: docs/providers.md, made from the cases the tests walk.

    python -m tests.providers_table     writes docs/providers.md

A number counts the cases in which the feature is tried: recorded exchanges of the provider (replayed through the
program), exchanges written from its documentation, and our own case folders. `verbatim`: no case of its own, but the
client speaks this provider's protocol, so that the bytes pass as they are, whatever they say. `not offered`: the
channel type has no such endpoint. `not carried`: the provider's protocol has no place for it; the answer's header
X-OneAPI-Dropped says so. `no case`: it is built, or passes, but nothing here tries it: a gap.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from oneapi.relay import adaptors
from oneapi.relay.adaptor import Adaptor, Mode

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "providers.md"

# Adaptor → the folders of its recordings, with the beginning of a case's name where a folder serves several.
RECORDINGS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ali": (("dashscope", "native-"), ("documented/dashscope", "")),
    "ali_bailian": (("dashscope", "compat-"),),
    "anthropic": (("anthropic", ""), ("documented/anthropic", "")),
    "azure": (("azure", ""), ("documented/azure", "")),
    "baidu": (("documented/baidu", "wenxin-"), ("documented/baidu", "token")),
    "baidu_v2": (("documented/baidu", "v2-"),),
    "bedrock": (("bedrock", ""), ("documented/bedrock", "")),
    "cloudflare": (("cloudflare", ""), ("documented/cloudflare", "")),
    "cohere": (("cohere", ""), ("documented/cohere", "")),
    "coze": (("coze", ""), ("documented/coze", "")),
    "deepl": (("deepl", ""), ("documented/deepl", "")),
    "deepseek": (("deepseek", ""), ("documented/deepseek", "")),
    "doubao": (("documented/doubao", ""),),
    "gemini": (("gemini", ""), ("documented/gemini", "")),
    "groq": (("groq", ""), ("documented/groq", "")),
    "minimax": (("documented/minimax", ""),),
    "mistral": (("mistral", ""), ("documented/mistral", "")),
    "moonshot": (("documented/moonshot", ""),),
    "novita": (("novita", ""),),
    "ollama": (("ollama", "native-"), ("ollama", "embed"), ("documented/ollama", "")),
    "openai": (("openai", ""), ("documented/openai", "")),
    # Servers without a type of their own are reached as this one.
    "openai_compatible": (
        ("cerebras", ""),
        ("databricks", ""),
        ("fireworks", ""),
        ("huggingface", ""),
        ("hyperbolic", ""),
        ("llamacpp", ""),
        ("nebius", ""),
        ("ollama", "openai-compat-"),
        ("perplexity", ""),
        ("sambanova", ""),
        ("voyage", ""),
    ),
    "openrouter": (("openrouter", ""), ("documented/openrouter", "")),
    "replicate": (("replicate", ""), ("documented/replicate", "")),
    "tencent": (("documented/tencent", ""),),
    "together": (("together", ""),),
    "vertexai": (("vertex", ""), ("documented/vertex", "")),
    "xai": (("xai", ""), ("documented/xai", "")),
    "xunfei": (("documented/xunfei", "ws-"),),
    "xunfei_v2": (("documented/xunfei", "http-"),),
    "zhipu": (("zhipu", ""), ("documented/zhipu", "")),
}


class Feature:
    """A column: the names of cases that try it, the mode it needs, and what `Codec.cannot_carry` calls it."""

    def __init__(self, name: str, cases: str, *, mode: Mode = "chat", field: str = "") -> None:
        self.name = name
        self.mode = mode
        self.field = field
        self._cases = re.compile(cases)

    def tried_by(self, cases: Iterable[str]) -> int:
        return sum(1 for case in cases if self._cases.search(case) and not case.startswith("responses-"))


_NOT_CHAT = (
    r"^(?!.*(?:embed|rerank|image-gen|image-prediction|speech|transcri|models|count|moderation|error|translate))"
)
FEATURES = (
    Feature("text", _NOT_CHAT + r".*(?:chat|completion|converse|invoke|max-tokens|llama|multiturn|system|citations)"),
    Feature("stream", _NOT_CHAT + r".*stream"),
    Feature("tools", r"tool|function", field="tools"),
    Feature("parallel tools", r"parallel", field="tools"),
    Feature("tools in a stream", r"(?:tool|function).*stream", field="tools"),
    Feature("image in", r"image-(?:url|base64)|vision|picture", field="images"),
    Feature("audio in", r"audio-input|audio-in", field="audio"),
    Feature("documents", r"pdf|document", field="files"),
    Feature("JSON schema", r"structured|schema", field="response_format"),
    Feature("reasoning", r"reasoning|thinking", field="thinking"),
    Feature("cached usage", r"cache"),
    Feature("embeddings", r"embed", mode="embeddings"),
    Feature("images", r"image-(?:gen|edit|output|prediction|task|at-once|binary|json)|^images?$", mode="images"),
    Feature("speech", r"speech|tts", mode="speech"),
    Feature("transcription", r"transcri", mode="transcription"),
    Feature("rerank", r"rerank", mode="rerank"),
    Feature("errors", r"error|overloaded|refusal|filter"),
)


def recordings_folder() -> Path:
    return Path(os.environ.get("ONEAPI_FIXTURES") or ROOT.parent / "shared" / "fixtures")


def cases_of(adaptor: Adaptor, recordings: Path) -> list[str]:
    """Names of all cases of this channel type."""
    names = [path.name for path in (ROOT / "tests" / "fixtures" / adaptor.name).glob("*/")]
    for folder, beginning in RECORDINGS.get(adaptor.name, ()):
        base = ROOT / "tests" / "fixtures" if folder.startswith("documented/") else recordings
        names += [path.stem for path in (base / folder).glob("*.json") if path.stem.startswith(beginning)]
    return names


def cell(adaptor: Adaptor, feature: Feature, cases: list[str]) -> str:
    if count := feature.tried_by(cases):
        return str(count)
    endpoint = adaptor.endpoints.get(feature.mode)
    if endpoint is None:
        return "not offered"
    if feature.field and feature.field in endpoint.codec.cannot_carry:
        return "not carried"
    return "verbatim" if endpoint.codec.name.startswith("openai_") else "no case"


def table(recordings: Path) -> str:
    docstring = (__doc__ or "").partition("docs/providers.md\n\n")[2]
    lines = [
        "# Providers and what is proven of them",
        "",
        "Made by `python -m tests.providers_table`; a test keeps it true.",
        "",
        docstring.strip(),
        "",
        "| type | provider | " + " | ".join(feature.name for feature in FEATURES) + " |",
        "| --- | --- |" + " --- |" * len(FEATURES),
    ]
    for number, adaptor in adaptors.load().items():
        if adaptor.retired:
            cells = ["retired"] * len(FEATURES)
        elif "proxy" in adaptor.endpoints:
            cells = ["raw"] * len(FEATURES)
        else:
            cases = cases_of(adaptor, recordings)
            cells = [cell(adaptor, feature, cases) for feature in FEATURES]
        lines.append(f"| {number} | {adaptor.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(table(recordings_folder()), "utf-8")
