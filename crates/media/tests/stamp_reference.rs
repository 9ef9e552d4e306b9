//! `docs/reference/stamp.md`: what people copy from it must read what the program draws.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use media::WallTime;
use media::stamp::{self, Corner, Layout};

/// What a camera has when nobody says otherwise.
const DEFAULT_CORNER: Corner = Corner::BottomRight;

fn reference(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../docs/reference/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn page() -> String {
    reference("stamp.md")
}

/// The page's sample, with a canvas that is given the picture in the place of a browser's.
fn sample() -> String {
    let page = page();
    let (_, rest) = page.split_once("```js\n").unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    format!(
        r#"
{code}
globalThis.OffscreenCanvas = class {{
  constructor(width, height) {{ this.width = width; this.height = height; }}
  getContext() {{
    return {{
      drawImage: (video, x, y, width, height) => {{
        this.data = new Uint8Array(4 * width * height);
        for (let row = 0; row < height; row++) for (let column = 0; column < width; column++)
          this.data[4 * (row * width + column) + 1] = video.luma[(y + row) * video.videoWidth + x + column];
      }},
      getImageData: () => ({{ data: this.data }}),
    }};
  }}
}};
const input = require("fs").readFileSync(0);
const [videoWidth, videoHeight, now] = [0, 4, 8].map((at) => at < 8 ? input.readUInt32LE(at) : Number(input.readBigUInt64LE(at)));
const time = readStamp({{ videoWidth, videoHeight, luma: input.subarray(16) }}, now);
console.log(String(time));
"#
    )
}

#[test]
fn the_sample_reads_the_stamp_where_it_is_by_default() {
    let code = sample();
    for (width, height, micros) in [
        (320, 240, 1_700_000_000_123_456_i64),
        (640, 480, 1_795_271_234_567_890),
        (1_280, 720, 1_795_271_234_999_999),
        (1_920, 1_080, 2_000_000_000_000_001),
    ] {
        let mut luma = vec![90; (width * height) as usize];
        let layout = Layout::new(width, height, DEFAULT_CORNER).unwrap();
        stamp::draw(&mut luma, width as usize, &layout, WallTime::from_unix_micros(micros));
        let mut node = Command::new("node")
            .args(["-e", &code])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs the sample; `scripts/setup test` installs it");
        let mut input = node.stdin.take().unwrap();
        let now_ms = (micros / 1_000 + 40) as u64;
        for part in [
            &width.to_le_bytes()[..],
            &height.to_le_bytes(),
            &now_ms.to_le_bytes(),
            &luma,
        ] {
            input.write_all(part).unwrap();
        }
        drop(input);
        let output = node.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), micros.to_string(), "{width}×{height}");
    }
}

#[test]
fn the_page_speaks_of_the_default_corner() {
    assert!(page().contains("bottom right unless set otherwise"));
    assert!(reference("sightline.toml").contains("stamp_corner = \"bottom-right\""));
}

#[test]
fn the_table_of_places_is_true() {
    let page = page();
    let mut rows = 0;
    for (width, height) in [(320, 240), (640, 480), (1_280, 720), (1_920, 1_080)] {
        let layout = Layout::new(width, height, DEFAULT_CORNER).unwrap();
        let place = layout.rectangle();
        let mut row = String::new();
        write!(
            row,
            "| {width}×{height} | {} | {}, {}, {}, {} |",
            layout.block(),
            place.x,
            place.y,
            place.width,
            place.height
        )
        .unwrap();
        assert!(page.contains(&row), "{row}");
        rows += 1;
    }
    assert_eq!(page.matches('×').count(), rows, "rows of the table that nothing holds");
}
