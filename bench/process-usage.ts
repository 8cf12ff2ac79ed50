import { readdirSync, readFileSync } from 'node:fs';
import type { ManagedProcess } from '../src/lab/managed-process.ts';

/** Resident memory of a process now and at its largest, in millions of bytes. */
export function residentMegabytes(process: ManagedProcess): { readonly now: number; readonly most: number } {
  const status = readFileSync(`/proc/${process.pid}/status`, 'utf8');
  const megabytes = (field: string): number =>
    (Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024) / 1e6;
  return { now: megabytes('VmRSS'), most: megabytes('VmHWM') };
}

/** Processor time that a process has used: unlike the clock, the same on a busy machine. */
export function processorSeconds(process: ManagedProcess): number {
  const stat = readFileSync(`/proc/${process.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Of the counters in /proc (USER_HZ): 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** As `processorSeconds`, to the nanosecond (schedstat of Linux), of the threads that the process has now: for one that keeps its threads. */
export function threadSeconds(process: ManagedProcess): number {
  const tasks = `/proc/${process.pid}/task`;
  const spent = (task: string): number => Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]);
  return readdirSync(tasks).reduce((sum, task) => sum + spent(task), 0) / 1e9;
}
