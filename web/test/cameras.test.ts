import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { addressOf, nameFault, nameFor, originOf } from '../src/cameras/address';
import { placeOf, troubleOf } from '../src/cameras/ask';
import { fitting } from '../src/cameras/logins';
import { added, addedDevice, changed, given, gradeOf, heldBy, isHidden, rows, stateOf, type Config, type Row } from '../src/cameras/tables';
import type { Reason, StreamValue } from '../src/feed/values';
import { cameras as english } from '../src/words/en/cameras';
import { cameras as vietnamese } from '../src/words/vi/cameras';

describe('an address', () => {
  it.each([
    ['192.168.1.20', 'onvif://192.168.1.20/'],
    ['cam.local:554', 'rtsp://cam.local:554/'],
    [' 192.168.1.20/stream1 ', 'rtsp://192.168.1.20/stream1'],
    ['RTSP://Cam.local/Stream1?x=1', 'rtsp://Cam.local/Stream1?x=1'],
    ['https://h/1.m3u8', 'https://h/1.m3u8'],
    ['v4l2:/dev/video0', 'v4l2:/dev/video0'],
    ['libcamera', 'libcamera'],
  ])('%s is %s', (text, source) => {
    expect(addressOf(text)).toMatchObject({ source, user: '', password: '' });
  });

  it.each(['', 'two words', 'ftp://h/1', 'exec:rm', 'rtsp://', 'rtsp:///x', 'x'.repeat(2_001)])('%s is none', (text) => {
    expect(addressOf(text)).toBe(null);
  });

  it.each([
    ['rtsp://anna:pass@cam/1', 'rtsp://cam/1', 'anna', 'pass'],
    // As it is pasted.
    ['rtsp://anna:p@ss@cam:8554/1', 'rtsp://cam:8554/1', 'anna', 'p@ss'],
    ['rtsp://anna:p%2Fss@cam/1', 'rtsp://cam/1', 'anna', 'p/ss'],
    ['rtsp://anna:100%@cam/1', 'rtsp://cam/1', 'anna', '100%'],
    ['rtsp://anna@cam/1', 'rtsp://cam/1', 'anna', ''],
    ['rtsp://cam/1?mail=a@b', 'rtsp://cam/1?mail=a@b', '', ''],
  ])('%s has its login taken apart', (text, source, user, password) => {
    expect(addressOf(text)).toEqual({ source, user, password, device: false });
  });

  it('is for scheme, host and port', () => {
    expect(originOf('rtsp://Cam.local/1')).toEqual({ scheme: 'rtsp', host: 'cam.local', port: 554 });
    expect(originOf('onvif://[fd00::4]/')).toEqual({ scheme: 'onvif', host: 'fd00::4', port: 80 });
    expect(originOf('rtsp://h:80/1')?.port).toBe(80);
    expect(originOf('v4l2:/dev/video0')).toBe(null);
  });

  it('finds the logins that are for it', () => {
    const one = (host: string, port: number) => ({ name: host, user: 'u', used_by: [], origin: { scheme: 'rtsp', host, port } });
    expect(fitting([one('cam', 554), one('cam', 8_554), one('other', 554)], 'rtsp://cam/1').map(({ origin }) => origin.port)).toEqual([554]);
    expect(fitting([one('cam', 554)], 'test')).toEqual([]);
  });
});

describe('a name', () => {
  it.each([
    ['door', null],
    ['house/door-2', null],
    ['', 'missing'],
    ['a b', 'characters'],
    ['a//b', 'characters'],
    ['.a', 'characters'],
    ['live/x', 'reserved'],
    ['x/whep', 'reserved'],
    ['yard', 'taken'],
  ])('%s: %s', (name, fault) => {
    expect(nameFault(name, ['yard'])).toBe(fault);
  });

  it.each([
    ['Front Door', 'onvif://10.0.0.4/', 'front-door'],
    ['Cửa trước', 'onvif://10.0.0.4/', 'cua-truoc'],
    [null, 'rtsp://192.168.1.20/1', 'camera-20'],
    [null, 'rtsp://garden.local/1', 'garden'],
    ['yard', 'rtsp://h/1', 'yard-2'],
    ['***', 'v4l2:/dev/video0', 'camera'],
    ['live', 'rtsp://h/1', 'live-2'],
  ])('of %s at %s', (called, source, name) => {
    expect(nameFor(called, source, ['yard'])).toBe(name);
  });
});

const config: Config = {
  settings: {
    stream: {
      door: { source: 'rtsp://cam/1', credential: 'door', on_demand: false, record: { enabled: true, mode: null, keep: '7d' } },
      old: { source: 'rtsp://***@cam/2', record: {} },
      '~^x': { source: 'rtsp://h/$1' },
      pushed: { source: null },
    },
    camera: { desk: { source: 'test' } },
    record: { enabled: false },
  },
  origins: {
    'stream.door.source': '/etc/sightline.toml:3:1',
    'stream.door.credential': '/etc/sightline.toml:4:1',
    'stream.door.record.enabled': '/etc/sightline.toml:6:1',
    'stream.door.record.keep': '/etc/sightline.toml:7:1',
    'stream.old.source': '/etc/sightline.toml:9:1',
    'camera.desk.source': 'SIGHTLINE_CAMERA_DESK_SOURCE (environment)',
  },
};

