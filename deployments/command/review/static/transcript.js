// The words in and around a short: highlighted while they are said, editable when selected, with
// brackets where the short begins and ends.

// Words that are shown before the beginning and after the end.
const AROUND = 40;

export class TranscriptView {
  /** `actions` has `select(number)` and `move(edge, number)`, edge being "first" or "last". */
  constructor(element, actions) {
    this.element = element;
    this.actions = actions;
    this.buttons = new Map();
    this.lit = null;
    element.addEventListener("click", (event) => {
      const word = event.target.closest("[data-word]");
      if (word) actions.select(Number(word.dataset.word));
    });
  }

  /** `words` are [text, start, end, isUncertain]; `shown` the texts of those that have another;
   *  `takenOut` the numbers of the fillers that are taken out. */
  show(words, span, shown, takenOut) {
    Object.assign(this, { words, span, takenOut });
    const focused = document.activeElement?.dataset?.word;
    const parts = [];
    this.buttons.clear();
    const from = Math.max(0, span.first - AROUND);
    const to = Math.min(words.length - 1, span.last + AROUND);
    for (let number = from; number <= to; number += 1) {
      if (number === span.first) parts.push(this.bracket("first", "[", "Beginning"));
      parts.push(this.word(number, words[number], shown[number]));
      if (number === span.last) parts.push(this.bracket("last", "]", "End"));
    }
    this.element.replaceChildren(...parts.flatMap((part) => [part, " "]));
    if (focused !== undefined) this.buttons.get(Number(focused))?.focus();
  }

  word(number, [text, , , isUncertain], other) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.word = number;
    button.textContent = other === undefined ? text : other || text;
    const isOutside = number < this.span.first || number > this.span.last;
    button.classList.toggle("outside", isOutside);
    button.classList.toggle("changed", other !== undefined);
    button.classList.toggle("removed", other === "");
    if (isUncertain && other === undefined) {
      button.classList.add("uncertain");
      button.append(unseen(" (uncertain)"));
    }
    if (other === "") button.append(unseen(" (not shown)"));
    if (this.takenOut.has(number)) {
      button.classList.add("taken-out");
      button.append(unseen(" (taken out)"));
    }
    this.buttons.set(number, button);
    return button;
  }

  bracket(edge, text, name) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "bracket";
    button.textContent = text;
    button.setAttribute("aria-label", `${name}: arrow keys move it by a word`);
    button.dataset.edge = edge;
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.actions.move(edge, this.span[edge] + step);
      this.element.querySelector(`[data-edge="${edge}"]`)?.focus();
    });
    button.addEventListener("pointerdown", (event) => this.drag(event, edge, button));
    return button;
  }

  drag(down, edge, button) {
    down.preventDefault();
    button.setPointerCapture(down.pointerId);
    let number = null;
    const over = (event) => {
      const found = document.elementFromPoint(event.clientX, event.clientY);
      const word = found?.closest("[data-word]");
      if (!word || !this.element.contains(word)) return;
      this.buttons.get(number)?.classList.remove("spoken");
      number = Number(word.dataset.word);
      word.classList.add("spoken");
    };
    button.addEventListener("pointermove", over);
    button.addEventListener(
      "pointerup",
      () => {
        button.removeEventListener("pointermove", over);
        if (number !== null) this.actions.move(edge, number);
      },
      { once: true },
    );
  }

  /** The number of the word that is said at a time, or was said last. */
  at(time) {
    let found = null;
    for (const number of this.buttons.keys()) {
      if (this.words[number][1] <= time) found = number;
    }
    return found;
  }

  light(time) {
    const number = this.at(time);
    const said = number !== null && time < this.words[number][2] + 0.15 ? number : null;
    if (said === this.lit?.number && this.lit?.button.isConnected) return;
    this.lit?.button.classList.remove("spoken");
    this.lit = said === null ? null : { number: said, button: this.buttons.get(said) };
    this.lit?.button.classList.add("spoken");
  }
}

function unseen(text) {
  const span = document.createElement("span");
  span.className = "unseen";
  span.textContent = text;
  return span;
}
