import type { Client } from "./client.ts";

/** What this process and its PostgreSQL told each other. */
export interface Traffic {
  /** Statements executed or prepared, `begin` and `commit` among them. */
  readonly statements: number;
  /** Times that a connection which waited for nothing sent something: what went together is one. */
  readonly roundTrips: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** The socket of a client, which it keeps to itself. */
interface Socket {
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

const ended = { sent: 0, received: 0 };
const open = new Set<Socket>();

/** Counted by every connection of the process. */
export const sent = { statements: 0, roundTrips: 0 };

function socketOf(client: Client): Socket {
  return (client as unknown as { stream: Socket }).stream;
}

/** Bytes that a client received so far. */
export function bytesRead(client: Client): number {
  return socketOf(client).bytesRead;
}

/** Counts the bytes of a client until it ends. */
export function countBytes(client: Client): void {
  const stream = socketOf(client);
  open.add(stream);
  client.on("end", () => {
    if (!open.delete(stream)) return;
    ended.sent += stream.bytesWritten;
    ended.received += stream.bytesRead;
  });
}

/** Everything since the process began. */
export function traffic(): Traffic {
  let { sent: bytesSent, received: bytesReceived } = ended;
  for (const { bytesRead, bytesWritten } of open) {
    bytesSent += bytesWritten;
    bytesReceived += bytesRead;
  }
  return { ...sent, bytesSent, bytesReceived };
}