describe('tables', () => {
  const wish = { name: 'door', record: true, onDemand: true };

  it('are added with what was said and nothing else', () => {
    expect(added({ name: 'yard', source: 'rtsp://h/1', record: false, onDemand: false })).toEqual({ stream: { yard: { source: 'rtsp://h/1' } } });
    expect(added({ name: 'yard', source: 'rtsps://h/1', credential: 'yard', fingerprint: 'ab', record: true, onDemand: true })).toEqual({
      stream: { yard: { source: 'rtsps://h/1', credential: 'yard', source_fingerprint: 'ab', on_demand: true, record: { enabled: true } } },
    });
    expect(addedDevice('desk', 'v4l2:/dev/video0', false)).toEqual({ camera: { desk: { source: 'v4l2:/dev/video0', overlay: 'off' } } });
  });

  it('keep what was not touched', () => {
    expect(changed(config, 'door', wish)).toEqual({ stream: { door: { on_demand: true } } });
    expect(changed(config, 'door', { ...wish, record: false, source: 'rtsp://cam/3' })).toEqual({ stream: { door: { on_demand: true, source: 'rtsp://cam/3', record: { enabled: false } } } });
  });

  it('are renamed with all that is given', () => {
    expect(changed(config, 'door', { ...wish, name: 'gate' })).toEqual({
      stream: { door: null, gate: { source: 'rtsp://cam/1', credential: 'door', on_demand: true, record: { enabled: true, keep: '7d' } } },
    });
  });

  it('say what is hidden and what is held elsewhere', () => {
    expect([isHidden(given(config, 'stream', 'old')['source']), isHidden('rtsp://cam/1'), isHidden(['[redacted]'])]).toEqual([true, false, true]);
    expect([heldBy(config, 'camera', 'desk'), heldBy(config, 'stream', 'door')]).toEqual(['SIGHTLINE_CAMERA_DESK_SOURCE (environment)', null]);
  });
});

describe('the list', () => {
  const stream = (name: string, state: StreamValue['state']) => ({ name, state }) as StreamValue;
  const source = (name: string, state: string, onDemand = false) => ({ stream: name, state, on_demand: onDemand, reconnects: 2 });
  const all = (): Row[] => rows([stream('pushed', 'live'), stream('door', 'held')], [source('door', 'failed'), source('old', 'idle', true)], [{ name: 'pushed', keyframe_seconds: 2 }], config, () => true);

  it('has what there is and what the settings have, once each', () => {
    expect(all().map(({ name, table }) => [name, table])).toEqual([['desk', 'camera'], ['door', 'stream'], ['old', 'stream'], ['pushed', null]]);
    expect(all().map(stateOf)).toEqual(['off', 'failed', 'idle', 'live']);
    expect(all().at(-1)?.keyframeSeconds).toBe(2);
    expect(rows([stream('a', 'live'), stream('over', 'ended')], [], [], null, (name) => name !== 'a')).toEqual([]);
  });

  it('has the worst of what is wrong first', () => {
    const reason = (of: string, grade: Reason['grade']): Reason => ({ of, grade, code: grade, text: '', since: '' });
    const [, door, , pushed] = all() as [Row, Row, Row, Row];
    expect(gradeOf(door, [reason('door', 'poor'), reason('door', 'bad'), reason('x', 'bad')])).toMatchObject({ grade: 'bad', reasons: [{ grade: 'bad' }, { grade: 'poor' }] });
    expect(gradeOf(pushed, [])).toEqual({ grade: 'good', reasons: [] });
    expect(gradeOf(door, [])).toBe(null);
  });
});

describe('what goes wrong', () => {
  it('has cause and way out in both languages: of English the server’s own', () => {
    const reference = readFileSync(new URL('../../docs/reference/http.md', import.meta.url), 'utf8');
    const table = reference.slice(reference.indexOf('| cause |'), reference.indexOf('\n\n', reference.indexOf('| cause |')));
    const codes = [...table.matchAll(/^\| `([a-z0-9-]+)` \|/gm)].map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(20);
    expect(Object.keys(vietnamese.causes).sort()).toEqual(codes.sort());
    for (const [what, wayOut] of Object.values(vietnamese.causes)) expect([what.endsWith('.'), wayOut.endsWith('.')]).toEqual([true, true]);
  });

  it('is said in the server’s words where the page has none', () => {
    const told = { code: 'newer', what: 'It is so.', way_out: 'Do this.', detail: 'cam says no' };
    expect(troubleOf(told, english)).toEqual({ code: 'newer', what: 'It is so.', wayOut: 'Do this.', detail: 'Cam says no.', fingerprint: null });
    expect(troubleOf({ ...told, code: 'refused' }, vietnamese).what).toBe(vietnamese.causes['refused']?.[0]);
  });

  it('is said where it is mended', () => {
    expect(['login-wrong', 'credential-elsewhere', 'certificate', 'refused', 'no-such-path'].map(placeOf)).toEqual(['account', 'account', 'account', 'address', 'address']);
  });
});
