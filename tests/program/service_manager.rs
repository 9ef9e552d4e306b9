//! A service manager, as systemd is one with `Type=notify` and `WatchdogSec`.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::support::PATIENCE;

/// Where services say how they are.
pub(crate) struct ServiceManager {
    place: PathBuf,
    socket: UnixDatagram,
}

impl ServiceManager {
    /// One that listens in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let place = folder.join("notify");
        let socket = UnixDatagram::bind(&place).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { place, socket }
    }

    /// What a service is given: it is to say that it lives every tenth of a second.
    pub(crate) fn variables(&self) -> [(&str, &str); 2] {
        [
            ("NOTIFY_SOCKET", self.place.to_str().unwrap()),
            ("WATCHDOG_USEC", "200000"),
        ]
    }

    /// What the service says next.
    pub(crate) fn told(&self) -> String {
        let mut bytes = [0; 256];
        let length = self.socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    }
}
