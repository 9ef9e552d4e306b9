/** The types of the API: written by `scripts/types.mjs` from docs/reference/openapi.json, never by hand. */

/** RFC 9457 §3.1. The type is `about:blank`, since no page explains ours; `code` and `next` are extensions. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly next: string;
  readonly problems?: unknown;
}

/** How it is. */
export interface Health {
  /** `ok`, or `ready`. */
  readonly status: string;
}

/** A stream. */
export interface Stream {
  readonly name: string;
  /** `live`, or `held`: the publisher is gone and may return. */
  readonly state: string;
  readonly publisher?: Session | null;
  /** Where the server fetches it, without credentials; for whoever steers the stream. */
  readonly source?: string | null;
  readonly tracks: readonly Track[];
  readonly width?: number | null;
  readonly height?: number | null;
  /** Pictures a second, over the last two seconds. */
  readonly fps: number;
  /** Thousand bits a second, over the last two seconds. */
  readonly bitrate_kbps: number;
  /** How far keyframes are apart, the longest of the last few distances, in seconds; `null` before the second. */
  readonly keyframe_seconds?: number | null;
  readonly viewers: number;
  /** Of the newest picture. */
  readonly latency?: Latency | null;
  /** How it is recorded; left out where it is not. */
  readonly recording?: Recording | null;
  readonly urls: Urls;
  /** The viewers one by one, for whoever steers the stream. */
  readonly sessions?: readonly Session[] | null;
}

/** A publisher or a viewer. */
export interface Session {
  readonly id: number;
  readonly role: string;
  readonly protocol: string;
  /** RFC 3339. */
  readonly since: string;
  /** For whoever steers the stream. */
  readonly remote?: string | null;
  /** For whoever steers the stream. */
  readonly agent?: string | null;
  readonly bytes: number;
  readonly packets: number;
  readonly frames: number;
  readonly keyframes: number;
  readonly frames_dropped: number;
  readonly jumps: number;
  readonly packets_lost: number;
  readonly packets_malformed: number;
  readonly timestamp_jumps: number;
  readonly jitter_ms: number;
  readonly rtt_ms: number;
  /** What the way to a viewer carries, where that is known. */
  readonly estimate_kbps?: number | null;
  /** What it is given of the stream, where that follows from the estimate. */
  readonly rendition?: string | null;
  /** What a viewer's connection has not taken yet. */
  readonly waiting_bytes: number;
  /** Of a publisher from capture to arrival, of a viewer from arrival to its socket. */
  readonly latency_ms: number;
}

export interface Track {
  readonly kind: string;
  readonly codec: string;
  /** RFC 6381, as browsers take it. */
  readonly codec_string?: string | null;
  readonly width?: number | null;
  readonly height?: number | null;
  readonly sample_rate?: number | null;
  readonly channels?: number | null;
}

/** How old the newest picture was when the server could send it. */
export interface Latency {
  readonly to_server_ms: number;
  /** What it is counted from: `capture`, `sender` or `arrival`. */
  readonly since: string;
}

/** How a stream is recorded. */
export interface Recording {
  /** `recording`, `waiting` (for the time, for something to happen, for a keyframe), `paused` (it is to be and cannot) or `off`. */
  readonly state: string;
  /** When by the settings: `continuous`, `schedule`, `events` or `manual`. */
  readonly mode: string;
  /** Somebody started it. */
  readonly by_hand: boolean;
  /** The name of the file of its own that is being recorded. */
  readonly filename?: string | null;
  /** Since when it is recorded without a gap, by the settings or without a name. RFC 3339. */
  readonly since?: string | null;
  /** Why it is paused. */
  readonly reason?: string | null;
}

/** Where to play it. */
export interface Urls {
  readonly rtsp: string;
  readonly hls: string;
}

export interface Streams {
  readonly streams: readonly Stream[];
}

export interface Sources {
  readonly sources: readonly Source[];
}

/** A source. */
export interface Source {
  /** The name of its stream. */
  readonly stream: string;
  /** `idle`, `connecting`, `running`, `waiting` or `failed`. */
  readonly state: string;
  /** Where it is asked, or is asked next; without credentials, as all URLs here. For whoever steers the stream. */
  readonly url?: string | null;
  /** All places, in the order they are tried. For whoever steers the stream. */
  readonly urls?: readonly string[] | null;
  readonly on_demand: boolean;
  /** How often it broke off since the program began. */
  readonly reconnects: number;
  /** Attempts since it last ran, while it is asked. */
  readonly attempt?: number | null;
  /** Since when it is asked or runs. RFC 3339. */
  readonly since?: string | null;
  /** When it is asked again, where it waits. RFC 3339. */
  readonly until?: string | null;
  /** What was wrong: in a few words, for whoever steers the stream in all. */
  readonly why?: string | null;
}

