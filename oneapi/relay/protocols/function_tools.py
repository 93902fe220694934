"""The tools of a request, for providers that know functions only and fewer ways to choose among them than OpenAI."""

from __future__ import annotations

from dataclasses import dataclass

from oneapi.errors import InvalidRequest
from oneapi.relay import ir


@dataclass(frozen=True, slots=True)
class Offer:
    """The functions to offer, and the one that must be called, if any.

    `is_lax` says that the client wants some call to be made and the provider has no word for it.
    """

    tools: tuple[ir.Tool, ...] = ()
    must_call: ir.Tool | None = None
    is_lax: bool = False


def offered(request: ir.ChatRequest) -> Offer:
    """What is left of tools and choice where a provider knows "auto" and one named function.

    A choice of none offers nothing; allowed tools are the only ones offered; of a single tool, "required" is its name.
    Raises InvalidRequest for a tool that is not a function.
    """
    for tool in request.tools:
        if tool.kind != "function":
            raise InvalidRequest(f"The provider cannot run the built-in tool {tool.kind!r}.", param="tools")
    tools, choice = request.tools, request.tool_choice
    if choice is None or not tools:
        return Offer(tools)
    if choice.allowed:
        tools = tuple(tool for tool in tools if tool.name in choice.allowed)
    match choice.mode:
        case "none":
            return Offer()
        case "function":
            return Offer(tools, next((tool for tool in tools if tool.name == choice.name), None))
        case "required" if len(tools) == 1:
            return Offer(tools, tools[0])
        case "required":
            return Offer(tools, is_lax=True)
    return Offer(tools)


def plain_text(parts: tuple[ir.Part, ...], joined_by: str = "\n") -> str:
    """The text of a message's parts, where a provider takes one text only."""
    return joined_by.join(part.text for part in parts if isinstance(part, ir.Text | ir.Refusal) and part.text)
