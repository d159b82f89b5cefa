// The log follows its newest line until the reader scrolls up; lines link to themselves and wrap or not. Lines that come
// later go into the groups that are there, which stay open or folded as they are.
(() => {
  "use strict";
  const log = document.getElementById("log-scroll");
  if (!log) return;
  const jump = document.getElementById("log-jump");
  const lines = document.getElementById("log-lines");
  const most = 3000;
  let follows = log.dataset.follow === "1" && !location.hash;
  let top = 0;

  const number = (line) => Number(line.id.slice(1));
  const all = () => [...lines.querySelectorAll("li[id]")];
  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 24;

  function newest() {
    return all().reduce((last, line) => (!last || number(line) > number(last) ? line : last), null);
  }
  // Of many instances at work at the same time, the newest line need not stand last.
  function toEnd() {
    const last = newest();
    const shown = last?.closest("details:not([open])")?.querySelector("summary") ?? last;
    const isLast = !last || lines.lastElementChild?.contains(last);
    log.scrollTop = isLast ? log.scrollHeight : shown.offsetTop + 2 * shown.offsetHeight - log.clientHeight;
    align();
    top = log.scrollTop;
  }
  // A group's head stays above its lines, as high as one of them: it shall cover whole ones, not the half of two.
  function align() {
    const group = [...lines.children].find((each) => each.offsetTop + each.offsetHeight > log.scrollTop);
    const step = group?.open && group.querySelector(".log-step");
    if (!step) return;
    const height = parseFloat(getComputedStyle(log).lineHeight);
    const over = log.scrollTop + height - step.offsetTop;
    if (over > 0) log.scrollTop -= over % height;
  }
  function show() {
    jump.hidden = follows || isAtEnd();
  }

  log.addEventListener("scroll", () => {
    follows = isAtEnd() || (follows && Math.abs(log.scrollTop - top) < 2);
    show();
  }, { passive: true });
  jump.addEventListener("click", () => {
    follows = true;
    toEnd();
    show();
    log.focus({ preventScroll: true });
  });

  // What has come stands in groups of its own, before those that were there or behind them.
  const placed = new Set(lines.children);
  function place() {
    const come = [...lines.children].filter((group) => !placed.has(group));
    const isEarlier = come.length > 0 && come[0] === lines.firstElementChild && placed.size > 0;
    for (const group of come) {
      const there = [...placed].find((each) => each.dataset.group === group.dataset.group);
      if (there) merge(there, group, isEarlier);
      else placed.add(group);
    }
  }
  function merge(there, group, isEarlier) {
    const steps = [...group.querySelectorAll("details.log-step")];
    const old = there.querySelectorAll("details.log-step");
    const beside = isEarlier ? old[0] : old[old.length - 1];
    const meets = isEarlier ? steps[steps.length - 1] : steps[0];
    if (beside && meets && beside.dataset.step === meets.dataset.step) {
      const its = meets.querySelector("ol").children;
      beside.querySelector("ol")[isEarlier ? "prepend" : "append"](...its);
      meets.remove();
    }
    const rest = steps.filter((step) => step.isConnected);
    if (isEarlier) there.querySelector("summary").after(...rest);
    else {
      there.append(...rest);
      there.querySelector(".log-last").dataset.last = group.querySelector(".log-last").dataset.last;
    }
    group.remove();
  }
  function forget() {
    const old = all().sort((one, other) => number(one) - number(other)).slice(0, -most);
    for (const line of old) line.remove();
    for (const group of lines.querySelectorAll("details")) {
      if (group.querySelector("li")) continue;
      placed.delete(group);
      group.remove();
    }
  }
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === lines) place();
    if (!follows) return show();
    if (lines.querySelectorAll("li[id]").length > most) forget();
    toEnd();
  });

  const wrap = document.getElementById("log-wrap");
  function setWrap(isOn) {
    log.classList.toggle("nowrap-lines", !isOn);
    wrap.setAttribute("aria-pressed", String(isOn));
    try {
      localStorage.setItem("log-wrap", isOn ? "1" : "0");
    } catch { /* a private window keeps nothing */ }
  }
  let kept = "1";
  try {
    kept = localStorage.getItem("log-wrap") ?? "1";
  } catch { /* as above */ }
  setWrap(kept === "1");
  wrap.addEventListener("click", () => setWrap(wrap.getAttribute("aria-pressed") !== "true"));

  function showTarget() {
    const line = location.hash.startsWith("#L") && document.getElementById(location.hash.slice(1));
    for (const old of lines.querySelectorAll(".is-target")) old.classList.remove("is-target");
    if (!line) return;
    follows = false;
    line.classList.add("is-target");
    for (let group = line.closest("details"); group; group = group.parentElement.closest("details")) group.open = true;
    log.scrollTop = line.offsetTop - log.clientHeight / 3;
    align();
    show();
  }
  addEventListener("hashchange", showTarget);
  if (follows) toEnd();
  showTarget();
  show();
})();
