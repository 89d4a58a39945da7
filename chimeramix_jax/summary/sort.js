"use strict";
// Makes the headers of tables buttons that sort by their column. Without this script, tables have their first order.
function value(cell) {
  const text = cell.dataset.text, number = parseFloat(text.replace("below ", ""));
  return text === "all" ? Infinity : Number.isNaN(number) ? text : number;
}
function compare(a, b) {
  const numbers = [a, b].filter((item) => typeof item === "number").length;
  if (numbers === 2) return a - b;
  return numbers === 1 ? (typeof a === "number" ? -1 : 1) : a.localeCompare(b);
}
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], original = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const order = {none: "descending", descending: "ascending", ascending: "none"}[header.ariaSort || "none"];
      for (const other of headers) other.ariaSort = "none";
      header.ariaSort = order;
      const rows = [...original];
      if (order !== "none") {
        rows.sort((first, second) => {
          const a = value(first.cells[column]), b = value(second.cells[column]);
          const missing = [a, b].filter((item) => item === "-").length;
          if (missing === 1) return a === "-" ? 1 : -1; // at the end, whatever the order
          return order === "ascending" ? compare(a, b) : compare(b, a);
        });
      }
      table.classList.toggle("sorted", order !== "none");
      body.append(...rows);
    });
  });
}
