"""The demo as a client of its own API: it deploys the way a scheduler would."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import requests

from releasesite.demo.errors import DemoError

POLL_SECONDS = 0.1
TIMEOUT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Api:
    url: str
    token: str

    def is_up(self, path: str) -> bool:
        try:
            return self._send("GET", path).status_code == HTTPStatus.OK
        except requests.RequestException:
            return False

    def deploy(self, *, service: str, version: str, instances: Sequence[str], package_url: str, deploy_id: str) -> None:
        body = {
            "service": service,
            "version": version,
            "instances": list(instances),
            "package_url": package_url,
            "deploy_id": deploy_id,
        }
        answer = self._send("POST", "/v1/deploy/execute", body)
        if answer.status_code != HTTPStatus.ACCEPTED:
            raise DemoError(f"The deploy of {version} was refused ({answer.status_code}): {answer.text}")

    def wait_for_deploy(self, deploy_id: str, *, seconds: float) -> dict[str, Any]:
        """Its status at the end. Raises DemoError when there is no end in time, or not the wanted one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status: dict[str, Any] = self._send("GET", f"/v1/deploy/status/{deploy_id}").json()
            if status.get("completed_at"):
                break
            time.sleep(POLL_SECONDS)
        if status.get("status") != "completed":
            raise DemoError(f"The deploy {deploy_id} is {status.get('status')}:\n{_instances_of(status)}")
        return status

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # no proxy between us and the loopback
            headers = {"Authorization": f"Bearer {self.token}"}
            return session.request(method, self.url + path, json=body, headers=headers, timeout=TIMEOUT_SECONDS)


def _instances_of(status: dict[str, Any]) -> str:
    return "\n".join(
        f"  {each['instance_id']}: {each['status']} at {each['step']}"
        + (f", {each['error']['message']}" if each["error"] else "")
        for each in status.get("instances", ())
    )
