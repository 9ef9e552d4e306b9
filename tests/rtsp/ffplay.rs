//! ffplay, in a window on a display without a screen (Xvfb): what people who measure latency look at.

use std::io::Read;

use super::delay::{Plays, SIZE, no_standing_delay_beyond};
use super::support::{Process, tool};
use super::window::display;

/// What ffplay spends on opening its window it stays behind for good, burst or not: measured 340 to 710 ms, the more the busier the
/// machine: a slower one may be busier. A burst that is not pressed together costs its defaults 3 s.
const NOISE_MS: f64 = 1_000.0;

/// A player in a window that fills the corner of its own display.
struct InWindow {
    player: Process,
    camera: Option<Process>,
    display: String,
    _screen: Process,
}

impl InWindow {
    fn play(url: &str, flags: &[&str]) -> Self {
        let (screen, display) = display();
        let (width, height) = SIZE;
        let mut command = tool("ffplay");
        command.args(["-v", "error", "-noborder", "-left", "0", "-top", "0"]);
        command.args(["-x", &width.to_string(), "-y", &height.to_string()]);
        command.args(["-rtsp_transport", "tcp"]).args(flags).args(["-i", url]);
        command
            .env("DISPLAY", &display)
            .env_remove("WAYLAND_DISPLAY")
            .env("SDL_VIDEODRIVER", "x11")
            .env("SDL_AUDIODRIVER", "dummy");
        Self {
            player: Process::start(&mut command),
            camera: None,
            display,
            _screen: screen,
        }
    }
}

impl Plays for InWindow {
    /// Pictures of the screen, 15 a second: enough, and little work beside the player.
    fn pictures(&mut self) -> impl Read {
        let (width, height) = SIZE;
        let mut command = tool("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-f", "x11grab", "-draw_mouse", "0"]);
        command.args(["-framerate", "15", "-video_size", &format!("{width}x{height}")]);
        command.args(["-probesize", "32", "-fflags", "nobuffer"]);
        command.args(["-i", &format!("{}+0,0", self.display)]);
        command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]);
        assert!(self.player.is_running(), "{:?}", self.player.said());
        self.camera.insert(Process::start(&mut command)).stdout()
    }
}

/// With these it throws away what it reads before it knows the stream, the burst included.
#[test]
fn joining_in_the_middle_of_a_gop_leaves_no_standing_delay() {
    no_standing_delay_beyond(NOISE_MS, |url| {
        InWindow::play(url, &["-fflags", "nobuffer", "-flags", "low_delay"])
    });
}

#[test]
fn nor_does_it_with_the_players_defaults() {
    no_standing_delay_beyond(NOISE_MS, |url| InWindow::play(url, &[]));
}
