//! What the service manager is told: that everything listens, that it ends, that it still goes round (`sd_notify(3)`).
//!
//! Belongs here: nothing else. Without a manager, which names its socket in `NOTIFY_SOCKET`, nothing is told to anybody.

use crate::shutdown::Shutdown;

/// Clients may come: all ports listen.
pub(super) fn tell_ready() {
    #[cfg(unix)]
    tell(&[sd_notify::NotifyState::Ready]);
}

/// Another process takes the place of this one, and tells from now on how things are. The time until its first sign of life begins anew.
#[cfg(target_os = "linux")]
pub(super) fn tell_successor(pid: u32) {
    tell(&[sd_notify::NotifyState::Watchdog, sd_notify::NotifyState::MainPid(pid)]);
}

/// The program ends.
pub(super) fn tell_stopping() {
    #[cfg(unix)]
    tell(&[sd_notify::NotifyState::Stopping]);
}

/// Tells it twice in each interval that the manager waits for a sign of life. It comes from among all tasks, so that it does not come when those hang.
pub(super) async fn keep_awake(shutdown: Shutdown) {
    #[cfg(unix)]
    if let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) {
        let mut ticks = tokio::time::interval(interval / 2);
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                _ = ticks.tick() => tell(&[sd_notify::NotifyState::Watchdog]),
            }
        }
    }
    shutdown.requested().await;
}

#[cfg(unix)]
fn tell(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how things are; without it a unit of Type=notify is ended");
    }
}
