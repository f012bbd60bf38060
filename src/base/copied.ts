/**
 * Bytes of file data that this thread copied from one place in memory to another: replies put
 * together, writes put into blocks, messages to the other thread. What a faster way would avoid.
 */
export const copied = { bytes: 0 };
