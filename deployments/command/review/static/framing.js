// What the crop shows when, as a person wants it: a list of views, and a form that adds one.

const byId = (id) => document.getElementById(id);

export class FramingView {
  /** `set(views)` stores the list; undefined if it is empty. */
  constructor(set) {
    this.set = set;
    this.views = [];
    byId("framing-who").addEventListener("change", () => this.showPlace());
    byId("framing-add").addEventListener("click", () => this.add());
    this.showPlace();
  }

  show(views, [start, end], id) {
    this.views = views;
    if (this.id !== id) {
      this.id = id;
      byId("framing-start").value = start.toFixed(1);
      byId("framing-end").value = end.toFixed(1);
    }
    byId("framing-list").replaceChildren(...views.map((view, place) => this.item(view, place)));
  }

  item(view, place) {
    const item = document.createElement("li");
    const what = view.person
      ? `person ${view.person} from the left`
      : `the place ${Math.round(view.place.x * 100)} % across, ${Math.round(view.place.y * 100)} % down`;
    const text = document.createElement("span");
    text.textContent = `${view.start.toFixed(1)}–${view.end.toFixed(1)} s: ${what}`;
    const remove = document.createElement("button");
    remove.type = "button";
    remove.append("Remove", unseen(` ${text.textContent}`));
    remove.addEventListener("click", () => {
      this.store(this.views.filter((_, number) => number !== place));
      byId("framing-add").focus();
    });
    item.append(text, " ", remove);
    return item;
  }

  showPlace() {
    byId("framing-place").hidden = byId("framing-who").value !== "place";
  }

  add() {
    const number = (id) => Number(byId(id).value);
    const times = { start: number("framing-start"), end: number("framing-end") };
    const who = byId("framing-who").value;
    const view =
      who === "place"
        ? { ...times, place: { x: number("framing-x") / 100, y: number("framing-y") / 100 } }
        : { ...times, person: Number(who) };
    this.store([...this.views, view]);
  }

  store(views) {
    this.set(views.length ? views : undefined);
  }
}

function unseen(text) {
  const span = document.createElement("span");
  span.className = "unseen";
  span.textContent = text;
  return span;
}
