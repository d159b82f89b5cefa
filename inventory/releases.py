"""Release folders: what they are called, and which of them a node and our store keep. Pure.

The node program is told what to keep (`deploys/node/program.sh`, clean_up); `tests/deploys/test_release_folders.py` runs the
same cases over all of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGITS = 12
_FURTHER_BYTES = re.compile(rf"(?P<version>.+)@[0-9a-f]{{{_DIGITS}}}")


def release_of(version: str, sha256: str, *, is_first: bool) -> str:
    """A version's folder bears its name; further bytes of a mutable version stand in `<version>@<digest>`."""
    return version if is_first else f"{version}@{sha256[:_DIGITS]}"


def version_of(release: str) -> str:
    further = _FURTHER_BYTES.fullmatch(release)
    return further["version"] if further else release


def kept(*, running: str, history: Sequence[str], keep_releases: int) -> list[str]:
    """The folders that are kept of an instance: the running one, and the newest others that it ran successfully.

    keep_releases in all, and the one before always. running: '' if that is not known.
    """
    others = list(dict.fromkeys(release for release in reversed(history) if release != running))
    if not running:
        return others[:keep_releases]
    return [running, *others[: max(1, keep_releases - 1)]]


def kept_by_switch(*, to: str, history: Sequence[str], keep_releases: int) -> list[str]:
    """The folders that a switch to this one leaves, besides the one before it and what other operations need.

    Those that are kept as things stand, and those that are kept once a rollback has taken the newer ones off the
    history: it may go further back next.
    """
    backwards = history[::-1]
    afterwards = history[: len(history) - backwards.index(to)] if to in history else history
    left = [kept(running=to, history=known, keep_releases=keep_releases) for known in (history, afterwards)]
    return list(dict.fromkeys([*left[0], *left[1]]))


# `kept` of instances `i` of services `s`, as an array.
KEPT_SQL = """
(SELECT array_agg(release) FROM (
    SELECT i.running_release AS release WHERE i.running_release <> ''
    UNION ALL
    (SELECT ran.release FROM unnest(i.release_history) WITH ORDINALITY ran(release, at)
     WHERE ran.release <> i.running_release
     GROUP BY ran.release ORDER BY max(ran.at) DESC
     LIMIT greatest(1, s.keep_releases - (i.running_release <> '')::int))
) kept)
"""
