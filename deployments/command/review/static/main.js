// The page: what is selected, and what the parts of the page do to the edits.

import { readState } from "./api.js";
import { bindCopying } from "./copy.js";
import { FramingView } from "./framing.js";
import { bindKeys } from "./keys.js";
import { withValue } from "./merge.js";
import { Player } from "./player.js";
import { RenderView } from "./render.js";
import { FieldsView, ShortsList, describe } from "./shorts.js";
import { Store } from "./store.js";
import { TighteningView, takenOut } from "./tightening.js";
import { TranscriptView } from "./transcript.js";

const byId = (id) => document.getElementById(id);

class ReviewPage {
  constructor(state) {
    this.store = new Store((paths) => this.resolveConflicts(paths));
    this.player = new Player(byId("video"), byId("plays"), (time) => this.transcript.light(time));
    this.transcript = new TranscriptView(byId("words"), {
      select: (number) => this.openWord(number),
      move: (edge, number) => this.move(edge, number),
    });
    this.list = new ShortsList(byId("shorts"), (id) => this.select(id));
    this.fields = new FieldsView(state, {
      set: (field, value) => this.setField(field, value),
      decide: (decision) => this.decide(decision),
      moveTo: (edge, seconds) => this.moveTo(edge, seconds),
    });
    this.framing = new FramingView((views) => this.setField("framing", views));
    this.tightening = new TighteningView({
      set: (isOn) => this.tighten(isOn),
      putBack: (removal, isBack) => this.putBack(removal, isBack),
    });
    this.rendering = new RenderView((message) => this.say(message));
    this.store.addEventListener("change", () => this.show());
    this.store.addEventListener("saved", () => this.show());
    this.store.addEventListener("recovered", () => this.clearProblem());
    this.store.addEventListener("problem", (event) => this.say(event.detail));
    window.addEventListener("beforeunload", (event) => {
      if (!this.store.isSaved) event.preventDefault();
    });
    byId("undo").addEventListener("click", () => this.undo());
    byId("render").addEventListener("click", () => this.render());
    byId("play-cut").addEventListener("click", () => this.player.playCut());
    byId("play-short").addEventListener("click", () => this.player.playShort());
    byId("word-dialog").addEventListener("close", () => this.closeWord());
    this.load(state);
  }

  load(state) {
    this.state = state;
    this.selected = state.shorts.some((one) => one.id === this.selected)
      ? this.selected
      : state.shorts[0]?.id;
    this.store.load(state);
    if (this.short) this.showVideo();
  }

  get short() {
    return this.state.shorts.find((one) => one.id === this.selected);
  }

  get times() {
    return this.store.times[this.selected];
  }

  get span() {
    const own = this.store.at("shorts", this.selected, "span");
    if (own && !this.store.stale.includes(`shorts.${this.selected}.span`)) return own;
    return this.between(...this.times) ?? { first: 0, last: 0 };
  }

  /** The words whose middle lies between two times, as `words_between` in clipflow/jobs/edits.py. */
  between(start, end) {
    const inside = [];
    this.state.words.forEach(([, from, to], number) => {
      if (start <= (from + to) / 2 && (from + to) / 2 < end) inside.push(number);
    });
    return inside.length ? { first: inside[0], last: inside.at(-1) } : null;
  }

  select(id) {
    this.selected = id;
    this.show();
    this.showVideo();
  }

  step(by) {
    const { shorts } = this.state;
    const place = shorts.findIndex((one) => one.id === this.selected) + by;
    if (shorts[place]) this.select(shorts[place].id);
  }

