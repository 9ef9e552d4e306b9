//! A stream of a camera that is asked by ONVIF where it is, at each attempt anew: paths change with its firmware and its settings.
//!
//! Belongs here: asking before fetching, what goes wrong with that in our words. Does not belong here: the questions ([`crate::onvif`]), fetching
//! ([`super::rtsp`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use protocol::onvif::ReadError;

use super::plan::Plan;
use super::{Cause, Ended, Sink, Source, Trouble, Why, rtsp};
use crate::config::onvif_url::Device;
use crate::fetch::FetchError;
use crate::onvif::{Camera, Failed, LoginRefused, Place};
use crate::secret::redacted_url;
use crate::shutdown::Shutdown;

/// All questions together: four or five, of which a slow camera answers each in a second.
const RESOLVE_WITHIN: Duration = Duration::from_secs(15);

/// Asks for one stream.
pub(super) struct Pull {
    device: Device,
    plan: Plan,
    clock: Arc<dyn Clock>,
    random: fn() -> u64,
}

impl Pull {
    pub(super) fn new(device: Device, plan: &Plan, clock: Arc<dyn Clock>, random: fn() -> u64) -> Self {
        Self {
            device,
            plan: plan.clone(),
            clock,
            random,
        }
    }

    async fn resolve(&self) -> Result<Place, Failed> {
        let device = &self.device;
        let (trust, clock) = (self.plan.trust.clone(), Arc::clone(&self.clock));
        let mut camera = Camera::new(
            device.service.clone(),
            device.account.clone(),
            trust,
            clock,
            self.random,
        );
        let resolving = tokio::time::timeout(RESOLVE_WITHIN, camera.resolve(&device.wanted));
        resolving.await.unwrap_or_else(|_| {
            Err(Failed::Slow {
                host: device.service.host_str().unwrap_or_default().to_owned(),
                after: RESOLVE_WITHIN,
            })
        })
    }
}

impl Source for Pull {
    fn run<'a>(&'a mut self, sink: &'a mut Sink, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move {
            let place = tokio::select! {
                place = self.resolve() => place,
                () = stop.requested() => return Ended::Stopped,
            };
            match place {
                Ok(place) => {
                    sink.says_of_lower(place.has_lower);
                    tracing::debug!(stream = %sink.name(), url = redacted_url(&place.url.to_string()), "the camera says where its stream is");
                    let clock = Arc::clone(&self.clock);
                    let mut stream = rtsp::Pull::new(place.url, &self.plan, clock, self.random);
                    stream.run(sink, stop).await
                }
                Err(failed) => Ended::Failed(why(&failed)),
            }
        })
    }
}

fn why(failed: &Failed) -> Why {
    let trouble = match failed {
        Failed::Login(LoginRefused::Wrong(_)) => Trouble::Login,
        Failed::Login(LoginRefused::Needed(_) | LoginRefused::InTheClear(_)) => Trouble::LoginNeeded,
        Failed::Fetch(FetchError::Certificate { .. }) => Trouble::Certificate,
        Failed::Fetch(FetchError::Resolve { .. } | FetchError::Connect { .. } | FetchError::Slow { .. })
        | Failed::Slow { .. } => Trouble::Unreachable,
        Failed::NoProfile { .. } | Failed::NoMedia(_) => Trouble::NotThere,
        Failed::Read {
            error: ReadError::Fault(_),
            ..
        } => Trouble::NotThere,
        _ => Trouble::Unusable,
    };
    let why = Why::new(trouble, failed.to_string());
    match failed {
        Failed::Fetch(error) => why.of_fetch(error),
        Failed::Status { .. } => why.because(Cause::NotRtsp),
        _ => why,
    }
}
