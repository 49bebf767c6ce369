// The time of a rendered short: it may begin with an intro, and parts of the source are taken out.

/** What plays at a time of the video, in seconds of the source, and the reverse. */
export class Timeline {
  /** The moment from `start` to `end` of the source begins `intro` seconds after the video;
   *  `removed` are sorted spans `{start, end}` of the source that are not in the video. */
  constructor([start, end], intro = 0, removed = []) {
    Object.assign(this, { start, end, intro, removed });
  }

  /** Before the moment, as in an intro, -Infinity; after it Infinity. */
  sourceTime(time) {
    let source = this.start + time - this.intro;
    if (source < this.start) return -Infinity;
    for (const { start, end } of this.removed) {
      if (source < start) break;
      source += end - start;
    }
    return source < this.end ? source : Infinity;
  }

  /** Of a time that is taken out, the time of the join. */
  videoTime(source) {
    const left = this.removed.reduce(
      (sum, { start, end }) => sum + Math.max(0, Math.min(source, end) - start),
      0,
    );
    return Math.max(0, source - this.start + this.intro - left);
  }
}

/** The source as it is, without what is skipped while it plays. */
export class SourceTimeline {
  sourceTime(time) {
    return time;
  }

  videoTime(source) {
    return source;
  }
}
