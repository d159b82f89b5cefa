"""What has to go to a node that has one release, so that it can make another one of it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from deploys.packages.archive.manifest import FILE, FOLDER, LINK, Entry
from deploys.packages.archive.writer import listed

# Each is a program on the node. Of what would need more, the files go.
MOST_TIMES = 40


@dataclass(frozen=True, kw_only=True)
class Difference:
    """sent: entries of the new artifact, in its order: files that are new or changed, all links, and folders that are empty.

    kept: files that are taken from the release there, as they are but for their times. gone: what else that release lists.
    time: what the kept files are to have all, None to leave each as it is; times: what others of them are to have then.
    """

    sent: Sequence[Entry]
    kept: Sequence[Entry]
    gone: Sequence[str]
    time: int | None
    times: Mapping[int, Sequence[str]]

    @property
    def sent_bytes(self) -> int:
        return sum(entry.size for entry in self.sent)

    @property
    def all_bytes(self) -> int:
        return self.sent_bytes + sum(entry.size for entry in self.kept)

    @property
    def digest(self) -> str:
        """Of what `b2sum -l 256 -z` says of all files and links, in the order of their bytes. It follows links."""
        entries = {entry.path: entry for entry in (*self.kept, *self.sent)}
        digest = sha256()
        for name, path in sorted((path.encode(), path) for path in entries):
            file = _followed(path, entries)
            if file is not None:
                digest.update(b"%s  ./%s\0" % (file.blake2.encode(), name))
        return digest.hexdigest()


def difference(base: Iterable[Entry], new: Sequence[Entry]) -> Difference:
    listed_there = {entry.path: entry for entry in base if entry.kind != FOLDER}
    same = {entry.path for entry in new if _is_same(listed_there.get(entry.path), entry)}
    time, times = _times({path: entry.mtime for path, entry in listed_there.items()}, new, same)
    touched = sorted(times.items(), key=lambda each: len(each[1]), reverse=True)
    for _time, paths in touched[MOST_TIMES:]:
        same.difference_update(paths)
    filled = _filled(new)
    return Difference(
        sent=[entry for entry in new if entry.path not in same and entry.path not in filled],
        kept=[entry for entry in new if entry.path in same],
        gone=[path for path in listed_there if path not in same],
        time=time,
        times=dict(touched[:MOST_TIMES]),
    )


def _is_same(there: Entry | None, entry: Entry) -> bool:
    """But for its time."""
    if there is None or there.kind != FILE or entry.kind != FILE:
        return False
    return (there.sha256, there.size, there.mode) == (entry.sha256, entry.size, entry.mode)


def _times(
    there: Mapping[str, int], new: Iterable[Entry], same: set[str]
) -> tuple[int | None, Mapping[int, Sequence[str]]]:
    """As in `Difference`, with the fewest names: what most are to have needs none, if all are given it first."""
    by_time: dict[int, list[str]] = defaultdict(list)
    changed: dict[int, list[str]] = defaultdict(list)
    for entry in new:
        if entry.path in same:
            by_time[entry.mtime].append(entry.path)
            if entry.mtime != there[entry.path]:
                changed[entry.mtime].append(entry.path)
    if not changed:
        return None, {}
    most = max(by_time, key=lambda time: len(by_time[time]))
    others = {time: paths for time, paths in by_time.items() if time != most}
    if _count(others) < _count(changed) and len(others) <= MOST_TIMES:
        return most, others
    return None, changed


def _count(by_time: Mapping[int, Sequence[str]]) -> int:
    return sum(len(paths) for paths in by_time.values())


def _followed(path: str, entries: Mapping[str, Entry]) -> Entry | None:
    """The file that a path leads to, links on the way included; None for a folder, and for nothing. No link goes in circles."""
    at: list[str] = []
    todo = path.split("/")[::-1]
    while todo:
        part = todo.pop()
        if part == "..":
            at.pop()
        elif part not in ("", "."):
            at.append(part)
            entry = entries.get("/".join(at))
            if entry is not None and entry.kind == LINK:
                at.pop()
                todo.extend(entry.target.split("/")[::-1])
    found = entries.get("/".join(at))
    return found if found is not None and found.kind == FILE else None


def _filled(entries: Iterable[Entry]) -> set[str]:
    """Folders with something in them, which come with that."""
    filled: set[str] = set()
    for entry in entries:
        folder = entry.path.rpartition("/")[0] if entry.kind in (FILE, LINK) else ""
        while folder and folder not in filled:
            filled.add(folder)
            folder = folder.rpartition("/")[0]
    return filled


def lists(difference: Difference) -> Mapping[str, bytes]:
    """What goes along beside the sent files, for deploys/node/program.sh (`build`): each file's content by its name."""
    sent = [entry.path for entry in difference.sent if entry.kind != FOLDER]
    time = "-" if difference.time is None else difference.time
    return {
        "plan": f"{difference.digest} {time}\n".encode(),
        "gone": _list(difference.gone),
        "sent": _list(sent),
        **{f"times.{time}": _list(paths) for time, paths in difference.times.items()},
    }


def _list(paths: Iterable[str]) -> bytes:
    return listed(path.encode() for path in paths)
