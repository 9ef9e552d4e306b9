//! A few threads that decode pictures, behind everything else that the machine has to do.
//!
//! Belongs here: how many there are, that they give way, that one outlives what panics on it. Does not belong here: what they do.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Something to be done.
type Job = Box<dyn FnOnce() + Send>;

/// Threads that wait for jobs. They end when it is dropped.
pub(super) struct Pool {
    jobs: Mutex<Sender<Job>>,
}

/// At the most, however large the machine is.
const MOST_THREADS: usize = 4;
/// How far they give way to others (`nice`): the encoder of a camera comes first.
const NICENESS: i32 = 10;

impl Pool {
    /// Half as many threads as there are cores, one to four.
    pub(super) fn start() -> Self {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads() {
            let waiting = Arc::clone(&waiting);
            let started = thread::Builder::new()
                .name("motion".to_owned())
                .spawn(move || work(&waiting));
            if let Err(error) = started {
                tracing::warn!(%error, "a thread that looks for motion cannot be started");
            }
        }
        Self { jobs: Mutex::new(jobs) }
    }

    /// Does it when its turn comes. Whoever asks has one job at a time here, so what waits is bounded by who asks.
    pub(super) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        // Where no thread could be started the job is dropped, and whoever waits for it sees that.
        let _ = jobs.send(Box::new(job));
    }
}

fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    (cores / 2).clamp(1, MOST_THREADS)
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    // On Linux of this thread alone. Whatever comes of it, it works.
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|now| now < NICENESS) {
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Reported already; what it was working on went with it.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_takes_no_thread_along() {
        let pool = Pool::start();
        for _ in 0..=MOST_THREADS {
            pool.submit(|| panic!("on purpose"));
        }
        let (done, waits) = mpsc::channel();
        pool.submit(move || done.send(thread::current().name().map(str::to_owned)).unwrap());
        assert_eq!(waits.recv().unwrap().as_deref(), Some("motion"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn they_give_way() {
        let before = rustix::process::getpriority_process(None).unwrap();
        let (done, waits) = mpsc::channel();
        Pool::start().submit(move || done.send(rustix::process::getpriority_process(None)).unwrap());
        assert_eq!(waits.recv().unwrap().unwrap(), NICENESS.max(before));
        assert_eq!(
            rustix::process::getpriority_process(None).unwrap(),
            before,
            "others do not"
        );
    }
}
