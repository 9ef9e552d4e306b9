/** Vietnamese: one file a section. */
import type { Words } from '..';
import { cameras } from './cameras';
import { charts } from './charts';
import { control } from './control';
import { entry } from './entry';
import { events } from './events';
import { exports } from './exports';
import { inspector } from './inspector';
import { player } from './player';
import { shell } from './shell';
import { system } from './system';
import { timeline } from './timeline';
import { wall } from './wall';

export const vi: Words = { cameras, charts, control, entry, events, exports, inspector, player, shell, system, timeline, wall };
