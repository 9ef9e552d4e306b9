/** Publishing from this browser by WebRTC: WHIP (RFC 9725). Comes back for ever, with the same camera or screen. */
import { Backoff } from './backoff';
import { authorization, failureOf, type Failure } from './session';
import { asFailure, leave, negotiateTimes } from './whep';

export type Publishing = 'connecting' | 'live' | 'waiting' | 'stopped';

export interface Figures {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly kbps: number;
  readonly roundTripMs: number | null;
}

export interface WhipOptions {
  readonly url: URL;
  readonly token: string | null;
  readonly media: MediaStream;
  readonly maxKbps: number;
  readonly changed: (state: Publishing, message: string | null) => void;
}

export class Whip {
  #peer: RTCPeerConnection | null = null;
  #resource: URL | null = null;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #listening: ReturnType<typeof setTimeout> | undefined;
  #backoff = new Backoff(500, 5_000, Math.random);
  #over = false;
  #bytes = { sent: 0, atMs: 0 };
  #goodbye = (): void => this.stop();
  #again = (): void => {
    if (this.#peer === null) this.#connect();
  };

  constructor(private readonly options: WhipOptions) {
    window.addEventListener('pagehide', this.#goodbye);
    window.addEventListener('online', this.#again);
    this.#connect();
  }

  stop(): void {
    if (this.#over) return;
    this.#over = true;
    window.removeEventListener('pagehide', this.#goodbye);
    window.removeEventListener('online', this.#again);
    this.#end();
    this.options.changed('stopped', null);
  }

  async figures(): Promise<Figures | null> {
    const report = await this.#peer?.getStats();
    if (!report) return null;
    let figures: Figures | null = null;
    let roundTripMs: number | null = null;
    for (const entry of report.values() as Iterable<Record<string, unknown>>) {
      const number = (field: string): number => (typeof entry[field] === 'number' ? entry[field] : 0);
      if (entry['type'] === 'remote-inbound-rtp' && entry['kind'] === 'video') roundTripMs = number('roundTripTime') * 1_000;
      if (entry['type'] !== 'outbound-rtp' || entry['kind'] !== 'video') continue;
      const [sent, atMs] = [number('bytesSent'), number('timestamp')];
      const before = this.#bytes;
      this.#bytes = { sent, atMs };
      const kbps = before.atMs > 0 && sent >= before.sent ? ((sent - before.sent) * 8) / (atMs - before.atMs) : 0;
      figures = { width: number('frameWidth'), height: number('frameHeight'), fps: number('framesPerSecond'), kbps, roundTripMs };
    }
    return figures && { ...figures, roundTripMs };
  }

  #connect(): void {
    clearTimeout(this.#timer);
    this.options.changed('connecting', null);
    this.#abort = new AbortController();
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#peer = peer;
    this.#timer = setTimeout(() => this.#failed(peer, NO_CONNECTION), CONNECT_MS);
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === 'connected') {
        clearTimeout(this.#timer);
        this.#backoff.reset();
        this.options.changed('live', null);
        this.#listen(peer, 0, performance.now());
      }
      if (peer.connectionState === 'disconnected') {
        this.#timer = setTimeout(() => this.#failed(peer, LOST), DISCONNECTED_MS);
      }
      if (peer.connectionState === 'failed' || peer.connectionState === 'closed') this.#failed(peer, LOST);
    };
    this.#offer(peer).catch((error: unknown) => this.#failed(peer, asFailure(error)));
  }

  async #offer(peer: RTCPeerConnection): Promise<void> {
    const { media, url, token } = this.options;
    for (const track of media.getTracks()) {
      const transceiver = peer.addTransceiver(track, { direction: 'sendonly', streams: [media] });
      if (track.kind === 'video') {
        preferH264(transceiver);
        negotiateTimes(transceiver);
      }
    }
    const offer = await peer.createOffer();
    const headers = { 'content-type': 'application/sdp', ...authorization(token) };
    const body = offer.sdp ?? '';
    const posted = fetch(url, { method: 'POST', headers, body, signal: this.#abort.signal }).catch(() => {
      throw { kind: 'unreachable', message: 'the server does not answer' } satisfies Failure;
    });
    const [response] = await Promise.all([posted, peer.setLocalDescription(offer)]);
    if (response.status !== 201) throw await failureOf(response);
    const location = response.headers.get('location');
    const resource = location ? new URL(location, response.url || url) : null;
    const sdp = await response.text();
    if (peer !== this.#peer) {
      if (resource) leave(resource, token);
      return;
    }
    this.#resource = resource;
    await peer.setRemoteDescription({ type: 'answer', sdp });
    await limit(peer, this.options.maxKbps);
  }

  /** A server that was restarted says nothing more, and the browser takes long to notice: what comes back is counted. */
  #listen(peer: RTCPeerConnection, heard: number, heardMs: number): void {
    clearTimeout(this.#listening);
    this.#listening = setTimeout(() => {
      void received(peer).then((now) => {
        if (peer !== this.#peer) return;
        if (now !== heard) this.#listen(peer, now, performance.now());
        else if (performance.now() - heardMs < SILENT_MS) this.#listen(peer, heard, heardMs);
        else this.#failed(peer, LOST);
      });
    }, 1_000);
  }

  #failed(peer: RTCPeerConnection, failure: Failure): void {
    if (this.#over || peer !== this.#peer) return;
    this.#end();
    this.options.changed('waiting', failure.message);
    const least = failure.kind === 'denied' ? DENIED_PAUSE_MS : (failure.retryAfterMs ?? 0);
    this.#timer = setTimeout(() => this.#connect(), Math.max(this.#backoff.next(), least));
  }

  #end(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#listening);
    this.#abort.abort();
    this.#peer?.close();
    this.#peer = null;
    this.#bytes = { sent: 0, atMs: 0 };
    if (this.#resource) leave(this.#resource, this.options.token);
    this.#resource = null;
  }
}

/** Viewers of every kind play H.264; what browsers would choose by themselves, VP8, most cannot. */
function preferH264(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const h264 = codecs.filter((codec) => codec.mimeType.toLowerCase() === 'video/h264');
  const repair = codecs.filter((codec) => /\/(rtx|red|ulpfec)$/i.test(codec.mimeType));
  if (h264.length > 0) transceiver.setCodecPreferences([...h264, ...repair]);
}

/** A number that grows with whatever comes from the other end: reports, and answers to the browser's checks. */
async function received(peer: RTCPeerConnection): Promise<number> {
  let sum = 0;
  for (const entry of (await peer.getStats()).values() as Iterable<Record<string, unknown>>) {
    const number = (field: string): number => (typeof entry[field] === 'number' ? entry[field] : 0);
    if (entry['type'] === 'candidate-pair') sum += number('responsesReceived');
    if (entry['type'] === 'transport') sum += number('bytesReceived');
  }
  return sum;
}

async function limit(peer: RTCPeerConnection, maxKbps: number): Promise<void> {
  const sender = peer.getSenders().find((candidate) => candidate.track?.kind === 'video');
  if (!sender) return;
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings) encoding.maxBitrate = maxKbps * 1_000;
  await sender.setParameters(parameters);
}

const CONNECT_MS = 8_000;
const DISCONNECTED_MS = 4_000;
/** Reports come about every second, answers to checks every few. */
const SILENT_MS = 5_000;
const DENIED_PAUSE_MS = 60_000;
const LOST: Failure = { kind: 'broken', message: 'the connection for media was lost' };
const NO_CONNECTION: Failure = {
  kind: 'blocked',
  message: 'no connection for media came about (is UDP to the server blocked?)',
};
