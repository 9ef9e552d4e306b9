/** What the feed tells (docs/reference/live.md), as types. */
import type { Session } from '../api.types';
import type { Since } from '../player/latency';

export type Action = 'view' | 'replay' | 'publish' | 'operate' | 'erase' | 'administer';

export interface Me {
  readonly name: string | null;
  readonly role: string | null;
  readonly rights: readonly { readonly actions: readonly Action[]; readonly streams: readonly string[] }[];
  /** Whether it is an account, with preferences and a password of its own. */
  readonly account: boolean;
  /** The account is one of the settings file. */
  readonly in_file?: boolean;
}

export interface StreamValue {
  readonly name: string;
  readonly state: 'live' | 'held' | 'ended';
  readonly publisher: {
    readonly session: number | null;
    readonly protocol: string;
    readonly agent: string | null;
    readonly since: string;
    /** For who may operate it. */
    readonly remote?: string | null;
  } | null;
  readonly tracks: readonly { readonly kind: 'video' | 'audio'; readonly codec: string }[];
  readonly width: number | null;
  readonly height: number | null;
  readonly recording: RecordingValue | null;
  readonly source: { readonly state: string; readonly url?: string | null; readonly why: string | null } | null;
  /** What one may do to it. */
  readonly may: readonly Action[];
  /** Its lower rendition. */
  readonly low: string | null;
  readonly urls: { readonly rtsp: string; readonly hls: string; readonly whep: string };
  /** Since when it is in that state. */
  readonly since: string;
  /** What its `latency_ms` counts from. */
  readonly latency_since: Since | null;
}

export interface RecordingValue {
  readonly state: 'recording' | 'waiting' | 'paused' | 'off';
  readonly mode: 'continuous' | 'schedule' | 'events' | 'manual';
  readonly by_hand: boolean;
  readonly filename?: string | null;
  readonly since?: string | null;
  readonly reason?: string | null;
}

/** The newest that a camera said of itself. */
export interface CameraValue {
  readonly at: string;
  readonly isConnected?: boolean;
  readonly frames_sent?: number;
  readonly frames_dropped?: number;
  readonly cpu_percent?: number;
  readonly memory_percent?: number;
  readonly memory_used_mb?: number;
  readonly memory_total_mb?: number;
  readonly network_mbps?: number;
  readonly latency_ms?: number;
  readonly brightness?: number;
  readonly width?: number;
  readonly height?: number;
  readonly errorMessage?: string;
}

export type Grade = 'good' | 'poor' | 'bad';

/** Why something is not as it should be. */
export interface Reason {
  /** The stream, or `null` for the machine. */
  readonly of: string | null;
  readonly grade: Grade;
  readonly code: string;
  readonly text: string;
  readonly since: string;
}

export interface SystemValue {
  readonly version: string;
  readonly uptime_seconds: number;
  readonly disks: readonly {
    readonly name: string;
    readonly free_gb: number | null;
    readonly total_gb: number | null;
    readonly days_left: number | null;
    readonly state: string;
  }[];
  readonly machine: { readonly model: string | null; readonly processors: number; readonly memory_total_mb: number | null };
  readonly throttled: boolean | null;
}

/** Who is at a stream, for who may operate it. */
export interface SessionsValue {
  readonly publisher: Session | null;
  readonly sessions: readonly Session[];
  /** How many viewers there are besides. */
  readonly more: number;
}

/** As `GET /api/v1/events` gives it. */
export interface Event {
  readonly id: number;
  readonly at: string;
  readonly kind: string;
  readonly stream?: string;
  readonly [member: string]: unknown;
}

export interface LogLine {
  readonly at: string;
  readonly level: string;
  readonly target: string;
  readonly text: string;
}

/** Of the figures of a stream and of the machine; which of them a server tells, it says in its `hello`. */
export type StreamMetric =
  | 'fps' | 'kbps' | 'dropped' | 'viewers' | 'latency_ms' | 'latency_max_ms' | 'cpu_percent' | 'memory_percent' | 'network_mbps'
  | 'encode_ms' | 'lost' | 'motion' | 'frames' | 'frames_dropped';
export type MachineMetric =
  | 'cpu_percent' | 'memory_percent' | 'received_mbps' | 'sent_mbps' | 'temperature' | 'throttled' | 'program_cpu' | 'program_mb'
  | 'streams' | 'viewers' | 'disk_free_gb' | 'written_mbps' | 'memory_used_mb' | 'memory_total_mb';
export type Metric = StreamMetric | MachineMetric;

/** What keys hold. */
export interface Values {
  readonly health: readonly Reason[];
  readonly system: SystemValue;
  readonly [stream: `stream/${string}`]: StreamValue;
  readonly [camera: `camera/${string}`]: CameraValue;
  readonly [sessions: `sessions/${string}`]: SessionsValue;
  readonly [made: `export/${string}`]: unknown;
}
export type Key = keyof Values & string;
