"""Counts agree with tiktoken's published values, offline, and never hold up a worker."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import gevent
import pytest

from oneapi.relay import encodings

HASHES = {
    "9b5ad71b2ce5302211f9c61530b329a4922fc6a4": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "fb374d419588a4632f3f557e76b4b70aebbca790": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}


def test_the_tables_are_tiktokens_own_bytes() -> None:
    found = {table.name: hashlib.sha256(table.read_bytes()).hexdigest() for table in encodings.TABLES.iterdir()}
    assert found == HASHES


def test_the_licence_of_the_tables_is_shipped() -> None:
    text = (encodings.TABLES.parent / "tiktoken-LICENSE.txt").read_text()
    assert "MIT License" in text
    assert "OpenAI" in text


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-4.5-preview", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-5.1-codex", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("o1", "o200k_base"),
        ("o1-mini", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("ft:gpt-4o:acme::id", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("text-davinci-003", "cl100k_base"),
        ("davinci", "cl100k_base"),
        ("claude-3-5-sonnet-20241022", "cl100k_base"),
        ("qwen-max", "cl100k_base"),
        ("", "cl100k_base"),
        ("../../etc/passwd", "cl100k_base"),
    ],
)
def test_encoding_by_model(model: str, expected: str) -> None:
    assert encodings.encoding_name(model) == expected


# The first are the values of tiktoken's own tests, then those of OpenAI's counting cookbook (for cl100k_base).
@pytest.mark.parametrize(
    ("text", "model", "expected"),
    [
        ("hello world", "gpt-4", 2),
        ("hello <|endoftext|>", "gpt-4", 7),
        ("rer", "gpt-3.5-turbo", 1),
        ("0", "gpt-3.5-turbo", 1),
        ("'rer", "gpt-3.5-turbo", 2),
        ("today\n ", "gpt-3.5-turbo", 3),
        ("today\n \n", "gpt-3.5-turbo", 2),
        ("today\n  \n", "gpt-3.5-turbo", 2),
        ("\u2047 \U0001f44d", "gpt-3.5-turbo", 4),
        ("antidisestablishmentarianism", "gpt-4", 6),
        ("2 + 2 = 4", "gpt-4", 7),
        ("お誕生日おめでとう", "gpt-4", 9),
        ("antidisestablishmentarianism", "gpt-4o", 6),
        ("2 + 2 = 4", "gpt-4o", 7),
        ("お誕生日おめでとう", "gpt-4o", 8),
        ("", "gpt-4o", 0),
        ("hi", "gpt-3.5-turbo", 1),
    ],
)
def test_known_counts(text: str, model: str, expected: int) -> None:
    assert encodings.count(text, model) == expected


def test_a_lone_surrogate_is_counted() -> None:
    assert encodings.count("a\ud800b", "gpt-4o") > 0


def test_a_long_text_counts_as_the_sum_of_its_parts() -> None:
    line = "The quick brown fox jumps over the lazy dog.\n"
    assert encodings.count(line * 20_000, "gpt-4o") == pytest.approx(10 * 20_000, rel=0.001)


def test_a_text_beyond_the_limit_is_sampled_evenly() -> None:
    english, chinese = "The quick brown fox jumps. " * 100_000, "人工智能是计算机科学的一个分支。" * 100_000
    whole = encodings.count(english, "gpt-4o") + encodings.count(chinese, "gpt-4o")
    assert len(english + chinese) > 2 * encodings.EXACT_CHARACTERS
    assert encodings.count(english + chinese, "gpt-4o") == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("text", ["a" * 3_000_000, " " * 3_000_000, "\n" * 3_000_000, "智" * 3_000_000])
def test_endless_words_take_no_longer_than_prose(text: str) -> None:
    started = time.process_time()
    assert encodings.count(text, "gpt-4o") > 0
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "texts",
    [["The quick brown fox jumps over the lazy dog. " * 40_000], ["A line of a long conversation. " * 30] * 2_000],
    ids=["one long text", "many short texts"],
)
def test_counting_lets_other_greenlets_run(texts: list[str]) -> None:
    encodings.count("warm", "gpt-4")
    counting = gevent.spawn(lambda: [encodings.count(text, "gpt-4") for text in texts])
    turns = 0
    while not counting.dead:
        gevent.sleep(0.001)
        turns += 1
    counting.get()
    assert turns > 10


OFFLINE = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
from oneapi.relay import encodings
print(encodings.count("hello world", "gpt-4"), encodings.count("hello world", "gpt-4o"),
      encodings.count("hello world", "text-davinci-003"))
"""


@pytest.mark.parametrize("configured", [None, "", "empty directory"])
def test_counts_without_network_whatever_cache_directory_is_configured(configured: str | None, tmp_path: Path) -> None:
    directory = str(tmp_path) if configured == "empty directory" else configured
    environ = {} if directory is None else {"TIKTOKEN_CACHE_DIR": directory}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE],
        env=environ,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("2 2 2\n", "")
