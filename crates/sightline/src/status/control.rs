//! What a camera of this program does when somebody tells it to.

use device::camera::Status;
use protocol::status::Command;

use crate::camera::Camera;

/// What can be asked of a camera, and how it is set.
pub(crate) enum Controls {
    /// Its publisher is another program: it is told, and does of it what it can.
    OfPublisher,
    /// One of this program.
    Own {
        /// It is open.
        running: bool,
        /// Of what is encoded here, in kb/s; `None`: its own H.264 passes.
        kbps: Option<u32>,
        /// The lines are drawn; `None`: nothing can be.
        overlay: Option<bool>,
        /// Whether it has a brightness to set.
        has_brightness: bool,
        /// As it was set last.
        brightness: Option<i32>,
    },
}

pub(super) fn controls(camera: &Camera) -> Controls {
    let asked = camera.handle().asked();
    let encodes = !is_passing(camera);
    Controls::Own {
        running: asked.captures,
        kbps: encodes.then_some(asked.bitrate_kbps),
        overlay: encodes.then_some(asked.lines),
        has_brightness: camera.has_brightness(),
        brightness: camera.brightness(),
    }
}

fn is_passing(camera: &Camera) -> bool {
    matches!(camera.status(), Some(Status::Running { passing: true, .. }))
}

/// Does it, and says what will come of it.
///
/// # Errors
/// Why not, for people.
pub(super) fn perform(camera: &Camera, command: &Command) -> Result<String, String> {
    let handle = camera.handle();
    let passing = is_passing(camera);
    let own =
        |what: &str| format!("the camera's own H.264 passes untouched, so that its {what} cannot be changed here");
    match command {
        Command::RequestKeyframe(true) if passing => Err(own("keyframes")),
        Command::RequestKeyframe(true) => {
            handle.request_keyframe();
            Ok("the next picture is a keyframe".to_owned())
        }
        Command::SetBitrateKbps(_) if passing => Err(own("bitrate")),
        Command::SetBitrateKbps(kbps) => match u32::try_from(*kbps) {
            Ok(kbps @ 1..) => {
                handle.set_bitrate_kbps(kbps);
                Ok(format!("{kbps} kb/s"))
            }
            _ => Err(format!("{kbps} kb/s is no bitrate")),
        },
        Command::SetOverlay(_) if passing => Err(own("overlay")),
        Command::SetOverlay(on) => {
            handle.set_overlay(*on);
            Ok(if *on { "lines are shown" } else { "lines are hidden" }.to_owned())
        }
        Command::Brightness(value) if camera.set_brightness(*value) => {
            Ok(format!("the camera was asked for brightness {value}"))
        }
        Command::Brightness(_) => Err("this camera has no brightness to set".to_owned()),
        Command::RequestKeyframe(false) => Err("nothing was asked for".to_owned()),
        Command::StartStream(true) => {
            handle.set_capture(true);
            Ok("the camera is opened".to_owned())
        }
        Command::StopStream(true) => {
            handle.set_capture(false);
            Ok("the camera is closed; viewers see that it is switched off".to_owned())
        }
        Command::StartStream(false) | Command::StopStream(false) => Err("nothing was asked for".to_owned()),
        Command::StartRecording(_) | Command::StopRecording(_) => {
            Err("a publisher records nothing itself: the server that it publishes to does".to_owned())
        }
        Command::CameraName(_) => Err("a camera keeps its name while it runs".to_owned()),
    }
}
