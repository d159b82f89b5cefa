"""What packaging/ has is whole: checked by the tools that will read it, and against the code that it speaks of."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from deploys.measures import COUNTERS, HISTOGRAMS
from releasesite.api.measures import API
from releasesite.api.metrics import DatabaseCollector

PACKAGING = Path(settings.BASE_DIR) / "packaging"
SYSTEMD = PACKAGING / "systemd"
PROMETHEUS = PACKAGING / "prometheus"
SERVICES = sorted(SYSTEMD.glob("*.service"))
MOST_EXPOSED = 3.0
COMMAND = re.compile(r"/opt/release/current/bin/release-server (\S+) ?(.*)")


def unit(path: Path) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(path)
    return found


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_is_hardened_and_starts_a_command_that_there_is(path: Path) -> None:
    judged = subprocess.run(
        ("systemd-analyze", "security", "--offline=true", "--no-pager", str(path)), capture_output=True, text=True
    ).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged)
    assert exposure, judged
    assert float(exposure[1]) <= MOST_EXPOSED

    started = COMMAND.fullmatch(unit(path)["Service"]["ExecStart"])
    assert started
    name, options = started.groups()
    command = load_command_class(get_commands()[name], name)
    command.create_parser("release-server", name).parse_args(options.split())


def test_units_are_understood_by_systemd_and_nothing_but_the_program_is_missing(tmp_path: Path) -> None:
    """A setting that is misspelt is a warning to systemd, and no setting."""
    units = [str(path) for path in (*SERVICES, *SYSTEMD.glob("*.timer"))]

    done = subprocess.run(("systemd-analyze", "verify", "--man=no", *units), capture_output=True, text=True)

    complaints = [line for line in done.stderr.splitlines() if str(SYSTEMD) in line or "release-" in line]
    assert [line for line in complaints if "/opt/release/current/bin/release-server" not in line] == []


def test_what_opens_a_worker_for_local_nodes_is_made_of_its_own_settings() -> None:
    opened = unit(SYSTEMD / "local-nodes.conf")["Service"]

    assert set(opened) <= set(unit(SYSTEMD / "release-worker.service")["Service"])


def test_alerts_are_rules_and_fire_when_they_shall() -> None:
    for argv in (("check", "rules", "release.rules.yml"), ("test", "rules", "release.rules.test.yml")):
        done = subprocess.run(("promtool", *argv), cwd=PROMETHEUS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_and_told() -> None:
    names = re.findall(r"alert: (\w+)", (PROMETHEUS / "release.rules.yml").read_text())
    tried = (PROMETHEUS / "release.rules.test.yml").read_text()

    assert names
    assert [name for name in names if tried.count(f"alertname: {name}") < 2] == []
    told = (Path(settings.BASE_DIR) / "docs" / "operations.md").read_text()
    assert [name for name in names if f"`{name}`" not in told] == []


@pytest.mark.django_db
def test_rules_and_dashboard_name_metrics_that_there_are() -> None:
    known = {family.name for family in DatabaseCollector().collect()} | {
        f"{counter.name}_total" for counter in COUNTERS
    }
    known |= {f"{histogram.name}_{part}" for histogram in (*HISTOGRAMS, API) for part in ("bucket", "sum", "count")}
    panels = json.loads((PACKAGING / "grafana" / "release.json").read_text())["panels"]
    shown = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    rules = re.sub(r"(summary|description|- alert): .*", "", (PROMETHEUS / "release.rules.yml").read_text())

    for text in (shown, rules):
        named = set(re.findall(r"\brelease_\w+", text))
        assert len(named) >= 10
        assert named <= known


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    panels = json.loads((PACKAGING / "grafana" / "release.json").read_text())["panels"]
    asked = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))

    done = subprocess.run(("promtool", "check", "rules", "rules.yml"), cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
