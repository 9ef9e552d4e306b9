/** Playing by WebRTC: WHEP, one session from the offer to the DELETE. */
import { authorization, failureOf, type Failure, type Listener, type Session } from './session';
import { watchPictures, type Picture } from './pictures';

export interface Whep extends Session {
  readonly video: HTMLVideoElement;
}

/** What is needed to tell the capture time of a picture. */
export interface CaptureReference {
  readonly rtpTimestamp: number;
  /** The sender's clock, ms since 1900 (NTP). */
  readonly captureNtpMs: number;
}

export function openWhep(
  url: URL,
  token: string | null,
  video: HTMLVideoElement,
  listener: Listener,
  shown: (picture: Picture, reference: CaptureReference | null) => void,
): Whep {
  const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const abort = new AbortController();
  let resource: URL | null = null;
  let over = false;
  let arriving = false;
  let lost: ReturnType<typeof setTimeout> | undefined;

  const receivers = (['video', 'audio'] as const).map((kind) => {
    const transceiver = peer.addTransceiver(kind, { direction: 'recvonly' });
    if (kind === 'video') negotiateTimes(transceiver);
    return transceiver.receiver;
  });
  video.srcObject = new MediaStream(receivers.map((receiver) => receiver.track));

  const end = (): void => {
    if (over) return;
    over = true;
    clearTimeout(lost);
    unwatchArrival();
    abort.abort();
    peer.close();
    if (resource) leave(resource, token);
  };
  const fail = (failure: Failure): void => {
    if (over) return;
    end();
    listener.failed(failure);
  };

  peer.onconnectionstatechange = () => {
    clearTimeout(lost);
    if (peer.connectionState === 'connected') listener.connected();
    if (peer.connectionState === 'failed' || peer.connectionState === 'closed') fail(LOST);
    // Wi-Fi comes back within a second or so, a server that was restarted never.
    if (peer.connectionState === 'disconnected') lost = setTimeout(() => fail(LOST), DISCONNECTED_MS);
  };
  const [media] = receivers;
  const unwatchArrival = watchArrival(peer, () => (arriving = true));
  const unwatch = watchPictures(video, (picture) => {
    if (over) return;
    shown(picture, media ? referenceOf(media) : null);
    listener.picture();
  });

  const begin = async (): Promise<void> => {
    const offer = await peer.createOffer();
    // The offer leaves before candidates are gathered: the server is the one that has addresses.
    const posted = post(url, token, offer.sdp ?? '', abort.signal);
    const [response] = await Promise.all([posted, peer.setLocalDescription(offer)]);
    if (response.status !== 201) throw await failureOf(response);
    const location = response.headers.get('location');
    resource = location ? new URL(location, response.url || url) : null;
    const sdp = await response.text();
    // Somebody closed it while it was under way: then nobody else leaves in its name.
    if (over) {
      if (resource) leave(resource, token);
      return;
    }
    await peer.setRemoteDescription({ type: 'answer', sdp });
  };
  begin().catch((error: unknown) => fail(asFailure(error)));

  return {
    via: 'webrtc',
    video,
    arriving: () => arriving,
    silence: () => {
      unwatch();
      end();
    },
    close: () => {
      unwatch();
      end();
      video.srcObject = null;
    },
  };
}

function post(url: URL, token: string | null, sdp: string, signal: AbortSignal): Promise<Response> {
  const headers = { 'content-type': 'application/sdp', ...authorization(token) };
  return fetch(url, { method: 'POST', headers, body: sdp, signal }).catch(() => {
    throw { kind: 'unreachable', message: 'the server does not answer' } satisfies Failure;
  });
}

/** Says goodbye, also while the page is being closed. */
export function leave(resource: URL, token: string | null): void {
  fetch(resource, { method: 'DELETE', keepalive: true, headers: authorization(token) }).catch(() => {
    // The server is gone, and the session with it.
  });
}

export function asFailure(error: unknown): Failure {
  if (typeof error === 'object' && error !== null && 'kind' in error && 'message' in error) return error as Failure;
  return { kind: 'refused', message: `WebRTC does not work with this server: ${String(error)}` };
}

/** Asks for the capture time of each picture, and lets the server say how long pictures are held back. Only Chromium asks. */
export function negotiateTimes(transceiver: RTCRtpTransceiver): void {
  const negotiable = transceiver as Partial<HeaderExtensions>;
  if (!negotiable.getHeaderExtensionsToNegotiate || !negotiable.setHeaderExtensionsToNegotiate) return;
  const extensions = negotiable.getHeaderExtensionsToNegotiate();
  for (const extension of extensions) {
    if (WANTED.some((wanted) => extension.uri.endsWith(wanted))) extension.direction = 'sendrecv';
  }
  try {
    negotiable.setHeaderExtensionsToNegotiate(extensions);
  } catch {
    // Then there is no capture time, and the badge says so.
  }
}

interface HeaderExtensions {
  getHeaderExtensionsToNegotiate(): { uri: string; direction: RTCRtpTransceiverDirection }[];
  setHeaderExtensionsToNegotiate(extensions: { uri: string; direction: RTCRtpTransceiverDirection }[]): void;
}

function referenceOf(receiver: RTCRtpReceiver): CaptureReference | null {
  const [source] = receiver.getSynchronizationSources() as (RTCRtpSynchronizationSource & { captureTimestamp?: number })[];
  if (source?.captureTimestamp === undefined) return null;
  return { rtpTimestamp: source.rtpTimestamp, captureNtpMs: source.captureTimestamp };
}

/** Looks once a second whether media for the video track came, until they do. */
function watchArrival(peer: RTCPeerConnection, came: () => void): () => void {
  const timer = setInterval(() => {
    void peer.getStats().then((report) => {
      for (const entry of report.values() as Iterable<{ type: string; kind?: string; packetsReceived?: number }>) {
        if (entry.type !== 'inbound-rtp' || entry.kind !== 'video' || !entry.packetsReceived) continue;
        clearInterval(timer);
        came();
      }
    });
  }, 1_000);
  return () => clearInterval(timer);
}

const LOST: Failure = { kind: 'broken', message: 'the connection for media was lost' };
const DISCONNECTED_MS = 2_500;
const WANTED = ['abs-capture-time', 'playout-delay'];
