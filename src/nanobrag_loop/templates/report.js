"use strict";
const byItem = document.getElementById("by-item");
const byResult = document.getElementById("by-result");
const byText = document.getElementById("by-text");
const rows = [...document.querySelectorAll("#attempt-rows tbody tr")];

function filter() {
  const needle = byText.value.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const fits = (!byItem.value || row.dataset.item === byItem.value) &&
      (!byResult.value || row.dataset.result === byResult.value) &&
      (!needle || row.textContent.toLowerCase().includes(needle));
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} of ${rows.length}`;
  const choice = new URLSearchParams({ item: byItem.value, result: byResult.value, text: byText.value });
  history.replaceState(null, "", "#" + choice);
}

const start = new URLSearchParams(location.hash.slice(1));
byItem.value = start.get("item") ?? "";
byResult.value = start.get("result") ?? "";
byText.value = start.get("text") ?? "";
document.getElementById("filters").addEventListener("input", filter);
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
filter();
