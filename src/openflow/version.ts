/** OpenFlow versions by their number on the wire. 1.1 and 1.2 (2 and 3) are not spoken. */
export const OF10 = 1;
export const OF13 = 4;
export const OF14 = 5;
export const OF15 = 6;

export type OpenFlowVersion = typeof OF10 | typeof OF13 | typeof OF14 | typeof OF15;
export const OPENFLOW_VERSIONS: readonly OpenFlowVersion[] = [OF10, OF13, OF14, OF15];

export function isOpenFlowVersion(version: number): version is OpenFlowVersion {
  return version === OF10 || (version >= OF13 && version <= OF15);
}

/** `1.3` and the like. */
export function formatVersion(version: number): string {
  return `1.${version - 1}`;
}
