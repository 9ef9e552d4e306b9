/** The code of a link: in the fragment of its address, which no server is told, no log keeps and no messenger's preview uses up. */

/** `null` where there is none. What people's messengers put behind a link is none of it. */
export function codeOf(hash: string): string | null {
  return /^#([\w-]{8,128})/.exec(hash)?.[1] ?? null;
}

/** Takes it out of the address: it is a credential, and does not belong into bookmarks, into the history, or on a screen that others see. */
export function takeCode(at: Pick<Location, 'hash' | 'pathname' | 'search'> = location, past: Pick<History, 'replaceState'> = history): string | null {
  const code = codeOf(at.hash);
  if (at.hash !== '') past.replaceState(null, '', at.pathname + at.search);
  return code;
}
