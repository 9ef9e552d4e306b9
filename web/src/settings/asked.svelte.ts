/** What the server was asked for, and why it is not there. */
import { Problem, wordsOf } from '../api';
import { sentence } from '../format';
import { w } from './words.svelte';

export class Asked<T> {
  value = $state.raw<T | null>(null);
  trouble = $state<string | null>(null);

  constructor(private readonly ask: () => Promise<T>) {
    void this.again();
  }

  /** What was there stays until the next is. */
  async again(): Promise<void> {
    try {
      this.value = await this.ask();
      this.trouble = null;
    } catch (failure) {
      this.trouble = explain(failure);
    }
  }
}

/** Cause and way out, in the language of the page; in the server's words where it has none. */
export function explain(failure: unknown): string {
  if (!(failure instanceof Problem)) return sentence(wordsOf(failure));
  if (failure.status === 0) return w().away;
  return w().problems[failure.code] ?? sentence(failure.message);
}

/** What a browser calls itself, short: who knows it, knows it by this. */
export function browserOf(agent: string): string {
  const name = /(Edg|OPR|Firefox|Chrome|Version)\/[\d]+/.exec(agent)?.[1] ?? '';
  const called = { Edg: 'Edge', OPR: 'Opera', Version: 'Safari' }[name] ?? name;
  const system = /(Android|iPhone|iPad|Windows|Mac OS X|CrOS|Linux)/.exec(agent)?.[1] ?? '';
  return [called, system].filter(Boolean).join(' · ') || agent.slice(0, 40) || '–';
}

/** A password that nobody guesses: 20 letters and digits that are told apart, some 100 bits. */
export function made(random: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array = (bytes) => crypto.getRandomValues(bytes)): string {
  // 32 of them: each of five bits.
  const signs = 'abcdefghijkmnpqrstuvwxyz23456789';
  const text = Array.from(random(new Uint8Array(20)), (byte) => signs[byte & 31]).join('');
  return text.replace(/(.{5})(?=.)/g, '$1-');
}