export interface Forwards {
  readonly forwards: readonly Forward[];
}

/** One target of one stream. */
export interface Forward {
  /** The name of the stream. */
  readonly stream: string;
  /** Where it goes, without credentials. */
  readonly url: string;
  /** `idle` (the stream is not there), `connecting`, `running` or `waiting`. */
  readonly state: string;
  /** Attempts since it last ran, while it is asked. */
  readonly attempt?: number | null;
  /** Since when it is asked or runs. RFC 3339. */
  readonly since?: string | null;
  /** When it is asked again, where it waits. RFC 3339. */
  readonly until?: string | null;
  /** What was wrong. */
  readonly why?: string | null;
  /** Sent since the target was set, over all connections. */
  readonly bytes: number;
  readonly frames: number;
  /** Frames that were left out because the target was too slow, … */
  readonly frames_dropped: number;
  /** … and how often that was. */
  readonly jumps: number;
}

export interface Motions {
  readonly motion: readonly Motion[];
}

/** Motion in one stream. */
export interface Motion {
  readonly stream: string;
  /** `waiting` (there is nothing to look at yet), `looking`, `behind` (not as often as is wanted: the machine is too slow) or `unable`. */
  readonly state: string;
  /** Why it is unable or behind. */
  readonly why?: string | null;
  /** Who looks: `server`, which decodes the stream, its `camera`, or its `publisher`. */
  readonly by?: string | null;
  /** `full` or `thrifty`, where the server decodes. */
  readonly mode?: string | null;
  /** Something moves. */
  readonly moving: boolean;
  /** How much at the newest look: a part of what is looked at, 0 to 1. */
  readonly intensity: number;
  /** Pictures that the server looked at since the stream came, … */
  readonly looks: number;
  /** … frames that it decoded for them, … */
  readonly decoded: number;
  /** … that it could not decode, … */
  readonly failures: number;
  /** … and that it left out since it was behind. */
  readonly late: number;
}

export interface Webhooks {
  readonly webhooks: readonly Webhook[];
}

/** One of them. Its figures count from when its settings were last changed. */
export interface Webhook {
  /** Its name in the settings. */
  readonly name: string;
  /** The server, without what may be a credential. */
  readonly url: string;
  /** Whether messages to it are signed. */
  readonly signed: boolean;
  /** `idle`, `sending`, `waiting` (it could not be told, and is asked again) or `stopped` (it answered 410). */
  readonly state: string;
  /** Attempts in a row that failed, where it waits. */
  readonly attempts?: number | null;
  /** When it is asked again, where it waits. RFC 3339. */
  readonly until?: string | null;
  /** Events that it is yet to be told. */
  readonly waiting: number;
  /** Events that it was told. */
  readonly delivered: number;
  /** Events that it will never be told. */
  readonly lost: number;
  /** Attempts that failed. */
  readonly failures: number;
  /** When it last answered that it heard. RFC 3339. */
  readonly last_success?: string | null;
  /** When an attempt last failed. RFC 3339. */
  readonly last_failure?: string | null;
  /** Why it did. */
  readonly why?: string | null;
}

/** All settings, without secrets. */
export interface Settings {
  /** The settings file; `None`: there is none yet. */
  readonly file?: string | null;
  /** Section by section what holds, in the form in which changes are asked for; null where nothing is set and there is no default. */
  readonly settings: unknown;
  /** Where each setting was given that is no default. */
  readonly origins: Readonly<Record<string, string>>;
  /** What was changed and takes effect at the next start. */
  readonly waiting: SettingChanges;
  /** Why nothing can be changed here, such as that the file belongs to somebody else; null: it can. */
  readonly read_only?: string | null;
}

/** All that is another than before. */
export interface SettingChanges {
  /** By key. */
  readonly changed: readonly SettingChange[];
}

/** One setting that is another than before. */
export interface SettingChange {
  /** Which, such as `stream.door.always_available`; `stream.door` for the table itself. */
  readonly key: string;
  /** What it was, without secrets; `None` where nothing was set and there is no default. */
  readonly from?: unknown;
  /** What it becomes. */
  readonly to?: unknown;
  /** When. */
  readonly takes: Takes;
}

