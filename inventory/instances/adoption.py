"""What another tool has left in a service's deploy roots, and what a deploy of ours would do there. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from inventory.models import Instance, Service
from inventory.nodes.readings import survey_nodes
from inventory.nodes.state import Survey
from inventory.nodes.transports.base import NodeAddress
from inventory.security.redaction import scrub


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """survey None: the node could not be asked; why is in `error`."""

    instance: Instance
    survey: Survey | None
    error: str = ""


def survey_service(service: Service) -> list[Surveyed]:
    """Every instance of it, in natural order."""
    by_node: dict[NodeAddress, list[Instance]] = defaultdict(list)
    for instance in service.instances.select_related("node"):
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


def lines(surveyed: Surveyed) -> Iterator[str]:
    """What is there, and what will happen, a sentence each."""
    survey = surveyed.survey
    if survey is None:
        yield f"It could not be read: {surveyed.error}."
        return
    yield _current(survey)
    if survey.theirs:
        count = f"{len(survey.theirs)}" if len(survey.theirs) < 50 else "50 or more"
        yield (
            f"Not installed by us, {count} under releases/: {', '.join(survey.theirs)}. They stay as they are; a deploy of a "
            "version with such a name is refused (release_exists)."
        )
    for path, kilobytes in survey.stuck:
        yield f"Could not be removed: {path}, {kilobytes} KiB. It is tried again at later clean-ups; see whose files it holds."


def _current(survey: Survey) -> str:
    reading = survey.reading
    if reading.elsewhere:
        return (
            f"`current` leads to {reading.elsewhere}. A first deploy that fails goes back there, if it is "
            "there still; it is never cleaned up. "
            "A rollback can't go there: link `current` to it by hand and sync the service."
        )
    if reading.problem:
        return "`current` is no link that leads to a release: a deploy is refused until it is moved away."
    if not reading.release:
        return "Nothing is installed: a first deploy that fails has nothing to go back to."
    if reading.sha256:
        return f"`current` leads to release '{reading.release}', which we installed."
    return (
        f"`current` leads to release '{reading.release}', which another tool installed. It is the version before: a first deploy "
        "that fails goes back to it, and a rollback can."
    )
