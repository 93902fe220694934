"""A client's JSON body, read no further than someone needs.

A typed decoder reads the few fields that matter and skips the rest without building it. What it is too strict for, lone
surrogates in a text above all, is read by the standard library instead.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec

from oneapi.errors import InvalidRequest

T = TypeVar("T")

MAX_TOKENS = 1_073_741_823  # spec relay.md §6.1
MAX_N = 128

_AT = re.compile(r"^(.*?)(?: - at `(?:key in )?\$?\.?(.*)`)?$", re.DOTALL)


def read(body: bytes, decoder: msgspec.json.Decoder[T], *, code: str = "invalid_text_request") -> T:
    """The decoder's fields of a JSON object. Raises InvalidRequest, whose `param` is the path of a wrong field."""
    try:
        # Skipped values are not checked by the decoder for being UTF-8.
        if not body.isascii():
            body.decode()
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return decoder.decode(_mended(body))
    except msgspec.ValidationError as error:
        _refuse(error, code)
    except UnicodeDecodeError as error:
        raise InvalidRequest("The request body is not valid UTF-8.", code=code) from error
    except RecursionError as error:
        raise InvalidRequest("The request body is nested too deeply.", code=code) from error
    except ValueError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}", code=code) from error


def _mended(body: bytes) -> bytes:
    """The same JSON with every lone surrogate replaced, for reading only: what goes upstream is what came."""
    value = json.loads(body.decode(), parse_constant=_not_json)
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _refuse(error: msgspec.ValidationError, code: str) -> NoReturn:
    match = _AT.match(str(error))
    text, path = (match[1], match[2]) if match else (str(error), None)
    if not path:
        raise InvalidRequest("The request body must be a JSON object.", code=code) from error
    raise InvalidRequest(f"Field '{path}': {text[:1].lower()}{text[1:]}.", param=path, code=code) from error


def require_model(model: str | None, *, code: str = "invalid_text_request") -> str:
    """The model's name. Raises InvalidRequest where there is none."""
    if not model:
        raise InvalidRequest("Field 'model' is required.", param="model", code=code)
    return model


def check_range(name: str, value: int | None, least: int, most: int, *, code: str = "invalid_text_request") -> None:
    """Raises InvalidRequest when the value is stated and out of range."""
    if value is not None and not least <= value <= most:
        raise InvalidRequest(f"Field '{name}' must be between {least} and {most}.", param=name, code=code)


def require(value: Any, name: str, *, code: str = "invalid_text_request") -> None:
    """Raises InvalidRequest for a field that is missing, null, or an empty text or list."""
    if value is None or value == "" or value == []:
        raise InvalidRequest(f"Field '{name}' is required and must not be empty.", param=name, code=code)
