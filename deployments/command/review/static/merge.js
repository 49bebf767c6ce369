// Merging two documents that were made from one, field by field; `merge` of clipflow/domain/edits.py.

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** The merged document, and the paths of the fields that both have changed, which are `mine`. */
export function merge(base, mine, theirs) {
  const merged = {};
  const conflicts = [];
  for (const name of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    const [before, ours, other] = [base[name], mine[name], theirs[name]];
    if (isObject(ours) && isObject(other)) {
      const inner = merge(isObject(before) ? before : {}, ours, other);
      merged[name] = inner.merged;
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
