//! What a camera of this program does when somebody tells it to.

use device::camera::Status;
use protocol::status::Command;

use crate::camera::Camera;

/// Does it, and says what will come of it.
///
/// # Errors
/// Why not, for people.
pub(super) fn perform(camera: &Camera, command: &Command) -> Result<String, String> {
    let handle = camera.handle();
    let passing = matches!(camera.status(), Some(Status::Running { passing: true, .. }));
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
