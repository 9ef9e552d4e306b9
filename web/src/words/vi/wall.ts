import { wall as en } from '../en/wall';

export const wall: typeof en = en;
