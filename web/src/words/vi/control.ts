import { control as en } from '../en/control';

export const control: typeof en = en;
