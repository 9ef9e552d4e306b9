/**
 * Reads the stamp from the picture on the screen (docs/reference/stamp.md). Functions in here run inside the page, which is why each holds all
 * that it needs.
 */

/**
 * Begins to read the stamp of each picture that comes onto the screen, whichever element shows it.
 * Leaves `window.stamps`: `readings` of `{ stampMs, callbackMs, displayMs, receiveMs, at }`, the newest ten seconds; `frames` and those `unread`; `firstMs`, from
 * opening the page to its first picture.
 */
export function watchStamps() {
  const clock = window.trueClock ?? { wallMs: () => performance.timeOrigin + performance.now() };
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const stamps = { readings: [], frames: 0, unread: 0, firstMs: null };
  window.stamps = stamps;
  let [watched, turns] = [null, 0];

  const read = (video) => {
    const width = video.videoWidth;
    const block = Math.min(128, Math.max(6, Math.floor(width / 80) & ~1));
    const left = (width - 20 * block) & ~1;
    const top = (video.videoHeight - 7 * block) & ~1;
    [canvas.width, canvas.height] = [18 * block, 5 * block];
    context.drawImage(video, left, top, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const sample = (column, row) => data[4 * ((row + 0.5) * block * canvas.width + (column + 0.5) * block) + 1];
    return time(sample);
  };
  /** UTC in milliseconds, or null. */
  const time = (sample) => {
    let threshold = 0;
    for (let column = 0; column < 18; column++) threshold += sample(column, 0) / 18;
    const white = (column, row) => sample(column, row) > threshold;
    for (let column = 0; column < 18; column++) if (white(column, 0) !== (column % 2 === 0)) return null;
    const words = [];
    for (let row = 1; row < 5; row++) {
      if (white(0, row) !== (row % 2 === 0) || white(17, row) !== (row % 2 === 1)) return null;
      let word = 0;
      for (let column = 1; column < 17; column++) word = (word << 1) | white(column, row);
      words.push(word);
    }
    let crc = 0xffff;
    for (const word of words.slice(0, 3)) {
      for (let bit = 15; bit >= 0; bit--) {
        const feedback = (crc >> 15) ^ ((word >> bit) & 1);
        crc = ((crc << 1) & 0xffff) ^ (feedback ? 0x1021 : 0);
      }
    }
    if (crc !== words[3]) return null;
    const low = (BigInt(words[0]) << 32n) | (BigInt(words[1]) << 16n) | BigInt(words[2]);
    const near = BigInt(Math.round(clock.wallMs())) * 1000n;
    return Number(near + BigInt.asIntN(48, low - near)) / 1000;
  };
  const each = (video, turn) => (callbackMs, frame) => {
    // An element may be left and come back.
    if (turn !== turns) return;
    video.requestVideoFrameCallback(each(video, turn));
    stamps.frames++;
    stamps.firstMs ??= performance.now();
    const stampMs = read(video);
    if (stampMs === null) {
      stamps.unread++;
      return;
    }
    // By the true wall clock, whatever the page is made to believe.
    const toWall = clock.wallMs() - performance.now();
    const [callback, display] = [callbackMs + toWall, frame.expectedDisplayTime + toWall];
    // By WebRTC alone: when its last packet came.
    const receiveMs = frame.receiveTime === undefined ? null : frame.receiveTime + toWall;
    stamps.readings.push({ stampMs, callbackMs: callback, displayMs: display, receiveMs, at: performance.now() });
    while (stamps.readings[0].at < performance.now() - 10_000) stamps.readings.shift();
  };
  const look = () => {
    const video = document.getElementById('video-stream') ?? document.querySelector('video');
    if (video && video !== watched) {
      watched = video;
      video.requestVideoFrameCallback(each(video, ++turns));
    }
  };
  setInterval(look, 20);
}

/** Makes the page's wall clock wrong by so much; what is left of the truth is `window.trueClock`. */
export function setClockWrong(byMs) {
  const [now, timeOrigin] = [Date.now.bind(Date), performance.timeOrigin];
  const toWall = now() - performance.now();
  window.trueClock = { wallMs: () => performance.now() + toWall };
  Date.now = () => now() + byMs;
  Object.defineProperty(Performance.prototype, 'timeOrigin', { get: () => timeOrigin + byMs });
}
