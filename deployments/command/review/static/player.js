// The short as it was rendered, or the same span of the source as it is cut now; in seconds of the
// source's time.

import { SourceTimeline, Timeline } from "./timeline.js";

// Seconds that are played after a beginning or an end was moved.
const PREVIEW_SECONDS = 2.5;

const SOURCE = "media/source";
const SOUND_ONLY = "The sound of the source, as it is cut now. This browser cannot show its picture.";
const UNPLAYABLE =
  "This browser cannot play the source. Everything can be edited: render again to play the new cut.";

export class Player {
  constructor(video, says, onTime) {
    this.video = video;
    this.says = says;
    this.onTime = onTime;
    this.timeline = new SourceTimeline();
    // Spans of the source that are skipped while it plays.
    this.skipped = [];
    this.until = Infinity;
    this.address = null;
    // The last span that was to be played, and whether the browser has refused the source.
    this.wanted = null;
    this.isRefused = false;
    video.addEventListener("play", () => this.follow());
    for (const event of ["seeked", "pause", "timeupdate"]) {
      video.addEventListener(event, () => this.report());
    }
    video.addEventListener("loadedmetadata", () => {
      if (this.isSoundOnly) this.says.textContent = SOUND_ONLY;
    });
    video.addEventListener("error", () => this.replace());
  }

  /** Show another short; `times` are where it begins and ends now. */
  show(short, times, hasSource) {
    Object.assign(this, { short, times, hasSource, wanted: null, isRefused: false });
    if (short.video) this.useShort();
    else if (hasSource) this.useSource();
    else this.empty("Not rendered yet");
    this.until = Infinity;
  }

  /** Whether the browser plays the sound of the source, but not its picture, as with HEVC. */
  get isSoundOnly() {
    return this.address === SOURCE && this.video.readyState > 0 && !this.video.videoWidth;
  }

  get time() {
    return this.timeline.sourceTime(this.video.currentTime);
  }

  playShort() {
    if (!this.short.video) return;
    this.useShort();
    // Before the moment, there may be an intro.
    this.playFrom(-Infinity);
  }

  playCut() {
    this.playRange(this.times[0], this.times[1]);
  }

  hearBeginning() {
    this.playRange(this.times[0], Math.min(this.times[0] + PREVIEW_SECONDS, this.times[1]));
  }

  hearEnd() {
    this.playRange(Math.max(this.times[1] - PREVIEW_SECONDS, this.times[0]), this.times[1]);
  }

  /** Play the source from a second before a span to a second after it. */
  hearAround(start, end) {
    this.playRange(Math.max(start - 1, this.times[0]), Math.min(end + 1, this.times[1]));
  }

  /** Play a span of the source, or of the short if there is no source. */
  playRange(start, end) {
    this.wanted = [start, end];
    if (this.hasSource && !this.isRefused) this.useSource();
    else if (this.isRefused) this.useInstead();
    this.playFrom(start, end);
  }

  /** Use the short in place of a source that the browser refuses, such as AVI or silent HEVC. */
  replace() {
    if (this.address !== SOURCE) {
      this.says.textContent = "This browser cannot play it.";
      return;
    }
    this.isRefused = true;
    this.useInstead();
    if (this.wanted && this.short.video) this.playFrom(...this.wanted);
  }

  useInstead() {
    if (this.short.video) this.useShort();
    else this.empty(UNPLAYABLE);
    this.says.textContent = UNPLAYABLE;
  }

  empty(says) {
    this.video.removeAttribute("src");
    this.video.load();
    this.address = null;
    this.says.textContent = says;
  }

  playFrom(time, until = Infinity) {
    this.seek(time);
    this.until = until;
    this.video.play().catch(() => {});
  }

  seek(time) {
    const at = this.timeline.videoTime(time);
    if (this.video.readyState > 0) this.video.currentTime = at;
    else this.video.addEventListener("loadedmetadata", () => (this.video.currentTime = at), { once: true });
  }

  toggle() {
    this.until = Infinity;
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  useSource() {
    const before = this.address;
    this.use(SOURCE, new SourceTimeline(), "The source, as it is cut now");
    if (before !== this.address) this.seek(this.times[0]);
  }

  useShort() {
    const { video, rendered, intro, tightening } = this.short;
    const timeline = new Timeline(rendered, intro, tightening?.removed);
    this.use(video, timeline, "The short as it was rendered");
  }

  use(address, timeline, says) {
    const isSame = this.address === address;
    this.says.textContent = isSame && this.isSoundOnly ? SOUND_ONLY : says;
    if (isSame) return;
    this.address = address;
    this.timeline = timeline;
    this.video.src = address;
  }

  follow() {
    this.report();
    if (!this.video.paused) requestAnimationFrame(() => this.follow());
  }

  report() {
    this.skip();
    if (this.time >= this.until) {
      this.until = Infinity;
      this.video.pause();
    }
    this.onTime(this.time);
  }

  /** What is taken out is not played of the source either. */
  skip() {
    if (this.timeline instanceof Timeline || this.video.paused || this.video.seeking) return;
    const inside = this.skipped.find(({ start, end }) => start <= this.time && this.time < end);
    if (inside) this.video.currentTime = inside.end;
  }
}
