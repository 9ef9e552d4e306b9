//! The window of display mode.
//!
//! Belongs here: a window that always shows the newest picture with the receiver's lines on it. Does not belong here: decoding,
//! measuring ([`super::worker`]).

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use device::decode::to_bgra;
use device::overlay::{Color, Corner, Lines, Measured as Figures, Overlay};
use device::picture::Picture;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, EventLoopProxy};
use winit::keyboard::Key;
use winit::window::{Window, WindowId};

use super::worker::{Measured, Sink};
use super::{Error, Options, session};

/// Where the decoding thread puts pictures: the newest wins.
pub(super) struct Screen {
    newest: Arc<Mutex<Option<Measured>>>,
    proxy: EventLoopProxy<Wake>,
}

impl Screen {
    pub(super) fn show(&self, measured: Measured) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(measured);
        // Fails only when the window is gone, and then nobody misses the picture.
        let _ = self.proxy.send_event(Wake::Picture);
    }
}

/// Why the window's loop is woken.
#[derive(Clone, Copy, Debug)]
enum Wake {
    Picture,
    Quit,
}

/// Shows the stream until the window is closed, `q` is pressed or `quit` comes.
pub(super) fn run(
    options: &Options,
    runtime: &Runtime,
    quit: &Arc<watch::Sender<bool>>,
    mut quits: watch::Receiver<bool>,
) -> Result<(), Error> {
    let event_loop = EventLoop::<Wake>::with_user_event()
        .build()
        .map_err(|error| Error::Window(error.to_string()))?;
    event_loop.set_control_flow(ControlFlow::Wait);
    let newest = Arc::new(Mutex::new(None));
    let screen = Screen {
        newest: newest.clone(),
        proxy: event_loop.create_proxy(),
    };
    let proxy = event_loop.create_proxy();
    let (session_options, session_quits) = (options.clone(), quits.clone());
    let session = runtime.spawn(async move {
        let result = session::run(&session_options, Sink::Screen(screen), session_quits).await;
        let _ = proxy.send_event(Wake::Quit);
        result
    });
    let proxy = event_loop.create_proxy();
    runtime.spawn(async move {
        let _ = quits.wait_for(|&quit| quit).await;
        let _ = proxy.send_event(Wake::Quit);
    });
    let mut view = View {
        title: format!("Sightline: {}", options.url),
        utc_offset_seconds: options.utc_offset_seconds,
        newest,
        shown: None,
        surface: None,
        overlay: Overlay::new(Color::RED, Corner::TopLeft),
        lines: Lines::default(),
        pixels: Vec::new(),
        failed: None,
    };
    let ran = event_loop
        .run_app(&mut view)
        .map_err(|error| Error::Window(error.to_string()));
    quit.send_replace(true);
    let failed = view.failed.take();
    let received = runtime.block_on(session).unwrap_or(Ok(()));
    failed.map_or(ran, Err).and(received)
}

type Surface = softbuffer::Surface<Rc<Window>, Rc<Window>>;

struct View {
    title: String,
    utc_offset_seconds: i32,
    newest: Arc<Mutex<Option<Measured>>>,
    /// What is on the screen, for when the window is uncovered or resized.
    shown: Option<Picture>,
    surface: Option<(Rc<Window>, Surface)>,
    overlay: Overlay,
    lines: Lines,
    pixels: Vec<u8>,
    failed: Option<Error>,
}

impl View {
    fn open(&mut self, event_loop: &ActiveEventLoop) -> Result<(), String> {
        let attributes = Window::default_attributes()
            .with_title(self.title.clone())
            .with_inner_size(PhysicalSize::new(640_u32, 480_u32));
        let window = Rc::new(
            event_loop
                .create_window(attributes)
                .map_err(|error| error.to_string())?,
        );
        let context = softbuffer::Context::new(window.clone()).map_err(|error| error.to_string())?;
        let surface = Surface::new(&context, window.clone()).map_err(|error| error.to_string())?;
        self.surface = Some((window, surface));
        Ok(())
    }

