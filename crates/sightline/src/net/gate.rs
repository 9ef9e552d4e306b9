//! Whether newcomers are let in.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What all listeners of a program accept through: open, until its keeper closes it. Whoever comes then waits with the operating system.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Gate(Option<watch::Receiver<bool>>);

/// Closes the gate.
#[derive(Debug)]
pub struct Keeper(watch::Sender<bool>);

impl Keeper {
    /// Nobody is accepted any more.
    pub fn close(&self) {
        self.0.send_replace(true);
    }

    /// The gate that it keeps.
    pub fn gate(&self) -> Gate {
        Gate(Some(self.0.subscribe()))
    }
}

impl Default for Keeper {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// The next who comes.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        tokio::select! {
            biased;
            () = self.closed() => std::future::pending().await,
            accepted = listener.accept() => accepted,
        }
    }

    async fn closed(&self) {
        let Some(closed) = &self.0 else {
            return std::future::pending().await;
        };
        // A keeper that is gone closes nothing any more.
        if closed.clone().wait_for(|&closed| closed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    /// Without waiting: nobody is there, or nobody is let in.
    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn a_closed_gate_lets_nobody_in_and_refuses_nobody() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let keeper = Keeper::default();
        let gate = keeper.gate();
        let _first = TcpStream::connect(address).await.unwrap();
        gate.accept(&listener).await.unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        keeper.close();
        assert!(tokio::time::timeout(AT_ONCE, gate.accept(&listener)).await.is_err());
        // It is still in the queue.
        listener.accept().await.unwrap();
    }

    #[tokio::test]
    async fn a_gate_without_keeper_is_open() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Keeper::default().gate();
        for gate in [Gate::default(), kept] {
            let _client = TcpStream::connect(address).await.unwrap();
            gate.accept(&listener).await.unwrap();
        }
    }
}
