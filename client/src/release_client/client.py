"""The Python API: every call that a scheduler or an operator makes, each safe to repeat."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self, cast

from release_client.answers import (
    Changed,
    Counts,
    Document,
    Hold,
    Instances,
    Kind,
    LogLine,
    Operation,
    StartedDeploy,
    StartedRollback,
    Synced,
    Versions,
)
from release_client.connection import Answer, Connection, OnPause
from release_client.environment import environment_token, environment_url
from release_client.errors import Misused, Refused
from release_client.inventory import Inventory
from release_client.waiting import OnChange, wait_for_end

PATIENCE = 90.0
INVENTORY_SECONDS = 300.0
LOG_LINES = 1000


def new_id(kind: Kind) -> str:
    return f"{kind}-{uuid.uuid4().hex}"


class Client:
    """Calls raise Refused, NotKnown or Misused.

    patience: for how many seconds a call is sent again that got no answer, or one like 503; what it asks for is started
    once. on_pause is told why and for how long it pauses before.
    """

    def __init__(
        self, url: str, token: str, *, patience: float = PATIENCE, on_pause: OnPause = lambda fault, seconds: None
    ) -> None:
        self._connection = Connection(url, token, patience=patience, on_pause=on_pause)

    @classmethod
    def from_environment(cls, *, patience: float = PATIENCE, on_pause: OnPause = lambda fault, seconds: None) -> Self:
        """By RELEASE_URL, and RELEASE_TOKEN or RELEASE_TOKEN_FILE."""
        return cls(environment_url(), environment_token(), patience=patience, on_pause=on_pause)

    @property
    def url(self) -> str:
        return self._connection.url

    def deploy(
        self,
        service: str,
        version: str,
        instances: Sequence[str],
        package_url: str,
        *,
        deploy_id: str | None = None,
        sha256: str | None = None,
        signature: str | None = None,
        until: str | None = None,
        confirm_within: int | None = None,
        reason: str | None = None,
    ) -> StartedDeploy:
        """Start a deploy. Without a deploy_id one is made, before anything is sent."""
        wanted = _given(
            service=service,
            version=version,
            instances=list(instances),
            package_url=package_url,
            deploy_id=deploy_id or new_id("deploy"),
            sha256=sha256,
            signature=signature,
            until=until,
            confirm_within=confirm_within,
            reason=reason,
        )
        return cast(StartedDeploy, self._post("deploy", "execute", body=wanted))

    def roll_back_instance(
        self,
        instance_id: str,
        target_version: str | None = None,
        *,
        rollback_id: str | None = None,
        package_url: str | None = None,
        hold: bool | None = None,
        reason: str | None = None,
    ) -> StartedRollback:
        """Start a rollback of one instance. target_version None: the version that it ran before."""
        wanted = _given(
            instance_id=instance_id,
            target_version=target_version,
            rollback_id=rollback_id or new_id("rollback"),
            package_url=package_url,
            hold=hold,
            reason=reason,
        )
        return cast(StartedRollback, self._post("rollback", "instance", body=wanted))

    def roll_back(
        self,
        service: str,
        target_version: str,
        *,
        instances: Sequence[str] | None = None,
        from_version: str | None = None,
        rollback_id: str | None = None,
        package_url: str | None = None,
        hold: bool | None = None,
        reason: str | None = None,
    ) -> StartedRollback:
        """Start a rollback of many instances. instances None: every one that does not run the target version."""
        wanted = _given(
            service=service,
            target_version=target_version,
            instances=None if instances is None else list(instances),
            from_version=from_version,
            rollback_id=rollback_id or new_id("rollback"),
            package_url=package_url,
            hold=hold,
            reason=reason,
        )
        return cast(StartedRollback, self._post("rollback", "batch", body=wanted))

    def status(self, operation_id: str, kind: Kind = "deploy") -> Operation:
        return cast(Operation, self._get(kind, "status", operation_id))

    def kind_of(self, operation_id: str) -> Kind:
        """Whether it is a deploy's id or a rollback's. Raises Refused when it is neither's, Misused when it is both's."""
        found = [kind for kind in ("deploy", "rollback") if self._exists(kind, operation_id)]
        if len(found) > 1:
            raise Misused(f"There are a deploy and a rollback {operation_id}. Say which is meant: --kind.")
        if not found:
            raise Refused(
                f"There is no deploy and no rollback {operation_id}, or this token may not see it.", status=404
            )
        return cast(Kind, found[0])

    def wait(
        self,
        operation_id: str,
        kind: Kind = "deploy",
        *,
        timeout: float | None = None,
        on_change: OnChange = lambda operation: None,
    ) -> Operation:
        """Until it has ended; on_change gets every answer that says something new. Raises NotKnown when time or the
        connection runs out: it goes on meanwhile, and may be waited for again."""
        return wait_for_end(self._connection, operation_id, kind, timeout=timeout, on_change=on_change)

    def logs(
        self,
        operation_id: str,
        kind: Kind = "deploy",
        *,
        after: str | None = None,
        tail: int | None = None,
        instance: str | None = None,
    ) -> Iterator[tuple[list[LogLine], bool]]:
        """Pages of lines, each with whether nothing will follow it. It never ends: pause after a page without lines.

        tail: begin with the last so many.
        """
        query = _given(after=after, tail=tail, instance=instance, limit=LOG_LINES)
        while True:
            page = self._get(kind, "logs", operation_id, query=query)
            query = _given(after=page["next"], instance=instance, limit=LOG_LINES)
            yield page["lines"], bool(page["finished"])

    def cancel(self, operation_id: str, kind: Kind = "deploy") -> Changed:
        return cast(Changed, self._post(kind, "cancel", operation_id, body={}))

    def retry(
        self,
        operation_id: str,
        kind: Kind = "deploy",
        *,
        package_url: str | None = None,
        sha256: str | None = None,
        attempt: int | None = None,
    ) -> Changed:
        """Try its failed and cancelled instances again. attempt: the number of the one that this makes; None is the next."""
        attempt = attempt or self.status(operation_id, kind)["attempt"] + 1
        wanted = _given(package_url=package_url, sha256=sha256, attempt=attempt)
        return cast(Changed, self._post(kind, "retry", operation_id, body=wanted))

    def confirm(self, deploy_id: str, instances: Sequence[str] | None = None) -> Changed:
        """Keep what waits to be confirmed. instances None: all of them."""
        wanted = _given(instances=None if instances is None else list(instances))
        return cast(Changed, self._post("deploy", "confirm", deploy_id, body=wanted))

    def versions(self, service: str) -> Versions:
        return cast(Versions, self._get("service", service, "instances", "versions"))

    def instances(self, service: str) -> Instances:
        return cast(Instances, self._get("service", service, "instances"))

    def sync(self, service: str) -> Synced:
        """Have the running versions read off the nodes."""
        return cast(Synced, self._post("service", service, "sync", body={}))

    def hold_of(self, service: str) -> Hold:
        return cast(Hold, self._get("service", service, "hold"))

    def hold(self, service: str, reason: str, *, until: datetime | str | None = None) -> Hold:
        """Let no deploy of the service begin. Of one that is held already the answer has the first hold's facts."""
        ends = until.isoformat() if isinstance(until, datetime) else until
        answer = self._connection.call("PUT", "service", service, "hold", body=_given(reason=reason, until=ends))
        return cast(Hold, answer.body)

    def unhold(self, service: str) -> Hold:
        return cast(Hold, self._connection.call("DELETE", "service", service, "hold").body)

    def inventory(self) -> Inventory:
        answer = self._connection.call("GET", "inventory", answer_seconds=INVENTORY_SECONDS)
        return Inventory(document=answer.body, etag=answer.etag)

    def push_inventory(self, document: Document, *, if_match: str | None = None, dry_run: bool = False) -> Counts:
        """Create and update what the document says, all or nothing.

        if_match: refuse (412) unless the inventory still has this ETag.
        """
        try:
            answer = self._push(document, if_match=if_match, dry_run=dry_run)
        except Refused as refused:
            if refused.status != 412 or not refused.was_sent_again:
                raise
            # The first attempt, whose answer was lost, may have changed the ETag itself: nothing is left to do then.
            answer = self._push(document, if_match=None, dry_run=True)
            if answer.body["created"] or answer.body["updated"]:
                raise
        return cast(Counts, answer.body)

    def _push(self, document: Document, *, if_match: str | None, dry_run: bool) -> Answer:
        return self._connection.call(
            "PUT",
            "inventory",
            body=document,
            query={"dry_run": "true"} if dry_run else None,
            headers={"If-Match": if_match} if if_match else None,
            patience=max(self._connection.patience, INVENTORY_SECONDS),
            answer_seconds=INVENTORY_SECONDS,
        )

    def _exists(self, kind: str, operation_id: str) -> bool:
        try:
            self._get(kind, "status", operation_id)
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    def _get(self, *path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._connection.call("GET", *path, query=query).body

    def _post(self, *path: str, body: Mapping[str, Any]) -> Any:
        return self._connection.call("POST", *path, body=body).body


def _given(**values: Any) -> dict[str, Any]:
    """Without what was left out: the server's defaults hold."""
    return {key: value for key, value in values.items() if value is not None}
