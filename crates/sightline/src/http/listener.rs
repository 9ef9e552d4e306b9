//! Accepting connections, up to the limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::entrance::Entrance;
use super::{Shared, connection};
use crate::shutdown::Shutdown;

/// Wait after the operating system refused to accept: no descriptors are left, and trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One port.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) entrance: Arc<Entrance>,
    /// By TLS.
    pub(super) secure: bool,
}

/// Counts a connection as long as it lives.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Listener {
    /// Accepts until it is time to end. `open` is held by every connection until its end.
    pub(super) async fn run(self, shared: Arc<Shared>, stop: Shutdown, open: mpsc::Sender<Infallible>) {
        tokio::select! {
            () = self.accept(&shared, &stop, &open) => {}
            () = stop.requested() => {}
        }
    }

    async fn accept(&self, shared: &Arc<Shared>, stop: &Shutdown, open: &mpsc::Sender<Infallible>) {
        loop {
            let (socket, remote) = match shared.settings.gate.accept(&self.socket).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    shared.notices.listening.failed(&error, shared.clock.now());
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let limit = shared.settings.connections.get();
            if shared.open.fetch_add(1, Relaxed) >= limit {
                shared.open.fetch_sub(1, Relaxed);
                shared.notices.listening.refused(remote, limit, shared.clock.now());
                continue;
            }
            let counted = Open(Arc::clone(shared));
            let (entrance, secure, stop, open) = (Arc::clone(&self.entrance), self.secure, stop.clone(), open.clone());
            tokio::spawn(async move {
                connection::run(socket, remote, entrance, secure, &counted.0, &stop).await;
                drop((counted, open));
            });
        }
    }
}
