"""Pictures made by Gemini's image models, through generateContent.

Source: https://ai.google.dev/gemini-api/docs/image-generation (read 2026-11-25). The Imagen models and their `:predict`
were switched off on 2026-08-17 (https://firebase.google.com/docs/ai-logic/imagen-models-migration).

An answer has one picture: for more of them the question is asked again, and should a later one fail, those that were
made are returned. Not carried: quality, style, user, the wish for a URL (pictures come as bytes). A size becomes the
nearest of Gemini's aspect ratios and, from Gemini 3 on, a resolution.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from oneapi.errors import UpstreamGarbled, UpstreamRejected
from oneapi.relay import ir
from oneapi.relay.adaptor import Codec, Credentials, Flow, Json, UpstreamRequest, WholeReply
from oneapi.relay.protocols.gemini_answer import parse_response as parse_answer
from oneapi.relay.protocols.gemini_error import parse_error
from oneapi.relay.protocols.gemini_parts import own, version_of
from oneapi.relay.protocols.provider_json import dumps, loads

_RATIOS = ((1, 1), (2, 3), (3, 2), (3, 4), (4, 3), (4, 5), (5, 4), (9, 16), (16, 9), (21, 9))
_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})")
_MAX_PICTURES = 10


def render_request(request: ir.ImageRequest) -> Json:
    config: Json = {"responseModalities": ["TEXT", "IMAGE"]}
    if picture := _picture(request.model, request.size):
        config["imageConfig"] = picture
    if request.n is not None and request.n > 1:
        config["candidateCount"] = request.n  # `repeated` asks that often instead
    return {
        "contents": [{"role": "user", "parts": [{"text": request.prompt}]}],
        "generationConfig": config,
    }


def _picture(model: str, size: str) -> Json:
    match = _SIZE.fullmatch(size)
    if match is None:
        return {}
    width, height = int(match[1]), int(match[2])
    across, down = min(_RATIOS, key=lambda ratio: abs(math.log(width / height * ratio[1] / ratio[0])))
    config: Json = {"aspectRatio": f"{across}:{down}"}
    version = version_of(model)
    if version is None or version >= (3, 0):
        longest = max(width, height)
        config["imageSize"] = "1K" if longest <= 1792 else "2K" if longest <= 3072 else "4K"
    return config


def repeated(request: UpstreamRequest, credentials: Credentials, now: float) -> Flow:
    """As many questions as pictures are wanted; their answers together."""
    body = loads(request.body)
    wanted = min(body["generationConfig"].pop("candidateCount", 1), _MAX_PICTURES)
    single = replace(request, body=dumps(body))
    if wanted == 1:
        return single
    answers: list[Json] = []
    for _ in range(wanted):
        reply = yield single
        assert reply is not None
        if reply.status != 200:
            if answers:
                break
            return reply
        answers.append(loads(reply.body))
    return WholeReply(200, {"content-type": "application/json"}, dumps({"answers": answers}))


def parse_response(body: Json) -> ir.ImageResponse:
    """Raises UpstreamRejected where Gemini would not draw, with its words, and UpstreamGarbled for no answer at all."""
    made: list[ir.MadeImage] = []
    usages: list[ir.Usage] = []
    refusal: UpstreamRejected | None = None
    answers = body.get("answers")  # those that `repeated` has put together
    for answer in answers if isinstance(answers, list) else [body]:
        try:
            response = parse_answer(answer)
        except UpstreamRejected as error:
            refusal = error
            continue
        pictures = [
            ir.MadeImage(data=part.data)
            for choice in response.choices
            for part in choice.parts
            if isinstance(part, ir.Image) and not own(part.extra).get("thought")
        ]
        made += pictures
        if response.usage is not None:
            usages.append(response.usage)
        if not pictures:
            refusal = _refusal(response)
    if not made:
        raise refusal or UpstreamGarbled("The provider's answer has no images.")
    return ir.ImageResponse(images=tuple(made), usage=_sum(usages, len(made)))


def _refusal(response: ir.ChatResponse) -> UpstreamRejected:
    said = "".join(part.text for choice in response.choices for part in choice.parts if isinstance(part, ir.Text))
    words = [str(own(choice.extra).get("finishMessage") or "") for choice in response.choices]
    is_filtered = any(choice.finish_reason == "content_filter" for choice in response.choices)
    return UpstreamRejected(
        said.strip() or "".join(words) or "The model answered without a picture.",
        upstream_status=400,
        provider_type="invalid_request_error",
        provider_code="content_filter" if is_filtered else "no_image",
        is_credential=False,
    )


def _sum(usages: list[ir.Usage], pictures: int) -> ir.Usage:
    return ir.Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens or 0 for usage in usages) or None,
        reasoning_tokens=sum(usage.reasoning_tokens or 0 for usage in usages) or None,
        image_output_tokens=sum(usage.image_output_tokens or 0 for usage in usages) or None,
        units={"images": pictures},
        raw=usages[0].raw if len(usages) == 1 else None,
    )


CODEC = Codec(
    name="gemini_images", render_request=render_request, parse_response=parse_response, parse_error=parse_error
)
