export function sizes(
  chunks: object,
  bytesOf: (file: string) => number,
): { found: { module: string; bytes: number }[]; together: number };
