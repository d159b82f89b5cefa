// Times in the viewer's zone, live regions, keyboard. Nothing here is needed to read a page or to act on it.
(() => {
  "use strict";
  const root = document.documentElement;
  const language = root.lang || "en";
  const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  // 2026-11-27 16:05:09 in both languages, as the server writes it (releasesite/formats): Swedish is what is written like that.
  const full = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const byId = (id) => document.getElementById(id);

  function age(seconds) {
    const [unit, size] = units.find(([, size]) => seconds >= size) || units[3];
    // 5 分钟前, with the space that stands between digits and Chinese everywhere else.
    return relative.format(-Math.floor(seconds / size), unit).replace(/(\d)(?=[\u4e00-\u9fff])/g, "$1 ");
  }

  function elapsed(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(s / 3600);
    return `${hours ? `${hours}:` : ""}${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}`;
  }

  function showTimes(within) {
    const now = Date.now() + (Number(root.dataset.skew) || 0);
    for (const time of within.querySelectorAll("time[data-as]")) {
      const at = new Date(time.dateTime);
      const seconds = (now - at) / 1000;
      const as = time.dataset.as;
      let text;
      if (as === "clock") text = clock.format(at);
      else if (as === "elapsed") text = elapsed(seconds);
      else if (as === "age" && seconds < 604800) text = age(Math.max(0, seconds));
      else text = full.format(at);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  function setLive(state) {
    for (const mark of document.querySelectorAll(".live")) {
      const keep = mark.dataset.state === "off" ? "off" : state;
      mark.dataset.state = keep;
      const label = keep === "lost" ? mark.dataset.lost : `${mark.dataset.updated} ${clock.format(new Date())}`;
      mark.textContent = label;
    }
  }

  // A press that began on an element must not lose it to an update before it ends.
  let isPressed = false;
  addEventListener("pointerdown", () => { isPressed = true; }, true);
  for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => setTimeout(() => { isPressed = false; }, 50), true);

  // What the page has come to: its title and icon, and for those who only hear it a sentence when that changes.
  const tones = { run: "#6a6af4", ok: "#1f9d57", warn: "#c98a04", fail: "#d93838" };
  const icon = document.querySelector("link[rel=icon]");
  const plainIcon = icon?.href;
  function tellState() {
    const state = document.querySelector("[data-told]");
    if (!state) return;
    if (state.dataset.title) document.title = state.dataset.title;
    const color = tones[state.dataset.tone];
    const dot = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect x="1" y="1" width="22" height="22" rx="6" fill="#17171c"/><circle cx="12" cy="12" r="7" fill="${color}"/></svg>`;
    const wanted = color ? `data:image/svg+xml,${encodeURIComponent(dot)}` : plainIcon;
    if (icon && icon.href !== wanted) icon.href = wanted;
    const said = state.textContent.replace(/\s+/g, " ").trim();
    if (told !== undefined && told !== said) byId("said").textContent = said;
    told = said;
  }
  let told;

  // A hidden tab asks seldom, for its title to stay true.
  const hiddenPause = 15000;
  const asked = new Map();
  function mayPoll(part) {
    const last = asked.get(part) ?? -Infinity;
    if (document.hidden && performance.now() - last < hiddenPause) return false;
    asked.set(part, performance.now());
    return true;
  }

  const opened = new Map();
  let ticked = [];
  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details.target[id], details.error-group[id]")) opened.set(event.target.id, event.target.open);
  }, true);
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.matches("[data-poll]") && !mayPoll(event.target.getAttribute("hx-target"))) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, requestConfig } = event.detail;
    const isPoll = requestConfig.elt.matches("[data-poll]");
    if (isPoll && isPressed && event.detail.target.id !== "log-tail") event.detail.shouldSwap = false;
    if (isPoll && xhr.status === 200) setLive("on");
    ticked = [...event.detail.target.querySelectorAll("input[type=checkbox][id]:checked")].map((box) => box.id);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    for (const [id, open] of opened) {
      const details = byId(id);
      if (details && details.open !== open) details.open = open;
    }
    for (const id of ticked) {
      const box = byId(id);
      if (box) box.checked = true;
    }
    ticked = [];
    showTimes(document);
    showChosen();
    tellState();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.requestConfig.elt.matches("[data-poll]")) return;
    const status = event.detail.xhr.status;
    if (status === 204 || status === 200) setLive("on");
    else setLive("lost");
  });

  // Selecting rows: the head's box ticks the page's, the bar names how many.
  function showChosen() {
    const form = document.querySelector("form[data-select]");
    if (!form) return;
    const boxes = [...form.querySelectorAll("input[name=i]")];
    const chosen = boxes.filter((box) => box.checked).length;
    for (const label of form.querySelectorAll("[data-chosen]")) label.textContent = chosen;
    for (const button of form.querySelectorAll("[data-needs-choice]")) button.disabled = chosen === 0;
    for (const why of form.querySelectorAll("[data-why]")) why.hidden = chosen > 0;
    const head = form.querySelector("[data-select-page]");
    if (head) head.checked = chosen > 0 && chosen === boxes.length;
  }
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-select]");
    if (!form) return;
    if (event.target.matches("[data-select-page]")) {
      for (const box of form.querySelectorAll("input[name=i]")) box.checked = event.target.checked;
    }
    showChosen();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "1";
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) byId(opener.dataset.dialog).showModal();
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // `/` searches, arrows or j/k move, Enter opens, `l` log, `?` help. No single key changes anything.
  function move(step) {
    const rows = [...document.querySelectorAll("[data-row]")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(rows.length - 1, Math.max(0, at + step))].focus();
  }
  const keys = {
    "/": () => byId("search")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    l: () => byId("log")?.scrollIntoView(),
    "?": () => byId("keys")?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  // For the days that the server is asked for, and the times that it writes itself (releasesite/viewer_timezone.py).
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.split("; ").includes(`tz=${zone}`)) {
    document.cookie = `tz=${zone}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
  }

  if (root.dataset.now) root.dataset.skew = new Date(root.dataset.now) - Date.now();
  showTimes(document);
  showChosen();
  tellState();
  setInterval(() => showTimes(document), 1000);
})();
