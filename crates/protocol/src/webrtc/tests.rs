//! Sessions against str0m's own client side, over simulated time and lossy links.

mod client;
mod negotiation;
pub(crate) mod offers;
mod publishing;
mod pushing;
mod viewing;
mod viewing_ours;

use std::sync::{Arc, LazyLock};

use super::{Candidate, Config, Identity, Transport};

/// One for all tests: making it is the slow part.
pub(super) static IDENTITY: LazyLock<Arc<Identity>> =
    LazyLock::new(|| Arc::new(Identity::generate().expect("a certificate")));

const SERVER: &str = "10.0.0.1:8189";
const CLIENT: &str = "10.0.0.2:50000";

fn config() -> Config {
    let address = SERVER.parse().expect("an address");
    let candidate = |transport| Candidate { transport, address };
    Config {
        identity: IDENTITY.clone(),
        candidates: [candidate(Transport::Udp), candidate(Transport::Tcp)].into(),
    }
}

/// Numbers that look random and are the same in every run.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    move || rng.u64(..)
}
