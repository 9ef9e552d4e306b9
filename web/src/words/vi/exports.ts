import { exports as en } from '../en/exports';

export const exports: typeof en = en;
