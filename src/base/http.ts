/**
 * Node's HTTP at a third of the price. `import { request } from 'node:http'` reads all that the module exports, and to tell what its
 * `WebSocket` is Node loads all of `fetch`: 12 MB in every process, and milliseconds at each start of a command.
 */
export const { Agent, createServer, request } = process.getBuiltinModule('node:http');
