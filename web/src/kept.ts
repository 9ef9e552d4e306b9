/** What this browser keeps: asking for it fails where it keeps nothing of a site, not only reading. */
export const browserKept: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> = {
  getItem: (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  // Who writes says what it means that nothing is kept.
  setItem: (key, value) => localStorage.setItem(key, value),
  removeItem: (key) => localStorage.removeItem(key),
};
