// The list of shorts, and the fields of the one that is selected.

import { hasOtherTightening } from "./tightening.js";

const TEXTS = ["title", "hook", "description", "hashtags"];
const CHOICES = ["layout", "caption_style"];

const clock = (seconds) => {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
};

/** The title and the state of a short, from its edits and its rendered video. */
export function describe(short, store, config) {
  const edit = store.at("shorts", short.id) ?? {};
  const { decision } = edit;
  const [start, end] = store.times[short.id];
  const isMoved =
    short.rendered &&
    (Math.abs(short.rendered[0] - start) > 0.01 ||
      Math.abs(short.rendered[1] - end) > 0.01 ||
      hasOtherTightening(short, edit, config));
  const made = short.error ? "failed" : isMoved ? "cut has changed" : short.video ? "rendered" : "not rendered";
  return {
    title: edit.title ?? store.texts[short.id].title,
    state: `${clock(start)}–${clock(end)} · ${decision ?? made}`,
  };
}

/** The value of a field in the edits, of what a person has typed; undefined if it is empty. */
function valueOf(name, text) {
  if (name !== "hashtags") return text.trim() || undefined;
  const tags = text.split(/[\s,]+/u).map((tag) => tag.replace(/^#+/u, ""));
  return tags.some(Boolean) ? tags.filter(Boolean) : undefined;
}

export class ShortsList {
  constructor(element, onSelect) {
    this.element = element;
    this.onSelect = onSelect;
  }

  show(shorts, selected, store, config) {
    const focused = document.activeElement?.dataset?.short;
    this.element.replaceChildren(
      ...shorts.map((short) => {
        const { title, state } = describe(short, store, config);
        const item = document.createElement("li");
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.short = short.id;
        button.setAttribute("aria-current", String(short.id === selected));
        const name = document.createElement("span");
        name.dir = "auto";
        name.textContent = `${short.index}. ${title}`;
        const note = document.createElement("span");
        note.className = "state";
        note.textContent = state;
        button.append(name, note);
        button.addEventListener("click", () => this.onSelect(short.id));
        item.append(button);
        return item;
      }),
    );
    if (focused) this.element.querySelector(`[data-short="${focused}"]`)?.focus();
  }
}

export class FieldsView {
  /** `actions` has `set(field, value)`, `decide(decision)` and `moveTo(edge, seconds)`. */
  constructor(state, actions) {
    this.actions = actions;
    for (const name of TEXTS) {
      const input = this.input(name);
      input.addEventListener("change", () => actions.set(name, valueOf(name, input.value)));
    }
    for (const [name, values] of [["layout", state.layouts], ["caption_style", state.styles]]) {
      const select = this.input(name);
      const fromConfig = new Option(`as the video's (${state.config[name]})`, "");
      select.replaceChildren(fromConfig, ...values.map((value) => new Option(value, value)));
      select.addEventListener("change", () => actions.set(name, select.value || undefined));
    }
    for (const edge of ["begin", "end"]) {
      const input = this.input(edge);
      input.addEventListener("change", () => {
        if (input.value !== "") actions.moveTo(edge, Number(input.value));
      });
    }
    for (const [name, decision] of [["approve", "approved"], ["refuse", "refused"]]) {
      this.input(name).addEventListener("click", () => actions.decide(decision));
    }
    const form = document.getElementById("fields");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => (event.target.dataset.typing = "yes"));
    // Before the change is acted on, in the capturing phase.
    form.addEventListener("change", (event) => delete event.target.dataset.typing, true);
  }

  input(name) {
    return document.getElementById(name);
  }

  show(short, store) {
    const edit = store.at("shorts", short.id) ?? {};
    const values = { ...store.texts[short.id], ...edit };
    values.hashtags = values.hashtags.map((tag) => `#${tag}`).join(" ");
    for (const name of [...TEXTS, ...CHOICES]) this.fill(name, values[name] ?? "");
    const [start, end] = store.times[short.id];
    this.fill("begin", start.toFixed(1));
    this.fill("end", end.toFixed(1));
    for (const [name, decision] of [["approve", "approved"], ["refuse", "refused"]]) {
      this.input(name).setAttribute("aria-pressed", String(edit.decision === decision));
    }
  }

  // What a person is typing is left alone.
  fill(name, value) {
    const input = this.input(name);
    if (!input.dataset.typing) input.value = value;
  }
}
