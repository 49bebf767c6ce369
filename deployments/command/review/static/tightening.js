// Tightening of a short: a switch, and what is taken out, each of which can be put back.

const byId = (id) => document.getElementById(id);

/** What is taken out or put back in a short as it was rendered, in order; none if it was not
 *  tightened. */
export function removalsOf(short) {
  const { removed = [], restored = [] } = short.tightening ?? {};
  return [...removed, ...restored].sort((one, other) => one.start - other.start);
}

/** Whether a short is to be tightened, from its edits and the video's config. */
export const isTightened = (edit, config) => edit.tighten ?? config.tighten;

/** What the edits leave out of a short, of what is known from its last rendering. */
export function takenOut(short, edit, config) {
  if (!isTightened(edit, config)) return [];
  return removalsOf(short).filter(({ id }) => !(id in (edit.restored ?? {})));
}

/** Whether a rendered short is tightened in another way than its edits say. */
export function hasOtherTightening(short, edit, config) {
  if (Boolean(short.tightening) !== isTightened(edit, config)) return true;
  const out = takenOut(short, edit, config).map(({ id }) => id);
  const { removed = [] } = short.tightening ?? {};
  return Boolean(short.tightening) && out.join() !== removed.map(({ id }) => id).join();
}

export class TighteningView {
  /** `actions` has `set(isOn)` and `putBack(removal, isBack)`. */
  constructor(actions) {
    this.actions = actions;
    const box = byId("tighten");
    box.addEventListener("change", () => actions.set(box.checked));
  }

  show(short, edit, config) {
    const isOn = isTightened(edit, config);
    byId("tighten").checked = isOn;
    const removals = isOn ? removalsOf(short) : [];
    byId("tightening-note").textContent = this.note(short, edit, config);
    const focused = document.activeElement?.dataset?.removal;
    byId("removals").replaceChildren(
      ...removals.map((removal) => this.item(removal, removal.id in (edit.restored ?? {}))),
    );
    if (focused) byId("removals").querySelector(`[data-removal="${focused}"]`)?.focus();
  }

  note(short, edit, config) {
    const again = hasOtherTightening(short, edit, config) ? " Render again to apply it." : "";
    if (!isTightened(edit, config)) return `Nothing is taken out.${again}`;
    if (!short.tightening) return "What is taken out is listed here after Render again.";
    const out = takenOut(short, edit, config);
    const saved = out.reduce((sum, { start, end }) => sum + end - start, 0);
    return `${out.length} taken out: the short is ${saved.toFixed(1)} seconds shorter.${again}`;
  }

  item(removal, isBack) {
    const item = document.createElement("li");
    const text = document.createElement("span");
    text.append(...described(removal), isBack ? ": put back" : ": taken out");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.removal = removal.id;
    button.append(isBack ? "Take out" : "Put back", unseen(" "), ...described(removal, unseen));
    button.addEventListener("click", () => this.actions.putBack(removal, !isBack));
    item.append(text, button);
    return item;
  }
}

/** Such as: filler “um,” at 12.3 s, 0.4 s long. */
function described({ kind, text, start, end }, wrap = (part) => part) {
  const word = document.createElement("q");
  word.dir = "auto";
  word.textContent = text;
  const what = kind === "filler" ? "filler " : "silence before ";
  const times = ` at ${start.toFixed(1)} s, ${(end - start).toFixed(1)} s long`;
  return [what, word, times].map(wrap);
}

function unseen(part) {
  const span = document.createElement("span");
  span.className = "unseen";
  span.append(part);
  return span;
}
