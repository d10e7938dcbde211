/** Does something with each item, at most so many at once; results in the items' order. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  limit: number,
  body: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const entries = items.entries();
  await Promise.all(
    Array.from({ length: Math.min(limit, items.length) }, async () => {
      for (const [index, item] of entries) results[index] = await body(item);
    }),
  );
  return results;
}
