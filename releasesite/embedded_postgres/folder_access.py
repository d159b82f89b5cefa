"""Lets one account walk through private folders (such as /root) to reach a path, and lets nobody else in."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

XATTR = "system.posix_acl_access"
HEADER, ENTRY = struct.Struct("<I"), struct.Struct("<HHI")  # linux/posix_acl_xattr.h, version 2
VERSION, NO_ID = 2, 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
SEARCH = 0o1


def let_search(path: Path, *, uid: int) -> None:
    """Grants search, not listing, on each parent that others may not search. Raises OSError where ACLs do not work."""
    for folder in path.absolute().parents:
        if not folder.stat().st_mode & stat.S_IXOTH and folder.stat().st_uid != uid:
            _grant_search(folder, uid=uid)


def _grant_search(folder: Path, *, uid: int) -> None:
    entries = _entries(folder)
    entries[USER, uid] = entries.get((USER, uid), 0) | SEARCH
    entries[MASK, NO_ID] = entries.get((MASK, NO_ID), entries[GROUP_OBJ, NO_ID]) | SEARCH
    packed = b"".join(ENTRY.pack(tag, permissions, owner) for (tag, owner), permissions in sorted(entries.items()))
    os.setxattr(folder, XATTR, HEADER.pack(VERSION) + packed)


def _entries(folder: Path) -> dict[tuple[int, int], int]:
    try:
        raw = os.getxattr(folder, XATTR)
    except OSError:
        mode = folder.stat().st_mode
        return {(USER_OBJ, NO_ID): mode >> 6 & 7, (GROUP_OBJ, NO_ID): mode >> 3 & 7, (OTHER, NO_ID): mode & 7}
    return {(tag, owner): permissions for tag, permissions, owner in ENTRY.iter_unpack(raw[HEADER.size :])}
