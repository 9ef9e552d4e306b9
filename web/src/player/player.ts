/** A stream in an element of the page: the rules of `supervisor` with the sessions of this browser. No framework. */
import type { Estimate } from './clock';
import { openHls } from './hls';
import { capturedByRtp, Latency, type Report, type Since } from './latency';
import type { Session } from './session';
import { Supervisor, type Status } from './supervisor';
import { openWhep } from './whep';

export interface Options {
  /** Holds the picture and nothing else. */
  readonly stage: HTMLElement;
  readonly whep: URL;
  /** With the token in it, where there is one. */
  readonly hls: URL;
  readonly token: string | null;
  /** What is known of the server's clock now. */
  readonly clock: () => Estimate | null;
  readonly changed: (status: Status) => void;
  /** The id of the element that is shown, which scripts of others know; another one where a page shows several. */
  readonly id?: string;
}

export class Player {
  #videos = new WeakMap<Session, HTMLVideoElement>();
  #supervisor: Supervisor;
  #latency = new Latency();
  #shown: HTMLVideoElement | null = null;
  #frames = 0;
  #muted = true;
  #wanted = false;
  #forget: () => void;

  constructor(private readonly options: Options) {
    this.#supervisor = new Supervisor({
      open: {
        webrtc: (listener) => {
          const video = this.#stand();
          const session = openWhep(options.whep, options.token, video, listener, (picture, reference) => {
            if (video !== this.#shown) return;
            this.#frames++;
            const clock = options.clock();
            const nearMs = clock === null ? 0 : picture.callbackMs + clock.offsetMs;
            const capturedMs = reference && clock ? capturedByRtp(picture.rtpTimestamp, reference, nearMs) : null;
            this.#latency.add(picture, { capturedMs }, clock);
          });
          return this.#own(session, video);
        },
        hls: (listener) => {
          const video = this.#stand();
          const session = openHls(options.hls, video, listener, (picture, times) => {
            if (video !== this.#shown) return;
            this.#frames++;
            this.#latency.add(picture, times, options.clock());
          });
          return this.#own(session, video);
        },
      },
      now: () => performance.now(),
      after: (ms, call) => {
        const timer = setTimeout(call, ms);
        return () => clearTimeout(timer);
      },
      random: Math.random,
      present: (session) => this.#present(session),
      changed: options.changed,
    });
    this.#forget = this.#listen();
  }

  start(): void {
    this.#wanted = true;
    this.#supervisor.start();
  }

  stop(): void {
    this.#wanted = false;
    this.#supervisor.stop();
    this.#shown = null;
    this.#latency.clear();
  }

  /** The server is back, or something else happened that makes another try worth while. */
  nudge(): void {
    this.#supervisor.nudge();
  }

  /** Ends for good. */
  close(): void {
    this.#forget();
    this.stop();
  }

  /** What capture times of this stream are, and how old the newest picture was at the server; `null`: not known. */
  describe(since: Since, toServerMs: number | null): void {
    this.#latency.describe(since, toServerMs);
  }

  latency(): Report | null {
    return this.#latency.report(performance.now(), this.options.clock());
  }

  /** Pictures shown since the start. */
  frames(): number {
    return this.#frames;
  }

  get video(): HTMLVideoElement | null {
    return this.#shown;
  }

  get muted(): boolean {
    return this.#muted;
  }

  set muted(muted: boolean) {
    this.#muted = muted;
    if (this.#shown) this.#shown.muted = muted;
  }

  /** An element of its own for each try, behind the one that is shown. */
  #stand(): HTMLVideoElement {
    const video = document.createElement('video');
    // Without sound browsers let it play by itself.
    video.muted = true;
    video.autoplay = true;
    video.playsInline = true;
    video.disableRemotePlayback = true;
    video.setAttribute('aria-label', 'Live picture');
    this.options.stage.prepend(video);
    const play = (): void => void video.play().catch(() => undefined);
    video.addEventListener('loadedmetadata', play);
    return video;
  }

  #own(session: Session, video: HTMLVideoElement): Session {
    const owned: Session = {
      via: session.via,
      arriving: () => session.arriving(),
      silence: () => session.silence(),
      close: () => {
        session.close();
        video.remove();
      },
    };
    this.#videos.set(owned, video);
    return owned;
  }

  #present(session: Session): void {
    const video = this.#videos.get(session);
    if (!video) return;
    // The one before is closed right after this.
    this.#shown?.removeAttribute('id');
    this.#shown = video;
    // In front of the others.
    video.id = this.options.id ?? 'video-stream';
    video.muted = this.#muted;
    this.#latency.clear();
  }

  #listen(): () => void {
    const seen = (): void => this.#supervisor.visible(!document.hidden);
    const online = (): void => this.nudge();
    // Sessions end with the page; one that comes back from the browser's cache begins again.
    const hide = (): void => this.#supervisor.stop();
    const show = (event: PageTransitionEvent): void => {
      if (event.persisted && this.#wanted) this.#supervisor.start();
    };
    document.addEventListener('visibilitychange', seen);
    window.addEventListener('online', online);
    window.addEventListener('pagehide', hide);
    window.addEventListener('pageshow', show);
    this.#supervisor.visible(!document.hidden);
    return () => {
      document.removeEventListener('visibilitychange', seen);
      window.removeEventListener('online', online);
      window.removeEventListener('pagehide', hide);
      window.removeEventListener('pageshow', show);
    };
  }
}
