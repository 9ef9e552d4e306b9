import { shell as en } from '../en/shell';

export const shell: typeof en = en;
