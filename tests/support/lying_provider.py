"""An identity provider that says whatever a test has it say: over HTTP, signed with any key or none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jws
from joserfc.jwk import RSAKey

CLIENT_ID, SECRET = "releases", "sesame-open-sesame"
KEY = RSAKey.generate_key(2048, {"kid": "of-the-provider", "use": "sig", "alg": "RS256"})
FOREIGN_KEY = RSAKey.generate_key(2048, {"kid": "of-the-provider", "use": "sig", "alg": "RS256"})
Claims = dict[str, Any]
Sign = Callable[[Claims], str]


def signed(claims: Claims, *, key: Any = KEY, alg: str = "RS256", **header: Any) -> str:
    head = {"alg": alg, "kid": "of-the-provider", **header}
    return jws.serialize_compact(head, json.dumps(claims).encode(), key, algorithms=[alg])


def unsigned(claims: Claims, alg: str = "none") -> str:
    return f"{_base64(json.dumps({'alg': alg, 'typ': 'JWT'}).encode())}.{_base64(json.dumps(claims).encode())}."


def signed_with_text(claims: Claims, text: bytes) -> str:
    """HS256 with any bytes for a key: no library signs with a public one."""
    signed_part = unsigned(claims, "HS256").rstrip(".")
    return f"{signed_part}.{_base64(hmac.digest(text, signed_part.encode(), 'sha256'))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass(kw_only=True)
class LyingProvider:
    """claims: beside or in the place of the right ones; None takes one away. sign: makes the id token of them.

    document: the same of its metadata. answers: by path, a status and a body, or headers, in the place of the right answer.
    """

    port: int
    claims: Claims = field(default_factory=dict)
    sign: Sign = signed
    token: Claims = field(default_factory=dict)
    userinfo: Claims = field(default_factory=dict)
    document: Claims = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    pause_seconds: float = 0.0
    asked: list[str] = field(default_factory=list)
    begun: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_in(self, location: str) -> dict[str, str]:
        """What a browser that is sent to `location` comes back with, once somebody has logged in."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = secrets.token_hex(8)
        self.begun[code] = query
        return {"code": code, "state": query["state"]}

    def metadata(self) -> Claims:
        endpoints = (
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
            "end_session_endpoint",
        )
        document = {name: f"{self.issuer}/{name.partition('_')[0]}" for name in endpoints}
        return _with({**document, "issuer": self.issuer, "code_challenge_methods_supported": ["S256"]}, self.document)

    @property
    def takes_secret_in_form(self) -> bool:
        return "client_secret_post" in self.document.get("token_endpoint_auth_methods_supported", ())

    def token_answer(self, form: dict[str, str], authorization: str) -> tuple[int, Claims]:
        """Only for a code of ours, once, with the client's secret and the verifier of what was begun."""
        begun = self.begun.pop(form.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            begun is None
            or (authorization or form.get("client_secret"))
            != (SECRET if self.takes_secret_in_form else f"Basic {basic}")
            or form.get("redirect_uri") != begun["redirect_uri"]
            or begun.get("code_challenge") != _base64(challenge)
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        right = {
            "iss": self.issuer,
            "sub": "ada-1",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": begun["nonce"],
        }
        claims = _with({**right, "auth_time": now, "preferred_username": "ada", "groups": ["operators"]}, self.claims)
        return 200, _with(
            {"access_token": "a-token", "token_type": "Bearer", "id_token": self.sign(claims)}, self.token
        )


def _with(right: Claims, lies: Claims) -> Claims:
    return {name: value for name, value in {**right, **lies}.items() if value is not None}


@contextmanager
def lying_provider() -> Iterator[LyingProvider]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.provider = provider = LyingProvider(port=server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider = self.provider
        match self.path:
            case "/.well-known/openid-configuration":
                self._answer(200, provider.metadata())
            case "/jwks":
                self._answer(200, {"keys": [KEY.as_dict(private=False)]})
            case "/userinfo":
                self._answer(200, {"sub": "ada-1", **provider.userinfo})
            case _:
                self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._answer(*self.provider.token_answer(form, self.headers.get("Authorization", "")))

    @property
    def provider(self) -> LyingProvider:
        provider: LyingProvider = self.server.provider  # type: ignore[attr-defined]
        return provider

    def _answer(self, status: int, document: Claims) -> None:
        self.provider.asked.append(self.path)
        time.sleep(self.provider.pause_seconds)
        right = (status, {"Content-Type": "application/json"}, json.dumps(document).encode())
        status, headers, body = self.provider.answers.get(self.path, right)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
