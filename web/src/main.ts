import { mount } from 'svelte';
import { Api } from './api';
import App from './App.svelte';
import './app.css';
import { Places, readConfig } from './config';
import { preferences } from './preferences.svelte';
import { begin, browser, go, Router } from './router';
import { screens } from './screens';

const config = readConfig(document);
const places = new Places(config, new URL(location.href));
begin(new Router(places.root(), screens, browser, places.token));
await preferences.apply(config.preferences, new Api(places));
// Once: whoever goes to the control center, or loads it anew, wants that.
const came = performance.getEntriesByType('navigation')[0] as PerformanceNavigationTiming | undefined;
const plain = config.view === 'dashboard' && location.pathname === places.root().pathname && new URLSearchParams(location.search).get('camera') === null;
if (plain && preferences.start !== 'control' && came?.type === 'navigate') go(`/${preferences.start}`, { replace: true });
mount(App, { target: document.body, props: { config, places } });
