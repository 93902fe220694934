"""One API in Python: an OpenAI-compatible gateway in front of many providers of language models."""

__version__ = "0.1.0"
