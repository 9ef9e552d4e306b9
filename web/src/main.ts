import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { Places, readConfig } from './config';
import { preferences } from './preferences.svelte';
import { begin, browser, Router } from './router';
import { screens } from './screens';

const config = readConfig(document);
const places = new Places(config, new URL(location.href));
begin(new Router(places.root(), screens, browser, places.token));
await preferences.apply();
mount(App, { target: document.body, props: { config, places } });
