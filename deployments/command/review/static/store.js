// The document of edits: every change is stored at once, can be undone, and loses nobody's work.

import { ApiError, saveEdits } from "./api.js";
import { merge, valueAt, withValue } from "./merge.js";

// The time until changes are sent again if the server did not take them.
const RETRY_MILLISECONDS = 3000;

export class Store extends EventTarget {
  /** `resolveConflicts(paths)` resolves to "mine" or "theirs" where two people changed the same fields. */
  constructor(resolveConflicts) {
    super();
    this.resolveConflicts = resolveConflicts;
    this.edits = { version: 1 };
    this.history = [];
    // The number of steps of the history that are stored.
    this.storedSteps = 0;
    this.saving = null;
  }

  /** Take over what the server has, as after loading or a run. Changes that are not stored yet stay
   *  as they are. */
  load(state) {
    if (this.stored && !this.isSaved) {
      this.emit("change");
      return;
    }
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
    return this.saving === null && this.edits === this.stored;
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
    this.edits = merge(step.after, this.edits, step.before).merged;
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
    clearTimeout(this.retry);
    while (this.edits !== this.stored) {
      const sent = this.edits;
      const steps = this.history.length;
      try {
        const answer = await saveEdits(sent, this.etag);
        this.etag = answer.etag;
        this.stored = sent;
        this.storedSteps = steps;
        this.derive(answer);
        if (this.retry) this.emit("recovered");
        this.retry = null;
        this.emit("change");
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status === 409) await this.mergeWith(error.body);
        else if (error.status === 422) this.takeBack(sent, steps, error);
        else {
          this.problem(error);
          this.retry = setTimeout(() => this.save(), RETRY_MILLISECONDS);
          return;
        }
      }
    }
  }

  async mergeWith(theirs) {
    const { merged, conflicts } = merge(this.stored, this.edits, theirs.edits);
    let document = merged;
    if (conflicts.length && (await this.resolveConflicts(conflicts)) === "theirs") {
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

  /** Take back what the server refuses, and keep what was changed since it was sent. */
  takeBack(sent, steps, error) {
    const from = Math.min(this.storedSteps, steps);
    this.history.splice(from, steps - from);
    this.edits = this.edits === sent ? this.stored : merge(sent, this.edits, this.stored).merged;
    this.problem(error);
    this.emit("change");
  }

  problem(error) {
    this.dispatchEvent(new CustomEvent("problem", { detail: error.message }));
  }

  emit(name) {
    this.dispatchEvent(new Event(name));
  }
}
