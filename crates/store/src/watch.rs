//! Standing between a store and its callers: simulations interleave transactions this way, and let a
//! process die between any two statements. A store has no watch unless a test gives it one.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

/// Where a process can die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before a session begins.
    Session,
    /// Before a statement.
    Statement,
    /// Before a commit: what the transaction did is undone.
    Commit,
    /// After a commit, before anybody is told.
    Committed,
}

/// Sees every session of a store.
pub trait Watch: Debug + Send + Sync {
    /// Waits until it is the caller's turn to begin a session.
    fn turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// Whether the process dies here: the store then answers no more.
    fn dies(&self, at: Point) -> bool;
}
