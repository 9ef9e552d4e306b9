/** Logins of cameras, which the server keeps apart and never tells. */
import { Problem } from '../api';
import type { Credential } from '../api.types';
import type { Store } from '../store.svelte';
import { originOf } from './address';

export type Login =
  | { readonly kind: 'none' }
  | { readonly kind: 'kept'; readonly name: string }
  | { kind: 'new'; user: string; password: string };

export async function logins(store: Store, signal?: AbortSignal): Promise<readonly Credential[]> {
  return (await store.api.get<{ credentials: readonly Credential[] }>('credentials', {}, signal)).credentials;
}

/** Those that may be shown to this camera. */
export function fitting(all: readonly Credential[], source: string): readonly Credential[] {
  const asked = originOf(source);
  return all.filter(({ origin }) => asked !== null && origin.scheme === asked.scheme && origin.host === asked.host && origin.port === asked.port);
}

/** Has a new one kept, under the camera's name or one like it. `null`: the camera wants none. */
export async function keep(store: Store, login: Login, camera: string, source: string): Promise<{ name: string; made: boolean } | null> {
  if (login.kind === 'none') return null;
  if (login.kind === 'kept') return { name: login.name, made: false };
  for (let number = 1; ; number++) {
    const name = number === 1 ? camera : `${camera}-${number}`;
    try {
      await store.api.send('POST', 'credentials', { name, user: login.user, password: login.password, source });
      return { name, made: true };
    } catch (failure) {
      if (!(failure instanceof Problem) || failure.code !== 'name-taken' || number >= MOST) throw failure;
    }
  }
}

const MOST = 20;
