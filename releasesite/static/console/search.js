// The search in the head: a combobox over what the server finds. The focus stays in the box; arrows move a highlight, Enter
// opens it, Escape gives the focus back. Without this file the form asks for a page of what was found.
(() => {
  "use strict";
  const form = document.querySelector("form[data-finder]");
  if (!form) return;
  const box = form.querySelector("[role=combobox]");
  const panel = document.getElementById("found");
  const said = document.getElementById("said");
  let before = null;
  let isToOpen = false;

  const text = () => box.value.trim().replace(/\s+/g, " ");
  const options = () => [...panel.querySelectorAll("[role=option]")];
  const isCurrent = () => panel.querySelector("[data-found]")?.dataset.found === text();

  function highlight(option) {
    for (const each of options()) each.setAttribute("aria-selected", String(each === option));
    if (option) box.setAttribute("aria-activedescendant", option.id);
    else box.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  }

  function setOpen(isOpen) {
    const isList = isOpen && options().length > 0;
    panel.hidden = !isOpen;
    box.setAttribute("aria-expanded", String(isList));
    if (isList) box.setAttribute("aria-controls", "found-list");
    else box.removeAttribute("aria-controls");
    highlight(isList ? options()[0] : null);
  }

  function move(step) {
    const all = options();
    if (panel.hidden && all.length && text()) return setOpen(true);
    const at = all.findIndex((each) => each.getAttribute("aria-selected") === "true");
    if (all.length) highlight(all[(at + step + all.length) % all.length]);
  }

  // What is shown may still be what was asked for before: then what comes is opened.
  function open() {
    isToOpen = !isCurrent();
    if (!isToOpen) options().find((each) => each.getAttribute("aria-selected") === "true")?.click();
  }

  function leave() {
    box.value = "";
    panel.replaceChildren();
    setOpen(false);
    if (before?.isConnected && before !== document.body) before.focus();
    else box.blur();
  }

  const keys = { ArrowDown: () => move(1), ArrowUp: () => move(-1), Enter: open, Escape: leave };
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    isToOpen = false;
    if (!keys[event.key] || (event.key === "Enter" && !text())) return;
    event.preventDefault();
    keys[event.key]();
  });
  box.addEventListener("focus", (event) => {
    if (!form.contains(event.relatedTarget)) before = event.relatedTarget;
    if (text() && isCurrent()) setOpen(true);
  });
  form.addEventListener("focusout", (event) => {
    if (!form.contains(event.relatedTarget)) setOpen(false);
  });
  // A press in the panel must not take the focus from the box before the click has come.
  panel.addEventListener("pointerdown", (event) => event.preventDefault());

  panel.addEventListener("htmx:afterSwap", () => {
    setOpen(text() !== "" && document.activeElement === box);
    said.textContent = text() ? panel.querySelector("[data-found]")?.dataset.count.trim() ?? "" : "";
    if (isToOpen) open();
  });
  for (const failed of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    box.addEventListener(failed, () => { if (isToOpen) form.submit(); });
  }
})();
