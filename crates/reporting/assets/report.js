// Shows the cards whose scores and names were asked for, best or worst first.
"use strict";
(() => {
  const cards = [...document.querySelectorAll(".card")];
  const field = (name) => document.getElementById(name);
  const shown = field("shown");
  const list = document.querySelector(".cards");
  if (!list || !shown) return;
  const update = () => {
    const least = parseFloat(field("least").value);
    const most = parseFloat(field("most").value);
    let count = 0;
    for (const card of cards) {
      const dice = parseFloat(card.dataset.dice);
      // A case without a score is shown while no limit is set.
      const inside = Number.isNaN(dice)
        ? !(least > 0) && !(most < 1)
        : !(dice < least) && !(dice > most);
      const named = ["data", "method", "prompts"].every((key) => {
        const wanted = field(key).value;
        return wanted === "" || card.dataset[key] === wanted;
      });
      card.hidden = !(inside && named);
      if (!card.hidden) count += 1;
    }
    const order = field("order").value;
    const rank = (card) => parseFloat(card.dataset.dice);
    const sorted = cards.map((card, place) => ({ card, place }));
    if (order !== "") {
      const sign = order === "best" ? -1 : 1;
      const last = (value) => (Number.isNaN(value) ? 1 : 0);
      sorted.sort((a, b) => {
        const [x, y] = [rank(a.card), rank(b.card)];
        return last(x) - last(y) || (last(x) ? 0 : sign * (x - y)) || a.place - b.place;
      });
    }
    for (const { card } of sorted) list.append(card);
    shown.textContent = `${count} of ${cards.length}`;
  };
  for (const control of document.querySelectorAll(".controls input, .controls select")) {
    control.addEventListener("input", update);
  }
  update();
})();
