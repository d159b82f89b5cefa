// The log follows its end until the reader scrolls up; lines link to themselves and wrap or not.
(() => {
  "use strict";
  const log = document.getElementById("log-scroll");
  if (!log) return;
  const jump = document.getElementById("log-jump");
  const lines = document.getElementById("log-lines");
  const most = 3000;
  let follows = log.dataset.follow === "1" && !location.hash;

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  function toEnd() {
    log.scrollTop = log.scrollHeight;
  }
  function show() {
    jump.hidden = follows || isAtEnd();
  }

  log.addEventListener("scroll", () => {
    follows = isAtEnd();
    show();
  }, { passive: true });
  jump.addEventListener("click", () => {
    follows = true;
    toEnd();
    show();
    log.focus({ preventScroll: true });
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (!follows) return show();
    while (lines.children.length > most) lines.firstElementChild.remove();
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
    log.scrollTop = line.offsetTop - log.clientHeight / 3;
    show();
  }
  addEventListener("hashchange", showTarget);
  if (follows) toEnd();
  showTarget();
  show();
})();