/** When a changed setting takes effect. */
export type Takes = "now" | "next-session" | "restart";

/** What was changed, or would be. */
export interface Changes {
  /** By key. */
  readonly changed: readonly SettingChange[];
  readonly dry_run: boolean;
  /** The settings file. */
  readonly file?: string | null;
}

/** An object whose members are those of another program's API. */
export type Anything = Readonly<Record<string, unknown>>;

/** The settings file, as text. */
export interface SettingsFile {
  /** Where it is, or will be. */
  readonly file: string;
  /** False: there is none yet, and `text` is how it would begin. */
  readonly exists: boolean;
  /** With `[redacted]` and `***` in place of secrets. They are put back by their place when it is sent back. */
  readonly text: string;
  /** Which text this is; for changing it. */
  readonly version: string;
  /** Why it cannot be changed here; null: it can. */
  readonly read_only?: string | null;
}

/** The text of the settings file. */
export interface NewSettingsFile {
  /** All of it. What is shown in place of a secret stands for the secret that was there. */
  readonly text: string;
  /** Of the text that was changed, as `GET` told it. */
  readonly version: string;
}

export interface Credentials {
  readonly credentials: readonly Credential[];
}

/** A login, without its password. */
export interface Credential {
  /** As `credential` of a stream names it. */
  readonly name: string;
  readonly user: string;
  /** Whom it is for. No other is shown it. */
  readonly origin: Origin;
  /** The tables of streams that name it. */
  readonly used_by: readonly string[];
}

/** Whom a login is for. */
export interface Origin {
  /** As sources are written: `rtsp`, `onvif`, `https`, … */
  readonly scheme: string;
  /** Name or address, in lower case; IPv6 without brackets. */
  readonly host: string;
  /** Also where the URL does not name it. */
  readonly port: number;
}

export interface NewCredential {
  readonly name: string;
  readonly user: string;
  readonly password: string;
  /** A URL of the camera: its scheme, host and port are whom the login is for. */
  readonly source: string;
}

export interface CredentialLogin {
  readonly user: string;
  readonly password: string;
  /** As of a new one. */
  readonly source: string;
}

export interface Discovered {
  /** Of this machine. */
  readonly devices: readonly FoundDevice[];
  /** Of its networks, 256 at the most. */
  readonly cameras: readonly FoundCamera[];
  /** Where was looked: interfaces with their addresses. */
  readonly networks: readonly string[];
}

/** A camera of this machine. */
export interface FoundDevice {
  /** As `source` of a camera has it. */
  readonly source: string;
  readonly name: string;
  /** Where it is: a device node, or a number. */
  readonly place: string;
  readonly modes: readonly DeviceMode[];
  /** Why it cannot be used now. */
  readonly cause?: Cause | null;
  /** Cameras of the settings that it is. */
  readonly known: readonly string[];
}

export interface DeviceMode {
  /** As the driver calls it: `MJPG`, `YUYV`, `H264`. */
  readonly format: string;
  readonly width: number;
  readonly height: number;
  /** The fastest; `null`: it does not tell. */
  readonly fps?: number | null;
}

/** A cause and its way out. Programs go by the code. */
export interface Cause {
  readonly code: string;
  readonly what: string;
  readonly way_out: string;
  /** What exactly was said, without credentials. */
  readonly detail?: string | null;
  /** SHA-256 of the certificate that was shown. */
  readonly fingerprint?: string | null;
}

/** A camera of the network. */
export interface FoundCamera {
  /** As `source` of a stream has it: it is asked where its streams are. */
  readonly source: string;
  readonly address?: string | null;
  readonly name?: string | null;
  readonly hardware?: string | null;
  /** Streams of the settings that are fetched from the same machine. */
  readonly known: readonly string[];
}

/** Nothing is to be said. */
export type Discover = Readonly<Record<string, never>>;

/** What came of it: one of `found` and `failed`. */
export interface Probed {
  readonly found?: ProbedCamera | null;
  readonly failed?: Cause | null;
  /** What is worth knowing before it is saved. */
  readonly notes: readonly Cause[];
  readonly took_ms: number;
}

