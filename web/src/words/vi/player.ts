import { player as en } from '../en/player';

export const player: typeof en = en;
