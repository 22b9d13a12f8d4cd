// Draws every figure from the JSON beside it, in the colours and for the width of this screen.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const thin = matchMedia("(max-width: 40rem)");
  const swap = JSON.parse(document.getElementById("dark-colours").textContent);

  function change(target, path, value) {
    const names = path.split(".");
    const last = names.pop();
    for (const name of names) target = target[name] ??= {};
    target[last] = value;
  }

  function draw() {
    for (const box of document.querySelectorAll(".plot")) {
      let text = document.getElementById(`${box.id}-data`).textContent;
      if (dark.matches) for (const [light, other] of Object.entries(swap)) text = text.replaceAll(light, other);
      const { data, layout } = JSON.parse(text);
      const { narrow, narrow_height } = layout.meta;
      if (thin.matches) {
        for (const [path, value] of Object.entries(narrow)) change(layout, path, value);
        layout.height = narrow_height;
      }
      box.style.minHeight = `${layout.height}px`;
      Plotly.react(box, data, layout, {
        responsive: true,
        displaylogo: false,
        showSendToCloud: false, // its default is true: the data would leave this page
        displayModeBar: thin.matches ? false : "hover",
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      });
    }
  }

  dark.addEventListener("change", draw);
  thin.addEventListener("change", draw);
  draw();
})();
