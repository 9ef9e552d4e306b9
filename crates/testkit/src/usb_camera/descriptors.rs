//! What the camera says of itself: USB 2.0 §9.6 and the video class 1.1 §3.

use super::{FPS, HEIGHT, WIDTH};

/// Vendor and product: pid.codes' number for tests.
pub(super) const IDS: [u16; 2] = [0x1209, 0x0001];

// Descriptor types and subtypes.
const INTERFACE_CLASS: u8 = 0x24;
const VC_HEADER: u8 = 1;
const VC_INPUT_TERMINAL: u8 = 2;
const VC_OUTPUT_TERMINAL: u8 = 3;
const VC_PROCESSING_UNIT: u8 = 5;
const VS_INPUT_HEADER: u8 = 1;
const VS_FORMAT_UNCOMPRESSED: u8 = 4;
const VS_FRAME_UNCOMPRESSED: u8 = 5;
const VS_FORMAT_MJPEG: u8 = 6;
const VS_FRAME_MJPEG: u8 = 7;
const VS_COLOR_FORMAT: u8 = 13;
const VS_FORMAT_FRAME_BASED: u8 = 16;
const VS_FRAME_FRAME_BASED: u8 = 17;

/// The descriptor that `wValue` asks for; `None`: there is no such.
pub(super) fn descriptor(value: u16) -> Option<Vec<u8>> {
    let [kind, number] = value.to_be_bytes();
    match (kind, number) {
        (1, _) => {
            let [vendor, product] = IDS.map(u16::to_le_bytes);
            let head = [18, 1, 0, 2, 0xEF, 2, 1, 64];
            Some([&head[..], &vendor, &product, &[0, 1, 1, 2, 3, 1]].concat())
        }
        (2, _) => Some(configuration()),
        (3, 0) => Some(vec![4, 3, 9, 4]),
        (3, 1) => Some(text("Sightline")),
        (3, 2) => Some(text("Test Camera")),
        (3, 3) => Some(text("0001")),
        _ => None,
    }
}

fn text(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [&[units.len() as u8 + 2, 3], &units[..]].concat()
}

/// Puts the length in front.
fn sized(body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8 + 1], body].concat()
}

fn configuration() -> Vec<u8> {
    let mut all = Vec::new();
    // Interface association: two interfaces, a video function.
    all.extend(sized(&[11, 0, 2, 14, 3, 0, 2]));
    all.extend(sized(&[4, 0, 0, 0, 14, 1, 0, 0]));
    all.extend(control());
    all.extend(sized(&[4, 1, 0, 1, 14, 2, 0, 0]));
    all.extend(streaming());
    // Bulk endpoint 0x81 with packets of 512 bytes.
    all.extend(sized(&[5, 0x81, 2, 0, 2, 0]));
    let total = (all.len() as u16 + 9).to_le_bytes();
    // One configuration of two interfaces, powered by the bus, 500 mA.
    [&sized(&[2, total[0], total[1], 2, 1, 0, 0x80, 250])[..], &all].concat()
}

/// The camera terminal (1), the processing unit (2) and the output (3) to USB.
fn control() -> Vec<u8> {
    let units = [
        // Exposure mode, exposure priority and exposure time can be set.
        sized(&[
            INTERFACE_CLASS,
            VC_INPUT_TERMINAL,
            1,
            1,
            2,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            3,
            0x0E,
            0,
            0,
        ]),
        // Brightness.
        sized(&[INTERFACE_CLASS, VC_PROCESSING_UNIT, 2, 1, 0, 0, 2, 1, 0, 0, 0]),
        sized(&[INTERFACE_CLASS, VC_OUTPUT_TERMINAL, 3, 1, 1, 0, 2, 0]),
    ]
    .concat();
    let total = (units.len() as u16 + 13).to_le_bytes();
    let clock = 48_000_000_u32.to_le_bytes();
    let head = [
        &[INTERFACE_CLASS, VC_HEADER, 0x10, 1, total[0], total[1]],
        &clock[..],
        &[1, 1],
    ]
    .concat();
    [sized(&head), units].concat()
}

fn streaming() -> Vec<u8> {
    let bytes = u32::from(WIDTH) * u32::from(HEIGHT) * 2;
    let interval = (10_000_000 / FPS).to_le_bytes();
    let sizes = [WIDTH.to_le_bytes(), HEIGHT.to_le_bytes()].concat();
    let rate = (bytes * 8 * FPS).to_le_bytes();
    let frame = |subtype: u8| {
        let head = [&[INTERFACE_CLASS, subtype, 1, 0], &sizes[..], &rate, &rate].concat();
        sized(&[&head[..], &bytes.to_le_bytes(), &interval, &[1], &interval].concat())
    };
    let frame_based = {
        let head = [&[INTERFACE_CLASS, VS_FRAME_FRAME_BASED, 1, 0], &sizes[..], &rate, &rate].concat();
        sized(&[&head[..], &interval, &[1], &[0; 4], &interval].concat())
    };
    let guid = |fourcc: &[u8; 4]| [fourcc, &b"\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71"[..]].concat();
    let colours = sized(&[INTERFACE_CLASS, VS_COLOR_FORMAT, 1, 1, 4]);
    let formats = [
        sized(&[INTERFACE_CLASS, VS_FORMAT_MJPEG, 1, 1, 1, 1, 0, 0, 0, 0]),
        frame(VS_FRAME_MJPEG),
        colours.clone(),
        sized(
            &[
                &[INTERFACE_CLASS, VS_FORMAT_UNCOMPRESSED, 2, 1],
                &guid(b"YUY2")[..],
                &[16, 1, 0, 0, 0, 0],
            ]
            .concat(),
        ),
        frame(VS_FRAME_UNCOMPRESSED),
        colours.clone(),
        sized(
            &[
                &[INTERFACE_CLASS, VS_FORMAT_FRAME_BASED, 3, 1],
                &guid(b"H264")[..],
                &[16, 1, 0, 0, 0, 0, 1],
            ]
            .concat(),
        ),
        frame_based,
        colours,
    ]
    .concat();
    let total = (formats.len() as u16 + 16).to_le_bytes();
    let head = [
        INTERFACE_CLASS,
        VS_INPUT_HEADER,
        3,
        total[0],
        total[1],
        0x81,
        0,
        3,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
    ];
    [sized(&head), formats].concat()
}