/** A camera as it was seen for some seconds. */
export interface ProbedCamera {
  readonly video: Track;
  readonly sound?: Track | null;
  /** Pictures a second, measured. */
  readonly fps?: number | null;
  /** Thousand bits a second, measured. */
  readonly bitrate_kbps?: number | null;
  /** From keyframe to keyframe; `null` where no second one came in `watched_seconds`. */
  readonly keyframe_seconds?: number | null;
  readonly watched_seconds: number;
  readonly b_frames: boolean;
  /** What its capture times are: `capture`, `sender` or `arrival`. */
  readonly capture: string;
  /** Whether it has a lower rendition that comes with it; `null` where only ONVIF would say so. */
  readonly has_lower?: boolean | null;
  /** Below `/api/v1/`, for a minute. */
  readonly picture?: string | null;
  /** Why there is none. */
  readonly no_picture?: string | null;
}

/** What is asked. */
export interface ProbeQuestion {
  /** A URL as `source` of a stream has it, or `v4l2:/dev/video0`, `libcamera:0`, `test`. */
  readonly source: string;
  /** A login that is kept; it is shown to whom it is for alone. */
  readonly credential?: string | null;
  /** A login that is not kept. */
  readonly account?: CameraAccount | null;
  /** As of a stream: `auto`, `tcp` or `udp`. */
  readonly source_transport?: "auto" | "tcp" | "udp";
  /** The certificate that is believed. */
  readonly source_fingerprint?: string | null;
}

export interface CameraAccount {
  readonly user: string;
  readonly password?: string;
}

/** What figures were. */
export interface History {
  /** The beginning of the first step. RFC 3339. */
  readonly from: string;
  readonly step_ms: number;
  /** By metric. */
  readonly values: Readonly<Record<string, HistoryOfMetric>>;
}

/** A number for each step, null where nothing is known. */
export interface HistoryOfMetric {
  readonly mean: readonly (number | null)[];
  readonly min: readonly (number | null)[];
  readonly max: readonly (number | null)[];
}

export interface Latencies {
  /** The longest delay of each class but the last, which is for all that took longer. Milliseconds. */
  readonly bounds_ms: readonly number[];
  readonly stages: readonly LatencyOfStage[];
}

/** The frames of one stage and protocol. */
export interface LatencyOfStage {
  /** `capture_to_server`, or `server_to_socket`: from there to the socket of a viewer. */
  readonly stage: string;
  readonly protocol: string;
  /** Frames in each class: one more than there are bounds. */
  readonly counts: readonly number[];
  /** What all of them took together, milliseconds. */
  readonly sum_ms: number;
}

export interface LogLines {
  /** The oldest first. Each an object with `timestamp` (RFC 3339, UTC), `level`, `event` and what belongs to it. */
  readonly lines: readonly (Readonly<Record<string, unknown>>)[];
  /** What `from` is for those behind them. */
  readonly next: number;
  /** How many in front of them are not kept any more. */
  readonly missed: number;
}

/** A QR code (ISO/IEC 18004) that can still be read with 15 % of it damaged, without the quiet zone of four modules around it. */
export interface QrCode {
  /** From the top: `1` for a dark module, `0` for a light one. */
  readonly rows: readonly string[];
}

/** What the code is of. */
export interface QrText {
  /** 1 to 512 bytes. */
  readonly text: string;
}

/** The machine. `null` where the operating system does not tell. */
export interface System {
  readonly cpu_percent?: number | null;
  readonly memory_percent?: number | null;
  /** MiB, as the camera status counts them. */
  readonly memory_used_mb?: number | null;
  readonly memory_total_mb?: number | null;
  readonly network?: Network | null;
  readonly temperature_celsius?: number | null;
  readonly uptime_seconds?: number | null;
  /** For whoever may view all streams. */
  readonly program?: Program | null;
}

export interface Network {
  readonly received_mbps: number;
  readonly sent_mbps: number;
}

export interface Program {
  readonly version: string;
  readonly uptime_seconds: number;
  readonly streams: number;
  readonly viewers: number;
  /** Bytes of the newest pictures, kept for viewers. */
  readonly kept_bytes: number;
  readonly http_connections: number;
  /** HTTP requests that a bug of ours ended. */
  readonly http_panics: number;
  readonly status: StatusSocket;
}

/** The status socket. */
export interface StatusSocket {
  readonly clients: number;
  readonly cameras: number;
  /** Words lost because clients did not read them. */
  readonly dropped: number;
  /** Words of clients that say more than they may. */
  readonly unheard: number;
}

/** A part of all there are, in the order in which they came. */
export interface Sessions {
  readonly sessions: readonly ListedSession[];
  /** How many there are in all. */
  readonly total: number;
  /** What `after` is for the next part, if there is more. */
  readonly next?: number | null;
}

