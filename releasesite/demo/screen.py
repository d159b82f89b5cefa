"""What the person at the terminal sees: one line a stage, with its time."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence

from releasesite.demo.packages import SERVICE

Say = Callable[[str], None]


def say(text: str, *, end: str = "\n") -> None:
    """A terminal that has been closed keeps nobody from stopping what was started."""
    with contextlib.suppress(OSError):
        print(text, end=end, flush=True)


@contextlib.contextmanager
def stage(name: str) -> Iterator[Say]:
    """Shows the name at once, and what the body said of the result when it is through."""
    started = time.monotonic()
    result: list[str] = []
    say(f"  {name:<10} ", end="")
    try:
        yield result.append
    except BaseException:
        say("✗")
        raise
    say(f"{result[0]}  ({time.monotonic() - started:.1f} s)")
    for note in result[1:]:
        say(f"  {'':<10} {note}")


def closing_lines(
    *,
    url: str,
    password: str,
    token: str,
    token_file: str,
    package_url: Callable[[str], str],
    instances: Sequence[tuple[str, int, str]],
    run_id: str,
) -> str:
    """password: itself, or where to find it. The curl lines work pasted as they stand.

    instances: id, port, version. run_id makes this run's ids new ones.
    """
    curl = f"curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' {url}"

    def deploy(version: str) -> str:
        body = {
            "service": SERVICE,
            "version": version,
            "instances": [instance_id for instance_id, _, _ in instances],
            "package_url": package_url(version),
            "deploy_id": f"{version}-{run_id}",
        }
        return f"{curl}/v1/deploy/execute -d '{json.dumps(body)}'"

    rollback = json.dumps({"service": SERVICE, "target_version": "v1.0.0", "rollback_id": f"back-{run_id}"})
    places = "\n".join(f"  {name:<10} http://127.0.0.1:{port}  {version}" for name, port, version in instances)
    return f"""
  Open       {url}
  User       admin
  Password   {password}
  API token  {token}  (new at each start; also in {token_file})

{places}

Deploy v1.1.0:

{deploy("v1.1.0")}

Roll back to v1.0.0:

{curl}/v1/rollback/batch -d '{rollback}'

Watch a failed restart go back by itself (v1.3.0 ends as soon as it starts):

{deploy("v1.3.0")}

Ctrl-C stops all of it.
"""
