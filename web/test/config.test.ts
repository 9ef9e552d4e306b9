import { describe, expect, it } from 'vitest';
import { Places, type Config } from '../src/config';

function places(page: string, over: Partial<Config>): Places {
  const config: Config = { view: 'watch', name: 'a/b', root: '../../', streams: '', signed_in: false, https_port: 8443, ...over };
  return new Places(config, new URL(page));
}

describe('places', () => {
  it('on a port of players are beside the page, with the token of its URL', () => {
    const near = places('http://pi:8889/a/b/?token=s%2Fx#top', {});
    expect(near.token).toBe('s/x');
    expect(near.whep('a/b').href).toBe('http://pi:8889/a/b/whep');
    expect(near.hls('a/b').href).toBe('http://pi:8889/a/b/index.m3u8?token=s%2Fx');
    expect(near.live(null).href).toBe('ws://pi:8889/api/v1/live?token=s%2Fx');
    expect(near.api('streams/a%2Fb').href).toBe('http://pi:8889/api/v1/streams/a%2Fb');
    expect(near.securePublish('a/b').href).toBe('https://pi:8443/live/a/b/publish?token=s%2Fx');
  });

  it('on the dashboard are below /live/, wherever a proxy has put it all', () => {
    const home = places('https://cams.example/house/', { view: 'dashboard', name: null, root: './', streams: 'live/' });
    expect(home.token).toBeNull();
    expect(home.whip('cam').href).toBe('https://cams.example/house/live/cam/whip');
    expect(home.hls('cam').href).toBe('https://cams.example/house/live/cam/index.m3u8');
    expect(home.live(7).href).toBe('wss://cams.example/house/api/v1/live?after=7');
    expect(home.home().href).toBe('https://cams.example/house/');
    const stream = places('https://cams.example/house/live/a/b/', { root: '../../../', streams: 'live/' });
    expect(stream.page('a/b').href).toBe('https://cams.example/house/live/a/b/');
    expect(stream.publish('a/b').href).toBe('https://cams.example/house/live/a/b/publish');
  });
});