/** One of a list. */
export interface ListedSession {
  readonly stream: string;
  /** Those of the stream. */
  readonly codecs: readonly string[];
  readonly id: number;
  readonly role: string;
  readonly protocol: string;
  /** RFC 3339. */
  readonly since: string;
  /** For whoever steers the stream. */
  readonly remote?: string | null;
  /** For whoever steers the stream. */
  readonly agent?: string | null;
  readonly bytes: number;
  readonly packets: number;
  readonly frames: number;
  readonly keyframes: number;
  readonly frames_dropped: number;
  readonly jumps: number;
  readonly packets_lost: number;
  readonly packets_malformed: number;
  readonly timestamp_jumps: number;
  readonly jitter_ms: number;
  readonly rtt_ms: number;
  /** What the way to a viewer carries, where that is known. */
  readonly estimate_kbps?: number | null;
  /** What it is given of the stream, where that follows from the estimate. */
  readonly rendition?: string | null;
  /** What a viewer's connection has not taken yet. */
  readonly waiting_bytes: number;
  /** Of a publisher from capture to arrival, of a viewer from arrival to its socket. */
  readonly latency_ms: number;
}

/** How a camera is set. What is `null` is not known, or cannot be set. */
export interface CameraControls {
  /** Who does what is asked: `server` (its own camera), or `publisher` (it is told, and does of it what it can). */
  readonly by: string;
  /** What may be asked for: `running`, `keyframe`, `kbps`, `overlay`, `brightness`. */
  readonly can: readonly string[];
  /** The camera is open. */
  readonly running?: boolean | null;
  /** Of what is encoded, kb/s. */
  readonly kbps?: number | null;
  /** Lines are drawn into the picture. */
  readonly overlay?: boolean | null;
  /** As it was set last, as the camera counts it. */
  readonly brightness?: number | null;
}

/** What came of it. */
export interface ControlsDone {
  readonly results: readonly ControlOutcome[];
}

/** What came of one wish. */
export interface ControlOutcome {
  /** Which, as in the request. */
  readonly control: string;
  /** It was done, or passed on to the publisher. */
  readonly done: boolean;
  /** What comes of it, or why not. For people. */
  readonly message: string;
}

/** What is wanted of a camera. What is left out stays as it is. */
export interface ControlsWish {
  /** Open it, or close it: then its light is off, and viewers see a slate. */
  readonly running?: boolean | null;
  /** `true`: the next picture shall be a keyframe. */
  readonly keyframe?: boolean | null;
  /** Of what is encoded, kb/s. */
  readonly kbps?: number | null;
  /** Draw lines into the picture, or do not. */
  readonly overlay?: boolean | null;
  /** As the camera counts it. */
  readonly brightness?: number | null;
}

/** What is recorded. Nothing need be sent. */
export interface RecordingWish {
  /** The name of a file of its own, such as "who rang.mp4": one name without folders, 200 bytes at the most. Left out or null: files as others. */
  readonly filename?: string | null;
}

/** Whoever asks. */
export interface Me {
  readonly name: string;
  /** `admin`, `operator`, `publisher`, `viewer`, the name of a role that was made, `share`; null where the rights are somebody's own. */
  readonly role?: string | null;
  readonly rights: readonly Right[];
  /** Somebody with an account, not a token or a place. */
  readonly account: boolean;
  /** The account is one of the settings: its password is changed there. */
  readonly in_file: boolean;
}

/** What one may do to what. */
export interface Right {
  /** Of `view`, `replay`, `publish`, `operate`, `erase`, `administer`. */
  readonly actions: readonly string[];
  /** Names of streams, expressions for such that begin with `~`, or `all`. */
  readonly streams: readonly string[];
}

/** A name and a password, or a token alone. */
export interface SignIn {
  readonly name?: string;
  readonly password?: string;
  readonly token?: string;
}

export interface AcceptedLink {
  readonly code: string;
  readonly name: string;
  /** 10 to 128 characters. */
  readonly password: string;
}

export interface OpenedShare {
  readonly code: string;
  readonly password?: string;
}

export interface NewPassword {
  readonly current: string;
  /** 10 to 128 characters. */
  readonly new: string;
}

/** A session, for who may end it. */
export interface SignedInSession {
  readonly id: string;
  /** Whose. */
  readonly user: string;
  /** It is the one that asks. */
  readonly current: boolean;
  /** The address from which it began. */
  readonly remote: string;
  /** What the browser calls itself. */
  readonly agent: string;
  readonly since: string;
  readonly seen: string;
  readonly ends: string;
  /** False: it ends with the program, for the disk was full when it began. */
  readonly kept: boolean;
}