  show() {
    const { store, short } = this;
    const { config } = this.state;
    const unsaved = store.saving ? "Saving" : "Not saved: trying again";
    byId("saved").textContent = store.isSaved ? "All changes are saved" : unsaved;
    byId("undo").disabled = !store.history.length;
    byId("render").disabled = this.rendering.isRunning;
    byId("stale").hidden = !this.stale.length;
    byId("stale").textContent =
      `Not applied, because the transcript or the short has changed: ${this.stale.join(", ")}.`;
    this.list.show(this.state.shorts, this.selected, store, config);
    if (!short) return;
    byId("heading").textContent = `${short.index}. ${describe(short, store, config).title}`;
    byId("why").textContent = short.error ?? short.why;
    byId("play-short").disabled = !short.video;
    this.fields.show(short, store);
    this.framing.show(store.at("shorts", short.id, "framing") ?? [], this.times, short.id);
    const edit = store.at("shorts", short.id) ?? {};
    this.tightening.show(short, edit, config);
    const removed = takenOut(short, edit, config);
    const fillers = removed.filter(({ kind }) => kind === "filler").map(({ word }) => word);
    this.transcript.show(this.state.words, this.span, store.shown, new Set(fillers));
    Object.assign(this.player, { times: this.times, skipped: removed });
  }

  /** The fields of the edits that have no effect, also those that a rendering has found. */
  get stale() {
    const ignored = this.state.shorts.flatMap((short) =>
      (short.tightening?.ignored ?? [])
        .filter((id) => this.store.at("shorts", short.id, "restored", id) !== undefined)
        .map((id) => `shorts.${short.id}.restored.${id}`),
    );
    return [...new Set([...this.store.stale, ...ignored])];
  }

  tighten(isOn) {
    this.clearProblem();
    const value = isOn === this.state.config.tighten ? undefined : isOn;
    return this.store.set(["shorts", this.selected, "tighten"], value);
  }

  /** Put back what tightening takes out, or take it out again, and play the place. */
  async putBack({ id, word, start, end }, isBack) {
    this.clearProblem();
    const value = isBack ? this.state.words[word][0] : undefined;
    await this.store.set(["shorts", this.selected, "restored", id], value);
    if (this.state.hasSource) this.player.hearAround(start, end);
  }

  showVideo() {
    this.player.show(this.short, this.times, this.state.hasSource);
  }

  setField(field, value) {
    this.clearProblem();
    const chosen = this.store.texts[this.selected][field];
    const same = chosen !== undefined && JSON.stringify(value) === JSON.stringify(chosen);
    return this.store.set(["shorts", this.selected, field], same ? undefined : value);
  }

  decide(decision) {
    const now = this.store.at("shorts", this.selected, "decision");
    return this.setField("decision", now === decision ? undefined : decision);
  }

  /** Move the beginning ("first") or the end ("last") to a word, and play it. */
  async move(edge, number) {
    const { words } = this.state;
    const span = { first: this.span.first, last: this.span.last, [edge]: number };
    if (number < 0 || number >= words.length || span.first > span.last) return;
    span.first_word = words[span.first][0];
    span.last_word = words[span.last][0];
    await this.setField("span", span);
    if (edge === "first") this.player.hearBeginning();
    else this.player.hearEnd();
  }

  moveTo(edge, seconds) {
    const [start, end] = edge === "begin" ? [seconds, this.times[1]] : [this.times[0], seconds];
    const span = this.between(start, end);
    if (!span) {
      this.say(`Nothing is said from ${start} to ${end} seconds.`);
      this.fields.show(this.short, this.store);
      return undefined;
    }
    return edge === "begin" ? this.move("first", span.first) : this.move("last", span.last);
  }

  openWord(number) {
    this.word = number;
    const [text] = this.state.words[number];
    byId("word-original").textContent = text;
    byId("word-text").value = this.store.shown[number] ?? text;
    byId("word-everywhere").checked = false;
    this.player.video.pause();
    byId("word-dialog").returnValue = "cancel";
    byId("word-dialog").showModal();
    byId("word-text").select();
  }

  closeWord() {
    const number = this.word;
    const [original, start] = this.state.words[number];
    this.transcript.buttons.get(number)?.focus();
    switch (byId("word-dialog").returnValue) {
      case "save":
        return this.correct(number, original, byId("word-text").value.trim());
      case "restore":
        return this.store.set(["words", String(number)], undefined);
      case "begin":
        return this.move("first", number);
      case "end":
        return this.move("last", number);
      case "play":
        return this.player.playRange(start);
      default:
        return undefined;
    }
  }

