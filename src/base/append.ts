/** `push` with all of them as arguments fails beyond some hundred thousand: they would be on the stack. */
export function append<T>(to: T[], items: Iterable<T>): void {
  for (const item of items) to.push(item);
}