/** An API token, without itself. */
export interface ApiToken {
  readonly id: string;
  /** Whose. */
  readonly user: string;
  readonly name: string;
  /** What it may, as far as its owner may. */
  readonly rights: string;
  /** From where it counts; empty: from everywhere. */
  readonly networks: readonly string[];
  readonly since: string;
  readonly ends: string;
  /** When it was used last; null: never. */
  readonly used?: string | null;
}

/** A token that was made. */
export interface MadeToken {
  /** Itself: it is not kept, and never shown again. */
  readonly token: string;
  readonly id: string;
  /** Whose. */
  readonly user: string;
  readonly name: string;
  /** What it may, as far as its owner may. */
  readonly rights: string;
  /** From where it counts; empty: from everywhere. */
  readonly networks: readonly string[];
  readonly since: string;
  readonly ends: string;
  /** When it was used last; null: never. */
  readonly used?: string | null;
}

export interface NewToken {
  /** What it is for. */
  readonly name: string;
  /** Such as `viewer`, `view,replay door`, `publish ~^yard/`; never more than one's own. Left out: all of one's own. */
  readonly rights?: string | null;
  /** How long it is good: 90 days, unless said otherwise, 3650 at most. */
  readonly days?: number | null;
  /** From where it counts, such as `10.0.0.0/8`. Left out: from everywhere. */
  readonly networks?: readonly string[];
}

/** What players show. */
export interface PlayerPassword {
  readonly user: string;
  /** Null: none was made. */
  readonly password?: string | null;
}

/** Somebody with an account. */
export interface UserAccount {
  readonly name: string;
  /** Null: an account of the settings with rights of its own. */
  readonly role?: string | null;
  readonly streams: readonly string[];
  readonly rights: readonly Right[];
  readonly disabled: boolean;
  /** It stands in the settings, and is changed there. */
  readonly in_file: boolean;
  readonly since?: string | null;
  readonly sessions: number;
  readonly tokens: number;
}

export interface NewUser {
  readonly name: string;
  /** 10 to 128 characters. */
  readonly password: string;
  /** `admin`, `operator`, `publisher`, `viewer`, or one that was made. */
  readonly role: string;
  /** Names of streams, or expressions such as `~^yard/`. Left out: all. */
  readonly streams?: readonly string[] | null;
}

export interface ChangedUser {
  readonly role?: string | null;
  /** `["all"]`: all. */
  readonly streams?: readonly string[] | null;
  /** True: not let in, and whatever let them in ends. */
  readonly disabled?: boolean | null;
  /** 10 to 128 characters. Their sessions end. */
  readonly password?: string | null;
}

/** A role. */
export interface RoleRights {
  readonly name: string;
  /** As text, to be changed and sent back. */
  readonly rights: string;
  readonly may: readonly Right[];
  /** One of the four that there always are. */
  readonly fixed: boolean;
  readonly users: number;
}

export interface NewRole {
  /** Such as `view,replay door ; operate ~^yard/`. */
  readonly rights: string;
}

/** A link, without its code. */
export interface Link {
  readonly id: string;
  /** `first-run`, `invitation`, `share`. */
  readonly kind: string;
  readonly role: string;
  readonly streams: readonly string[];
  /** Who made it; null: with a token of the server. */
  readonly by?: string | null;
  readonly ends: string;
  /** How many may use it yet; of a share at a time. */
  readonly uses: number;
  /** A password is asked for besides. */
  readonly password: boolean;
}

/** A link that was made. */
export interface MadeLink {
  /** It is not kept, and never shown again. */
  readonly code: string;
  /** The link, from the root of the page: `first-run#CODE`, `join#CODE`, `shared#CODE`. */
  readonly path: string;
  readonly id: string;
  /** `first-run`, `invitation`, `share`. */
  readonly kind: string;
  readonly role: string;
  readonly streams: readonly string[];
  /** Who made it; null: with a token of the server. */
  readonly by?: string | null;
  readonly ends: string;
  /** How many may use it yet; of a share at a time. */
  readonly uses: number;
  /** A password is asked for besides. */
  readonly password: boolean;
}

