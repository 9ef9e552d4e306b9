/** The screens that there are: a line each. What is here is in the rail, in the search and behind a key; its server's route is in `http::pages`. */
import type { Component } from 'svelte';
import type { Places } from './config';
import type { Action } from './feed/values';
import type { Here, Pattern } from './router';
import type { IconName } from './shell/icons';
import type { Store } from './store.svelte';

export type ScreenName = 'control' | 'wall' | 'timeline' | 'events' | 'exports' | 'cameras' | 'inspector' | 'system' | 'settings';

/** What each screen is given. */
export interface ScreenProps {
  readonly store: Store;
  readonly places: Places;
  readonly here: Here;
}

export interface Screen extends Pattern<ScreenName> {
  readonly load: () => Promise<{ default: Component<ScreenProps> }>;
  /** To some stream, at least; `null`: whoever is let in. */
  readonly may: Action | null;
  /** To all of them, as the server asks for it. */
  readonly of?: 'all';
  readonly icon: IconName;
  /** After `G`. */
  readonly key: string;
}

export const screens: readonly Screen[] = [
  { name: 'control', paths: ['/'], load: () => import('./views/Control.svelte'), may: 'view', icon: 'control', key: 'h' },
  { name: 'wall', paths: ['/wall', '/wall/{layout}'], load: () => import('./views/Wall.svelte'), may: 'view', icon: 'wall', key: 'w' },
  { name: 'timeline', paths: ['/timeline'], load: () => import('./views/Timeline.svelte'), may: 'replay', icon: 'timeline', key: 't' },
  { name: 'events', paths: ['/events'], load: () => import('./views/Events.svelte'), may: 'replay', icon: 'events', key: 'e' },
  { name: 'exports', paths: ['/exports'], load: () => import('./views/Exports.svelte'), may: 'replay', icon: 'exports', key: 'x' },
  { name: 'cameras', paths: ['/cameras', '/cameras/add'], load: () => import('./views/Cameras.svelte'), may: 'operate', icon: 'cameras', key: 'c' },
  { name: 'inspector', paths: ['/inspector'], load: () => import('./views/Inspector.svelte'), may: 'operate', icon: 'inspector', key: 'i' },
  { name: 'system', paths: ['/system'], load: () => import('./views/System.svelte'), may: 'operate', of: 'all', icon: 'system', key: 'y' },
  { name: 'settings', paths: ['/settings', '/settings/{*part}'], load: () => import('./views/Settings.svelte'), may: null, icon: 'settings', key: 's' },
];
