use super::*;

#[test]
fn one() {
    let mut luma = vec![100; 640 * 480];
    let t = WallTime::from_unix_micros(1_700_000_000_123_456);
    let l = Layout::new(640, 480, Corner::TopRight).unwrap();
    draw(&mut luma, 640, &l, t);
    let r = read(&luma, 640, 640, 480, t.offset_micros(5_000_000));
    assert_eq!(r.unwrap().time, t, "{r:?}");
}
