import { createServer } from 'node:net';

// The child of `listenInNamespace`: makes the socket where it was started, hands it to its parent and ends.
const server = createServer();
server.on('error', (error) => process.send!({ failed: error.message }, () => process.exit(1)));
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send!({}, server, {}, () => process.exit(0)));
