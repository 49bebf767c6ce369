// "Render again": the run and its steps while it lasts.

import { readProgress, startRun } from "./api.js";

const POLL_MILLISECONDS = 700;

export class RenderView {
  constructor(onProblem) {
    this.onProblem = onProblem;
    this.box = document.getElementById("progress");
    this.isRunning = false;
  }

  /** Start a run and show it until it ends; returns whether it succeeded. */
  async run() {
    this.isRunning = true;
    try {
      this.show({ state: "Requested", message: "", steps: [] });
      return await this.follow((await startRun()).run);
    } finally {
      this.isRunning = false;
    }
  }

  /** Show a run that exists until it ends; returns whether it succeeded. */
  async follow(run) {
    this.isRunning = true;
    try {
      for (;;) {
        const progress = await readProgress(run);
        this.show(progress);
        if (progress.isOver) {
          if (progress.hasFailed) this.onProblem(progress.message);
          return !progress.hasFailed;
        }
        await new Promise((done) => setTimeout(done, POLL_MILLISECONDS));
      }
    } finally {
      this.isRunning = false;
    }
  }

  show({ state, message, steps, isOver = false, hasFailed = false }) {
    this.box.hidden = false;
    document.getElementById("run-state").textContent = state;
    document.getElementById("run-message").textContent = message;
    const unfinished = steps.filter((step) => !step.isOver);
    // Prefect may learn that a step has ended after it learns that its run has.
    const running = isOver ? [] : unfinished;
    const done = steps.length - (isOver && !hasFailed ? 0 : unfinished.length);
    const partly = running.reduce((sum, step) => sum + (step.progress ?? 0) / 100, 0);
    const bar = document.getElementById("run-progress");
    bar.value = steps.length ? (done + partly) / steps.length : 0;
    document.getElementById("run-steps").textContent = running
      .map((step) => (step.progress === null ? step.name : `${step.name}, ${Math.round(step.progress)} %`))
      .join(" · ");
  }
}
