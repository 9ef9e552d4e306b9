/** Vietnamese: one file a section. */
import type { Words } from '..';
import { control } from './control';
import { player } from './player';
import { shell } from './shell';

export const vi: Words = { control, player, shell };
