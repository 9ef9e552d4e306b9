//! FFmpeg plays it, and decodes without a complaint.

use std::time::Duration;

use serde_json::Value;

use crate::origin::{camera, url};
use crate::support::{Process, Server, h264_of_ffmpeg, publish_encoded_with_ffmpeg, tool};

/// Of the 120 pictures of four seconds; a machine that is busy with other tests drops some at their source.
const MOST_OF_THEM: u64 = 60;

/// Plays four seconds and says how many frames were decoded.
fn play(url: &str) -> u64 {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-progress", "pipe:1", "-i", url, "-t", "4"]);
    let mut player = Process::start(command.args(["-f", "null", "-"]));
    player.collect_stdout();
    let (status, said) = player.finish();
    assert!(status.success(), "{said:?}");
    // Besides progress it says nothing: no error.
    let complaint = said.iter().find(|line| !line.contains('='));
    assert_eq!(complaint, None);
    let mut frames = said
        .iter()
        .filter_map(|line| line.strip_prefix("frame=")?.trim().parse().ok());
    frames.next_back().unwrap()
}

/// Codec of each stream.
fn codecs(url: &str) -> Vec<String> {
    let mut command = tool("ffprobe");
    command.args(["-v", "error", "-show_streams", "-of", "json", url]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let probed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let streams = probed["streams"].as_array().unwrap().iter();
    streams
        .map(|stream| stream["codec_name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn plays_a_camera_of_ours() {
    let server = camera(&[]);
    let url = url(&server, "zerolatency");
    assert!(play(&url) > MOST_OF_THEM);
    assert_eq!(codecs(&url), ["h264"]);
}

/// Publishes with these options, plays, and gives the codecs.
fn published(options: &str) -> Vec<String> {
    let mut server = Server::start(&["--open"]);
    let _publisher = publish_encoded_with_ffmpeg(&mut server, "house/door", "tcp", options);
    let url = url(&server, "house/door");
    let frames = play(&url);
    assert!(frames > MOST_OF_THEM, "{frames}");
    codecs(&url)
}

#[test]
fn plays_h264_and_aac() {
    let options = format!(
        "-f lavfi -i sine=frequency=440:sample_rate=44100 {} -c:a aac",
        h264_of_ffmpeg(30)
    );
    assert_eq!(published(&options), ["h264", "aac"]);
}

#[test]
fn plays_h264_with_b_frames_and_opus() {
    let options =
        "-f lavfi -i sine=frequency=440:sample_rate=48000 -c:v libx264 -preset ultrafast -bf 2 -g 30 -c:a libopus";
    assert_eq!(published(options), ["h264", "opus"]);
}

#[test]
fn plays_h265() {
    let options = "-c:v libx265 -preset ultrafast -tune zerolatency -x265-params keyint=30:log-level=error";
    assert_eq!(published(options), ["hevc"]);
}

/// Sound that players do not take is no obstacle to the picture.
#[test]
fn plays_the_picture_where_the_sound_cannot_be_played() {
    let options = format!(
        "-f lavfi -i sine=frequency=440:sample_rate=8000 {} -c:a pcm_mulaw",
        h264_of_ffmpeg(30)
    );
    assert_eq!(published(&options), ["h264"]);
}

/// As x264 does by itself: a keyframe every 250 pictures. The first viewer has a picture before the second one comes.
#[test]
fn plays_when_keyframes_are_far_apart() {
    let mut server = Server::start(&["--open"]);
    let _publisher = publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", &h264_of_ffmpeg(250));
    std::thread::sleep(Duration::from_secs(2));
    assert!(play(&url(&server, "cam")) > MOST_OF_THEM);
}
