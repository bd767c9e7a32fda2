// Which variant was made from which, and by which steps.

const NAMES = { beams: "fewer beams", "tune-beams": "fewer beams" };

/** Counts equal neighbours: train, prune, distill ×3. */
export function stepNames(steps) {
  const counted = [];
  for (const step of steps) {
    const name = NAMES[step.technique] ?? step.technique;
    const last = counted.at(-1);
    if (last?.name === name) last.count += 1;
    else counted.push({ name, count: 1 });
  }
  return counted.map(({ name, count }) => (count > 1 ? `${name} ×${count}` : name));
}

/**
 * Makes the trees of a task.
 *
 * @param details the variants of one task, with manifests.
 * @returns the roots, each `{detail, steps, children}`; `steps` lead from the parent to the variant.
 */
export function lineage(details) {
  const readable = details.filter((each) => each.manifest);
  const byDigest = new Map(readable.map((each) => [each.digest, each]));
  const nodes = new Map(
    readable.map((each) => [each.digest, { detail: each, steps: each.manifest.lineage, children: [] }]),
  );
  const roots = [];
  for (const each of readable) {
    const node = nodes.get(each.digest);
    const steps = each.manifest.lineage;
    const start = steps.findLastIndex(
      (step) => step.parent && step.parent !== each.digest && byDigest.has(step.parent),
    );
    const base = each.reference?.digest;
    if (start >= 0) {
      node.steps = steps.slice(start);
      nodes.get(steps[start].parent).children.push(node);
    } else if (base && base !== each.digest && nodes.has(base)) {
      nodes.get(base).children.push(node);
    } else {
      roots.push(node);
    }
  }
  return roots;
}

/** The nodes of a tree in the order in which they are drawn. */
export const flatten = (node) => [node, ...node.children.flatMap(flatten)];