export interface Invitation {
  /** For the first admin, while there is none: thirty minutes. Where there is one, an invitation of an admin for as long. */
  readonly first_run?: boolean;
  /** `viewer`, unless said otherwise. */
  readonly role?: string | null;
  /** Left out: all. */
  readonly streams?: readonly string[] | null;
  /** 7, unless said otherwise; 30 at most. */
  readonly days?: number | null;
}

export interface NewShare {
  /** Names of streams. */
  readonly cameras: readonly string[];
  /** 24, unless said otherwise; a year at most. */
  readonly hours?: number | null;
  /** How many may be let in at a time: 5, unless said otherwise; 100 at most. */
  readonly viewers?: number | null;
  /** Asked for besides, if there is one. */
  readonly password?: string | null;
  /** What was recorded is shared, too. */
  readonly replay?: boolean;
}

/** Somebody did something, or tried to. */
export interface AuditLine {
  readonly id: number;
  readonly at: string;
  readonly who: string;
  readonly remote: string;
  readonly action: string;
  readonly object: string;
  readonly detail: string;
  /** `done`, `refused`, `failed`. */
  readonly result: string;
  /** How often within a minute. */
  readonly times: number;
}

export interface SearchAnswer {
  /** Those that are there, or have recordings, by name. */
  readonly cameras: readonly string[];
  /** Of the newest 20,000 of all cameras; where recordings cannot be asked, nothing. */
  readonly events: readonly RecordingEvent[];
}

/** Something that happened. */
export interface RecordingEvent {
  readonly id: number;
  readonly camera: string;
  readonly kind: string;
  /** RFC 3339. */
  readonly start: string;
  readonly end: string;
  readonly score?: number | null;
  /** What else was told of it. */
  readonly data: unknown;
}

export interface Recordings {
  readonly recordings: readonly Recording2[];
  /** What went to the archive. It is played from there where it is not here any more. */
  readonly archived: readonly ArchivedRange[];
  /** What went to the archive is not known now; the log of the server says why. */
  readonly archive_unknown: boolean;
  /** Where to ask for the rest; null: that is all. */
  readonly next?: string | null;
}

/** What is recorded without a gap, or a file. */
export interface Recording2 {
  readonly id: string;
  readonly camera: string;
  /** RFC 3339. */
  readonly start: string;
  readonly end: string;
  readonly duration_ms: number;
  /** Without gaps that were not told. */
  readonly recorded_ms: number;
  readonly size_bytes: number;
  /** It as MP4; ranges for a day at the most. */
  readonly url: string;
  /** It as a list of HLS, for four hours at the most; of ranges. */
  readonly hls?: string | null;
  /** Why nothing comes behind it, where that is known: `stopped`, `stream-gone`, `clock`, `disk-slow`, `disk-failed`, `disk-full` or `killed`. */
  readonly ended?: string | null;
  /** Something else was recorded at a part of the same time: the clock was set back. */
  readonly overlaps: boolean;
  /** It is being recorded: of files alone. */
  readonly growing: boolean;
}

/** What is archived without a gap. */
export interface ArchivedRange {
  readonly id: string;
  /** RFC 3339. */
  readonly start: string;
  readonly end: string;
  readonly duration_ms: number;
  readonly size_bytes: number;
  readonly files: number;
  /** It as MP4; ranges for a day at the most. */
  readonly url: string;
  /** It as a list of HLS, for four hours at the most. */
  readonly hls: string;
}

export interface Cameras {
  readonly cameras: readonly RecordedCamera[];
}

/** Of when a camera has recordings. */
export interface RecordedCamera {
  readonly camera: string;
  readonly oldest: string;
  readonly newest: string;
}

export interface Deleted {
  /** Files that are marked: none of them is found or played any more, and each is removed from its disk at once, or when that is there again. */
  readonly marked: number;
}

export interface MotionIntensity {
  readonly camera: string;
  /** RFC 3339. */
  readonly start: string;
  readonly end: string;
  /** How long a step is; the last may be shorter. */
  readonly resolution_ms: number;
  /** The most of each step: 0 is nothing, 255 all of the picture; in between the square root of how much of it, so that little is told apart from less. */
  readonly intensity: readonly number[];
}

/** Where the pictures of a strip are. */
export interface Filmstrip {
  /** The strip, as JPEG. */
  readonly url: string;
  /** Pixels of a row of each picture. */
  readonly width: number;
  /** And rows. */
  readonly height: number;
  /** It was finished beforehand; else it was made when it was asked for. */
  readonly kept: boolean;
  /** The pictures, in order. */
  readonly tiles: readonly FilmstripTile[];
  /** Files whose pictures are missing. Not there: none. */
  readonly left_out: readonly FilmstripLeftOut[];
}

