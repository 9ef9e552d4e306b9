//! A window that shows the newest picture of a source.
//!
//! Belongs here: the window, its keys, pictures fitted into it. Does not belong here: where pictures come from, what is drawn into them
//! ([`crate::receive`], [`crate::publish`]).

#[cfg(target_os = "linux")]
mod x11;

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use device::decode::to_bgra;
use device::picture::Picture;
use tokio::runtime::Runtime;
use tokio::task::JoinError;
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, EventLoopProxy};
use winit::keyboard::Key;
#[cfg(target_os = "linux")]
use winit::raw_window_handle::{HasWindowHandle as _, RawWindowHandle};

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
#[error("cannot open a window: {0}")]
pub struct Error(String);

/// A display to open a window on. Lives on the main thread, where windows must.
pub(crate) struct Window {
    event_loop: EventLoop<Wake>,
    screen: Screen,
}

/// Where pictures for the window are put, from any thread: the newest wins.
#[derive(Clone)]
pub(crate) struct Screen {
    newest: Arc<Mutex<Option<Picture>>>,
    proxy: EventLoopProxy<Wake>,
}

/// Why the window's loop is woken.
#[derive(Clone, Copy, Debug)]
enum Wake {
    Picture,
    Close,
}

impl Screen {
    /// Shows a picture in place of the one before. Never waits.
    pub(crate) fn show(&self, picture: Picture) {
        let before = self
            .newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(picture);
        // The loop was woken for the one before and has not come to it yet: once is enough, and keeps its queue short when the display
        // hangs.
        if before.is_none() {
            // Fails only when the window is gone, and then nobody misses the picture.
            let _ = self.proxy.send_event(Wake::Picture);
        }
    }
}

/// Closes the window when dropped, also by a panic.
struct Closing(EventLoopProxy<Wake>);

impl Drop for Closing {
    fn drop(&mut self) {
        let _ = self.0.send_event(Wake::Close);
    }
}

impl Window {
    /// Connects to the display. Nothing is on the screen before [`Window::run_beside`].
    ///
    /// # Errors
    /// When there is no display.
    pub(crate) fn new() -> Result<Self, Error> {
        let built = EventLoop::<Wake>::with_user_event().build();
        let event_loop = built.map_err(|error| Error(reason(&error)))?;
        event_loop.set_control_flow(ControlFlow::Wait);
        let screen = Screen {
            newest: Arc::default(),
            proxy: event_loop.create_proxy(),
        };
        Ok(Self { event_loop, screen })
    }

    /// Where its pictures are put.
    pub(crate) fn screen(&self) -> Screen {
        self.screen.clone()
    }

    /// Runs `work`, which knows [`Window::screen`], and shows what it puts there until it ends. When the window ends before it, by `q`, by
    /// being closed or because the display fails, `ask` is to ask it to end; then it is waited for.
    ///
    /// Gives how window and work ended.
    pub(crate) fn run_beside<T: Send + 'static>(
        self,
        title: String,
        runtime: &Runtime,
        work: impl Future<Output = T> + Send + 'static,
        ask: impl FnOnce(),
    ) -> (Result<(), Error>, Result<T, JoinError>) {
        let closing = Closing(self.event_loop.create_proxy());
        let working = runtime.spawn(async move {
            let _closing = closing;
            work.await
        });
        let shown = self.show(title);
        ask();
        (shown, runtime.block_on(working))
    }

    fn show(self, title: String) -> Result<(), Error> {
        let mut view = View {
            title,
            newest: self.screen.newest,
            shown: None,
            surface: None,
            pixels: Vec::new(),
            failed: None,
        };
        let ran = self.event_loop.run_app(&mut view);
        match view.failed {
            Some(why) => Err(Error(why)),
            None => ran.map_err(|error| Error(reason(&error))),
        }
    }
}

/// What the display says, without the place in the library that says so.
fn reason(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let said = text.strip_prefix("os error at ").and_then(|rest| rest.split_once(": "));
    said.map_or(text.as_str(), |(_, why)| why)
        .trim_end_matches('.')
        .to_owned()
}

