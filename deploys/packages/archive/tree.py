"""The allow-list: which members may make up a release, and which one spoils the whole package."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from deploys.packages.archive.members import Kind, Member
from deploys.packages.archive.refusals import INVALID, TOO_LARGE, UNSAFE, Limits, Refused, shown

# Written into each release by us (CONTRACT.md, "What is on a node").
RESERVED_NAME = ".release.json"
# Control characters, those that nobody sees (they reorder text, join or split words), surrogates, ends of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Following links costs steps; a real package needs a few for each link.
_MAX_STEPS = 5_000_000
_MAX_STEPS_OF_ONE_LINK = 2_000


class Tree:
    """The release as the members seen so far make it. Paths are relative, with no `.`, no `..` and no empty part."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # By folded path, so that names which some file system takes for one are seen as one.
        self._seen: dict[str, tuple[str, Kind]] = {}
        self._given_folders: set[str] = set()
        self._symlinks: dict[str, str] = {}
        self._hard_links: dict[str, str] = {}
        self._name_bytes = 0
        self._steps = 0
        self.size = 0

    def add(self, member: Member) -> tuple[str, list[str]]:
        """The member's path, and the folders to make for it, outermost first. Path "": the release's own folder."""
        path = self._path(member.name)
        if not path:
            if member.kind is not Kind.FOLDER:
                raise Refused(UNSAFE, f"{shown(member.name)} is the release's own folder and yet a {member.kind.value}")
            return "", []
        self._count_names(member)
        self._count_bytes(member.size)
        folders = self._add_folders_above(path)
        if self._add_path(path, member.kind) and member.kind is Kind.FOLDER:
            folders.append(path)
        if member.kind is Kind.SYMLINK:
            self._symlinks[path] = self._target(path, member.target)
        if member.kind is Kind.HARD_LINK:
            self._hard_links[path] = self._hard_link_target(path, member.target)
        return path, folders

    def symlinks(self) -> Iterator[tuple[str, str]]:
        """Each symbolic link's path and target, once all members are there; one that leads out refuses all."""
        for path, target in self._symlinks.items():
            self._check_stays_inside(path, target)
            yield path, target

    def hard_links(self) -> dict[str, list[str]]:
        """For each file with hard links, the paths that are to become copies of it."""
        copies: dict[str, list[str]] = {}
        for path, target in self._hard_links.items():
            copies.setdefault(target, []).append(path)
        return copies

    def count_copies(self, size: int, count: int) -> None:
        """Hard links become copies, which take room like any file."""
        self._count_bytes(size * count)

    def check_has_files(self) -> None:
        if all(kind is Kind.FOLDER for _, kind in self._seen.values()):
            raise Refused(INVALID, "the archive holds no file")

    def _path(self, name: str) -> str:
        if not name or name.startswith("/"):
            raise Refused(UNSAFE, f"the name {shown(name)} is {'absolute' if name else 'empty'}")
        if unseen := _unseen_in(name):
            raise Refused(UNSAFE, f"the name {shown(name)} has {unseen}, a control or invisible character")
        path = plain_path(name)
        parts = path.split("/")
        if ".." in parts:
            raise Refused(UNSAFE, f"the name {shown(name)} leads out of the release by ..")
        limits = self._limits
        if len(path.encode()) > limits.path_bytes:
            raise Refused(UNSAFE, f"the name {shown(name)} is longer than {limits.path_bytes} bytes")
        if any(len(part.encode()) > limits.component_bytes for part in parts):
            raise Refused(UNSAFE, f"the name {shown(name)} has a part longer than {limits.component_bytes} bytes")
        if _folded(parts[0]) == RESERVED_NAME:
            raise Refused(UNSAFE, f"the name {shown(name)} is reserved for the release's own record")
        return path

    def _count_names(self, member: Member) -> None:
        self._name_bytes += len(member.name) + len(member.target)
        if self._name_bytes > self._limits.name_bytes:
            raise Refused(TOO_LARGE, f"the archive's names take more than {self._limits.name_bytes} bytes")

    def _count_bytes(self, size: int) -> None:
        self.size += size
        if self.size > self._limits.extracted_bytes:
            raise Refused(TOO_LARGE, f"the archive extracts to more than {self._limits.extracted_bytes} bytes")

    def _add_folders_above(self, path: str) -> list[str]:
        """Enter the folders above `path` that no member named so far."""
        new: list[str] = []
        folder = path.rpartition("/")[0]
        while folder:
            seen = self._seen.get(_folded(folder))
            if seen is not None:
                self._check_is_folder(path, folder, *seen)
                break
            new.append(folder)
            folder = folder.rpartition("/")[0]
        for folder in reversed(new):
            self._name_bytes += len(folder)
            self._enter(folder, Kind.FOLDER)
        return new[::-1]

    def _check_is_folder(self, path: str, folder: str, seen_path: str, seen_kind: Kind) -> None:
        if seen_path != folder:
            raise Refused(UNSAFE, f"{shown(seen_path)} and {shown(folder)} differ in case only")
        if seen_kind is not Kind.FOLDER:
            raise Refused(UNSAFE, f"{shown(path)} lies below {shown(folder)}, which is a {seen_kind.value}")

    def _add_path(self, path: str, kind: Kind) -> bool:
        """Enter what the member itself is; False for a folder that members in it have made known before."""
        seen = self._seen.get(_folded(path))
        if seen is not None:
            seen_path, seen_kind = seen
            if seen_path != path:
                raise Refused(UNSAFE, f"{shown(seen_path)} and {shown(path)} differ in case only")
            if not kind is seen_kind is Kind.FOLDER or path in self._given_folders:
                raise Refused(UNSAFE, f"{shown(path)} is in the archive twice")
        else:
            self._enter(path, kind)
        if kind is Kind.FOLDER:
            self._given_folders.add(path)
        return seen is None

    def _enter(self, path: str, kind: Kind) -> None:
        if len(self._seen) >= self._limits.entries:
            raise Refused(TOO_LARGE, f"the archive has more than {self._limits.entries} entries")
        self._seen[_folded(path)] = (path, kind)

    def _target(self, path: str, target: str) -> str:
        if not target or target.startswith("/"):
            kind = "an absolute" if target else "an empty"
            raise Refused(UNSAFE, f"the link {shown(path)} has {kind} target; links must be relative")
        if unseen := _unseen_in(target):
            what = f"the target {shown(target)} of the link {shown(path)}"
            raise Refused(UNSAFE, f"{what} has {unseen}, a control or invisible character")
        if len(target.encode()) > self._limits.path_bytes:
            raise Refused(
                UNSAFE, f"the target of the link {shown(path)} is longer than {self._limits.path_bytes} bytes"
            )
        return target

    def _hard_link_target(self, path: str, target: str) -> str:
        """The file whose bytes the hard link shares: an earlier one, through earlier hard links if need be."""
        base = self._path(target)
        base = self._hard_links.get(base, base)
        if self._seen.get(_folded(base)) != (base, Kind.FILE):
            raise Refused(UNSAFE, f"the hard link {shown(path)} points to {shown(target)}, which is no earlier file")
        return base

    def _check_stays_inside(self, path: str, target: str) -> None:
        """Resolve the link as the node's kernel would, links on the way included."""
        at = path.split("/")[:-1]
        todo = target.split("/")[::-1]
        for _ in range(_MAX_STEPS_OF_ONE_LINK):
            self._steps += 1
            if not todo:
                return
            if self._steps > _MAX_STEPS:
                raise Refused(TOO_LARGE, "the archive's links take too long to follow")
            part = todo.pop()
            if part == "..":
                if not at:
                    raise Refused(UNSAFE, f"the link {shown(path)} to {shown(target)} leads out of the release")
                at.pop()
            elif part not in ("", "."):
                at.append(part)
                onward = self._symlinks.get("/".join(at))
                if onward is not None:
                    at.pop()
                    todo.extend(onward.split("/")[::-1])
        raise Refused(UNSAFE, f"the link {shown(path)} to {shown(target)} goes round in circles")


def plain_path(name: str) -> str:
    """The name without `.`, empty parts and a slash at its end."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _unseen_in(name: str) -> str:
    """The first such character as `U+202E`, or ''."""
    if name.isascii() and name.isprintable():
        return ""
    return next((f"U+{ord(each):04X}" for each in name if unicodedata.category(each) in _UNSEEN), "")


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