/** One of them. */
export interface FilmstripTile {
  /** When it is shown. RFC 3339. */
  readonly at: string;
  /** Its left edge in the strip, in pixels. */
  readonly x: number;
  /** Its upper edge. */
  readonly y: number;
}

/** A file whose pictures are missing. */
export interface FilmstripLeftOut {
  /** When the first that is missing would be shown. RFC 3339. */
  readonly at: string;
  /** Why, for people. */
  readonly why: string;
}

export interface AllProtected {
  readonly protected: readonly ProtectedRecording[];
}

/** A range that is never deleted. */
export interface ProtectedRecording {
  readonly id: string;
  readonly camera: string;
  readonly start: string;
  readonly end: string;
  readonly why: string;
}

export interface Events {
  readonly events: readonly RecordingEvent[];
  /** Where to ask for the rest; null: that is all. */
  readonly next?: string | null;
}

/** What is told. */
export interface NewRecordingEvent {
  readonly camera: string;
  /** Letters, digits, `.`, `_` and `-`, up to 64. */
  readonly kind: string;
  /** RFC 3339, or milliseconds of Unix time; now, where it is not said. */
  readonly start?: Time | null;
  /** A day later at the most; the start, where it is not said. */
  readonly end?: Time | null;
  readonly score?: number | null;
  /** Whatever else is known of it, 4 KiB of JSON at the most. */
  readonly data?: Anything | null;
}

export type Time = number | string;

export interface AllExports {
  readonly exports: readonly Export[];
}

/** An export. */
export interface Export {
  readonly id: string;
  readonly camera: string;
  /** The name of its file. */
  readonly name: string;
  readonly kind: ExportKind;
  /** Of a time-lapse. */
  readonly speed?: number | null;
  readonly fps?: number | null;
  readonly exact: boolean;
  /** What was asked for. RFC 3339. */
  readonly start: string;
  readonly end: string;
  /** When it was asked for. */
  readonly created: string;
  /** `queued`, `running`, `done` or `failed`. */
  readonly state: string;
  /** 0 to 100. */
  readonly percent: number;
  /** Why it failed. */
  readonly reason?: string | null;
  /** What is not as it was asked for, and why. */
  readonly note?: string | null;
  /** When it is done. */
  readonly size_bytes?: number | null;
  /** How long it plays. */
  readonly duration_ms?: number | null;
  /** From the first picture to the last that it shows. */
  readonly covers?: ExportSpan | null;
  /** What is missing in between: behind each what comes next follows at once. */
  readonly gaps: readonly ExportSpan[];
  /** In a list of exports: gaps that are not told there, where GET of the one export does. */
  readonly more_gaps: number;
  /** What is recorded and not in it, as it needs a file of its own. */
  readonly rest?: ExportRest | null;
  /** Its file, when it is done. */
  readonly url?: string | null;
}

/** What an export shows. */
export type ExportKind = "clip" | "timelapse";

/** From when to when. RFC 3339. */
export interface ExportSpan {
  readonly start: string;
  readonly end: string;
}

/** Where another export can go on. */
export interface ExportRest {
  readonly start: string;
  readonly why: string;
}

/** What is to be exported. */
export interface NewExport {
  /** The camera: the name of its stream. Either this or `cameras`. */
  readonly camera?: string | null;
  /** Several, 16 at the most: a file of each. */
  readonly cameras?: readonly string[];
  /** RFC 3339, or milliseconds of Unix time. */
  readonly start: Time;
  /** Likewise. Either this or `duration`. */
  readonly end?: Time | null;
  /** Seconds. */
  readonly duration?: number | null;
  /** What the file is called, with or without `.mp4`: one name without folders, 200 bytes at the most. Left out: camera and local time. */
  readonly name?: string | null;
  readonly kind?: ExportKind;
  /** From the very frame that is shown at the start to the last in front of the end: the pictures in front of the first keyframe are encoded again. Else it begins with the keyframe in front of the start. */
  readonly exact?: boolean;
  /** Of a time-lapse: how much faster, 2 to 10,000; 60 where it is not said. */
  readonly speed?: number | null;
  /** Of a time-lapse: pictures a second at the most, 1 to 60; 30 where it is not said. */
  readonly fps?: number | null;
}

/** What is recorded without a gap. */
export interface MediamtxRecording {
  readonly start: string;
  /** Seconds. */
  readonly duration: number;
  readonly url: string;
}
