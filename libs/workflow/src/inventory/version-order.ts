/** Whether a text is a version such as 0.3.64. */
export function isVersion(text: string | undefined): text is string {
  return text !== undefined && /^\d+\.\d+\.\d+$/.test(text);
}

/** Order of versions such as 0.3.64. */
export function compareVersions(left: string, right: string): number {
  const [a, b] = [left, right].map((version) => (version.match(/\d+/g) ?? []).map(Number));
  if (a === undefined || b === undefined) return 0;
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const order = (a[index] ?? 0) - (b[index] ?? 0);
    if (order !== 0) return order;
  }
  return 0;
}