type Handle = Rc<winit::window::Window>;

/// How pictures come into the window.
enum Surface {
    #[cfg(target_os = "linux")]
    X11(Box<x11::Painter>, Vec<u32>),
    Other(softbuffer::Surface<Handle, Handle>),
}

impl Surface {
    fn new(window: &Handle) -> Result<Self, String> {
        #[cfg(target_os = "linux")]
        if let RawWindowHandle::Xlib(x11) = window.window_handle().map_err(|error| error.to_string())?.as_raw() {
            let id = u32::try_from(x11.window).map_err(|error| error.to_string())?;
            return Ok(Self::X11(Box::new(x11::Painter::new(id)?), Vec::new()));
        }
        let context = softbuffer::Context::new(window.clone()).map_err(|error| error.to_string())?;
        let surface = softbuffer::Surface::new(&context, window.clone()).map_err(|error| error.to_string())?;
        Ok(Self::Other(surface))
    }

    /// Shows what `draw` draws (0RGB) in a window of that size.
    fn paint(&mut self, width: NonZeroU32, height: NonZeroU32, draw: impl FnOnce(&mut [u32])) -> Result<(), String> {
        match self {
            #[cfg(target_os = "linux")]
            Self::X11(painter, pixels) => {
                pixels.resize(width.get() as usize * height.get() as usize, 0);
                draw(pixels);
                painter.paint(pixels, width.get(), height.get())
            }
            Self::Other(surface) => {
                surface.resize(width, height).map_err(|error| error.to_string())?;
                let mut buffer = surface.buffer_mut().map_err(|error| error.to_string())?;
                draw(&mut buffer);
                buffer.present().map_err(|error| error.to_string())
            }
        }
    }
}

struct View {
    title: String,
    newest: Arc<Mutex<Option<Picture>>>,
    /// What is on the screen, for when the window is uncovered or resized.
    shown: Option<Picture>,
    surface: Option<(Handle, Surface)>,
    pixels: Vec<u8>,
    failed: Option<String>,
}

impl View {
    fn open(&mut self, event_loop: &ActiveEventLoop) -> Result<(), String> {
        let attributes = winit::window::Window::default_attributes()
            .with_title(self.title.clone())
            .with_inner_size(PhysicalSize::new(640_u32, 480_u32));
        let window = Rc::new(event_loop.create_window(attributes).map_err(|error| reason(&error))?);
        let surface = Surface::new(&window)?;
        self.surface = Some((window, surface));
        Ok(())
    }

    /// Takes the newest picture.
    fn take(&mut self) {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(picture) = newest else { return };
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
        to_bgra(picture, &mut self.pixels);
        let from = (picture.width() as usize, picture.height() as usize);
        let to = (size.width as usize, size.height as usize);
        surface.paint(width, height, |target| fit(&self.pixels, from, target, to))
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
            self.failed = Some(why);
            event_loop.exit();
        }
    }

    fn user_event(&mut self, event_loop: &ActiveEventLoop, wake: Wake) {
        match wake {
            Wake::Picture => self.take(),
            Wake::Close => event_loop.exit(),
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _: winit::window::WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => event_loop.exit(),
            WindowEvent::KeyboardInput { event, .. } if event.state == ElementState::Pressed => {
                if matches!(event.logical_key.as_ref(), Key::Character("q" | "Q")) {
                    event_loop.exit();
                }
            }
            WindowEvent::RedrawRequested => {
                if let Err(why) = self.paint() {
                    self.failed = Some(why);
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
    fn a_library_s_source_files_are_no_reason() {
        for (said, told) in [
            ("os error at /a/x.rs:7: no display.", "no display"),
            ("os error at /a/x.rs:7: no display: none", "no display: none"),
            ("Exit Failure: 1", "Exit Failure: 1"),
        ] {
            assert_eq!(reason(&said), told);
        }
    }

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
