// Merging two documents that were made from one, field by field; `merge` of clipflow/domain/edits.py.

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// The objects that may be absent if they are empty: those of words, replacements and shorts, each
// short, and what is put back in it. Other objects, such as a span, exist as a whole.
const isContainer = ([first, , third], depth) =>
  (depth === 1 && ["words", "replacements", "shorts"].includes(first)) ||
  (first === "shorts" && (depth === 2 || (depth === 3 && third === "restored")));

/** The merged document, and the paths of the fields that both have changed, which are `mine`. */
export function merge(base, mine, theirs, path = []) {
  const merged = {};
  const conflicts = [];
  for (const name of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    const within = [...path, name];
    let [before, ours, other] = [base[name], mine[name], theirs[name]];
    const mayBeAbsent = isContainer(within, within.length) && (isObject(ours) || isObject(other));
    if (mayBeAbsent) [ours, other] = [ours ?? {}, other ?? {}];
    if (isObject(ours) && isObject(other)) {
      const inner = merge(isObject(before) ? before : {}, ours, other, within);
      if (!mayBeAbsent || Object.keys(inner.merged).length) merged[name] = inner.merged;
      conflicts.push(...inner.conflicts.map((path) => [name, ...path]));
      continue;
    }
    if (!isSame(ours, before) && !isSame(other, before) && !isSame(other, ours)) {
      conflicts.push([name]);
    }
    const chosen = isSame(ours, before) ? other : ours;
    if (chosen !== undefined) merged[name] = chosen;
  }
  return { merged, conflicts };
}

export const valueAt = (document, path) =>
  path.reduce((value, name) => (value === undefined ? undefined : value[name]), document);

/** A copy of the document with another value at a path; undefined takes the field out. */
export function withValue(document, path, value) {
  const [name, ...rest] = path;
  const copy = { ...document };
  const inner = rest.length ? withValue(copy[name] ?? {}, rest, value) : value;
  const isEmpty = inner === undefined || (rest.length && Object.keys(inner).length === 0);
  if (isEmpty) delete copy[name];
  else copy[name] = inner;
  return copy;
}
