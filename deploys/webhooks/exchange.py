"""One try: send a message to its webhook's URL, and read a bounded answer. Within a deadline, whatever the receiver does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import orjson
import requests
import urllib3

from deploys.packages import cutoff, errors
from deploys.packages.connection_errors import explain
from deploys.packages.cutoff import Cutoff
from deploys.packages.pinned_http import PinnedClient
from deploys.packages.speed import LOWEST_SPEED
from deploys.webhook_models import BodyFormat, Webhook
from deploys.webhooks.bodies import Message
from deploys.webhooks.rules import SETTING, host_rules
from inventory.security.redaction import MASK, clean_text, scrub
from inventory.security.registered_secrets import RegisteredSecrets

DEADLINE_SECONDS = 15.0
_MOST_ANSWER_BYTES = 4096
_MOST_SHOWN = 500


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a try went. status None: no answer came. excerpt: what the body began with, masked. error '': it was taken.

    pause_seconds: how long the receiver wants to be left alone; 0 when it does not say.
    """

    status: int | None = None
    excerpt: str = ""
    error: str = ""
    pause_seconds: float = 0


class _Refused(Exception):
    """Nothing was sent. The message says why."""


def exchange(webhook: Webhook, message: Message, *, deadline_seconds: float = DEADLINE_SECONDS) -> Answer:
    """Never raises for what the receiver or the network does."""
    mask = _mask_of(webhook, message)
    try:
        return cutoff.run(
            lambda cut: _exchange(BodyFormat(webhook.body), message, cut, mask),
            should_stop=errors.never,
            on_note=errors.ignore,
            deadline_seconds=deadline_seconds,
            lowest=LOWEST_SPEED,
        )
    except cutoff.DeadlinePassed:
        return Answer(error=f"No whole answer came within {deadline_seconds:g} seconds.")
    except _Refused as refused:
        return Answer(error=f"Nothing was sent: {refused}.")


def _exchange(body: BodyFormat, message: Message, cut: Cutoff, mask: RegisteredSecrets) -> Answer:
    client = PinnedClient(host_rules(), cut, setting=SETTING, refusal=lambda url, why: _Refused(why))
    try:
        response = client.post(message.url, message.headers, message.body)
        try:
            return _answer(body, response, mask)
        finally:
            response.close()
    except ValueError:
        # requests' own InvalidURL and its like.
        raise _Refused("the URL can't be read") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        cut.check()
        return Answer(error=f"No answer: {explain(error)}.")
    finally:
        client.close()


def _answer(body: BodyFormat, response: requests.Response, mask: RegisteredSecrets) -> Answer:
    # A compressed one is shown as it is: it was not asked for.
    begun = response.raw.read(_MOST_ANSWER_BYTES, decode_content=False)
    status = response.status_code
    return Answer(
        status=status,
        excerpt=_shown(begun, mask),
        error=_refusal(body, status, begun),
        pause_seconds=_retry_after(response),
    )


def _refusal(body: BodyFormat, status: int, begun: bytes) -> str:
    """'' for a message that was taken. The Chinese chats say 200 to what they refuse, and why in the body."""
    if not 200 <= status < 300:
        to = " Redirects are not followed." if 300 <= status < 400 else ""
        return f"The receiver answered {status} {_phrase(status)}".rstrip() + f".{to}"
    code = "" if body in (BodyFormat.STANDARD, BodyFormat.SLACK) else _chat_error(begun)
    return f"The chat refused it with code {code}." if code else ""


def _chat_error(begun: bytes) -> str:
    try:
        answer = orjson.loads(begun)
    except orjson.JSONDecodeError:
        return ""
    codes = [answer.get(key) for key in ("code", "errcode", "StatusCode")] if isinstance(answer, dict) else []
    return next((str(code)[:20] for code in codes if isinstance(code, int) and code != 0), "")


def _retry_after(response: requests.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"[0-9]{1,6}", value) else 0


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _shown(begun: bytes, mask: RegisteredSecrets) -> str:
    """What it quotes of the URL or of a secret is masked first: a cut or a cleaned text would hide it from the mask."""
    text = mask.mask(begun.decode("utf-8", "replace"), MASK, cut_after=len(begun) == _MOST_ANSWER_BYTES)
    return scrub(clean_text(scrub(text).replace("\n", " ")))[:_MOST_SHOWN]


def _mask_of(webhook: Webhook, message: Message) -> RegisteredSecrets:
    """All that is secret of a webhook: chats put their tokens into the path or the query."""
    mask = RegisteredSecrets()
    for secret in (
        webhook.secret.removeprefix("whsec_"),
        webhook.chat_secret,
        *_parts(webhook.url),
        *_parts(message.url),
    ):
        mask.add(secret)
    return mask


def _parts(url: str) -> list[str]:
    parts = urlsplit(url)
    userinfo = parts.netloc.rpartition("@")[0]
    values = [value for _name, value in parse_qsl(parts.query)]
    return [userinfo, *userinfo.split(":"), *parts.path.split("/"), parts.query, *values]
