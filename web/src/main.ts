import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { Places, readConfig } from './config';

const config = readConfig(document);
mount(App, { target: document.body, props: { config, places: new Places(config, new URL(location.href)) } });
