"""The allow-list: which members may make up a release, and which one spoils the whole package."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from deploys.packages.archive.members import Kind, Member
from deploys.packages.archive.notes import Tally
from deploys.packages.archive.refusals import (
    INVALID,
    TOO_LARGE,
    UNSAFE,
    Limits,
    Refused,
    names_too_long,
    shown,
    too_many_entries,
)
from inventory.told import Told
from inventory.told import marked as gettext_noop

# Written into each release by us (CONTRACT.md, "What is on a node").
RESERVED_NAME = ".release.json"
# Control characters, those that nobody sees (they reorder text, join or split words), surrogates, ends of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Following links costs steps; a real package needs a few for each link.
_MAX_STEPS = 5_000_000
_MAX_STEPS_OF_ONE_LINK = 2_000
_RENAME = Told(gettext_noop("Rename it where the package is built, and deploy that."))


class Tree:
    """The release as the members seen so far make it. Paths are relative, with no `.`, no `..` and no empty part.

    Of a path that comes again, the last counts, as for `tar`, which it replaces as it extracts; a folder is one.
    Members are known by their number, in the archive's order from 0.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: dict[str, Kind] = {}
        # Whose bytes a file has (a hard link: those of the member it shares), and how many.
        self._files: dict[str, tuple[int, int]] = {}
        self._hard_links: set[str] = set()
        self._symlinks: dict[str, str] = {}
        self._replaced_members: set[int] = set()
        self._next_number = 0
        self._name_bytes = 0
        self._steps = 0
        self.size = 0
        self.replaced = Tally()

    def add(self, member: Member) -> tuple[str, list[str]]:
        """The member's path, and the folders to make for it, outermost first. Path "": the release's own folder."""
        number, self._next_number = self._next_number, self._next_number + 1
        path = self._path(member.name)
        if not path:
            if member.kind is not Kind.FOLDER:
                raise Refused(
                    INVALID,
                    Told(
                        gettext_noop("%(name)s is the release's own folder and yet a %(kind)s"),
                        {"name": shown(member.name), "kind": member.kind.told},
                    ),
                )
            return "", []
        self._count_names(member)
        self._count_bytes(member.size)
        folders = self._add_folders_above(path)
        match member.kind:
            case Kind.FOLDER:
                folders += [path] if self._enter(path, Kind.FOLDER) else []
            case Kind.FILE:
                self._add_file(path, (number, member.size), is_hard_link=False)
            case Kind.SYMLINK:
                self._add_symlink(path, self._target(path, member.target))
            case Kind.HARD_LINK:
                self._add_hard_link(path, member.target)
        return path, folders

    def replaced_members(self) -> set[int]:
        """The numbers of files that a later member took the place of."""
        return self._replaced_members

    def symlinks(self) -> Iterator[tuple[str, str]]:
        """Each symbolic link's path and target, once all members are there; one that leads out refuses all."""
        for path, target in self._symlinks.items():
            self._check_stays_inside(path, target)
            yield path, target

    def hard_links(self) -> dict[int, list[str]]:
        """For the number of each file with hard links, the paths that are to become copies of it."""
        copies: dict[int, list[str]] = {}
        for path, (number, _) in self._files.items():
            if path in self._hard_links:
                copies.setdefault(number, []).append(path)
        return copies

    def count_copies(self, size: int, count: int) -> None:
        """Hard links become copies, which take room like any file."""
        self._count_bytes(size * count)

    def check_has_files(self) -> None:
        if not self._files and not self._symlinks:
            raise Refused(
                INVALID,
                Told(gettext_noop("the archive holds no file")),
                Told(gettext_noop("Look at what the build packed, and deploy that.")),
            )

    def _path(self, name: str) -> str:
        if not name:
            raise Refused(INVALID, Told(gettext_noop("the archive has a member without a name")))
        if name.startswith("/"):
            raise Refused(UNSAFE, Told(gettext_noop("the name %(name)s is absolute"), {"name": shown(name)}))
        if unseen := _unseen_in(name):
            raise Refused(
                UNSAFE,
                Told(
                    gettext_noop("the name %(name)s has %(unseen)s, a control or invisible character"),
                    {"name": shown(name), "unseen": unseen},
                ),
                _RENAME,
            )
        path = plain_path(name)
        parts = path.split("/")
        if ".." in parts:
            raise Refused(
                UNSAFE,
                Told(
                    gettext_noop("the name %(name)s has a part .., which is a way out of the release"),
                    {"name": shown(name)},
                ),
            )
        limits = self._limits
        if len(path.encode()) > limits.path_bytes:
            raise Refused(
                INVALID,
                Told(
                    gettext_noop("the name %(name)s is longer than %(path_bytes)s bytes"),
                    {"name": shown(name), "path_bytes": limits.path_bytes},
                ),
                _RENAME,
            )
        if any(len(part.encode()) > limits.component_bytes for part in parts):
            raise Refused(
                INVALID,
                Told(
                    gettext_noop("the name %(name)s has a part longer than %(component_bytes)s bytes"),
                    {"name": shown(name), "component_bytes": limits.component_bytes},
                ),
                _RENAME,
            )
        if parts[0] == RESERVED_NAME:
            raise Refused(
                INVALID,
                Told(gettext_noop("the name %(name)s is reserved for the release's own record"), {"name": shown(name)}),
                Told(
                    gettext_noop("Leave %(reserved)s out of the package, and deploy that."), {"reserved": RESERVED_NAME}
                ),
            )
        return path

    def _count_names(self, member: Member) -> None:
        self._name_bytes += len(member.name) + len(member.target)
        if self._name_bytes > self._limits.name_bytes:
            raise names_too_long(self._limits)

    def _count_bytes(self, size: int) -> None:
        self.size += size
        if self.size > self._limits.extracted_bytes:
            raise Refused(
                TOO_LARGE,
                Told(
                    gettext_noop("the archive extracts to more than %(extracted_bytes)s bytes"),
                    {"extracted_bytes": self._limits.extracted_bytes},
                ),
            )

    def _add_folders_above(self, path: str) -> list[str]:
        """Enter the folders above `path` that no member named so far."""
        new: list[str] = []
        folder = path.rpartition("/")[0]
        while folder:
            kind = self._seen.get(folder)
            if kind is Kind.FOLDER:
                break
            if kind is not None:
                raise Refused(
                    UNSAFE if kind is Kind.SYMLINK else INVALID,
                    Told(
                        gettext_noop("%(path)s lies below %(folder)s, which is a %(kind)s"),
                        {"path": shown(path), "folder": shown(folder), "kind": kind.told},
                    ),
                )
            new.append(folder)
            folder = folder.rpartition("/")[0]
        for folder in reversed(new):
            self._name_bytes += len(folder)
            self._enter(folder, Kind.FOLDER)
        return new[::-1]

    def _enter(self, path: str, kind: Kind) -> bool:
        """Whether the path is new. One that was another kind of thing before is refused: what else went through it?"""
        before = self._seen.get(path)
        if before is None:
            if len(self._seen) >= self._limits.entries:
                raise too_many_entries(self._limits)
            self._seen[path] = kind
            return True
        if before is not kind:
            raise Refused(
                UNSAFE if Kind.SYMLINK in (before, kind) else INVALID,
                Told(
                    gettext_noop("%(path)s is in the archive twice, as a %(before)s and as a %(kind)s"),
                    {"path": shown(path), "before": before.told, "kind": kind.told},
                ),
                Told(gettext_noop("Leave one of them out, and deploy that.")),
            )
        if kind is not Kind.FOLDER:
            self.replaced.add(path)
        return False

    def _add_file(self, path: str, content: tuple[int, int], *, is_hard_link: bool) -> None:
        if not self._enter(path, Kind.FILE) and path not in self._hard_links:
            number, size = self._files[path]
            self._replaced_members.add(number)
            self.size -= size
        self._files[path] = content
        (self._hard_links.add if is_hard_link else self._hard_links.discard)(path)

    def _add_symlink(self, path: str, target: str) -> None:
        self._enter(path, Kind.SYMLINK)
        self._symlinks[path] = target

    def _add_hard_link(self, path: str, target: str) -> None:
        """It shares what an earlier member has put there, a symbolic link too. One with itself changes nothing."""
        shared = self._path(target)
        if shared in self._seen and (path == shared or self._files.get(path, ()) == self._files.get(shared)):
            return
        if shared in self._files:
            self._add_file(path, self._files[shared], is_hard_link=True)
        elif shared in self._symlinks:
            self._add_symlink(path, self._symlinks[shared])
        else:
            raise Refused(
                INVALID,
                Told(
                    gettext_noop("the hard link %(path)s points to %(target)s, which is no earlier file or link"),
                    {"path": shown(path), "target": shown(target)},
                ),
            )

    def _target(self, path: str, target: str) -> str:
        if not target or target.startswith("/"):
            text = gettext_noop("the link %(path)s has an empty target; links must be relative")
            if target:
                text = gettext_noop("the link %(path)s has an absolute target; links must be relative")
            raise Refused(UNSAFE if target else INVALID, Told(text, {"path": shown(path)}))
        if unseen := _unseen_in(target):
            text = gettext_noop(
                "the target %(target)s of the link %(path)s has %(unseen)s, a control or invisible character"
            )
            facts = {"target": shown(target), "path": shown(path), "unseen": unseen}
            raise Refused(UNSAFE, Told(text, facts), _RENAME)
        if len(target.encode()) > self._limits.path_bytes:
            raise Refused(
                INVALID,
                Told(
                    gettext_noop("the target of the link %(path)s is longer than %(path_bytes)s bytes"),
                    {"path": shown(path), "path_bytes": self._limits.path_bytes},
                ),
            )
        return target

    def _check_stays_inside(self, path: str, target: str) -> None:
        """Resolve the link as the node's kernel would, links on the way included."""
        at = path.split("/")[:-1]
        todo = target.split("/")[::-1]
        for _ in range(_MAX_STEPS_OF_ONE_LINK):
            self._steps += 1
            if not todo:
                return
            if self._steps > _MAX_STEPS:
                raise Refused(TOO_LARGE, Told(gettext_noop("the archive's links take too long to follow")))
            part = todo.pop()
            if part == "..":
                if not at:
                    raise Refused(
                        UNSAFE,
                        Told(
                            gettext_noop("the link %(path)s to %(target)s leads out of the release"),
                            {"path": shown(path), "target": shown(target)},
                        ),
                    )
                at.pop()
            elif part not in ("", "."):
                at.append(part)
                onward = self._symlinks.get("/".join(at))
                if onward is not None:
                    at.pop()
                    todo.extend(onward.split("/")[::-1])
        raise Refused(
            INVALID,
            Told(
                gettext_noop("the link %(path)s to %(target)s goes round in circles"),
                {"path": shown(path), "target": shown(target)},
            ),
            Told(gettext_noop("Leave that link out: it leads nowhere.")),
        )


def plain_path(name: str) -> str:
    """The name without `.`, empty parts and a slash at its end."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _unseen_in(name: str) -> str:
    """The first such character as `U+202E`, or ''. A tab is seen, and a CR that ends a part moves nothing: `Icon\\r`."""
    if name.isascii() and name.isprintable():
        return ""
    rest = name.replace("\t", "").replace("\r/", "/").removesuffix("\r")
    return next((f"U+{ord(each):04X}" for each in rest if unicodedata.category(each) in _UNSEEN), "")
