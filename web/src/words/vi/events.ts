import { events as en } from '../en/events';

export const events: typeof en = en;
