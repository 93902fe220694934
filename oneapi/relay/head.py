"""What routing, prices and counting need to know of a request before it is sent: its head, read cheaply.

A dialect's parser fills it from the body (or the form) without reading the conversation itself.
"""

from __future__ import annotations

from oneapi.relay.adaptor import Mode
from oneapi.relay.records import record


@record(kw_only=True)
class Head:
    """The facts that decide route, hold and fidelity. A fact the mode does not have keeps its default."""

    mode: Mode
    model: str  # as requested, or the mode's default
    names_model: bool = True  # the body itself names the model; False where path or default supplied it
    stream: bool = False
    wants_usage: bool = False  # the client asked for a usage chunk at the stream's end
    max_output_tokens: int | None = None  # per choice, whatever the dialect calls it; None where the client states none
    n: int = 1  # choices asked for
    input_bytes: int = 0  # of the text to be read, in UTF-8; of the whole body where that is dearer to know
    image_size: str = ""
    image_quality: str = ""
    image_count: int = 0  # images asked for
    characters: int = 0  # of the text to be spoken
    audio_seconds: float = 0.0  # of the uploaded recording, 0 where it is not known
