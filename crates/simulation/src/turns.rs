//! Processes whose transactions take turns, and that can die between any two statements.
//!
//! A process waits before each session until it is given its turn. One is polled at a time, so what
//! happens in which order is the dice's choice alone, whatever the threads below do.

use crate::broken::Broken;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use windlass_store::{Point, Watch};

/// A process as the store sees it.
#[derive(Debug, Default)]
pub(crate) struct Process {
    may_go: AtomicBool,
    waits: AtomicBool,
    /// Points until it dies; below 0 it does not.
    dies_in: AtomicI64,
    dead: AtomicBool,
    commits: AtomicU64,
}

impl Process {
    pub(crate) fn new() -> Arc<Self> {
        let process = Self::default();
        process.dies_in.store(-1, SeqCst);
        Arc::new(process)
    }

    /// It dies at the point after so many.
    pub(crate) fn dies_after(&self, points: u32) {
        self.dies_in.store(i64::from(points), SeqCst);
    }

    /// It is started again. Returns whether it had died.
    pub(crate) fn restart(&self) -> bool {
        self.dies_in.store(-1, SeqCst);
        self.dead.swap(false, SeqCst)
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(SeqCst)
    }
}

impl Watch for Process {
    fn turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(poll_fn(|_| {
            if self.may_go.swap(false, SeqCst) {
                self.waits.store(false, SeqCst);
                Poll::Ready(())
            } else {
                self.waits.store(true, SeqCst);
                Poll::Pending
            }
        }))
    }

    fn dies(&self, at: Point) -> bool {
        if !self.dead.load(SeqCst) {
            let left = self.dies_in.load(SeqCst);
            if left == 0 {
                self.dead.store(true, SeqCst);
            }
            if left >= 0 {
                self.dies_in.store(left - 1, SeqCst);
            }
        }
        // A commit that was reached is one, whether or not anybody lives to tell of it.
        if at == Point::Committed {
            self.commits.fetch_add(1, SeqCst);
        }
        self.dead.load(SeqCst)
    }
}

/// What a pass is for those who run it.
pub(crate) type Work = Pin<Box<dyn Future<Output = windlass_store::Result<()>>>>;

/// A pass under way.
pub(crate) struct Running {
    pub(crate) process: Arc<Process>,
    pub(crate) work: Work,
    pub(crate) done: Option<windlass_store::Result<()>>,
}

impl Running {
    pub(crate) fn new(process: &Arc<Process>, work: Work) -> Self {
        Self {
            process: Arc::clone(process),
            work,
            done: None,
        }
    }

    /// Lets it go on to its next session or its end. Returns whether it committed something.
    pub(crate) async fn go_on(&mut self) -> bool {
        let before = self.process.commits();
        self.process.may_go.store(true, SeqCst);
        let process = Arc::clone(&self.process);
        let work = &mut self.work;
        self.done = poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if process.waits.load(SeqCst) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        self.process.waits.store(false, SeqCst);
        self.process.may_go.store(false, SeqCst);
        self.process.commits() > before
    }
}

/// What a pass that failed says, where it did not fail because its process died.
pub(crate) fn refused(running: &Running) -> Option<Broken> {
    match &running.done {
        Some(Err(error)) if !running.process.dead.load(SeqCst) && !error.is_transient() => {
            Some(Broken::failed(error))
        }
        _ => None,
    }
}
