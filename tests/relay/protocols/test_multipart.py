"""Forms read in place and one of their fields rewritten, the files untouched."""

from __future__ import annotations

from email import policy
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi.errors import InvalidRequest
from oneapi.relay.protocols import multipart

BOUNDARY = "----oneapi7MA4YWxk"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def form(*items: tuple[str, bytes] | tuple[str, bytes, str], boundary: str = BOUNDARY) -> bytes:
    body = b""
    for name, content, *filename in items:
        disposition = f'form-data; name="{name}"' + "".join(f'; filename="{word}"' for word in filename)
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n".encode()
        body += b"Content-Type: audio/wav\r\n" if filename else b""
        body += b"\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def read(body: bytes, content_type: str = TYPE) -> list[tuple[str, str | None, bytes]]:
    found = multipart.parts(body, content_type)
    return [(part.name, part.filename, body[part.start : part.end]) for part in found]


contents = st.binary(max_size=30) | st.sampled_from([b"\r\n--", b"--" + BOUNDARY.encode(), b"\r\n\r\n", b"\r\n--x\r\n"])


@given(st.lists(st.tuples(st.sampled_from(["model", "file", "prompt"]), contents), min_size=1, max_size=4))
def test_parts_are_those_that_were_written(items: list[tuple[str, bytes]]) -> None:
    body = form(*items)
    assert [(name, content) for name, _, content in read(body)] == items


def test_fields_and_files_are_told_apart() -> None:
    body = form(("model", b"whisper-1"), ("file", b"\x00\xff", "a.wav"), ("model", b"other"))
    assert read(body)[1] == ("file", "a.wav", b"\x00\xff")
    assert multipart.fields(body, multipart.parts(body, TYPE)) == {"model": "whisper-1"}


@pytest.mark.parametrize("has_model", [True, False])
def test_the_model_is_rewritten_and_nothing_else(has_model: bool) -> None:
    items: list[tuple[str, bytes] | tuple[str, bytes, str]] = [("file", b"\x00\r\n--x\xff", "a.wav"), ("prompt", b"hm")]
    if has_model:
        items.insert(1, ("model", b"whisper-1"))
    body = multipart.with_model(form(*items), TYPE, "large-v3")
    found = read(body)
    assert ("model", None, b"large-v3") in found
    assert sorted(found, key=str) == sorted(
        [("file", "a.wav", b"\x00\r\n--x\xff"), ("prompt", None, b"hm"), ("model", None, b"large-v3")], key=str
    )
    # Another parser agrees.
    message = BytesParser(policy=policy.HTTP).parsebytes(b"Content-Type: " + TYPE.encode() + b"\r\n\r\n" + body)
    names = [part.get_param("name", header="content-disposition") for part in message.iter_parts()]
    assert sorted(names) == ["file", "model", "prompt"]


def test_text_before_the_first_field_is_allowed() -> None:
    assert read(b"preamble\r\n" + form(("model", b"m"))) == [("model", None, b"m")]


@pytest.mark.parametrize(
    "content_type",
    [f'multipart/form-data; boundary="{BOUNDARY}"', f"Multipart/Form-Data; charset=utf-8; boundary={BOUNDARY}"],
)
def test_boundaries_are_read_as_headers_write_them(content_type: str) -> None:
    assert read(form(("model", b"m")), content_type) == [("model", None, b"m")]


def test_names_may_be_bare_or_encoded() -> None:
    head = b"Content-Type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename=a.wav; name=file"
    body = b"--" + BOUNDARY.encode() + b"\r\n" + head + b"\r\n\r\nx\r\n--" + BOUNDARY.encode() + b"--"
    assert read(body) == [("file", "a.wav", b"x")]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form(("model", b"m")), "application/json"),
        (form(("model", b"m")), "multipart/form-data"),
        (b"", TYPE),
        (b"no form", TYPE),
        (form(("model", b"m"))[:-8], TYPE),
        (form(("model", b"m")).replace(b"\r\n\r\n", b"\r\n"), TYPE),
        (form(("model", b"m")).replace(b'; name="model"', b""), TYPE),
        (form(*[("a", b"")] * 1001), TYPE),
        (form(("model", b"m"), boundary="another"), TYPE),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidRequest):
        multipart.parts(body, content_type)


def test_a_field_is_short_text() -> None:
    for content in (b"\xff", b"x" * 2_000_000):
        body = form(("model", content))
        with pytest.raises(InvalidRequest) as caught:
            multipart.fields(body, multipart.parts(body, TYPE))
        assert caught.value.param == "model"


def test_a_form_of_our_own_is_read_as_it_was_written() -> None:
    kind, body = multipart.written({"a": "1", "b": "Köln\r\n"}, ("x.png", "image/png", b"\x89PNG\r\n"))
    found = multipart.parts(body, kind)
    assert multipart.fields(body, found) == {"a": "1", "b": "Köln\r\n"}
    assert [(part.filename, body[part.start : part.end]) for part in found[2:]] == [("x.png", b"\x89PNG\r\n")]


def test_a_form_of_our_own_cannot_be_broken_from_inside() -> None:
    kind, _ = multipart.written({})
    with pytest.raises(InvalidRequest, match="boundary"):
        multipart.written({"a": "--" + kind.partition("boundary=")[2]})
