// The ledger's filter, one switch per page that unfolds its code, and a row that is linked to opens.
"use strict";
addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll(".has-children > details > summary")) // the theme gives them no name
    summary.ariaLabel = `Pages below ${summary.closest("li").querySelector("a").textContent.trim()}`;

  const folded = [...document.querySelectorAll("details.hide.above-input")];
  const title = document.querySelector("article h1");
  if (folded.length && title) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "pd-code", textContent: "Show all code" });
    button.addEventListener("click", () => {
      const open = button.textContent === "Show all code";
      for (const cell of folded) cell.open = open;
      button.textContent = open ? "Fold all code" : "Show all code";
    });
    title.after(button);
  }

  const filter = document.querySelector(".pd-filter");
  if (filter) {
    const claims = [...document.querySelectorAll(".pd-claim")];
    const apply = () => {
      const { verdict, size, text } = Object.fromEntries(new FormData(filter));
      let n = 0;
      for (const claim of claims) {
        const fits = (!verdict || claim.dataset.verdict === verdict) && (!size || claim.dataset.size === size) &&
          claim.textContent.toLowerCase().includes(text.toLowerCase());
        claim.hidden = !fits;
        n += fits;
      }
      filter.querySelector("output").textContent = `${n} of ${claims.length} claims`;
    };
    filter.hidden = false;
    filter.addEventListener("input", apply);
    filter.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.matches("details")) target.open = true;
  };
  addEventListener("hashchange", open);
  open();
});
