/** A way between a server and a browser that loses, delays and narrows what goes over it: a path in user space (tests/clients/link.py). Needs root. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ip } from './support.mjs';

/** Its ends are in the server's namespace (`Stage.serverBehindACable`) and in the viewer's (`Stage.browseFrom`). */
export class Way {
  static async make(stage, server) {
    const viewer = stage.namespace('v');
    const [near, far] = [`${viewer}n`, `${viewer}f`];
    const child = spawn('nice', ['--adjustment=-15', 'python3', new URL('../clients/link.py', import.meta.url).pathname, near, far], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    stage.atEnd(() => child.kill('SIGKILL'));
    const way = new Way();
    const lines = createInterface({ input: child.stdout });
    way.answers = lines[Symbol.asyncIterator]();
    Object.assign(way, { child, near, viewer, server });
    await way.answers.next();
    const network = `10.79.${process.pid % 250}`;
    way.host = `${network}.1`;
    for (const [namespace, name, number] of [
      [server.namespace, near, 1],
      [viewer, far, 2],
    ]) {
      ip('link set', name, 'netns', namespace);
      ip('-n', namespace, 'address add', `${network}.${number}/24`, 'dev', name);
      ip('-n', namespace, 'link set', name, 'up');
      ip('-n', namespace, 'link set lo up');
    }
    // What is sent in one go waits in front of the path, not in it.
    ip('-n', server.namespace, 'link set', near, 'txqueuelen 10000');
    return way;
  }

  /** How bad it is from now on. Gives the counts of the time before. */
  async set(quality) {
    this.child.stdin.write(`${JSON.stringify(quality)}\n`);
    return JSON.parse((await this.answers.next()).value);
  }

  /** Bytes that the server has given to it. */
  bytes() {
    const [link] = JSON.parse(ip('-n', this.server.namespace, '-s -j link show dev', this.near));
    return link.stats64.tx.bytes;
  }
}
