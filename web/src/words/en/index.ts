/** English: one file a section. */
import { control } from './control';
import { player } from './player';
import { shell } from './shell';

export const en = { control, player, shell };
