"""The steps of one target, in their order: fetch, stage, before_switch, permission, switch; or fetch, check."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from deploys.error_codes import ErrorCode
from deploys.node import calls
from deploys.node.refusals import found_there
from deploys.node.session import Checked, CommandOutcome, NodeError, NodeSession, Staged, Switch
from deploys.packages.store import Artifact
from deploys.states import Kind, Step, Until
from deploys.told import Facts, Telling, Told
from deploys.told import marked as _
from deploys.worker import recovery, story
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.confirmation import conclude
from deploys.worker.delivered import Delivered
from deploys.worker.failpoints import pause_at
from deploys.worker.interruption import Ending, Interruption, Phase, Request, Stopped, ending
from deploys.worker.node_link import NodeLink
from deploys.worker.node_work import NodeWork
from deploys.worker.outcomes import Outcome, before_told, found_has_changed, switch_ended, unswitched
from deploys.worker.switch_permits import Granted, Lost, Stop
from deploys.worker.target_log import TargetLog
from inventory.nodes.transports.base import ConnectionLost, HostKeyMismatch, NodeUnreachable, NodeUnsuitable, RunTimeout


class Steps:
    """They raise what the run's ladder turns into an outcome: PackageError, NodeError, TransportError, NodeMisbehaved, …"""

    def __init__(
        self,
        assignment: Assignment,
        node_work: NodeWork,
        *,
        link: NodeLink,
        log: TargetLog,
        interruption: Interruption,
        end_command: Callable[[], Awaitable[None]],
    ) -> None:
        self._assignment = assignment
        self._node_work = node_work
        self._link = link
        self._log = log
        self._interruption = interruption
        self._end_command = end_command

    async def run(self, *, is_begun: bool) -> Outcome:
        """is_begun: an earlier switch to the same release broke off on the node; the release is there already."""
        match self._assignment.until:
            case Until.CHECKED:
                return await self._check()
            case Until.STAGED:
                return await self._stage_only()
            case Until.SWITCHED:
                return await self._switch_to_it(is_begun=is_begun)

    async def _switch_to_it(self, *, is_begun: bool) -> Outcome:
        package, is_staged = await self._release_on_node(is_begun=is_begun)
        await pause_at("staged")
        if is_staged:
            await self._before_switch(package)
        await self._permission()
        await pause_at("permitted")
        return await self._switch(package, is_staged=is_staged)

    # Without a switch.

    async def _check(self) -> Outcome:
        """Look for all that a deploy needs. On the node nothing changes, not even who may work there."""
        self._log.begin(Step.FETCH)
        self._node_work.connect_early()
        package, artifact = await self._node_work.intact_artifact()
        self._log.say([self._node_work.told_of_package(artifact)])
        await pause_at("fetched")
        self._log.begin(Step.CONNECT)
        checked = await self._link.try_again(lambda session: self._look(session, package, artifact))
        self._log.say(
            [_what_was_checked(checked, package), Told(_("Nothing was changed, as asked for (until: checked)."))]
        )
        return unswitched(Step.CHECK)

    async def _look(self, session: NodeSession, package: PinnedPackage, artifact: Artifact) -> Checked:
        self._log.begin(Step.CHECK)
        await pause_at("check")
        return await self._node_work.check_release(session, self._assignment, package, artifact)

    async def _stage_only(self) -> Outcome:
        package = await self._stage()
        await pause_at("staged")
        text = _("Release '%(release)s' is staged. Nothing was switched, as asked for (until: staged).")
        self._log.say([Told(text, {"release": package.release})])
        return unswitched(Step.STAGE)

    # Where the release comes from.

    async def _release_on_node(self, *, is_begun: bool) -> tuple[PinnedPackage, bool]:
        """Have the release on the node; (what it is, whether it was staged and checked just now)."""
        pinned = self._assignment.package
        if pinned is not None and is_begun:
            return pinned, False
        if pinned is not None and self._assignment.kind == Kind.ROLLBACK:
            self._log.source = "node"
            self._log.say([story.is_taken(pinned.release)])
            return pinned, False
        if pinned is not None and self._assignment.is_staged:
            return await self._staged_before(pinned)
        return await self._stage(), True

    async def _staged_before(self, package: PinnedPackage) -> tuple[PinnedPackage, bool]:
        """The switch looks itself whether it is intact; a before-switch command must not run in one that is not."""
        self._log.source = "node"
        if not self._assignment.service.before_switch_command:
            self._log.say([story.is_taken(package.release)])
            return package, False
        seen = await self._link.try_again(lambda session: recovery.claim_root(session, self._assignment, package))
        if seen.outcome == "present":
            self._log.say(story.found(seen, package.release))
            return package, True
        self._say_unfit(package, seen.unfit)
        return await self._stage(is_told=True), True

    async def _stage(self, *, is_told: bool = False) -> PinnedPackage:
        """Send the release, or find it intact on the node. Nothing visible changes.

        is_told: the log says already why the one on the node is not taken.
        """
        self._log.begin(Step.FETCH)
        self._node_work.connect_early()
        is_download = not self._node_work.is_in_store()
        pinned, artifact = await self._node_work.artifact()
        self._log.say([self._node_work.told_of_package(artifact)])
        await pause_at("fetched")
        is_first = self._assignment.kind == Kind.DEPLOY and not self._assignment.is_staged
        self._log.source = "download" if is_download or is_first else "store"
        self._log.begin(Step.CONNECT)
        delivered = await self._link.try_again(
            lambda session: self._node_work.stage(
                session, self._assignment, pinned, on_begin=self._begin_stage, on_refusal=self._say_no_base
            )
        )
        self._note_source(delivered)
        self._tell_of_staging(delivered, pinned, is_told=is_told)
        await self._conclude_others(delivered.staged)
        return pinned

    def _note_source(self, delivered: Delivered) -> None:
        if delivered.staged.outcome == "present":
            self._log.source = "node"
            return
        if delivered.base:
            self._log.source = "delta"
        self._log.sent_bytes, self._log.full_bytes = delivered.sent_bytes, delivered.full_bytes

    def _tell_of_staging(self, delivered: Delivered, package: PinnedPackage, *, is_told: bool) -> None:
        seconds, staged = self._log.seconds_in_step, delivered.staged
        self._log.say(story.found(staged, package.release))
        if staged.outcome == "present":
            return
        if staged.unfit and not is_told:
            self._say_unfit(package, staged.unfit)
        self._log.say([story.was_staged(delivered, package.release, seconds=seconds)])

    def _say_no_base(self, release: str, why: Telling) -> None:
        self._log.say(story.could_not_build(release, why))

    def _say_unfit(self, package: PinnedPackage, unfit: str) -> None:
        found = Told(_("It is not there any more."))
        if unfit:
            found = found_there(unfit, root=self._assignment.deploy_root)
        text = _("Release '%(release)s' was on the node, but could not be taken:")
        self._log.say([Told(text, {"release": package.release}), found, Told(_("It is staged anew."))])

    async def _conclude_others(self, staged: Staged) -> None:
        """A switch that nobody confirmed, and that the node, started anew, could not go back from by itself."""
        last = staged.state.last
        if last is None or not last.is_unconfirmed or last.is_alive:
            return
        text = _("The switch to '%(release)s' was never confirmed: going back to %(before)s first.")
        self._log.say([Told(text, {"release": last.release, "before": before_told(last)})])
        await self._link.try_again(lambda session: conclude(session, self._assignment, calls.NOT_CONFIRMED))
        self._log.begin(Step.STAGE)

    def _begin_stage(self) -> None:
        self._log.begin(Step.STAGE)

    async def _before_switch(self, package: PinnedPackage) -> None:
        """Stopped meanwhile, its command is ended on the node first."""
        if not self._assignment.service.before_switch_command:
            return
        self._log.begin(Step.BEFORE_SWITCH)
        await pause_at("before_switch")
        try:
            await self._run_before_switch(package)
        except asyncio.CancelledError:
            await self._end_command()
            raise

    async def _run_before_switch(self, package: PinnedPackage) -> None:
        service = self._assignment.service
        session = await self._link.open()
        ended = await session.before_switch(
            release=package.release,
            command=service.before_switch_command,
            timeout_seconds=service.command_timeout_seconds,
        )
        if ended.timed_out or ended.exit_status != 0:
            code = ErrorCode.COMMAND_TIMEOUT if ended.timed_out else ErrorCode.COMMAND_FAILED
            raise NodeError(code, (self._failed(ended), Told(_("The log has its output."))))
        if ended.changed:
            text = _(
                "The before-switch command has changed files of the release, '%(file)s' among them; what it left is what the "
                "release is checked against from now on."
            )
            self._log.say([Told(text, {"file": ended.changed})])

    def _failed(self, ended: CommandOutcome) -> Told:
        assignment = self._assignment
        facts: Facts = {"root": assignment.deploy_root, "seconds": assignment.service.command_timeout_seconds}
        if ended.timed_out:
            text = _("The before-switch command took longer than %(seconds)s s in %(root)s; nothing was switched.")
            return Told(text, facts)
        text = _("The before-switch command ended with exit status %(status)s in %(root)s; nothing was switched.")
        return Told(text, {**facts, "status": ended.exit_status})

    # The switch.

    async def _permission(self) -> None:
        """Commit that the switch begins: from here on a rollback or a cancel waits for its end."""
        self._interruption.check()
        self._interruption.enter(Phase.SWITCHING)
        match await self._log.ask_to_switch():
            case Granted():
                return
            case Stop(reason=reason):
                raise Stopped(ending(Phase.PREPARING, Request.of(reason)))
            case Lost():
                raise Stopped(Ending.CLAIM_LOST)

    async def _switch(self, package: PinnedPackage, *, is_staged: bool) -> Outcome:
        switch = await self._send_switch(package)
        await pause_at("switched")
        if switch.outcome == "not_intact" and package.is_found:
            return found_has_changed(self._assignment, package, switch)
        if switch.outcome == "not_intact" and not is_staged:
            found = found_there(switch.found, root=self._assignment.deploy_root)
            text = _("Release '%(release)s' can't be taken from the node:")
            self._log.say([Told(text, {"release": package.release}), found, Told(_("Staging it."))])
            self._interruption.enter(Phase.PREPARING)
            self._interruption.check()
            restaged = await self._stage(is_told=True)
            await self._before_switch(restaged)
            await self._permission()
            switch = await self._send_switch(restaged)
        for warning in switch.warnings:
            self._log.say([Told(_("Warning: %(said)s"), {"said": warning})])
        if switch.is_waiting:
            text = _("It runs, and waits %(seconds)s s to be confirmed; else the node reverts to %(before)s by itself.")
            self._log.say([Told(text, {"seconds": switch.seconds_left, "before": before_told(switch)})])
        return switch_ended(self._assignment, package, switch, was_aborted=self._interruption.was_aborted)

    async def _send_switch(self, package: PinnedPackage) -> Switch:
        """Send it once; when the answer is lost, ask the node for its state instead of sending again blindly."""
        try:
            return await self._link.try_again(
                lambda session: self._switch_on(session, package), is_safe_to_repeat=False
            )
        except (NodeUnreachable, HostKeyMismatch, NodeUnsuitable):
            self._interruption.enter(Phase.PREPARING)  # nothing was sent, so nothing is unknown
            raise
        except (ConnectionLost, RunTimeout) as error:
            asks = Told(_("Asking the node what became of the switch."))
            self._log.say([Told(_("%(what)s."), {"what": error.told}), asks])
            switch = await recovery.own_switch(self._link, self._assignment, package)
            return switch or await self._switch_on(await self._link.open(), package)

    async def _switch_on(self, session: NodeSession, package: PinnedPackage) -> Switch:
        return await session.switch(
            release=package.release,
            sha256=package.sha256,
            operation=self._assignment.public_id,
            restart_command=self._assignment.service.restart_command,
            timeout_seconds=self._assignment.service.command_timeout_seconds,
            keep=self._assignment.releases_kept(package),
            version_command=self._assignment.service.version_command,
            version_timeout_seconds=self._assignment.service.version_timeout_seconds,
            confirm_within_seconds=self._assignment.confirmation.within_seconds,
        )


def _what_was_checked(checked: Checked, package: PinnedPackage) -> Told:
    there = {
        "present": _("Release '%(release)s' is on the node already."),
        "unfit": _("Release '%(release)s' on the node is not as it was staged: a deploy would stage it anew."),
    }
    return Told(there.get(checked.outcome, _("Release '%(release)s' can be staged.")), {"release": package.release})
