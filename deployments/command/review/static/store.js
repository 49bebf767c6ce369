// The document of edits: every change is stored at once, can be undone, and loses nobody's work.

import { ApiError, saveEdits } from "./api.js";
import { merge, valueAt, withValue } from "./merge.js";

export class Store extends EventTarget {
  /** `askWhose(paths)` resolves to "mine" or "theirs" where two people changed the same fields. */
  constructor(askWhose) {
    super();
    this.askWhose = askWhose;
    this.edits = { version: 1 };
    this.history = [];
    this.saving = null;
  }

  /** Take over what the server has, as after loading or a run. */
  load(state) {
    this.stored = state.edits;
    this.etag = state.etag;
    this.edits = state.edits;
    this.derive(state);
    this.emit("change");
  }

  /** What the server works out from the edits: times of shorts, texts of words, stale fields. */
  derive({ times, texts, shown, stale }) {
    Object.assign(this, { times, texts, shown, stale });
  }

  get isSaved() {
    return this.saving === null;
  }

  at(...path) {
    return valueAt(this.edits, path);
  }

  set(path, value) {
    if (JSON.stringify(this.at(...path)) === JSON.stringify(value)) return Promise.resolve();
    return this.change(withValue(this.edits, path, value));
  }

  change(after) {
    this.history.push({ before: this.edits, after });
    this.edits = after;
    return this.save();
  }

  undo() {
    const step = this.history.pop();
    if (!step) return Promise.resolve();
    // What others have changed since then stays.
    this.edits = merge(step.after, step.before, this.edits).merged;
    return this.save();
  }

  save() {
    this.saving ??= this.saveAll().finally(() => {
      this.saving = null;
      this.emit("saved");
    });
    this.emit("change");
    return this.saving;
  }

  async saveAll() {
    while (this.edits !== this.stored) {
      const sent = this.edits;
      try {
        const answer = await saveEdits(sent, this.etag);
        this.etag = answer.etag;
        this.stored = sent;
        this.derive(answer);
        this.emit("change");
      } catch (error) {
        if (error instanceof ApiError && error.status === 409) await this.mergeWith(error.body);
        else {
          this.refuse(error);
          return;
        }
      }
    }
  }

  async mergeWith(theirs) {
    const { merged, conflicts } = merge(this.stored, this.edits, theirs.edits);
    let document = merged;
    if (conflicts.length && (await this.askWhose(conflicts)) === "theirs") {
      for (const path of conflicts) {
        document = withValue(document, path, valueAt(theirs.edits, path));
      }
    }
    this.stored = theirs.edits;
    this.etag = theirs.etag;
    this.edits = document;
    this.derive(theirs);
    this.dispatchEvent(new CustomEvent("merged"));
  }

  /** A change that the server refuses is taken back. */
  refuse(error) {
    if (error.status === 422) {
      this.history.pop();
      this.edits = this.stored;
    }
    this.dispatchEvent(new CustomEvent("problem", { detail: error.message }));
    this.emit("change");
  }

  emit(name) {
    this.dispatchEvent(new Event(name));
  }
}
