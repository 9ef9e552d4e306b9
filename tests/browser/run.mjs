/** Runs one scenario: `node run.mjs FILE NAME`. Needs SIGHTLINE, the program under test. */
import { Stage } from './support.mjs';

const [file, name] = process.argv.slice(2);
const scenarios = await import(`./${file}.mjs`);
const stage = new Stage();
let failure = null;
try {
  await scenarios[name](stage);
} catch (error) {
  failure = error;
}
await stage.end();
if (failure) {
  console.error(failure.stack ?? failure);
  process.exit(1);
}
