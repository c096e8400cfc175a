// The tables: DataTables, from the bundle that itables ships.
const source = document.getElementById("datatables").textContent;
const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
const { default: DataTable } = await import(address);
URL.revokeObjectURL(address);

const text = DataTable.render.text(); // names come from files, and none may act here
const decimals = (places) => (value, type) => (type === "display" && value !== null ? value.toFixed(places) : value);
const language = { search: "Search", lengthMenu: "_MENU_ a page", emptyTable: "no runs yet" };
const filter = (name) => ({ columnControl: [{ extend: "dropdown", text: `Filter by ${name}`, content: ["searchList"] }] });

for (const table of document.querySelectorAll("table.cells")) {
  const columnDefs = ["model", "method", "task"].map((name, place) => ({ targets: place, ...filter(name) }));
  new DataTable(table, { paging: false, info: false, order: [], autoWidth: false, language, columnDefs });
}

function link(name, type, row) {
  if (type !== "display" || !name) return name;
  const page = document.createElement("a");
  page.href = `runs/${encodeURIComponent(row[0])}.html`;
  page.textContent = name;
  return page;
}

new DataTable("#run-table", {
  data: JSON.parse(document.getElementById("run-rows").textContent),
  columns: [ // as the head of the table has them
    { render: link },
    { render: text, ...filter("state") },
    { render: text, ...filter("model") },
    { render: text, ...filter("task") },
    { render: text, ...filter("method") },
    { type: "num" },
    { render: text },
    { render: decimals(2), type: "num" },
    { render: decimals(1), type: "num" },
    { render: text },
  ],
  deferRender: true, order: [], pageLength: 25, autoWidth: false, language,
});
