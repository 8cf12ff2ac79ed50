/** Of `weft`, its server and its agent: they are released together. */
export const VERSION = '0.1.0';
