/** Finding a device or a container by a few letters. */

export interface Target {
  name: string;
  /** What it is, for telling two of one name apart. */
  about: string;
  href: string;
}

/** As many as a glance takes in. */
const MOST = 50;

/** How well a name fits: less is better; undefined: not at all. */
function score(name: string, words: string): number | undefined {
  const at = name.indexOf(words);
  if (at === 0) return name.length === words.length ? 0 : 1;
  if (at > 0) return /[^a-z0-9]/.test(name[at - 1] ?? "") ? 2 : 3;
  // All letters in their order, with others between: "pg1" finds "postgres-1".
  let from = 0;
  for (const letter of words) {
    const next = name.indexOf(letter, from);
    if (next < 0) return undefined;
    from = next + 1;
  }
  return 4;
}

/** The targets that fit, the best first; all of them while nothing is asked. */
export function find(targets: readonly Target[], words: string): Target[] {
  const wanted = words.trim().toLowerCase().replace(/\s+/g, "");
  if (!wanted) return targets.slice(0, MOST);
  return targets
    .map((target, i) => ({ target, i, fit: score(target.name.toLowerCase(), wanted) }))
    .filter((found): found is typeof found & { fit: number } => found.fit !== undefined)
    .sort((a, b) => a.fit - b.fit || a.target.name.length - b.target.name.length || a.i - b.i)
    .slice(0, MOST)
    .map(({ target }) => target);
}
