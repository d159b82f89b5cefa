"""Why a node did not do what it was asked: what was found where, what `current` leads to now, what to do. Pure."""

from __future__ import annotations

from deploys.error_codes import ErrorCode
from inventory.nodes.state import Reading
from inventory.security.redaction import scrub

LOOK_WHO = "Find out who {did_it}, then retry: the release is staged anew."

_ADVICE = {
    ErrorCode.NODE_DISK_FULL: "Free some room and retry.",
    ErrorCode.NODE_UNSUITABLE: "Install it (Debian, Alpine and others: the packages coreutils, tar and gzip), then retry.",
    ErrorCode.NODE_NOT_WRITABLE: "Give the folder to the SSH user; or see why its file system, its ACL (getfacl) "
    "or its attributes (lsattr) forbid it. Then retry.",
    ErrorCode.PACKAGE_UNREACHABLE: "See that the node has curl or wget and reaches RELEASE_PUBLIC_URL, or set it to "
    "`delivery: push`; then retry.",
    ErrorCode.RELEASE_EXISTS: "It was neither changed nor deleted. Move it away, then retry; or deploy under another version. "
    "`manage.py adopt SERVICE` shows what else is there.",
    ErrorCode.PACKAGE_CHECKSUM_MISMATCH: "See what answers at RELEASE_PUBLIC_URL, then retry.",
}


def refusal(code: ErrorCode, text: str, *, root: str, found: str, current: Reading | None) -> str:
    """The message of an error. text: what a tool on the node said. found: see `found_there`; '' for nothing."""
    if found:
        return " ".join((found_there(found, root=root), leads_to(current), advice_for(found))).replace("  ", " ")
    return " ".join(part for part in (_what(code, text, root), leads_to(current), _ADVICE.get(code, "")) if part)


def _what(code: ErrorCode, text: str, root: str) -> str:
    match code:
        case ErrorCode.NODE_DISK_FULL:
            return f"No room is left on the node's disk under {root}: {text}."
        case ErrorCode.NODE_UNSUITABLE:
            return f"The node lacks {text}."
        case ErrorCode.NODE_NOT_WRITABLE:
            return f"{root} can't be written: {text}."
        case ErrorCode.SWITCH_FAILED:
            return f"The link {root}/current could not be moved: {text}."
        case ErrorCode.RELEASE_EXISTS:
            return f"{text} is there already, and we did not install it: it has no whole .release.json of ours."
        case ErrorCode.PACKAGE_UNREACHABLE:
            return f"The node could not fetch the package itself: {scrub(text)}."
        case _:
            return f"{root}: {text or code}."


def found_there(found: str, *, root: str) -> str:
    """found: of the node program's `found` frame, a word and a path."""
    word, _, path = found.partition(" ")
    match word:
        case "gone" if path == root:
            return f"There is no deploy root {root}."
        case "gone":
            return f"There is no {path}."
        case "no_folder":
            return f"{path} is not a folder."
        case "closed":
            return f"The node's login may not enter {path}."
        case "changed":
            return f"{path} was changed or removed since it was staged."
        case "folder" | "file":
            return f"{path} is a {word}, not our link to a release."
        case _:
            return f"{root} has been changed."


def advice_for(found: str) -> str:
    word, _, path = found.partition(" ")
    match word:
        case "folder" | "file":
            return f"What we did not install is never replaced: move {path} away, then retry."
        case "no_folder":
            return f"Move {path} away, then retry."
        case "closed":
            return "Give it to the SSH user, then retry."
        case "changed" if path.endswith("/.release.json"):
            folder = path.removesuffix("/.release.json")
            return f"Without it the folder is not known as ours, and stays: move {folder} away, then retry."
        case "gone":
            return LOOK_WHO.format(did_it="removed or renamed it")
        case _:
            return LOOK_WHO.format(did_it="changed it")


def leads_to(current: Reading | None) -> str:
    """What the node says of `current`, '' when it did not."""
    if current is None:
        return ""
    if current.problem:
        return f"{current.problem}."
    if not current.release:
        return "There is no `current` in the deploy root."
    return f"`current` leads to '{current.release}'."