  correct(number, original, text) {
    this.clearProblem();
    if (text === (this.store.shown[number] ?? original)) return undefined;
    if (!byId("word-everywhere").checked || !text) {
      return this.store.set(["words", String(number)], { original, text });
    }
    // The punctuation around the word stays where it is said elsewhere.
    const bare = (word) => word.replace(/^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu, "") || word;
    let edits = withValue(this.store.edits, ["words", String(number)], undefined);
    edits = withValue(edits, ["replacements", bare(original)], bare(text));
    return this.store.change(edits);
  }

  undo() {
    this.clearProblem();
    return this.store.undo();
  }

  async render() {
    if (this.rendering.isRunning) return;
    this.clearProblem();
    await this.store.save();
    // What could not be stored would not be rendered; the page shows why.
    if (!this.store.isSaved) return undefined;
    return this.watch(this.rendering.run());
  }

  /** Show a run until it ends, and then what it has made. */
  async watch(run) {
    try {
      this.show();
      await run;
      await this.reload();
    } catch (error) {
      this.say(error.message);
    }
    this.show();
  }

  /** Load what the server has, once it has what is changed on this page meanwhile. */
  async reload() {
    for (;;) {
      await this.store.saving;
      const { edits } = this.store;
      const state = await readState();
      if (!this.store.saving && this.store.edits === edits) {
        this.load(state);
        return;
      }
    }
  }

  resolveConflicts(paths) {
    const dialog = byId("conflict-dialog");
    byId("conflicts").replaceChildren(
      ...paths.map((path) => {
        const item = document.createElement("li");
        item.textContent = path.join(" · ");
        return item;
      }),
    );
    dialog.returnValue = "mine";
    dialog.showModal();
    return new Promise((answer) => {
      dialog.addEventListener("close", () => answer(dialog.returnValue || "mine"), { once: true });
    });
  }

  say(message) {
    byId("problem").textContent = message;
    byId("problem").hidden = false;
  }

  clearProblem() {
    byId("problem").hidden = true;
  }

  nextWord(by) {
    const now = Number(document.activeElement?.dataset?.word ?? this.transcript.at(this.player.time) ?? this.span.first);
    this.transcript.buttons.get(now + by)?.focus();
  }

  currentWord() {
    return Number(document.activeElement?.dataset?.word ?? this.transcript.at(this.player.time) ?? this.span.first);
  }

  bind() {
    bindKeys([
      [[" ", "k"], "Play or pause", () => this.player.toggle()],
      [["ArrowLeft"], "Previous word", () => this.nextWord(-1)],
      [["ArrowRight"], "Next word", () => this.nextWord(1)],
      [["Enter", "e"], "Correct the word", () => this.openWord(this.currentWord())],
      [["["], "Begin at the word", () => this.move("first", this.currentWord())],
      [["]"], "End at the word", () => this.move("last", this.currentWord())],
      [["p"], "Play the new cut", () => this.player.playCut()],
      [["s"], "Play the short", () => this.player.playShort()],
      [["ArrowUp"], "Previous short", () => this.step(-1)],
      [["ArrowDown"], "Next short", () => this.step(1)],
      [["a"], "Approve", () => this.decide("approved")],
      [["x"], "Refuse", () => this.decide("refused")],
      [["t"], "Go to the title", () => byId("title").focus()],
      [["f"], "Take out fillers and silences, or not", () => byId("tighten").click()],
      [["u"], "Undo", () => this.undo()],
      [["r"], "Render again", () => this.render()],
    ]);
  }
}

try {
  const page = new ReviewPage(await readState());
  page.bind();
  bindCopying();
  byId("render").disabled = false;
  if (page.state.run) page.watch(page.rendering.follow(page.state.run));
} catch (error) {
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
}
