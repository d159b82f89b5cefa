"""`make screenshots`: the pictures in README and docs, from a real run of the demo that `make run` starts.

A deploy succeeds, an instance is rolled back, a deploy fails and is reverted; then the pages are taken as they are. A
picture is written anew only if what it shows has changed, its times, ids and look aside: `shown.json` says what that was.

python -m tests.support.screenshots [part of a name …]
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page

from tests.support.browser import Complaints, chromium, log_in, new_context
from tests.support.demo import ROOT, RunningDemo, checkout, running_demo

FOLDER = ROOT / "docs" / "screenshots"
SHOWN = FOLDER / "shown.json"
MOST_HEIGHT = 1300
SERVICE = "/services/demo-service"
PAGES: dict[str, str] = {
    "overview": "/",
    "service": SERVICE,
    "operation-failed": "/deploys/demo-v1.3.0",
    "operation-rollback": "/rollbacks/demo-back-to-v1.1.0",
    "roll-back": f"{SERVICE}/roll-back",
    "deploy-preview": "/deploy?service=demo-service&to=v1.1.0",
    "history": "/history",
    "instance": "/instances/demo-3",
}
# language, dark, phone
VARIANTS = (("en", False, False), ("en", True, False), ("zh", False, False), ("zh", True, True))
TEXT = """() => {
  const page = document.body.cloneNode(true);
  for (const each of page.querySelectorAll("time, script, .live, svg, pre, .error-text, #log, tbody")) each.remove();
  return page.textContent;
}"""
# Numbers, durations, random ids: what differs from run to run. What commands print and how many changes there are does, too.
CHANGING = re.compile(r"release-demo-\w+|\d+(\.\d+)?\s*(ms|s|min|h|毫秒|秒|分|小时)?\b|\b[0-9a-f]{6,}\b")


def make_past(demo: RunningDemo) -> None:
    """What the pictures show has happened. v1.0.0 runs from the start; v1.3.0 can't start."""
    for version in ("v1.1.0", "v1.2.0"):
        demo.deploy(version, f"demo-{version}")
    back = {"instance_id": "demo-3", "target_version": "v1.1.0", "rollback_id": "demo-back-to-v1.1.0"}
    demo.call("POST", "/v1/rollback/instance", back | {"reason": "demo-3 answers slowly since v1.2.0"})
    demo.end_of("/v1/rollback/status/demo-back-to-v1.1.0")
    demo.deploy("v1.3.0", "demo-v1.3.0")


def main(wanted: list[str]) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    complaints = Complaints()
    with checkout() as folder, running_demo(folder) as demo, chromium() as browser:
        make_past(demo)
        shown = json.loads(SHOWN.read_text()) if SHOWN.exists() else {}
        for language, dark, phone in VARIANTS:
            context = new_context(browser, base_url=demo.url, dark=dark, phone=phone, language=language)
            page = context.new_page()
            complaints.watch(page)
            log_in(page, "admin", (folder / "var" / "admin-password").read_text().strip())
            suffix = f"{language}-{'dark' if dark else 'light'}-{'phone' if phone else 'wide'}"
            for name, path in PAGES.items():
                if all(part in f"{name}-{suffix}" for part in wanted):
                    page.goto(path)
                    _take(page, f"{name}-{suffix}", shown)
            context.close()
    if not wanted:
        _leave_only(shown)
    SHOWN.write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n")
    for text in complaints.unexpected:
        print(text, file=sys.stderr)
    return 1 if complaints.unexpected else 0


def _take(page: Page, name: str, shown: dict[str, str]) -> None:
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready.then(() => null)")
    path, digest = FOLDER / f"{name}.png", _digest(page)
    if path.exists() and shown.get(name) == digest:
        return
    shown[name] = digest
    _shoot(page, path)
    print(path.relative_to(ROOT))


def _digest(page: Page) -> str:
    """Of what is said, and by which style sheets."""
    styles = b"".join(path.read_bytes() for path in sorted((ROOT / "releasesite" / "static").rglob("*.css")))
    said = CHANGING.sub("#", " ".join(page.evaluate(TEXT).split()))
    return hashlib.sha256(said.encode() + hashlib.sha256(styles).digest()).hexdigest()[:16]


def _shoot(page: Page, path: Path) -> None:
    """The whole page, up to a height: what sticks to an edge then does so at the page's end, not in its middle."""
    size = page.viewport_size
    assert size is not None
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(700, min(height, MOST_HEIGHT))})
    page.screenshot(path=path)
    if quantizer := shutil.which("pngquant"):
        subprocess.run([quantizer, "--force", "--skip-if-larger", "--ext", ".png", "128", str(path)], check=False)
    page.set_viewport_size(size)


def _leave_only(shown: dict[str, str]) -> None:
    """What is no picture of ours any more goes."""
    for path in FOLDER.glob("*.png"):
        if path.stem not in shown:
            path.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
