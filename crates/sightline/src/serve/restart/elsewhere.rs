//! Without it: descriptors of others cannot be had here as on Linux.

use std::io;

use crate::net::{Gate, Keeper, Named};
use crate::shutdown::Shutdown;

/// There is none.
#[derive(Debug)]
pub(crate) enum Predecessor {}

/// Runs what serves.
pub(crate) fn in_turn<E>(
    run: impl FnOnce(Option<Predecessor>) -> Result<(), E>,
    _: impl FnOnce(String) -> E,
) -> Result<(), E> {
    run(None)
}

impl Predecessor {
    pub(in crate::serve) fn take_sockets(&mut self) -> Vec<Named> {
        match *self {}
    }

    pub(in crate::serve) async fn turn(self, _: &Shutdown) -> io::Result<bool> {
        match self {}
    }
}

/// Never happens.
pub(in crate::serve) struct Restart(Keeper);

impl Restart {
    pub(in crate::serve) fn new(_: Vec<Named>) -> io::Result<Self> {
        Ok(Self(Keeper::default()))
    }

    pub(in crate::serve) fn gate(&self) -> Gate {
        self.0.gate()
    }

    pub(in crate::serve) fn serves(&self) {}

    pub(in crate::serve) fn is_under_way(&self) -> bool {
        false
    }

    pub(in crate::serve) fn give_up(&self) {}

    pub(in crate::serve) async fn prepare(&self) {
        std::future::pending::<()>().await;
    }

    pub(in crate::serve) fn finish(&self) -> bool {
        true
    }
}
