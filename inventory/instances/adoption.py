"""What another tool has left in a service's deploy roots, and what a deploy of ours would do there. The nodes are only read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from django.db.models.functions import Now
from django.utils.translation import gettext as _

from inventory.models import Instance, Service
from inventory.models import Survey as Row
from inventory.nodes.grammar import MOST_LISTED
from inventory.nodes.readings import survey_nodes
from inventory.nodes.state import Reading, Survey
from inventory.nodes.transports.base import NodeAddress
from inventory.security.redaction import scrub

_KEPT = ("at", "release", "sha256", "problem", "elsewhere", "theirs", "stuck")


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """survey None: the node could not be asked; why is in `error`."""

    instance: Instance
    survey: Survey | None
    error: str = ""


def survey_service(service: Service) -> list[Surveyed]:
    """Every instance of it, in natural order."""
    by_node: dict[NodeAddress, list[Instance]] = defaultdict(list)
    for instance in service.instances.listed().select_related("node"):
        by_node[NodeAddress.of(instance.node)].append(instance)
    told = {instance.pk: Surveyed(instance=instance, survey=None, error="no answer in time")
            for instances in by_node.values() for instance in instances}  # fmt: skip
    roots = {address: [instance.deploy_root for instance in instances] for address, instances in by_node.items()}
    for answers in survey_nodes(roots):
        for answer in answers:
            instances = by_node[answer.address]
            surveys = answer.readings or (None,) * len(instances)
            for instance, survey in zip(instances, surveys, strict=True):
                told[instance.pk] = Surveyed(instance=instance, survey=survey, error=scrub(answer.error))
    return sorted(told.values(), key=lambda each: each.instance.natural_key)


def keep(surveys: Mapping[int, Survey]) -> None:
    """What was seen, by the instances' primary keys, in one statement."""
    rows = [_row(pk, survey) for pk, survey in surveys.items()]
    Row.objects.bulk_create(rows, update_conflicts=True, unique_fields=["instance"], update_fields=_KEPT)


def _row(pk: int, survey: Survey) -> Row:
    reading = survey.reading
    return Row(
        instance_id=pk,
        at=Now(),
        release=reading.release,
        sha256=reading.sha256,
        problem=reading.problem,
        elsewhere=reading.elsewhere,
        theirs=survey.theirs,
        stuck=survey.stuck,
    )


def survey_of(row: Row) -> Survey:
    reading = Reading(release=row.release, sha256=row.sha256, problem=row.problem, elsewhere=row.elsewhere)
    return Survey(reading=reading, theirs=tuple(row.theirs), stuck=tuple((path, size) for path, size in row.stuck))


def lines(surveyed: Surveyed, *, known: Collection[str]) -> Iterator[str]:
    """What is there, and what will happen, a sentence each. known: the versions whose bytes we have pinned."""
    survey = surveyed.survey
    if survey is None:
        yield _("It could not be read: %(error)s.") % {"error": surveyed.error}
        return
    yield _current(survey.reading)
    if survey.theirs:
        yield _theirs(survey.theirs)
    if clashing := [name for name in survey.theirs if name in known]:
        yield _clash(clashing)
    for path, kilobytes in survey.stuck:
        yield _(
            "Could not be removed: %(path)s, %(kilobytes)d KiB. It is tried again at later clean-ups; see whose files it holds."
        ) % {"path": path, "kilobytes": kilobytes}


def _theirs(names: Collection[str]) -> str:
    count = f"{len(names)}" if len(names) < MOST_LISTED else _("50 or more")
    return _(
        "Not installed by us, %(count)s under releases/: %(names)s. They stay as they are; a deploy of a version with such a "
        "name is refused (release_exists)."
    ) % {"count": count, "names": ", ".join(names)}


def _clash(names: Collection[str]) -> str:
    return _(
        "Of these, %(names)s are also known here as versions with packages of their own. What stands on the node was never "
        "compared with them: it may hold other files."
    ) % {"names": ", ".join(names)}


def _current(reading: Reading) -> str:
    if reading.elsewhere:
        return _(
            "`current` leads to %(path)s. A first deploy that fails is reverted to it, if it is there still; it is never "
            "cleaned up. A rollback can't lead there: link `current` to it by hand and sync the service."
        ) % {"path": reading.elsewhere}
    if reading.problem:
        return _("`current` is no link that leads to a release: a deploy is refused until it is moved away.")
    if not reading.release:
        return _("Nothing is installed: a first deploy that fails has nothing to go back to.")
    if reading.sha256:
        return _("`current` leads to release '%(release)s', which we installed.") % {"release": reading.release}
    return _(
        "`current` leads to release '%(release)s', which another tool installed. It is the version before: a first deploy "
        "that fails is reverted to it, and a rollback can bring it back."
    ) % {"release": reading.release}