    /// Takes the newest picture, draws the lines into it.
    fn take(&mut self) {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(measured) = newest else { return };
        let mut picture = measured.decoded.picture;
        let figures = Figures {
            fps: measured.fps,
            latency_ms: Some(measured.age_us as f64 / 1_000.0),
        };
        let lines = self.lines.receiver(measured.ready, self.utc_offset_seconds, figures);
        self.overlay.draw(&mut picture, lines);
        let size = (picture.width(), picture.height());
        let before = self.shown.as_ref().map(|picture| (picture.width(), picture.height()));
        if let Some((window, _)) = &self.surface {
            if before != Some(size) {
                let _ = window.request_inner_size(PhysicalSize::new(size.0, size.1));
            }
            window.request_redraw();
        }
        self.shown = Some(picture);
    }

    fn paint(&mut self) -> Result<(), String> {
        let (Some((window, surface)), Some(picture)) = (&mut self.surface, &self.shown) else {
            return Ok(());
        };
        let size = window.inner_size();
        let (Some(width), Some(height)) = (NonZeroU32::new(size.width), NonZeroU32::new(size.height)) else {
            return Ok(());
        };
        surface.resize(width, height).map_err(|error| error.to_string())?;
        to_bgra(picture, &mut self.pixels);
        let mut buffer = surface.buffer_mut().map_err(|error| error.to_string())?;
        let from = (picture.width() as usize, picture.height() as usize);
        fit(
            &self.pixels,
            from,
            &mut buffer,
            (size.width as usize, size.height as usize),
        );
        buffer.present().map_err(|error| error.to_string())
    }
}

/// Scales pixels (blue, green, red, –) to fill as much of the target (0RGB) as keeps their shape; the rest is black. Nearest pixel:
/// what is measured should not be blurred.
fn fit(pixels: &[u8], from: (usize, usize), target: &mut [u32], to: (usize, usize)) {
    let (from_width, from_height) = from;
    let (to_width, to_height) = to;
    target.fill(0);
    if from_width == 0 || from_height == 0 || to_width == 0 {
        return;
    }
    // The smaller of both scales, as a fraction over `from`.
    let (width, height) = if to_width * from_height <= to_height * from_width {
        (to_width, from_height * to_width / from_width)
    } else {
        (from_width * to_height / from_height, to_height)
    };
    let (left, top) = ((to_width - width) / 2, (to_height - height) / 2);
    let rows = target.chunks_exact_mut(to_width).skip(top).take(height);
    for (y, row) in rows.enumerate() {
        let source = pixels
            .chunks_exact(from_width * 4)
            .nth(y * from_height / height.max(1))
            .unwrap_or_default();
        for (x, out) in row.iter_mut().skip(left).take(width).enumerate() {
            let at = x * from_width / width.max(1) * 4;
            if let Some(&[blue, green, red, _]) = source.get(at..at + 4).and_then(|pixel| pixel.first_chunk()) {
                *out = u32::from_be_bytes([0, red, green, blue]);
            }
        }
    }
}

impl ApplicationHandler<Wake> for View {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.surface.is_none()
            && let Err(why) = self.open(event_loop)
        {
            self.failed = Some(Error::Window(why));
            event_loop.exit();
        }
    }

    fn user_event(&mut self, event_loop: &ActiveEventLoop, wake: Wake) {
        match wake {
            Wake::Picture => self.take(),
            Wake::Quit => event_loop.exit(),
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => event_loop.exit(),
            WindowEvent::KeyboardInput { event, .. } if event.state == ElementState::Pressed => {
                if matches!(event.logical_key.as_ref(), Key::Character("q" | "Q")) {
                    event_loop.exit();
                }
            }
            WindowEvent::RedrawRequested => {
                if let Err(why) = self.paint() {
                    self.failed = Some(Error::Window(why));
                    event_loop.exit();
                }
            }
            WindowEvent::Resized(_) => {
                if let Some((window, _)) = &self.surface {
                    window.request_redraw();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_shape_in_any_window() {
        // Four white pixels, 2×2.
        let pixels = [255; 16];
        let mut target = [7; 6 * 4];
        fit(&pixels, (2, 2), &mut target, (6, 4));
        for row in target.chunks(6) {
            assert_eq!(row, [0, 0xff_ffff, 0xff_ffff, 0xff_ffff, 0xff_ffff, 0]);
        }
        let mut none: [u32; 0] = [];
        fit(&pixels, (2, 2), &mut none, (0, 4));
    }

    #[test]
    fn colours_and_places_are_kept() {
        let pixels = [1, 2, 3, 255, 4, 5, 6, 255];
        let mut target = [0; 2];
        fit(&pixels, (2, 1), &mut target, (2, 1));
        assert_eq!(target, [0x0003_0201, 0x0006_0504]);
    }
}
