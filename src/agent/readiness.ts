import { spawn } from 'node:child_process';

/**
 * Tells systemd (`Type=notify`) how we are, where NOTIFY_SOCKET says so (sd_notify(3)). Node has no unix datagram
 * sockets, so the program that systemd ships for scripts does it.
 */
export function notifySystemd(state: string): void {
  if (!process.env.NOTIFY_SOCKET) return;
  const child = spawn('systemd-notify', [`--pid=${process.pid}`, state], { stdio: 'ignore' });
  child.on('error', () => {}); // no systemd-notify: nobody waits for it then
}
