"""What structs of incoming fields share: which values may be absent, and which integers the databases can hold."""

from __future__ import annotations

from typing import Annotated, TypeVar

from msgspec import Meta, UnsetType

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

Value = TypeVar("Value")
Default = TypeVar("Default")


def given(value: Value | UnsetType, default: Default) -> Value | Default:
    """The value, or the default where it was left out."""
    return default if isinstance(value, UnsetType) else value
