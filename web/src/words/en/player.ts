/** Of a picture that plays, wherever it stands. */
import type { Since } from '../../player/latency';
import type { Phase } from '../../player/supervisor';

export const player = {
  live: (name: string): string => `Stream ${name}`,
  /** In one or two words. */
  phase: {
    connecting: 'Connecting',
    live: 'Live',
    'fallen-back': 'Live by LL-HLS',
    held: 'No picture',
    gone: 'Not there',
    stopped: 'Stopped',
  } satisfies Record<Phase, string> as Record<Phase, string>,
  connecting: 'Connecting…',
  stopped: 'Stopped',
  noPictureSince: (time: string): string => `No picture since ${time}`,
  cannotBeShown: (name: string): string => `“${name}” cannot be shown now`,
  publisherAway: 'The publisher is away; waiting for its return.',
  waiting: 'Waiting for the next picture.',
  tried: 'It is tried again and again.',
  insteadOfWebrtc: 'instead of WebRTC',
  webrtcTried: 'WebRTC is tried again.',

  play: 'Play',
  stop: 'Stop',
  playName: (name: string): string => `Play ${name}`,
  stopName: (name: string): string => `Stop ${name}`,
  sound: 'Sound',
  soundOn: 'Sound on',
  soundOff: 'Sound off',
  fullScreen: 'Full screen',
  watching: 'watching',

  /** What a latency is counted from. */
  since: {
    capture: 'glass to glass',
    sender: 'since sender',
    arrival: 'since arrival',
    received: 'since arrival here',
  } as Record<Since | 'received', string>,
  sinceWhy: {
    capture: 'From the moment the camera took the picture to this screen.',
    sender: 'From the time the sender put on the picture; how long it had it before is not known.',
    arrival: 'From the picture’s arrival at the server; the stream carries no time of its own.',
    received: 'From the picture’s arrival in this browser; it does not tell the times of the stream.',
  } as Record<Since | 'received', string>,
  measuring: 'measuring',
  noClock: 'no clock of the server',
  measuringWhy: 'The first pictures are being measured.',
  noClockWhy: 'The server’s clock is asked over its feed, which is not open; without it the age of a picture is not known.',
  median: 'median of 10 s',
  p95: '95th percentile',
  clocksAgree: 'clocks agree within',
  whereTimeGoes: 'Where the time goes',
  legs: {
    encoding: 'encoding',
    'capture and way to server': 'capture, way to server',
    'capture and way to browser': 'capture, way to browser',
    'camera to browser': 'camera to browser',
    'sender to browser': 'sender to browser',
    'camera to server': 'camera to server',
    'sender to server': 'sender to server',
    'in the server': 'in the server',
    'server to browser': 'server to browser',
    'waiting in the browser': 'waiting in the browser',
    decoding: 'decoding',
    'to the screen': 'to the screen',
  } as Readonly<Record<string, string>>,
};
