// The admin's forms: what the fields of select2 are called, a key that is put into its field, and an answer that never came.
(() => {
  "use strict";

  // select2 names its box after what is chosen in it, which is nothing at first.
  function nameBoxes() {
    for (const select of document.querySelectorAll("select.admin-autocomplete")) {
      const label = document.querySelector(`label[for="${select.id}"]`);
      const name = select.getAttribute("aria-label") || label?.firstChild.textContent.trim();
      const box = select.nextElementSibling;
      if (!name || !box?.matches(".select2-container")) continue;
      for (const part of box.querySelectorAll("[role=combobox], [role=textbox]")) {
        part.removeAttribute("aria-labelledby");
        part.setAttribute("aria-label", name);
      }
    }
  }
  // After Django's own, which makes the boxes.
  window.django?.jQuery?.(() => {
    nameBoxes();
    window.django.jQuery(document).on("select2:open", (event) => {
      const search = document.querySelector(".select2-container--open .select2-search__field");
      search?.setAttribute("aria-label", event.target.nextElementSibling.querySelector("[role=combobox]").getAttribute("aria-label"));
    });
  });
  document.addEventListener("formset:added", () => setTimeout(nameBoxes));

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-fill]");
    if (!button) return;
    const field = document.getElementById(button.dataset.fill);
    field.value = button.dataset.with;
    field.focus();
  });

  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => {
      const answer = event.detail.target;
      if (answer.dataset.failed) answer.textContent = answer.dataset.failed;
    });
  }
})();
