"use strict";
// Tables of the class "sortable": a click on a header, or Enter on it, sorts by its column, a second one the other way
// round. A sign beside each header says so, see style.css.

const UNITS = { min: 60, h: 3600 };

// A cell's number: "45.6 ± 1.5", "1,234", "2.5 h", "< 0.001", "-3.1"; NaN for other texts.
function numberOf(text) {
  const found = text.replace(/,/g, "").replace("−", "-").match(/^[<>]?\s*([+-]?\d+(?:\.\d+)?)\s*(min|h)?(?![a-z])/);
  return found ? Number(found[1]) * (UNITS[found[2]] || 1) : NaN;
}

function compare(a, b) {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) {
    return Number.isNaN(x) && Number.isNaN(y) ? a.localeCompare(b) : Number.isNaN(x) ? 1 : -1;
  }
  return x - y;
}

function sortBy(table, column, header) {
  const body = table.tBodies[0];
  // Names read from A; of numbers the largest come first.
  const names = header.classList.contains("left");
  const first = names ? "ascending" : "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = header.getAttribute("aria-sort") === first ? other : first;
  const text = (row) => row.cells[column].textContent.trim();
  const known = (row) => names || !Number.isNaN(numberOf(text(row)));
  const rows = Array.from(body.rows).sort((a, b) => {
    if (known(a) !== known(b)) return known(a) ? -1 : 1; // dashes stay at the end
    const order = names ? text(a).localeCompare(text(b)) : compare(text(a), text(b));
    return direction === "ascending" ? order : -order;
  });
  for (const cell of header.parentNode.cells) cell.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", direction);
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort by this column";
    header.setAttribute("aria-sort", "none");
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, column, header));
    header.append(button);
  });
}
