//! All cameras of a program: started one after the other, ended all at once.
//!
//! Belongs here: that no camera is forgotten, however far the start has come when the program is to end: a camera's child process in a
//! group of its own would outlive us and keep the device. Does not belong here: what one camera does.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::hub::Hub;
use media::{Clock, StreamName};
use tokio::task::{self, JoinHandle};

use super::{Camera, Lowers};
use crate::config::settings;

/// A camera that is to run, by the name of its stream.
pub type Wanted = (StreamName, settings::Camera);

/// The cameras of a program.
pub struct Cameras {
    shared: Arc<Shared>,
    starting: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    running: Vec<Arc<Camera>>,
    stopping: bool,
}

impl Cameras {
    /// Starts them on a thread of their own: looking for a camera may take seconds, and stopping must not wait for it. `lowers` is told of each. To be called
    /// within a runtime.
    pub fn start(wanted: Vec<Wanted>, lowers: Arc<Lowers>, hub: Hub, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared::default());
        let to = Arc::clone(&shared);
        let starting = task::spawn_blocking(move || {
            for (name, settings) in wanted {
                let (hub, clock) = (hub.clone(), Arc::clone(&clock));
                let started = Camera::start(name, &settings, hub, clock, crate::clock::zone(), &|| {
                    to.lock().stopping
                })?;
                lowers.runs(&started.name, started.maker());
                to.add(started);
            }
            Ok(())
        });
        Self { shared, starting }
    }

    /// Waits until all are started, and gives them. To be asked once.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub async fn started(&mut self) -> io::Result<Vec<Arc<Camera>>> {
        // A panic in it was reported already; those before it run.
        (&mut self.starting).await.unwrap_or(Ok(()))?;
        Ok(self.shared.lock().running.clone())
    }

    /// Tells all that they end, without waiting for them; what is being started is given up.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// The same for somebody else to call.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.stop()
    }

    /// Ends all of them, side by side: each waits most of a second for a device that hangs. Whoever was given them must have let go.
    pub async fn end(self) {
        self.stop();
        let running = std::mem::take(&mut self.shared.lock().running);
        let ending: Vec<_> = running
            .into_iter()
            .map(|camera| task::spawn_blocking(move || drop(camera)))
            .collect();
        for camera in ending {
            let _ = camera.await;
        }
        // It sees that it should stop. Once it is through, it has nothing more to give.
        if !self.starting.is_finished() {
            let _ = self.starting.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut list = self.lock();
        list.stopping = true;
        for camera in &list.running {
            camera.handle().stop();
        }
    }

    /// Keeps a camera; ends it at once when all are to end.
    fn add(&self, camera: Camera) {
        let mut list = self.lock();
        if list.stopping {
            drop(list);
            drop(camera);
        } else {
            list.running.push(Arc::new(camera));
        }
    }
}
