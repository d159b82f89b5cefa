"""Why a node did not do what it was asked: what was found where, what `current` leads to now, what to do. Pure."""

from __future__ import annotations

from deploys.error_codes import ErrorCode
from deploys.told import Telling, Told
from deploys.told import marked as _
from inventory.nodes.state import Reading
from inventory.security.redaction import scrub

_ADVICE = {
    ErrorCode.NODE_DISK_FULL: _("Free some room and retry."),
    ErrorCode.NODE_UNSUITABLE: _(
        "Install it (Debian, Alpine and others: the packages coreutils, tar and gzip), then retry."
    ),
    ErrorCode.NODE_NOT_WRITABLE: _(
        "Give the folder to the SSH user; or see why its file system, its ACL (getfacl) or its attributes (lsattr) forbid "
        "it. Then retry."
    ),
    ErrorCode.PACKAGE_UNREACHABLE: _(
        "See that the node has curl or wget and reaches RELEASE_PUBLIC_URL, or set it to `delivery: push`; then retry."
    ),
    ErrorCode.RELEASE_EXISTS: _(
        "It was neither changed nor deleted. Move it away, then retry; or deploy under another version. "
        "The command `adopt SERVICE` shows what else is there."
    ),
    ErrorCode.PACKAGE_CHECKSUM_MISMATCH: _("See what answers at RELEASE_PUBLIC_URL, then retry."),
}
NOT_OURS = _("What we did not install is never replaced: move %(path)s away, then retry.")


def refusal(code: ErrorCode, text: str, *, root: str, found: str, current: Reading | None) -> Telling:
    """The message of an error. text: what a tool on the node said. found: see `found_there`; '' for nothing."""
    if found:
        return (found_there(found, root=root), *leads_to(current), advice_for(found))
    return refused(code, _what(code, text, root), current=current)


def refused(code: ErrorCode, what: Told, *, current: Reading | None) -> Telling:
    advice = (Told(_ADVICE[code]),) if code in _ADVICE else ()
    return (what, *leads_to(current), *advice)


def _what(code: ErrorCode, text: str, root: str) -> Told:
    facts = {"root": root, "said": text}
    match code:
        case ErrorCode.NODE_DISK_FULL:
            return Told(_("No room is left on the node's disk under %(root)s: %(said)s."), facts)
        case ErrorCode.NODE_UNSUITABLE:
            return Told(_("The node lacks %(said)s."), facts)
        case ErrorCode.NODE_NOT_WRITABLE:
            return Told(_("%(root)s can't be written: %(said)s."), facts)
        case ErrorCode.SWITCH_FAILED:
            return Told(_("The link %(root)s/current could not be moved: %(said)s."), facts)
        case ErrorCode.RELEASE_EXISTS:
            return Told(
                _("%(said)s is there already, and we did not install it: it has no complete .release.json of ours."),
                facts,
            )
        case ErrorCode.PACKAGE_UNREACHABLE:
            return Told(_("The node could not fetch the package itself: %(said)s."), {"said": scrub(text)})
        case _:
            return Told("%(root)s: %(said)s.", {"root": root, "said": text or code})


def found_there(found: str, *, root: str) -> Told:
    """found: of the node program's `found` frame, a word and a path."""
    word, _space, path = found.partition(" ")
    facts = {"path": path, "root": root}
    match word:
        case "gone" if path == root:
            return Told(_("There is no deploy root %(root)s."), facts)
        case "gone":
            return Told(_("There is no %(path)s."), facts)
        case "no_folder":
            return Told(_("%(path)s is not a folder."), facts)
        case "closed":
            return Told(_("The node's login may not enter %(path)s."), facts)
        case "changed":
            return Told(_("%(path)s was changed or removed since it was staged."), facts)
        case "folder":
            return Told(_("%(path)s is a folder, not our link to a release."), facts)
        case "file":
            return Told(_("%(path)s is a file, not our link to a release."), facts)
        case _:
            return Told(_("%(root)s has been changed."), facts)


def base_told(why: str, *, root: str) -> Told:
    """why: of the node program's `base` frame, a word and a text: why a release could not be made of another one."""
    word, _space, text = why.partition(" ")
    match word:
        case "restamped":
            return Told(_("The before-switch command has changed files of %(path)s."), {"path": text})
        case "lacks":
            return Told(_("The node lacks %(said)s."), {"said": text})
        case "differs":
            return Told(_("What was made of it is not what was to be made: %(said)s."), {"said": text})
        case _:
            return found_there(why, root=root)


def advice_for(found: str) -> Told:
    word, _space, path = found.partition(" ")
    match word:
        case "folder" | "file":
            return Told(NOT_OURS, {"path": path})
        case "no_folder":
            return Told(_("Move %(path)s away, then retry."), {"path": path})
        case "closed":
            return Told(_("Give it to the SSH user, then retry."))
        case "changed" if path.endswith("/.release.json"):
            return Told(
                _("Without it the folder is not known as ours, and stays: move %(path)s away, then retry."),
                {"path": path.removesuffix("/.release.json")},
            )
        case "gone":
            return Told(_("Find out who removed or renamed it, then retry: the release is staged anew."))
        case _:
            return Told(_("Find out who changed it, then retry: the release is staged anew."))


def leads_to(current: Reading | None) -> Telling:
    """What the node says of `current`; nothing when it did not."""
    if current is None:
        return ()
    if current.problem and current.elsewhere:
        return (Told(_("`current` leads to no release of ours, but to %(where)s."), {"where": current.elsewhere}),)
    if current.problem:
        return (Told(_("`current` leads to no release of ours.")),)
    if not current.release:
        return (Told(_("There is no `current` in the deploy root.")),)
    return (Told(_("`current` leads to '%(release)s'."), {"release": current.release}),)
